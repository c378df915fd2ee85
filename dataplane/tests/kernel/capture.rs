//! Captures: what is copied is what was judged, what is not copied is counted, and the gate never blinks.

use std::{
    collections::BTreeSet,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use weir_dataplane::{
    Gate, Mode, Pins,
    capture::{CaptureRing, Captured, interface_name},
    raw::{self, RawPort},
};
use weir_dataplane_common::{
    abi::{ABI_VERSION, Side},
    capture::{ANY_ENTRY, Filter, LONGEST_SNAP, reason_bit, reasons_of},
    reason::{Reason, Verdict},
};

use super::{
    cable::{self, BPFFS, in_a_namespace, ip},
    rights,
    stream::{ADMITTED, REJECTED, Stream, fill, frame},
    worlds::World,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Everything, as fast as it comes.
fn everything() -> Filter {
    Filter {
        reasons: u64::MAX,
        entry: ANY_ENTRY,
        sides: 3,
        sample: 1,
        snap: LONGEST_SNAP as u32,
        per_second: u32::MAX,
        ..Filter::default()
    }
}

/// A gate on `left` that nothing outlives.
fn gate() -> Gate {
    let mut gate = Gate::load(&World::full().options()).expect("the live program loads");
    fill(&mut gate);
    gate.attach("left", Side::Access, Mode::Native).expect("veth has native XDP");
    gate
}

/// The next so many packets.
fn next(ring: &mut CaptureRing, count: usize) -> Vec<Captured> {
    let (start, mut packets) = (Instant::now(), Vec::new());
    while packets.len() < count {
        assert!(start.elapsed() < PATIENCE, "{} of {count} packets were captured", packets.len());
        packets.extend(ring.next_packet());
        thread::yield_now();
    }
    packets
}

fn rest(ring: &mut CaptureRing) -> Vec<Captured> {
    std::iter::from_fn(|| ring.next_packet()).collect()
}

/// Judges frames at once, one after another: when it returns, they are counted and captured.
fn inject(gate: &mut Gate, frames: &[Vec<u8>]) {
    for frame in frames {
        gate.inject(Side::Access, left(), frame).expect("the kernel runs the frame");
    }
}

/// The number of `left`.
fn left() -> u32 {
    raw::index_of("left").expect("left is there")
}

fn with_cable(name: &str, test: impl FnOnce() + Send + 'static) {
    if rights::at_hand(name) {
        in_a_namespace(test);
    }
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_capture_holds_every_frame_byte_for_byte_with_what_was_said_of_it() {
    with_cable("a capture's content", || {
        let mut gate = gate();
        let mut ring = gate.start_capture(everything()).expect("a capture begins");
        let port = RawPort::open("right").expect("a raw socket");
        let frames: Vec<_> = [ADMITTED, REJECTED, ADMITTED, 9].map(|device| frame(device, 7)).into();
        for frame in &frames {
            assert!(port.send(frame).expect("right is up"));
        }
        let packets = next(&mut ring, frames.len());
        let reasons = [Reason::Admitted, Reason::StatusReject, Reason::InSession, Reason::UnknownDropped];
        let entries = [Some(u32::from(ADMITTED)), Some(u32::from(REJECTED)), Some(u32::from(ADMITTED)), None];
        for (((packet, frame), reason), entry) in packets.iter().zip(&frames).zip(reasons).zip(entries) {
            assert_eq!((packet.reason, packet.entry, packet.side), (reason, entry, Side::Access));
            assert_eq!((&packet.frame, packet.frame_length), (frame, frame.len() as u32));
            assert_eq!((packet.ifindex, packet.in_earnest), (left(), None));
            assert_eq!(interface_name(packet.ifindex).as_deref(), Some("left"));
        }
        assert!(packets.is_sorted_by_key(|packet| packet.at_ns));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let age = now.as_nanos() as i128 - i128::from(packets[0].at_ns);
        assert!((0..PATIENCE.as_nanos() as i128).contains(&age), "captured {age} ns ago");
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn only_what_is_asked_for_is_captured_and_no_more_of_it() {
    with_cable("a capture's filter", || {
        let mut gate = gate();
        let frames: Vec<_> = (0..30).map(|number| frame([ADMITTED, REJECTED, 9][number % 3], 1)).collect();
        let one = |filter: Filter, gate: &mut Gate| {
            let mut ring = gate.start_capture(filter).expect("a capture begins");
            inject(gate, &frames);
            gate.stop_capture().expect("it ends");
            rest(&mut ring)
        };
        let dropped = one(Filter { reasons: reasons_of(Verdict::Drop), ..everything() }, &mut gate);
        let by_reason = |reason| dropped.iter().filter(|packet| packet.reason == reason).count();
        assert_eq!([Reason::StatusReject, Reason::UnknownDropped].map(by_reason), [10, 10]);
        assert_eq!(dropped.len(), 20);
        let of_device = one(Filter { entry: u32::from(ADMITTED), ..everything() }, &mut gate);
        assert!(
            of_device.len() == 10 && of_device.iter().all(|packet| packet.entry == Some(ADMITTED.into()))
        );
        let of_reason = one(Filter { reasons: reason_bit(Reason::InSession), ..everything() }, &mut gate);
        assert_eq!(of_reason.len(), 10);
        assert!(one(Filter { sides: 1 << Side::Network as u32, ..everything() }, &mut gate).is_empty());
        let short = one(Filter { snap: 20, ..everything() }, &mut gate);
        assert!(short.iter().all(|packet| packet.frame == frames[0][..20] || packet.frame.len() == 20));
        assert!(short.len() == 30 && short.iter().all(|packet| packet.frame_length == 46));
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn on_a_node_that_only_watches_what_it_would_have_dropped_counts_as_dropped() {
    with_cable("a watching node's capture", || {
        let mut options = World::full().options();
        options.settings.shadow = 1;
        let mut gate = Gate::load(&options).expect("the live program loads");
        fill(&mut gate);
        gate.attach("left", Side::Access, Mode::Native).expect("veth has native XDP");
        let dropped = Filter { reasons: reasons_of(Verdict::Drop), ..everything() };
        let mut ring = gate.start_capture(dropped).expect("a capture begins");
        inject(&mut gate, &[ADMITTED, REJECTED].map(|device| frame(device, 1)));
        let packets = rest(&mut ring);
        let said: Vec<_> = packets.iter().map(|packet| (packet.reason, packet.in_earnest)).collect();
        assert_eq!(said, [(Reason::ShadowPassed, Some(Reason::StatusReject))]);
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_sample_is_about_as_large_as_it_was_asked_for() {
    with_cable("a sample", || {
        let mut gate = gate();
        let mut ring = gate.start_capture(Filter { sample: 4, ..everything() }).expect("a capture begins");
        inject(&mut gate, &vec![frame(ADMITTED, 1); 2000]);
        let taken = rest(&mut ring).len();
        // Ten standard deviations about the mean.
        assert!((500 - 194..=500 + 194).contains(&taken), "{taken} of 2000");
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn what_finds_the_ring_full_or_the_second_used_up_is_counted() {
    with_cable("a capture's losses", || {
        let mut gate = gate();
        let mut long = frame(ADMITTED, 1);
        long.resize(1400, 0x5a);
        let frames = vec![long; 1500];

        let mut ring = gate.start_capture(everything()).expect("a capture begins");
        inject(&mut gate, &frames);
        gate.stop_capture().expect("it ends");
        let losses = ring.losses().expect("counters");
        assert!(losses.ring_full > 0 && losses.over_rate == 0, "{losses:?}");
        assert_eq!(rest(&mut ring).len() as u64 + losses.ring_full, frames.len() as u64);

        let mut ring = gate.start_capture(Filter { per_second: 5, ..everything() }).expect("another");
        let start = Instant::now();
        inject(&mut gate, &frames[..500]);
        let seconds = start.elapsed().as_secs() + 2;
        let losses = ring.losses().expect("counters");
        let taken = rest(&mut ring).len() as u64;
        assert_eq!(
            (losses.ring_full, taken + losses.over_rate),
            (0, 500),
            "those of the first are not counted"
        );
        assert!((5..=5 * seconds).contains(&taken), "{taken} in {seconds} s");
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn there_is_one_capture_at_a_time_and_the_live_program_comes_back() {
    with_cable("the live program's return", || {
        let mut gate = gate();
        let mut ring = gate.start_capture(everything()).expect("a capture begins");
        let error = gate.start_capture(everything()).err().expect("a second one").to_string();
        assert!(error.contains("one at a time"), "{error}");
        assert!(gate.guards("left", Side::Access).expect("the kernel tells"), "it judges all the same");
        gate.stop_capture().expect("it ends");
        gate.stop_capture().expect("nothing to end");
        assert!(gate.guards("left", Side::Access).expect("the kernel tells"));
        let port = RawPort::open("right").expect("a raw socket");
        let (before, all) = (gate.reason_counts().expect("counters"), |counts: &[(Reason, u64)]| {
            counts.iter().map(|(_, count)| count).sum::<u64>()
        });
        assert!(port.send(&frame(ADMITTED, 1)).expect("right is up"));
        let start = Instant::now();
        while all(&gate.reason_counts().expect("counters")) == all(&before) {
            assert!(start.elapsed() < PATIENCE, "the live program judges nothing");
        }
        assert!(rest(&mut ring).is_empty(), "nobody captures");
        drop(gate.start_capture(everything()).expect("another"));
        drop(gate);
        assert!(!self::gate().entries().is_empty(), "an ended gate that captured leaves nothing attached");
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_interface_that_goes_and_returns_does_not_keep_anybody_from_capturing() {
    with_cable("capturing on an interface that returned", || {
        let mut gate = gate();
        ip("link delete left");
        drop(gate.start_capture(everything()).expect("what is left is captured"));
        cable::add_pair();
        gate.stop_capture().expect("nothing to put back");
        gate.attach("left", Side::Access, Mode::Native).expect("it is back");
        let mut ring = gate.start_capture(everything()).expect("a capture begins");
        let port = RawPort::open("right").expect("a raw socket");
        assert!(port.send(&frame(REJECTED, 1)).expect("right is up"));
        assert_eq!(next(&mut ring, 1)[0].reason, Reason::StatusReject);
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_numbered_stream_loses_no_packet_while_programs_change_places() {
    with_cable("changing places", || {
        let pins = Pins::new(Path::new(BPFFS), "pgw-capture");
        let (mut gate, _) = Gate::load_pinned(&World::full().options(), &pins).expect("it loads");
        fill(&mut gate);
        gate.attach("left", Side::Access, Mode::Native).expect("veth has native XDP");
        let stream = Stream::start(&pins.directory().join(format!("abi-{ABI_VERSION}")));
        let mut seen = BTreeSet::new();
        for _ in 0..5 {
            let mut ring = gate.start_capture(everything()).expect("a capture begins");
            for packet in next(&mut ring, 100) {
                let expected =
                    if packet.entry == Some(REJECTED.into()) { Verdict::Drop } else { Verdict::Pass };
                assert_eq!(packet.reason.verdict(), expected, "{packet:?}");
                seen.insert(packet.frame);
            }
            gate.stop_capture().expect("it ends");
        }
        assert_eq!(seen.len(), 500, "no packet was copied twice");
        assert!(stream.end() >= 500);
    });
}
