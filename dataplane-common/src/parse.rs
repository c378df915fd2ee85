//! Bytes to headers: whose packet, to whom, which protocol.
//!
//! Written for the verifier and used in user space as it is: a [`Cursor`] checks each step against the end
//! of the frame, so that a truncated packet is [`Parsed::Unparsable`] and never a fault. Header lengths are
//! read, never assumed. So far Ethernet, IPv4 with options, IPv6 without extension headers, and the ports of
//! UDP and TCP; a tagged or otherwise encapsulated frame is unparsable, not waved through.
//!
//! Read first: RFC 791 §3.1, RFC 8200 §3.

use core::marker::PhantomData;

use crate::{
    inspect::{self, Classes},
    opaque::{forget, opaque},
};

/// An IPv6 address or a mapped IPv4 address (`::ffff:a.b.c.d`), as two numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Address {
    /// The upper 64 bits.
    pub high: u64,
    /// The lower 64 bits.
    pub low: u64,
}

/// Upper bits of the lower half of a mapped IPv4 address.
const MAPPED: u64 = 0xffff << 32;

impl Address {
    /// An IPv4 address, host order.
    #[inline(always)]
    pub const fn v4(address: u32) -> Self {
        Self { high: 0, low: MAPPED | address as u64 }
    }

    /// An IPv6 address.
    #[inline(always)]
    pub const fn v6(address: u128) -> Self {
        Self { high: (address >> 64) as u64, low: address as u64 }
    }

    /// The IPv4 address that this one maps, if it does.
    #[inline(always)]
    pub const fn as_v4(self) -> Option<u32> {
        if self.high == 0 && self.low >> 32 == 0xffff { Some(self.low as u32) } else { None }
    }
}

/// What the headers say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// 4 or 6.
    pub version: u8,
    /// The IP protocol number.
    pub ip_protocol: u8,
    /// Source port; 0 where the protocol has none or a later fragment does not show it.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// The IP packet's length as its header states it, bytes.
    pub length: u32,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// The security protocols recognised.
    pub classes: Classes,
}

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// An IP packet.
    Ip(Packet),
    /// Something that is not IP, such as ARP.
    NotIp,
    /// Truncated, malformed, or encapsulated in a way that is not read.
    Unparsable,
}

/// A place in a frame that can only move forward and not past the end.
#[derive(Clone, Copy)]
pub struct Cursor<'a> {
    at: usize,
    end: usize,
    frame: PhantomData<&'a [u8]>,
}

impl<'a> Cursor<'a> {
    /// At the start of these bytes.
    pub fn new(frame: &'a [u8]) -> Self {
        let at = frame.as_ptr() as usize;
        Self { at, end: at + frame.len(), frame: PhantomData }
    }

    /// At the start of a frame in kernel memory.
    ///
    /// # Safety
    /// `start..end` must be readable for as long as the cursor lives.
    #[inline(always)]
    pub unsafe fn from_raw(start: usize, end: usize) -> Self {
        Self { at: start, end, frame: PhantomData }
    }

    /// The next `N` bytes.
    #[inline(always)]
    fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        if self.at + N > self.end {
            return None;
        }
        // SAFETY: the bytes lie between the start and the end that the constructor was given.
        let bytes = unsafe { &*(self.at as *const [u8; N]) };
        self.at += N;
        Some(bytes)
    }

    /// Over a number of bytes that the packet itself states, less than 64.
    #[inline(always)]
    fn skip(&mut self, length: usize) -> Option<()> {
        self.at = opaque(self.at + (length & 0x3f));
        if self.at > self.end { None } else { Some(()) }
    }
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// What can carry IP unseen: 802.1Q, 802.1ad and its older number, PPPoE discovery and session, MPLS, MACsec,
/// provider backbone bridges, transparent Ethernet bridging, PPP, network service headers.
const ETHERTYPES_THAT_CARRY: [u16; 12] =
    [0x8100, 0x88a8, 0x9100, 0x8863, 0x8864, 0x8847, 0x8848, 0x88e5, 0x88e7, 0x6558, 0x880b, 0x894f];
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// Reads a frame from its Ethernet header on.
#[inline(always)]
pub fn ethernet(mut cursor: Cursor<'_>) -> Parsed {
    let Some(header) = cursor.take::<14>() else { return Parsed::Unparsable };
    let ethertype = u16::from_be_bytes([header[12], header[13]]);
    let packet = match ethertype {
        ETHERTYPE_IPV4 => ipv4(cursor),
        ETHERTYPE_IPV6 => ipv6(cursor),
        other if carries(other) => None,
        _ => return Parsed::NotIp,
    };
    match packet {
        Some(packet) => Parsed::Ip(packet.forgotten()),
        None => Parsed::Unparsable,
    }
}

impl Packet {
    /// The same, whichever way it was read: what follows is one path for the verifier.
    #[inline(always)]
    fn forgotten(mut self) -> Self {
        let ports = forget(u32::from(self.source_port) << 16 | u32::from(self.destination_port));
        (self.source_port, self.destination_port) = ((ports >> 16) as u16, ports as u16);
        let kind = forget(u32::from(self.version) << 8 | u32::from(self.ip_protocol));
        (self.version, self.ip_protocol) = ((kind >> 8) as u8, kind as u8);
        self.length = forget(self.length);
        self.classes = Classes(
            u64::from(forget(self.classes.0 as u32)) | u64::from(forget((self.classes.0 >> 32) as u32)) << 32,
        );
        self
    }
}

#[inline(always)]
fn carries(ethertype: u16) -> bool {
    let mut carries = false;
    for known in ETHERTYPES_THAT_CARRY {
        carries |= ethertype == known;
    }
    // Below 1536 the field is a length (802.3): LLC frames, which can carry IP by SNAP.
    carries || ethertype < 0x0600
}

#[inline(always)]
fn ipv4(mut cursor: Cursor<'_>) -> Option<Packet> {
    let header = cursor.take::<20>()?;
    let length = usize::from(header[0] & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || length < 20 || total < length {
        return None;
    }
    cursor.skip(length - 20)?;
    let first_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
    let (source_port, destination_port) = ports(cursor, header[9], first_fragment, total - length)?;
    Some(Packet {
        version: 4,
        ip_protocol: header[9],
        source_port,
        destination_port,
        length: total as u32,
        source: Address::v4(u32::from_be_bytes([header[12], header[13], header[14], header[15]])),
        destination: Address::v4(u32::from_be_bytes([header[16], header[17], header[18], header[19]])),
        classes: inspect::by_ip_protocol(header[9]),
    })
}

#[inline(always)]
fn ipv6(mut cursor: Cursor<'_>) -> Option<Packet> {
    let header = cursor.take::<40>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let (source_port, destination_port) = ports(cursor, header[6], true, payload)?;
    let half = |at: usize| {
        u64::from_be_bytes([
            header[at],
            header[at + 1],
            header[at + 2],
            header[at + 3],
            header[at + 4],
            header[at + 5],
            header[at + 6],
            header[at + 7],
        ])
    };
    let source = Address { high: half(8), low: half(16) };
    let destination = Address { high: half(24), low: half(32) };
    // No such packet is ever sent honestly (RFC 4291 §2.5.5.2), and it would be charged to the IPv4 device.
    if source.as_v4().is_some() || destination.as_v4().is_some() {
        return None;
    }
    Some(Packet {
        version: 6,
        ip_protocol: header[6],
        source_port,
        destination_port,
        length: payload as u32 + 40,
        source,
        destination,
        classes: inspect::by_ip_protocol(header[6]),
    })
}

/// The ports, zero where there are none; `None` where a transport header should be and is cut short, by the
/// frame or by the IP header's own length (what lies behind is padding).
#[inline(always)]
fn ports(mut cursor: Cursor<'_>, protocol: u8, first_fragment: bool, payload: usize) -> Option<(u16, u16)> {
    if !first_fragment || protocol != IPPROTO_TCP && protocol != IPPROTO_UDP {
        return Some((0, 0));
    }
    if payload < if protocol == IPPROTO_TCP { 20 } else { 8 } {
        return None;
    }
    let header = cursor.take::<8>()?;
    if protocol == IPPROTO_TCP {
        let rest = cursor.take::<12>()?;
        // A data offset below five words is no TCP header.
        if rest[4] >> 4 < 5 {
            return None;
        }
    }
    Some((u16::from_be_bytes([header[0], header[1]]), u16::from_be_bytes([header[2], header[3]])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Class;
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    fn udp4() -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4([10, 45, 0, 7], [203, 0, 113, 5], 64)
            .udp(40000, 53)
            .write(&mut frame, b"question")
            .expect("a Vec takes any packet");
        frame
    }

    fn read(frame: &[u8]) -> Parsed {
        ethernet(Cursor::new(frame))
    }

    fn packet(frame: &[u8]) -> Packet {
        match read(frame) {
            Parsed::Ip(packet) => packet,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_udp_packet_shows_addresses_and_ports() {
        let packet = packet(&udp4());
        assert_eq!((packet.version, packet.ip_protocol), (4, 17));
        assert_eq!(packet.source, Address::v4(0x0a2d_0007));
        assert_eq!(packet.destination.as_v4(), Some(0xcb00_7105));
        assert_eq!((packet.source_port, packet.destination_port), (40000, 53));
        assert_eq!(packet.classes, Classes::NONE);
    }

    #[test]
    fn options_are_skipped_by_the_length_the_header_states() {
        let mut frame = udp4();
        frame[14] = 0x46;
        frame.splice(34..34, [1, 1, 1, 0]);
        assert_eq!(packet(&frame).destination_port, 53);
    }

    #[test]
    fn esp_and_ah_are_recognised_in_both_families() {
        let mut frame = udp4();
        frame[23] = 50;
        assert_eq!(packet(&frame).classes, Classes::of(Class::Esp));
        let mut frame = vec![0; 14 + 40 + 8];
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        frame[14] = 0x60;
        frame[20] = 51;
        assert_eq!(packet(&frame).classes, Classes::of(Class::Ah));
    }

    #[test]
    fn a_later_fragment_has_no_ports() {
        let mut frame = udp4();
        frame[21] = 1;
        let packet = packet(&frame);
        assert_eq!((packet.source_port, packet.destination_port), (0, 0));
    }

    #[test]
    fn a_tagged_frame_is_unparsable_not_waved_through() {
        for ethertype in [[0x81, 0x00], [0x88, 0xa8], [0x88, 0x64], [0x88, 0x47], [0x88, 0xe5], [0x00, 0x40]]
        {
            let mut frame = udp4();
            frame[12..14].copy_from_slice(&ethertype);
            assert_eq!(read(&frame), Parsed::Unparsable, "{ethertype:x?}");
        }
    }

    #[test]
    fn padding_behind_the_packet_is_no_transport_header() {
        let mut frame = udp4();
        frame[17] = 24;
        assert_eq!(read(&frame), Parsed::Unparsable);
    }

    #[test]
    fn a_mapped_address_in_an_ipv6_packet_is_nobodys() {
        let mut frame = vec![0; 14 + 40 + 8];
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        (frame[14], frame[20]) = (0x60, 59);
        frame[14 + 8 + 10..14 + 8 + 16].copy_from_slice(&[0xff, 0xff, 10, 45, 0, 7]);
        assert_eq!(read(&frame), Parsed::Unparsable);
    }

    #[test]
    fn arp_is_not_ip() {
        let mut frame = udp4();
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        assert_eq!(read(&frame), Parsed::NotIp);
    }

    #[test]
    fn header_lengths_that_cannot_be_are_unparsable() {
        for (at, value) in [(14, 0x44), (14, 0x65), (14, 0x4f), (17, 10)] {
            let mut frame = udp4();
            frame[16] = 0;
            frame[at] = value;
            assert_eq!(read(&frame), Parsed::Unparsable, "byte {at} = {value:#x}");
        }
    }

    #[test]
    fn every_truncation_has_a_verdict() {
        let frame = udp4();
        for length in 0..frame.len() {
            let parsed = read(&frame[..length]);
            assert_eq!(matches!(parsed, Parsed::Ip(_)), length >= 14 + 20 + 8, "length {length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_verdict(frame in prop::collection::vec(any::<u8>(), 0..200)) {
            read(&frame);
        }
    }
}
