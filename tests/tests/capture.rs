//! `weir capture` against a running node: what it judged is in the file, and judging does not notice.
//!
//! The real binary, real packets, the kernel's own counters. Every test needs root and the BPF program, so all are
//! ignored under a plain `cargo test`; `cargo xtask test` runs them.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use pcap_file::pcapng::{Block, PcapNgReader, blocks::enhanced_packet::EnhancedPacketOption};
use weir_dataplane_common::reason::Reason;
use weir_tests::{
    addresses::{INTERNET_HOST, device},
    deployment::{Deployment, Settings, device_id},
    gate_view::attached_program,
    mount::Mount,
    packet::Packet,
    process::{Process, Signal},
    stage::{Observed, PATIENCE, Stage, Way, until},
    story::tell,
    world::{A, Plan, World},
};

const DEVICE: u16 = 1;
const OTHER: u16 = 2;
const LONG: Duration = Duration::from_secs(60);
/// More packets, of 1.4 kB, than ring, agent and socket have room for; some at a time, since a cable's queue is short.
const BATCH: u64 = 50;
const BATCHES: u64 = 100;
/// How long a packet that has found room takes to be in the file, at most.
const SOON: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// One access is admitted, the second alarms, and while nobody answers nothing of the device passes.
fn settings() -> Settings {
    let settings = Settings::new(1, LONG).access_policy(1, 3, LONG, "\"reject\"");
    Settings { devices: vec![(Some("meter"), vec![1]); 2], ..settings }
}

fn uplink(number: u16) -> Packet {
    Packet::udp(device(number), INTERNET_HOST)
}

/// A capture under way, and its file.
struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Starts one that writes to a file of this name, and waits until it has begun.
    fn begin(world: &World, name: &str, words: &[&str]) -> Result<Self> {
        let file = world.directory().join(format!("{name}.pcapng"));
        let path = file.to_str().context("a path of ours")?;
        let process = command(world, name, &[&["--write", path], words].concat())?;
        let mut capture = Self { process, file };
        until("the capture begins", || {
            if capture.process.wait(Duration::ZERO)?.is_some() {
                bail!("it has ended: {}", capture.process.log());
            }
            // The header is written when the node has agreed.
            Ok(fs::metadata(&capture.file).is_ok_and(|file| file.len() > 0).then_some(()))
        })?;
        Ok(capture)
    }

    /// Whether a packet is in the file, or is so soon.
    fn has_soon(&self, bytes: &[u8]) -> bool {
        let deadline = Instant::now() + SOON;
        loop {
            // A file that is being written ends anywhere.
            let packets = read(&self.file).unwrap_or_default();
            if packets.iter().any(|packet| packet.bytes == bytes) {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until it ends in peace; what it has captured, and said.
    fn end(mut self) -> Result<(Vec<Captured>, String)> {
        let status = self.process.wait(PATIENCE)?.context("the capture goes on")?;
        ensure!(status.success(), "the capture ended badly, {status}: {}", self.process.log());
        Ok((read(&self.file)?, self.process.log()))
    }
}

/// A packet of a file.
struct Captured {
    bytes: Vec<u8>,
    comment: String,
}

fn command(world: &World, label: &str, words: &[&str]) -> Result<Process> {
    let socket = world.directory().join("node-1.sock");
    let socket = ["capture", "--socket", socket.to_str().context("a path of ours")?];
    world.weir(&world.node(A).namespace, label, &[&socket, words].concat())
}

fn read(file: &PathBuf) -> Result<Vec<Captured>> {
    let mut reader = PcapNgReader::new(fs::File::open(file)?)?;
    let mut packets = Vec::new();
    while let Some(block) = reader.next_block() {
        let Block::EnhancedPacket(packet) = block? else { continue };
        let Some(EnhancedPacketOption::Comment(comment)) = packet.options.first() else {
            bail!("a packet without comment");
        };
        packets.push(Captured { bytes: packet.data.to_vec(), comment: comment.to_string() });
    }
    Ok(packets)
}

/// The bytes of what was sent.
fn frame(world: &World, number: u16, sent: &Observed) -> Result<Vec<u8>> {
    let cable = &world.node(A).access;
    uplink(number).marked(sent.marker).frame(cable.far.mac, cable.near.mac)
}

fn program(world: &World) -> Result<Option<u32>> {
    attached_program(&world.node(A).namespace, "access0")
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn what_a_node_drops_is_in_the_file_with_the_reason_and_the_node_judges_on() {
    tell("dropped packets captured", &Plan::new("capture").nodes(1), |world| {
        let mut stage = Stage::open_without_control(world, &settings())?;
        let live = program(world)?;
        let capture = Capture::begin(world, "dropped", &["--count", "2"])?;
        ensure!(program(world)? != live, "the capturing program is in place");

        stage.access(A, DEVICE, uplink(DEVICE), Reason::Admitted)?;
        let held = stage.access(A, DEVICE, uplink(DEVICE), Reason::Held)?;
        let refused = stage.access(A, DEVICE, uplink(DEVICE), Reason::AlarmActive)?;
        let (packets, said) = capture.end()?;
        ensure!(said.contains("2 packets written; 0 lost"), "{said}");
        ensure!(packets.len() == 2, "{} packets", packets.len());
        for (packet, (sent, reason)) in packets.iter().zip([(held, "held"), (refused, "alarm-active")]) {
            let expected = format!("device at entry 1, side access, verdict drop, reason {reason}: ");
            ensure!(packet.comment.starts_with(&expected), "{}", packet.comment);
            ensure!(packet.bytes == frame(world, DEVICE, &sent)?, "other bytes than were sent");
        }

        until("the live program is back", || Ok((program(world)? == live).then_some(())))?;
        stage.access(A, DEVICE, uplink(DEVICE), Reason::AlarmActive).map(drop)
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_capture_of_one_device_has_no_other_and_ends_by_hand() {
    tell("one device captured", &Plan::new("capture1").nodes(1), |world| {
        let mut stage = Stage::open_without_control(world, &settings())?;
        let words = ["--all", "--device", &device_id(OTHER), "--identifiers"];
        let capture = Capture::begin(world, "device", &words)?;
        let mut second = command(world, "second", &["--write", "/dev/null"])?;
        let refused = second.wait(PATIENCE)?.context("a second capture goes on")?;
        ensure!(!refused.success() && second.log().contains("one at a time"), "{}", second.log());

        stage.access(A, DEVICE, uplink(DEVICE), Reason::Admitted)?;
        let admitted = stage.access(A, OTHER, uplink(OTHER), Reason::Admitted)?;
        until("the packet is in the file", || {
            Ok(read(&capture.file).is_ok_and(|packets| !packets.is_empty()).then_some(()))
        })?;
        capture.process.signal(Signal::INT)?;
        let (packets, _) = capture.end()?;
        ensure!(packets.len() == 1, "{} packets", packets.len());
        let expected =
            format!("device {}, entry 2, side access, verdict pass, reason admitted", device_id(OTHER));
        ensure!(packets[0].comment.starts_with(&expected), "{}", packets[0].comment);
        ensure!(packets[0].bytes == frame(world, OTHER, &admitted)?, "other bytes than were sent");

        let stranger = device_id(77);
        let mut nobody = command(world, "nobody", &["--write", "/dev/null", "--device", &stranger])?;
        let refused = nobody.wait(PATIENCE)?.context("a capture of nobody goes on")?;
        let log = nobody.log();
        ensure!(!refused.success() && log.contains("no such device") && !log.contains(&stranger), "{log}");
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_listener_who_does_not_keep_up_is_told_how_many_packets_that_cost() {
    tell("a capture that falls behind", &Plan::new("captureslow").nodes(1), |world| {
        let patient = Settings { inactivity: LONG / 3, ..settings() };
        let mut stage = Stage::open_without_control(world, &patient)?;
        stage.access(A, DEVICE, uplink(DEVICE), Reason::Admitted)?;
        let capture = Capture::begin(world, "slow", &["--passed", "--rate", "100000"])?;
        capture.process.signal(Signal::STOP)?;
        let before = stage.view(A).tally()?.of(Reason::InSession);
        for batch in 1..=BATCHES {
            for _ in 0..BATCH {
                let large = uplink(DEVICE).payload(vec![0x5a; 1400]).marked(world.next_marker());
                stage.devices[A].send(&large)?;
            }
            until("the kernel judges them", || {
                let judged = stage.view(A).tally()?.of(Reason::InSession) - before;
                Ok((judged == batch * BATCH).then_some(()))
            })?;
        }
        capture.process.signal(Signal::CONT)?;
        // Nobody has read them there.
        stage.far_end(A, Way::Up).arrived()?;
        // When one finds room again, all that did before it are in the file.
        let last = until("a packet is captured again", || {
            let sent = stage.send(A, Way::Up, DEVICE, uplink(DEVICE))?;
            let bytes = frame(world, DEVICE, &sent)?;
            Ok(capture.has_soon(&bytes).then_some(bytes))
        })?;
        capture.process.signal(Signal::INT)?;
        let (packets, said) = capture.end()?;
        let judged = stage.view(A).tally()?.of(Reason::InSession) - before;
        let lost = judged - packets.len() as u64;
        ensure!(lost > 0, "all {judged} packets found room");
        ensure!(said.contains(&format!("{} packets written; {lost} lost because", packets.len())), "{said}");
        ensure!(packets.last().is_some_and(|packet| packet.bytes == last), "the last packet is the last");
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_node_killed_while_it_captures_judges_on_and_the_next_agent_ends_the_capture() {
    tell("killed while capturing", &Plan::new("capturekill").nodes(1), |world| {
        let bpf = Mount::bpf(world)?;
        let weir = Deployment::prepare(world, &settings())?;
        weir.pin(A, &bpf)?;
        let mut stage = Stage::reopen(world, weir)?;
        let live = program(world)?;
        let mut capture = Capture::begin(world, "killed", &["--all"])?;
        let capturing = program(world)?;
        stage.weir.nodes.remove(A).kill()?;
        let ended = capture.process.wait(PATIENCE)?.context("the capture goes on")?;
        ensure!(!ended.success(), "a capture that broke off is no success");

        stage.access(A, DEVICE, uplink(DEVICE), Reason::Admitted)?;
        stage.access(A, DEVICE, uplink(DEVICE), Reason::Held)?;
        ensure!(program(world)? == capturing && capturing != live, "the capturing program judges on");

        stage.weir.start_node(A)?;
        until("the next agent's program is in place", || {
            Ok(program(world)?.is_some_and(|now| Some(now) != capturing).then_some(()))
        })?;
        let capture = Capture::begin(world, "afterwards", &["--all", "--count", "1"])?;
        let refused = stage.send(A, Way::Up, DEVICE, uplink(DEVICE))?;
        let (packets, said) = capture.end()?;
        ensure!(said.contains("1 packets written; 0 lost"), "nothing of the first capture: {said}");
        ensure!(packets[0].bytes == frame(world, DEVICE, &refused)?, "other bytes than were sent");
        Ok(())
    });
}
