//! A numbered stream of frames into a gate, and a witness of what the gate let through.
//!
//! Frames come from two devices in turn, one admitted and one rejected. What the program counted is read from the
//! pinned map, not from a gate: gates come and go while the stream runs.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aya::maps::{Map, MapData, PerCpuArray};
use etherparse::PacketBuilder;
use weir_dataplane::{Gate, raw::RawPort};
use weir_dataplane_common::{
    abi::{Profile, STATUS_REJECT, VALID},
    reason::Reason,
};

/// Entries, and last bytes of the address, of the two devices.
pub const ADMITTED: u8 = 1;
pub const REJECTED: u8 = 2;

const PATIENCE: Duration = Duration::from_secs(30);
/// Frames on their way at most: a veth queue holds 256.
const ON_THE_WAY: u64 = 100;
/// Where the number stands: behind Ethernet, IPv4 and UDP headers.
const PAYLOAD: usize = 42;

/// Fills in what the stream's devices are judged by.
pub fn fill(gate: &mut Gate) {
    let minute = 60 * 954;
    let profile = Profile { inactivity: minute, max_age: minute, retry: 1, ..Profile::default() };
    gate.write_profile(0, &profile).expect("room for the profile");
    let entries = gate.entries();
    entries[usize::from(ADMITTED)].control.store(VALID);
    entries[usize::from(REJECTED)].control.store(VALID | STATUS_REJECT);
}

/// A frame of a device. The kernel spreads them over an interface's queues by their ports.
pub fn frame(device: u8, number: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    let headers = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 45, 0, device], [192, 0, 2, 5], 64)
        .udp(4000 + (number % 1000) as u16, 5683);
    headers.write(&mut frame, &number.to_be_bytes()).expect("a Vec takes any packet");
    frame
}

/// What the program behind these pins has counted.
pub struct Counts(PerCpuArray<MapData, u64>);

impl Counts {
    pub fn of(set: &Path) -> Self {
        let map = MapData::from_pin(set.join("REASON_COUNTS")).expect("a pinned map");
        Self(Map::PerCpuArray(map).try_into().expect("counters"))
    }

    pub fn of_reason(&self, reason: Reason) -> u64 {
        self.0.get(&(reason as u32), 0).expect("a counter").iter().sum()
    }

    pub fn all(&self) -> u64 {
        Reason::ALL.iter().map(|reason| self.of_reason(*reason)).sum()
    }

    /// Waits until so many are counted.
    pub fn wait_for(&self, frames: u64) {
        let start = Instant::now();
        while self.all() < frames {
            assert!(start.elapsed() < PATIENCE, "{} of {frames} frames were counted", self.all());
            // As long as some frames take, so that the two CPUs are left to those who judge and load.
            thread::sleep(Duration::from_micros(200));
        }
    }
}

/// A stream under way, from `right` to `left`.
pub struct Stream {
    ended: Arc<AtomicBool>,
    sender: JoinHandle<Sender>,
}

/// What sends the stream and watches what comes through.
struct Sender {
    port: RawPort,
    witness: RawPort,
    counts: Counts,
    before: u64,
    sent: u32,
    passed: BTreeSet<u32>,
}

impl Stream {
    /// Starts sending, and counting from now on.
    pub fn start(set: &Path) -> Self {
        let counts = Counts::of(set);
        let mut sender = Sender {
            port: RawPort::open("right").expect("a raw socket"),
            witness: RawPort::open("left").expect("a raw socket"),
            before: counts.all(),
            counts,
            sent: 0,
            passed: BTreeSet::new(),
        };
        let ended = Arc::new(AtomicBool::new(false));
        let until = ended.clone();
        // The thread is born into the namespaces of this one.
        let sender = thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                sender.send();
            }
            sender
        });
        Self { ended, sender }
    }

    /// Ends the stream: every frame is accounted for, all of the admitted device came through, and none of the
    /// rejected. Says how many there were.
    pub fn end(self) -> u32 {
        self.ended.store(true, Ordering::Relaxed);
        let mut sender = self.sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (before, sent) = (sender.before, sender.sent);
        sender.counts.wait_for(before + u64::from(sent));
        sender.watch();
        assert_eq!(sender.counts.all() - before, u64::from(sent), "each frame is counted once");
        let admitted: BTreeSet<u32> = (0..sent).step_by(2).collect();
        assert!(sender.passed.is_subset(&admitted), "frames that the entry forbids have passed");
        assert_eq!(sender.passed.len(), admitted.len(), "frames of the admitted device are missing");
        sent
    }
}

impl Sender {
    fn send(&mut self) {
        let judged = (self.before + u64::from(self.sent)).saturating_sub(ON_THE_WAY);
        self.counts.wait_for(judged);
        let device = if self.sent.is_multiple_of(2) { ADMITTED } else { REJECTED };
        let accepted = self.port.send(&frame(device, self.sent)).expect("right is up");
        self.sent += u32::from(accepted);
        self.watch();
    }

    /// Takes note of what has come through.
    fn watch(&mut self) {
        let mut buffer = [0; 2048];
        while let Some(length) = self.witness.receive(&mut buffer, Duration::ZERO).expect("left is up") {
            let number = &buffer[PAYLOAD..length][..4];
            self.passed.insert(u32::from_be_bytes(number.try_into().expect("four bytes")));
        }
    }
}
