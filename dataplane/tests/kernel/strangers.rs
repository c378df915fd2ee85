//! Strangers in the kernel: each has a limit of its own, a flood of invented sources is bounded in places and in time,
//! whoever is turned away is counted by the reason, and neither devices nor strangers who were there before feel it.

use std::time::Instant;

use etherparse::PacketBuilder;
use weir_dataplane::{
    Gate, Layout,
    gate::Options,
    layout::{StrangerTable, Strangers},
    raw::index_of,
    replay::PrivateCopy,
};
use weir_dataplane_common::{
    abi::{Profile, Rule, STRANGER_PROFILE, Side, VALID, action, rule},
    reason::Reason,
    tick::{length_ticks, window_ticks},
};

use super::{cable::in_a_namespace, random::Random, rights};

const SECOND: u64 = 1_000_000_000;
/// Any clock reading.
const BEGIN: u64 = 77_777 * SECOND;
const FLOOD: u32 = 100_000;
const PERMITTED: u32 = 3;
const DEVICE: [u8; 4] = [10, 45, 0, 7];
const STRANGER: [u8; 4] = [198, 51, 100, 9];

fn table(places: u32, new_per_second: u32) -> StrangerTable {
    StrangerTable { places, new_per_second, pass_when_full: false, seed: 0x5eed }
}

fn layout(table: StrangerTable) -> Layout {
    let pools = ["10.45.0.0/24".parse().expect("a prefix")];
    Layout::new(&pools, 1).and_then(|layout| layout.with_strangers(table)).expect("a layout")
}

fn options(table: StrangerTable) -> Options {
    let layout = layout(table);
    let settings = layout.settings(&[], Strangers::default());
    Options { entries: layout.entries(), unpooled: 1, ring_bytes: 1 << 16, settings }
}

/// A session ends after a second of silence; so many accesses are permitted in a minute.
fn limited(permitted: u32) -> Profile {
    let window = window_ticks(60 * SECOND);
    let second = length_ticks(SECOND);
    let rule =
        Rule { restricts: rule::ACCESS_LIMIT, action: action::REJECT, permitted, window, ..Rule::default() };
    let mut profile =
        Profile { inactivity: second, max_age: window, retry: 1, kinds: 3, ..Profile::default() };
    (profile.cached, profile.rules[0]) = (1, rule);
    profile
}

fn frame(source: [u8; 4]) -> Vec<u8> {
    let headers = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let (headers, mut frame) = (headers.ipv4(source, [192, 0, 2, 5], 64).udp(4000, 5683), Vec::new());
    headers.write(&mut frame, b"flood").expect("a Vec takes any packet");
    frame
}

/// A loaded program with a clock that the test turns.
struct Node {
    copy: PrivateCopy,
    layout: Layout,
    nanos: u64,
}

impl Node {
    fn new(table: StrangerTable) -> Self {
        let mut copy = PrivateCopy::load(&options(table)).expect("the private copy loads");
        copy.write_profile(0, &limited(1000)).expect("room for the profile");
        copy.write_profile(STRANGER_PROFILE, &limited(PERMITTED)).expect("room for the profile");
        copy.entries()[7].control.store(VALID);
        Self { copy, layout: layout(table), nanos: BEGIN }
    }

    /// What becomes of a packet from there, so much later.
    fn send(&mut self, source: [u8; 4], after: u64) -> Reason {
        self.nanos += after;
        let (_, trace) =
            self.copy.judge(&frame(source), Side::Access, self.nanos).expect("the kernel runs it");
        Reason::from_number(trace.reason).expect("a reason of the list")
    }

    /// Packets of this many invented sources, one every ten microseconds; how many were admitted, refused because
    /// they came too fast, and refused for want of a place.
    fn flood(&mut self, random: &mut Random, sources: u32) -> [u32; 3] {
        let mut tally = [0; 3];
        for number in 0..sources {
            let source = 0x2000_0000 | random.below(1 << 28) as u32;
            match self.send(source.to_be_bytes(), 10_000) {
                Reason::Admitted => tally[0] += 1,
                Reason::StrangerFlood => tally[1] += 1,
                Reason::StrangersFull => tally[2] += 1,
                // A source that was drawn twice.
                Reason::InSession => {}
                other => panic!("{} for source number {number}", other.name()),
            }
            if number % 10_000 == 0 {
                assert_eq!(self.send(DEVICE, 0), Reason::InSession, "the device does not feel the flood");
                assert_eq!(self.send(STRANGER, 0), Reason::InSession, "nor does who was there before");
            }
        }
        tally
    }

    fn places_in_use(&self) -> usize {
        let entries = self.copy.entries();
        let places = self.layout.strangers();
        entries[places.start as usize..places.end as usize].iter().filter(|it| it.owner.load() != 0).count()
    }
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn each_stranger_has_a_limit_of_its_own_and_room_again_after_a_window() {
    if !rights::at_hand("strangers' limits") {
        return;
    }
    let mut node = Node::new(table(64, 1000));
    for source in [STRANGER, [198, 51, 100, 10]] {
        let reasons: Vec<_> = (0..=PERMITTED).map(|_| node.send(source, 2 * SECOND)).collect();
        assert_eq!(reasons[..PERMITTED as usize], [Reason::Admitted; PERMITTED as usize]);
        assert_eq!(reasons[PERMITTED as usize], Reason::LimitExceeded);
    }
    assert_eq!(node.send(DEVICE, 0), Reason::Admitted);
    assert_eq!(node.send(STRANGER, 61 * SECOND), Reason::Admitted);
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_flood_of_new_sources_is_held_to_the_interfaces_rate() {
    if !rights::at_hand("a flood of strangers") {
        return;
    }
    let mut node = Node::new(table(1 << 16, 1000));
    assert_eq!([node.send(STRANGER, 0), node.send(DEVICE, 0)], [Reason::Admitted; 2]);
    let [admitted, too_fast, without_place] = node.flood(&mut Random::of(1), FLOOD);
    // A second's burst, and what one second of flood may bring.
    assert!((1990..=2010).contains(&admitted), "{admitted} admitted, {without_place} without a place");
    assert!(too_fast > FLOOD - 2200, "{too_fast} too fast");
    assert!(node.places_in_use() <= admitted as usize + 1);
    assert_eq!(node.send(STRANGER, 0), Reason::InSession);
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_full_table_takes_nobody_in_and_puts_nobody_out() {
    if !rights::at_hand("a full table of strangers") {
        return;
    }
    let mut node = Node::new(table(64, 1_000_000));
    assert_eq!([node.send(STRANGER, 0), node.send(DEVICE, 0)], [Reason::Admitted; 2]);
    let [admitted, too_fast, without_place] = node.flood(&mut Random::of(2), 20_000);
    assert!(admitted <= 63 && too_fast == 0, "{admitted} admitted, {too_fast} too fast");
    assert!(without_place > 19_000, "{without_place} without a place");
    assert_eq!(node.places_in_use(), admitted as usize + 1, "nobody was put out");
    // When nothing of them counts any more, others get their places.
    let again = node.send([198, 51, 100, 77], 62 * SECOND);
    assert_eq!(again, Reason::Admitted);
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_node_may_pass_strangers_for_whom_there_is_no_place() {
    if !rights::at_hand("a full table that passes") {
        return;
    }
    let mut node = Node::new(StrangerTable { pass_when_full: true, ..table(1, 1000) });
    assert_eq!(node.send(STRANGER, 0), Reason::Admitted);
    assert_eq!(node.send([198, 51, 100, 10], 0), Reason::StrangerPassed);
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn the_live_program_counts_a_flood_on_each_interface_apart() {
    if rights::at_hand("a flood on two interfaces") {
        in_a_namespace(flood_two_interfaces);
    }
}

fn flood_two_interfaces() {
    const RATE: u32 = 50;
    const SOURCES: u32 = 500;
    let mut gate = Gate::load(&options(table(4096, RATE))).expect("the live program loads");
    gate.write_profile(0, &limited(1000)).expect("room for the profile");
    gate.write_profile(STRANGER_PROFILE, &limited(PERMITTED)).expect("room for the profile");
    let mut admitted_before = 0;
    for (interface, net) in [("left", 1), ("right", 2)] {
        let (start, ifindex) = (Instant::now(), index_of(interface).expect("it is there"));
        for source in 0..SOURCES {
            let [.., high, low] = source.to_be_bytes();
            gate.inject(Side::Access, ifindex, &frame([100, net, high, low])).expect("the kernel runs it");
        }
        let later = (start.elapsed().as_secs_f64() * f64::from(RATE)) as u64;
        let admitted = count(&mut gate, Reason::Admitted) - admitted_before;
        admitted_before += admitted;
        let least = u64::from(RATE);
        assert!(
            (least..=least + later + 2).contains(&admitted),
            "{admitted} on {interface}, {later} came later"
        );
    }
    let refused = count(&mut gate, Reason::StrangerFlood) + count(&mut gate, Reason::StrangersFull);
    assert_eq!(admitted_before + refused, u64::from(2 * SOURCES), "each is counted");
}

fn count(gate: &mut Gate, reason: Reason) -> u64 {
    let counts = gate.reason_counts().expect("the kernel tells");
    counts.into_iter().find(|(of, _)| *of == reason).expect("every reason is counted").1
}
