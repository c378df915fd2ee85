//! Captures that are whole, cut short, damaged or something else.

use std::borrow::Cow;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;
use pcap_file::pcapng::blocks::simple_packet::SimplePacketBlock;
use pcap_file::{DataLink, Endianness};
use proptest::prelude::*;

use super::*;

fn pcap() -> Vec<u8> {
    let mut writer = PcapWriter::with_header(Vec::new(), PcapHeader::default()).expect("a header");
    for number in 1..=3u8 {
        let packet = PcapPacket::new_owned(Duration::from_secs(number.into()), 20, vec![number; 20]);
        writer.write_packet(&packet).expect("a packet");
    }
    writer.into_writer()
}

fn interface(linktype: DataLink, snaplen: u32) -> InterfaceDescriptionBlock<'static> {
    InterfaceDescriptionBlock { linktype, snaplen, options: vec![] }
}

/// Two interfaces, the second not Ethernet, and a packet on each of these.
fn pcapng(endianness: Endianness, on: &[u32]) -> Vec<u8> {
    let mut writer = PcapNgWriter::with_endianness(Vec::new(), endianness).expect("a section");
    for linktype in [DataLink::ETHERNET, DataLink::RAW] {
        writer.write_pcapng_block(interface(linktype, 0)).expect("an interface");
    }
    for interface_id in on.iter().copied() {
        let packet = EnhancedPacketBlock {
            interface_id,
            // The writer puts nanoseconds where the interface means microseconds.
            timestamp: Duration::from_nanos(1_000_001),
            original_len: 19,
            data: Cow::Owned(vec![7; 19]),
            options: vec![],
        };
        writer.write_pcapng_block(packet).expect("a packet");
    }
    writer.into_inner()
}

/// All frames of these bytes, and the error in the end if there is one.
fn read(bytes: &[u8]) -> (Vec<Frame>, Option<String>) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("capture");
    std::fs::write(&file, bytes).expect("a file");
    let mut capture = match Capture::open(&file) {
        Ok(capture) => capture,
        Err(error) => return (Vec::new(), Some(format!("{error:#}"))),
    };
    let (mut frames, mut frame) = (Vec::new(), Frame::default());
    loop {
        match capture.next(&mut frame) {
            Ok(true) => frames.push(frame.clone()),
            Ok(false) => return (frames, None),
            Err(error) => return (frames, Some(format!("{error:#}"))),
        }
    }
}

fn refusal(bytes: &[u8]) -> String {
    let (frames, error) = read(bytes);
    assert_eq!(frames, []);
    error.expect("refused")
}

#[test]
fn a_pcap_is_read_whole() {
    let (frames, error) = read(&pcap());
    assert_eq!(error, None);
    assert_eq!(
        frames.iter().map(|frame| frame.time).collect::<Vec<_>>(),
        [1, 2, 3].map(|s| Some(s * 1_000_000_000))
    );
    assert_eq!((frames[2].bytes.as_slice(), frames[2].wire_length), (&[3; 20][..], 20));
}

#[test]
fn a_pcapng_is_read_in_both_byte_orders() {
    for endianness in [Endianness::Little, Endianness::Big] {
        let (frames, error) = read(&pcapng(endianness, &[0, 0]));
        assert_eq!((frames.len(), error), (2, None));
        let expected = Frame { time: Some(1_000_001_000), wire_length: 19, bytes: vec![7; 19] };
        assert_eq!(frames[1], expected);
    }
}

#[test]
fn sections_of_different_byte_order_follow_each_other_in_one_file() {
    let both = [pcapng(Endianness::Little, &[0]), pcapng(Endianness::Big, &[0])].concat();
    let (frames, error) = read(&both);
    assert_eq!((frames.len(), error), (2, None));
    assert_eq!(frames[0], frames[1]);
}

#[test]
fn a_simple_packet_has_no_time_and_ends_at_the_snapshot_length() {
    let mut writer = PcapNgWriter::new(Vec::new()).expect("a section");
    writer.write_pcapng_block(interface(DataLink::ETHERNET, 17)).expect("an interface");
    let packet = SimplePacketBlock { original_len: 100, data: Cow::Owned(vec![7; 17]) };
    writer.write_pcapng_block(packet).expect("a packet");
    let (frames, error) = read(&writer.into_inner());
    assert_eq!(error, None);
    assert_eq!(frames, [Frame { time: None, wire_length: 100, bytes: vec![7; 17] }]);
}

#[test]
fn a_packet_longer_on_the_wire_than_the_snapshot_length_is_read() {
    let mut bytes = pcap();
    bytes[16..20].copy_from_slice(&20u32.to_be_bytes());
    bytes[36..40].copy_from_slice(&1500u32.to_be_bytes());
    let (frames, error) = read(&bytes);
    assert_eq!((frames.len(), error, frames[0].wire_length), (3, None, 1500));
}

#[test]
fn every_truncation_yields_what_came_before_and_then_the_error() {
    for (whole, header, packet) in [(pcap(), 24, 36), (pcapng(Endianness::Little, &[0, 0]), 68, 52)] {
        let (all, _) = read(&whole);
        for length in 0..whole.len() {
            let (frames, error) = read(&whole[..length]);
            let complete = length.saturating_sub(header) / packet;
            assert_eq!(frames, all[..complete], "{length} bytes");
            let at_an_end = length >= header && (length - header) % packet == 0;
            // A pcapng may also end behind the section header or the first interface.
            let between_blocks = header == 68 && [28, 48].contains(&length);
            assert_eq!(error.is_none(), at_an_end || between_blocks, "{length} bytes: {error:?}");
        }
    }
}

#[test]
fn the_error_names_the_packet_that_is_incomplete() {
    let whole = pcap();
    let (_, error) = read(&whole[..whole.len() - 1]);
    let error = error.expect("incomplete");
    assert!(error.contains("packet 3: the file ends in the middle of it"), "{error}");
}

#[test]
fn other_link_types_are_refused_by_name() {
    let mut bytes = pcap();
    bytes[20..24].copy_from_slice(&101u32.to_be_bytes());
    let error = refusal(&bytes);
    assert!(error.contains("link type 101 (RAW); only Ethernet"), "{error}");
    bytes[20..24].copy_from_slice(&0x1400_0001u32.to_be_bytes());
    assert_eq!(read(&bytes).1, None, "Ethernet with a frame check sequence");
}

#[test]
fn an_interface_of_another_link_type_is_refused_when_a_packet_comes_from_it() {
    let (frames, error) = read(&pcapng(Endianness::Big, &[0, 1, 0]));
    let error = error.expect("refused");
    assert_eq!(frames.len(), 1);
    assert!(error.contains("packet 2: captured on link type 101"), "{error}");
}

#[test]
fn an_interface_that_is_not_described_is_refused() {
    let mut bytes = pcapng(Endianness::Big, &[0]);
    bytes[76..80].copy_from_slice(&2u32.to_be_bytes());
    let error = refusal(&bytes);
    assert!(error.contains("names interface 2, which is not described"), "{error}");
}

#[test]
fn what_is_no_capture_is_said_to_be_none() {
    for (bytes, words) in [
        (&b""[..], "empty"),
        (b"\x1f\x8b\x08\0\0\0", "compressed"),
        (b"[node]\nname", "neither a pcap nor a pcapng"),
        (b"\xa1\xb2\xc3\xd4", "the capture's header: the file ends"),
    ] {
        let error = refusal(bytes);
        assert!(error.contains(words), "{error}");
    }
    let missing = Capture::open(Path::new("/no/such/capture")).err().expect("refused");
    assert!(format!("{missing:#}").starts_with("/no/such/capture: cannot be opened"), "{missing:#}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damage_is_an_error_or_another_packet_and_never_a_panic(
        ng in any::<bool>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = if ng { pcapng(Endianness::Little, &[0, 0, 0]) } else { pcap() };
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        read(&bytes);
    }
}
