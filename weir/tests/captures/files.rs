//! Captures as bytes, in every format, byte order and resolution.

use std::borrow::Cow;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, Endianness, TsResolution};

/// When, since the Unix epoch, and what.
pub type Packet = (Duration, Vec<u8>);

/// Noon of 1 November 2026, UTC.
pub const START: Duration = Duration::from_secs(1_793_534_400);

/// So many milliseconds after [`START`].
pub fn at_ms(ms: u64) -> Duration {
    START + Duration::from_millis(ms)
}

/// A pcap with nanoseconds.
pub fn pcap(packets: &[Packet]) -> Vec<u8> {
    pcap_as(Endianness::native(), TsResolution::NanoSecond, DataLink::ETHERNET, packets)
}

/// A pcap.
pub fn pcap_as(
    endianness: Endianness,
    ts_resolution: TsResolution,
    datalink: DataLink,
    packets: &[Packet],
) -> Vec<u8> {
    let header = PcapHeader { endianness, ts_resolution, datalink, ..PcapHeader::default() };
    let mut writer = PcapWriter::with_header(Vec::new(), header).expect("a Vec takes any header");
    for (time, bytes) in packets {
        let packet = PcapPacket::new(*time, bytes.len() as u32, bytes);
        writer.write_packet(&packet).expect("a Vec takes any packet");
    }
    writer.into_writer()
}

/// A pcapng with one interface whose times have so many decimals.
pub fn pcapng(endianness: Endianness, decimals: u8, packets: &[Packet]) -> Vec<u8> {
    let mut writer = PcapNgWriter::with_endianness(Vec::new(), endianness).expect("a Vec takes any section");
    let options = vec![InterfaceDescriptionOption::IfTsResol(decimals)];
    let interface = InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0xffff, options };
    writer.write_pcapng_block(interface).expect("a Vec takes any interface");
    let unit = 10u128.pow(9 - u32::from(decimals));
    for (time, bytes) in packets {
        let units = u64::try_from(time.as_nanos() / unit).expect("times of this century");
        let packet = EnhancedPacketBlock {
            interface_id: 0,
            // What the writer takes for nanoseconds it writes as units.
            timestamp: Duration::from_nanos(units),
            original_len: bytes.len() as u32,
            data: Cow::Borrowed(bytes),
            options: vec![],
        };
        writer.write_pcapng_block(packet).expect("a Vec takes any packet");
    }
    writer.into_inner()
}
