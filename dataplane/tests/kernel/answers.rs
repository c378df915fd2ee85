//! Answers to refused packets: the loaded programs write the bytes that the pure function writes, keep to the
//! limit, say nothing unless asked to, and real sockets understand them.

use std::{
    fs,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    path::Path,
    time::{Duration, Instant},
};

use weir_dataplane::{
    Gate, Mode, Pins,
    gate::Options,
    layout::{Place, StrangerTable, Strangers, to_address},
    replay::SHORTEST_FRAME,
};
use weir_dataplane_common::{
    abi::{AddressKey, Profile, Rule, STATUS_REJECT, STRANGER_PROFILE, Settings, Side, VALID, action, rule},
    answer::{Answer, Reply, build},
    capture::{ANY_ENTRY, Filter},
    parse::{Cursor, Parsed, ethernet},
    reason::Reason,
};

use super::{
    cable::{BPFFS, in_a_namespace, ip},
    frames,
    random::Random,
    rights,
    worlds::World,
};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

const FRAMES: usize = 20_000;
/// The rejected device, in both families, and whom it sends to: nobody that may wake it.
const DEVICE: [&str; 2] = ["10.45.0.7", "2001:db8:45:7::7"];
const SERVER: [&str; 2] = ["203.0.113.5", "3fff:1::5"];
/// More than any test sends: as if there were no limit.
const UNLIMITED: u32 = u32::MAX;
/// How long a socket waits for what comes at once.
const PATIENCE: Duration = Duration::from_secs(10);

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// What a gate that answers so often is loaded with.
fn options(answers_per_second: u32) -> Options {
    let options = world().options();
    Options { settings: Settings { answers_per_second, ..options.settings }, ..options }
}

fn world() -> World {
    World { strangers: Strangers::default(), ..World::full() }
}

/// A gate that answers so often, and refuses all that the device sends.
fn gate(answers_per_second: u32) -> Gate {
    let mut gate = Gate::load(&options(answers_per_second)).expect("the live program loads");
    refuse_the_device(&mut gate);
    gate
}

fn refuse_the_device(gate: &mut Gate) {
    gate.write_profile(0, &Profile::default()).expect("room for the profile");
    for device in DEVICE {
        let Place::Pooled(entry) = world().layout.place(address(device)) else {
            panic!("{device} is pooled")
        };
        gate.entries()[entry as usize].control.store(VALID | STATUS_REJECT);
    }
}

fn count_of(gate: &mut Gate, answer: Answer) -> u64 {
    let counts = gate.answer_counts().expect("the kernel tells");
    counts.into_iter().find(|(of, _)| *of == answer).expect("every answer is counted").1
}

/// Whether the device sent it: any address of its /64, for IPv6.
fn is_the_devices(frame: &[u8]) -> bool {
    let Parsed::Ip(packet) = ethernet(Cursor::new(frame)) else { return false };
    let key_of = |device: &str| AddressKey::of(to_address(address(device)));
    DEVICE.iter().any(|device| key_of(device) == AddressKey::of(packet.source))
}

/// Frames of the device that are answered, of every sort.
fn answerable() -> Vec<Vec<u8>> {
    let of = |family: usize| frames::one_of_each(address(DEVICE[family]), address(SERVER[family]));
    let frames: Vec<_> = of(0).into_iter().chain(of(1)).filter(|frame| reply(frame).is_some()).collect();
    assert!(frames.len() >= 8, "{} frames", frames.len());
    frames
}

/// The answer that the pure function gives.
fn reply(frame: &[u8]) -> Option<(Answer, Vec<u8>)> {
    let mut reply = Reply::empty();
    let (answer, length) = build(&frame, &mut reply)?;
    Some((answer, reply.0[..length as usize].to_vec()))
}

/// Runs frames of the device through the gate and through the pure function; how often it gave which answer.
fn compare(gate: &mut Gate, random: &mut Random) -> [u64; Answer::ALL.len()] {
    let mut tally = [0; Answer::ALL.len()];
    for _ in 0..FRAMES {
        let family = random.below(2) as usize;
        let frame = frames::draw(random, address(DEVICE[family]), address(SERVER[family]));
        if frame.len() < SHORTEST_FRAME {
            continue;
        }
        let (action, left) = gate.run_once(Side::Access, &frame).expect("the kernel runs the frame");
        if !is_the_devices(&frame) {
            assert!(action == XDP_PASS || action == XDP_DROP, "{action}: {frame:02x?}");
            continue;
        }
        match reply(&frame) {
            Some((answer, reply)) => {
                tally[answer as usize] += 1;
                assert_eq!((action, &left), (XDP_TX, &reply), "to {frame:02x?}");
            }
            None => {
                tally[Answer::Unanswerable as usize] += 1;
                assert_eq!((action, &left), (XDP_DROP, &frame));
            }
        }
    }
    tally
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn the_program_answers_with_the_bytes_of_the_pure_function() {
    if !rights::at_hand("answers") {
        return;
    }
    let mut gate = gate(UNLIMITED);
    let tally = compare(&mut gate, &mut Random::seeded("answers"));
    for answer in Answer::ALL {
        let count = tally[answer as usize];
        println!("{count:6} {}", answer.name());
        assert_eq!(count_of(&mut gate, answer), count, "{}", answer.name());
        assert!(count > 100 || answer == Answer::Limited, "{} is rare", answer.name());
    }
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn unless_asked_to_the_gate_answers_nothing() {
    if !rights::at_hand("no answers") {
        return;
    }
    let mut gate = gate(0);
    for frame in answerable() {
        let (action, left) = gate.run_once(Side::Access, &frame).expect("the kernel runs the frame");
        assert_eq!((action, left), (XDP_DROP, frame));
    }
    assert!(gate.answer_counts().expect("the kernel tells").iter().all(|(_, count)| *count == 0));
    assert_eq!(gate.verified_answer_instructions().expect("the kernel tells"), None, "not even loaded");
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn nothing_is_answered_towards_the_network() {
    if !rights::at_hand("answers to the network") {
        return;
    }
    let mut gate = gate(UNLIMITED);
    for family in 0..2 {
        for frame in frames::one_of_each(address(SERVER[family]), address(DEVICE[family])) {
            let (action, left) = gate.run_once(Side::Network, &frame).expect("the kernel runs the frame");
            assert_ne!(action, XDP_TX);
            assert_eq!(left, frame);
        }
    }
    assert!(gate.answer_counts().expect("the kernel tells").iter().all(|(_, count)| *count == 0));
}

/// A gate that judges strangers, and refuses each of their accesses.
fn gate_for_strangers() -> Gate {
    let table = StrangerTable { places: 16, new_per_second: 1000, pass_when_full: false, seed: 1 };
    let layout = world().layout.with_strangers(table).expect("a layout");
    let strangers = World { layout, ..world() }.options();
    let settings = Settings { answers_per_second: UNLIMITED, ..strangers.settings };
    let mut gate = Gate::load(&Options { settings, ..strangers }).expect("the live program loads");
    let mut profile = Profile { cached: 1, kinds: 3, inactivity: 10, max_age: 1000, ..Profile::default() };
    profile.rules[0] = Rule {
        policy: 1,
        restricts: rule::ACCESS_LIMIT,
        action: action::REJECT,
        permitted: 0,
        window: 1000,
        ..Rule::default()
    };
    gate.write_profile(STRANGER_PROFILE, &profile).expect("room for the profile");
    gate
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_stranger_is_not_answered_whatever_the_reason() {
    if !rights::at_hand("no answers to strangers") {
        return;
    }
    let mut gate = gate_for_strangers();
    let frame = frames::one_of_each(address("198.51.100.77"), address(SERVER[0])).swap_remove(0);
    assert!(reply(&frame).is_some(), "a device would be answered");
    let (action, _) = gate.run_once(Side::Access, &frame).expect("the kernel runs the frame");
    assert_eq!(action, XDP_DROP);
    let reasons = gate.reason_counts().expect("the kernel tells");
    assert!(reasons.contains(&(Reason::LimitExceeded, 1)), "{reasons:?}");
    assert!(gate.answer_counts().expect("the kernel tells").iter().all(|(_, count)| *count == 0));
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn no_more_is_answered_than_the_limit_permits_and_the_rest_is_counted() {
    const PER_SECOND: u32 = 20;
    const SENT: u64 = 2_000;
    if !rights::at_hand("the limit of answers") {
        return;
    }
    let mut gate = gate(PER_SECOND);
    let frames = answerable();
    let start = Instant::now();
    let answered = (0..SENT)
        .filter(|number| {
            let frame = &frames[*number as usize % frames.len()];
            gate.run_once(Side::Access, frame).expect("the kernel runs the frame").0 == XDP_TX
        })
        .count() as u64;
    // A burst of a tenth of the limit, and the clock's step of at most ten milliseconds.
    let permitted =
        2 + (start.elapsed() + Duration::from_millis(10)).as_millis() as u64 * u64::from(PER_SECOND) / 1000;
    assert!((2..=permitted + 1).contains(&answered), "{answered} of {permitted} permitted");
    assert_eq!(count_of(&mut gate, Answer::Limited), SENT - answered);
    let sent = count_of(&mut gate, Answer::Reset) + count_of(&mut gate, Answer::Prohibited);
    assert_eq!((sent, count_of(&mut gate, Answer::Unanswerable)), (answered, 0));
}

/// The device behind a veth pair whose other end is the gate. The device's end has a program too: without one it
/// would not take what the gate sends back.
fn wire_up(gate: &mut Gate, mode: Mode) {
    for file in ["left/disable_ipv6", "left/accept_dad"] {
        fs::write(format!("/proc/sys/net/ipv6/conf/{file}"), "0").expect("a setting of this namespace");
    }
    gate.attach("right", Side::Access, mode).expect("veth takes XDP in either mode");
    gate.attach("left", Side::Network, mode).expect("veth takes XDP in either mode");
    ip("link set right address 02:00:00:00:00:02");
    ip("address add 10.45.0.7/24 dev left");
    ip("address add 2001:db8:45:7::7/64 dev left nodad");
    for (router, everywhere) in [("10.45.0.1", "0.0.0.0/0"), ("2001:db8:45:7::1", "::/0")] {
        ip(&format!("neighbour add {router} lladdr 02:00:00:00:00:02 dev left"));
        ip(&format!("route add {everywhere} via {router} dev left"));
    }
}

/// What a connected UDP socket is told after it has sent something.
fn told_of_a_datagram(family: usize) -> io::Error {
    let socket = UdpSocket::bind(SocketAddr::new(address(DEVICE[family]), 0)).expect("the device's address");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket.connect(SocketAddr::new(address(SERVER[family]), 53)).expect("a route");
    socket.send(b"question").expect("room in the queue");
    socket.recv(&mut [0; 16]).expect_err("nobody replies with data")
}

fn connect(family: usize) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::new(address(SERVER[family]), 443), PATIENCE)
}

fn the_device_is_told(mode: Mode) {
    in_a_namespace(move || {
        let mut gate = gate(UNLIMITED);
        wire_up(&mut gate, mode);
        for (family, told) in [(0, libc::EHOSTUNREACH), (1, libc::EACCES)] {
            let refused = connect(family).expect_err("refused");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "family {family}");
            assert_eq!(
                count_of(&mut gate, Answer::Reset),
                family as u64 + 1,
                "the first attempt is answered"
            );
            assert_eq!(told_of_a_datagram(family).raw_os_error(), Some(told), "family {family}");
        }
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_refused_device_learns_it_from_its_own_sockets() {
    if rights::at_hand("answers to sockets") {
        the_device_is_told(Mode::Native);
    }
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_refused_device_learns_it_in_generic_mode_too() {
    if rights::at_hand("answers in generic mode") {
        the_device_is_told(Mode::Generic);
    }
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_pinned_gate_goes_on_answering_without_its_agent() {
    if !rights::at_hand("answers without an agent") {
        return;
    }
    in_a_namespace(|| {
        let pins = Pins::new(Path::new(BPFFS), "answering");
        let load = || Gate::load_pinned(&options(UNLIMITED), &pins).expect("the live program loads").0;
        let mut gate = load();
        refuse_the_device(&mut gate);
        wire_up(&mut gate, Mode::Native);
        gate.detach_others().expect("there are none");
        drop(gate);
        assert_eq!(connect(0).expect_err("refused").kind(), ErrorKind::ConnectionRefused);
        assert_eq!(count_of(&mut load(), Answer::Reset), 1, "the next gate goes on counting");
        pins.detach_all(false).expect("all of it is ours");
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_gate_that_is_captured_from_answers_as_before() {
    if !rights::at_hand("answers under a capture") {
        return;
    }
    in_a_namespace(|| {
        let mut gate = gate(UNLIMITED);
        wire_up(&mut gate, Mode::Native);
        let everything =
            Filter { reasons: u64::MAX, entry: ANY_ENTRY, sides: 3, per_second: 1000, ..Filter::default() };
        let captures = gate.start_capture(everything).expect("the capturing program loads");
        for _ in 0..2 {
            assert_eq!(connect(0).expect_err("refused").kind(), ErrorKind::ConnectionRefused);
            gate.stop_capture().expect("the live program comes back");
        }
        drop(captures);
        assert_eq!(count_of(&mut gate, Answer::Reset), 2);
    });
}
