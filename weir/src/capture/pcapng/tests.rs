//! What is written can be read: by weir's own reader of captures, by the library, and by tshark.

use std::process::Command;

use pcap_file::pcapng::{Block, PcapNgReader};
use proptest::prelude::*;

use super::*;
use crate::replay::{Capture, Frame};

/// Noon of 1 November 2026, UTC, and some.
const AT_NS: u64 = 1_793_534_400_123_456_789;

fn packet(interface: &str, bytes: &[u8]) -> Packet {
    let [interface, side, verdict, reason] = [interface, "access", "drop", "throttled"].map(str::to_owned);
    Packet {
        at_ns: AT_NS,
        interface,
        entry: Some(7),
        side,
        verdict,
        reason,
        length: bytes.len() as u32 + 40,
        captured: bytes.len() as u32,
        bytes: bytes.to_vec(),
        ..Packet::default()
    }
}

fn file(packets: &[Packet], lost: Losses) -> Vec<u8> {
    let mut capture = Pcapng::begin(Vec::new(), 4064).expect("a Vec takes anything");
    for packet in packets {
        capture.packet(packet).expect("a Vec takes anything");
    }
    capture.lose(lost);
    capture.end().expect("a Vec takes anything")
}

fn blocks(file: &[u8]) -> Vec<Block<'static>> {
    let mut reader = PcapNgReader::new(file).expect("a pcapng");
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block() {
        blocks.push(block.expect("a whole block").into_owned());
    }
    blocks
}

fn on_disk(file: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("capture.pcapng");
    std::fs::write(&path, file).expect("a file");
    (directory, path)
}

proptest! {
    #[test]
    fn weirs_own_reader_reads_every_packet_as_it_was(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..8),
    ) {
        let packets: Vec<Packet> =
            frames.iter().map(|frame| packet(&format!("eth{}", frame.len() % 3), frame)).collect();
        let (_directory, path) = on_disk(&file(&packets, Losses::default()));
        let (mut capture, mut frame) = (Capture::open(&path).expect("a capture"), Frame::default());
        for packet in &packets {
            prop_assert!(capture.next(&mut frame).expect("whole"));
            prop_assert_eq!((frame.time, frame.wire_length), (Some(packet.at_ns), packet.length));
            prop_assert_eq!(&frame.bytes, &packet.bytes);
        }
        prop_assert!(!capture.next(&mut frame).expect("whole"));
    }
}

#[test]
fn every_interface_is_described_once_before_its_first_packet() {
    let packets = ["access0", "network0", "access0"].map(|interface| packet(interface, b"frame"));
    let kinds: Vec<String> = blocks(&file(&packets, Losses::default()))
        .iter()
        .map(|block| match block {
            Block::InterfaceDescription(block) => format!("{:?}", block.options[0]),
            Block::EnhancedPacket(block) => format!("packet on {}", block.interface_id),
            Block::InterfaceStatistics(block) => format!("statistics of {}", block.interface_id),
            _ => "other".to_owned(),
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "IfName(\"access0\")",
            "packet on 0",
            "IfName(\"network0\")",
            "packet on 1",
            "packet on 0",
            "statistics of 0"
        ]
    );
}

#[test]
fn a_packet_says_how_many_were_lost_before_it_and_the_end_how_many_in_all() {
    let mut capture = Pcapng::begin(Vec::new(), 64).expect("a Vec takes anything");
    for lost in [0, 3, 3, 5] {
        capture.lose(Losses { ring_full: lost, over_rate: 0 });
        capture.packet(&packet("eth0", b"frame")).expect("a Vec takes anything");
    }
    capture.lose(Losses { ring_full: 5, over_rate: 4 });
    let blocks = blocks(&capture.end().expect("a Vec takes anything"));
    let dropped: Vec<Option<u64>> = blocks
        .iter()
        .filter_map(|block| match block {
            Block::EnhancedPacket(block) => Some(match block.options.get(1) {
                Some(EnhancedPacketOption::DropCount(count)) => Some(*count),
                _ => None,
            }),
            _ => None,
        })
        .collect();
    assert_eq!(dropped, [None, Some(3), None, Some(2)]);
    let Some(Block::InterfaceStatistics(end)) = blocks.last() else { panic!("no statistics at the end") };
    assert!(end.options.contains(&InterfaceStatisticsOption::IsbIfDrop(9)), "{:?}", end.options);
    assert_eq!(end.timestamp, AT_NS);
}

#[test]
fn a_capture_of_nothing_is_a_capture() {
    let (_directory, path) = on_disk(&file(&[], Losses { ring_full: 1, over_rate: 0 }));
    let mut capture = Capture::open(&path).expect("a capture");
    assert!(!capture.next(&mut Frame::default()).expect("whole"));
}

/// What tshark prints of a file; `None`, said aloud, where it is not installed and skipping is allowed.
fn tshark(file: &std::path::Path, fields: &[&str]) -> Option<String> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-T", "fields"]);
    command.args(fields.iter().flat_map(|field| ["-e", field]));
    match command.output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8(output.stdout).expect("text"))
        }
        Err(error) => {
            let skip = std::env::var_os("WEIR_ALLOW_SKIP").is_some_and(|value| value == "1");
            assert!(skip, "tshark cannot be run: {error}; install it (Debian: tshark)");
            println!("SKIPPED tshark opens a capture: {error}");
            None
        }
    }
}

#[test]
#[ignore = "needs tshark: run `cargo xtask test`"]
fn tshark_opens_a_capture_and_shows_times_interfaces_comments_and_losses() {
    let packets = ["access0", "network0"].map(|interface| packet(interface, &[0x5a; 61]));
    let (_directory, path) = on_disk(&file(&packets, Losses { ring_full: 2, over_rate: 0 }));
    let fields = ["frame.time_epoch", "frame.interface_name", "frame.len", "frame.cap_len", "frame.comment"];
    let Some(shown) = tshark(&path, &fields) else { return };
    let comment = comment::of(&packets[0]);
    let line = |interface| format!("1793534400.123456789\t{interface}\t101\t61\t{comment}\n");
    assert_eq!(shown, line("access0") + &line("network0"));
}
