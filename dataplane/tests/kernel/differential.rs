//! A hundred thousand frames through the program in the kernel, the law in user space, and `etherparse`.

use std::{collections::BTreeMap, net::IpAddr};

use weir_dataplane::layout::Strangers;
use weir_dataplane_common::{
    abi::{Side, Trace},
    reason::Reason,
    tick::Tick,
};

use super::{
    devices::{self, Device},
    frames, operator,
    random::Random,
    reading::{self, Opinion},
    rights,
    twins::Twins,
    worlds::World,
};

/// In each of five worlds.
const FRAMES: usize = 25_000;
const PROFILES: usize = 24;

/// The clock of the frames, ns. It starts shortly before or long after a tick's number wraps.
struct Clock(u64);

impl Clock {
    fn start(random: &mut Random) -> Self {
        let ticks = *random.pick(&[1 << 20, (1 << 30) - 60_000, (1 << 32) - 60_000]);
        Self(ticks << 20 | random.below(1 << 20))
    }

    fn go_on(&mut self, random: &mut Random) {
        const MILLISECOND: u64 = 1_000_000;
        self.0 += match random.below(20) {
            0..8 => random.below(1000),
            8..17 => random.below(20 * MILLISECOND),
            17..19 => random.below(200 * MILLISECOND),
            _ => random.below(5_000 * MILLISECOND),
        };
    }
}

/// How often each reason occurred.
type Tally = BTreeMap<u8, u32>;

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn the_program_in_the_kernel_judges_as_the_law_in_user_space_and_reads_as_etherparse() {
    if !rights::at_hand("the differential test") {
        return;
    }
    let mut random = Random::seeded("the differential test");
    let mut tally = Tally::new();
    let passing = || World { strangers: Strangers::default(), ..World::full() };
    let worlds = [
        (World::full(), [false, false]),
        (passing(), [true, false]),
        (World::full().with_strangers(4, false), [true, false]),
        (passing().with_strangers(4, true), [false, true]),
        (World::full().with_strangers(256, false), [false, false]),
    ];
    for (world, [by_words, watches]) in worlds {
        run(&world, by_words, watches, &mut random, &mut tally);
    }
    for (number, count) in &tally {
        println!("{count:7} {}", Reason::from_number(*number).map_or("?", Reason::name));
    }
    // Contended occurs under `UNSETTLED`, which stands for the other CPU here.
    for reason in Reason::ALL {
        assert!(tally.contains_key(&(*reason as u8)), "{} never occurred", reason.name());
    }
}

/// One world: large limits or not, watching only or not.
fn run(world: &World, by_words: bool, watches: bool, random: &mut Random, tally: &mut Tally) {
    let profiles = operator::profiles(random, PROFILES, by_words);
    let mut options = world.options();
    options.settings.shadow = watches.into();
    let mut twins = Twins::new(options, &profiles);
    let devices = devices::bind(&mut twins, &world.layout);
    let mut clock = Clock::start(random);
    for number in 0..FRAMES {
        clock.go_on(random);
        let (frame, side) = draw(random, &devices);
        let trace = twins.judge(&frame, side, clock.0);
        compare_reading(&frame, &trace);
        *tally.entry(trace.reason).or_default() += 1;
        if random.once_in(8) {
            operate(random, &twins, &devices, clock.0);
        }
        if random.once_in(4_000) {
            let until = Tick::from_nanos(clock.0).after(random.below(2_000) as u32).stored();
            twins.switch(|switches| switches.bypass_until.store(until));
        }
        if number % 5_000 == 0 {
            twins.compare_all();
        }
    }
    twins.compare_all();
}

/// A frame from or to a device, on the side where it belongs and sometimes on the other.
fn draw(random: &mut Random, devices: &[Device]) -> (Vec<u8>, Side) {
    // Half of the frames are those of a few devices, so that limits fill.
    let some = match random.below(8) {
        0..4 => &devices[..6],
        // Strangers.
        4 => &devices[devices.len() - 3..],
        _ => devices,
    };
    let device = random.pick(some).address;
    let remote = devices::remote(random, device);
    let device = devices::somewhere_in(random, device);
    let uplink = !random.once_in(3);
    let (source, destination): (IpAddr, IpAddr) = if uplink { (device, remote) } else { (remote, device) };
    let side = if uplink == random.once_in(50) { Side::Network } else { Side::Access };
    (frames::draw(random, source, destination), side)
}

fn operate(random: &mut Random, twins: &Twins, devices: &[Device], nanos: u64) {
    let Some(primary) = random.pick(devices).primary else { return };
    let deed = operator::deed(random, PROFILES, Tick::from_nanos(nanos));
    twins.change(primary, |entry, ledger| deed.carry_out(entry, ledger));
}

/// Where `etherparse` can read a frame, so can we, and both see the same. A bypassed node reads nothing.
fn compare_reading(frame: &[u8], trace: &Trace) {
    if trace.reason == Reason::Bypassed as u8 {
        return;
    }
    match reading::opinion(frame) {
        Opinion::Ip(expected) => assert_eq!(reading::of_trace(trace), Some(expected), "{frame:02x?}"),
        Opinion::NotIp => assert_eq!(trace.reason, Reason::NotIp as u8, "{frame:02x?}"),
        Opinion::None => {}
    }
}
