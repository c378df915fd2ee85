//! Packets as bytes: what a device or a host sends, with a marker by which its arrival is recognised.
//!
//! A [`Packet`] knows addresses and contents but no link; the port that sends it adds the Ethernet header.
//! Lengths and checksums are right, or the kernel would drop the packet before anybody judged it. Read
//! RFC 4303 §2 (ESP) and RFC 4302 §2 (AH) for the two that are not made by a library.

use std::fmt;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use etherparse::{
    EtherType, Ethernet2Header, IpAuthHeader, IpNumber, Ipv4Header, Ipv6Header, TcpHeader, UdpHeader,
    ip_number,
};

use crate::cable::Mac;

const HOP_LIMIT: u8 = 64;
const MAGIC: &[u8; 8] = b"\x00weir\xffM\x01";
const MARKER_LENGTH: usize = MAGIC.len() + 4;

/// The number that tells one packet of a world from all others. It stands in clear in the payload, also of ESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marker(pub u32);

impl Marker {
    fn bytes(self) -> [u8; MARKER_LENGTH] {
        let mut bytes = [0; MARKER_LENGTH];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        bytes[MAGIC.len()..].copy_from_slice(&self.0.to_be_bytes());
        bytes
    }

    /// All markers in a frame, in order. Usually one; the kernel may have merged TCP segments.
    pub fn all_in(frame: &[u8]) -> Vec<Self> {
        let number = |at: &[u8]| Some(u32::from_be_bytes(at.strip_prefix(MAGIC)?.try_into().ok()?));
        frame.windows(MARKER_LENGTH).filter_map(number).map(Self).collect()
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packet {}", self.0)
    }
}

/// Flags of a TCP segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags {
    /// Opens a connection.
    pub syn: bool,
    /// Acknowledges.
    pub ack: bool,
    /// Ends a connection.
    pub fin: bool,
    /// Breaks a connection.
    pub rst: bool,
}

/// What follows the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carried {
    Udp { source: u16, destination: u16 },
    Tcp { source: u16, destination: u16, sequence: u32, flags: TcpFlags },
    Esp { spi: u32, sequence: u32 },
    Ah { spi: u32, sequence: u32 },
    Other { protocol: u8 },
}

impl Carried {
    fn protocol(self) -> IpNumber {
        match self {
            Self::Udp { .. } => ip_number::UDP,
            Self::Tcp { .. } => ip_number::TCP,
            Self::Esp { .. } => ip_number::ENCAP_SEC,
            Self::Ah { .. } => ip_number::AUTH,
            Self::Other { protocol } => IpNumber(protocol),
        }
    }
}

/// A packet from one address to another of the same family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    source: IpAddr,
    destination: IpAddr,
    carried: Carried,
    payload: Vec<u8>,
    marker: Option<Marker>,
}

impl Packet {
    fn new(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, carried: Carried) -> Self {
        let (source, destination) = (source.into(), destination.into());
        Self { source, destination, carried, payload: Vec::new(), marker: None }
    }

    /// A UDP datagram between ephemeral port 40000 and port 9000; see [`Packet::ports`].
    pub fn udp(source: impl Into<IpAddr>, destination: impl Into<IpAddr>) -> Self {
        Self::new(source, destination, Carried::Udp { source: 40_000, destination: 9_000 })
    }

    /// A TCP segment between port 40000 and port 443; see [`Packet::ports`].
    pub fn tcp(
        source: impl Into<IpAddr>,
        destination: impl Into<IpAddr>,
        sequence: u32,
        flags: TcpFlags,
    ) -> Self {
        Self::new(source, destination, Carried::Tcp { source: 40_000, destination: 443, sequence, flags })
    }

    /// An ESP packet (IP protocol 50) of one security association.
    pub fn esp(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, spi: u32, sequence: u32) -> Self {
        Self::new(source, destination, Carried::Esp { spi, sequence })
    }

    /// A UDP datagram under an AH header (IP protocol 51) with a 96-bit check value.
    pub fn ah(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, spi: u32, sequence: u32) -> Self {
        Self::new(source, destination, Carried::Ah { spi, sequence })
    }

    /// Any other IP protocol, with nothing but the payload behind the IP header.
    pub fn of_protocol(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, protocol: u8) -> Self {
        Self::new(source, destination, Carried::Other { protocol })
    }

    /// Other ports than the usual; changes nothing where there are none.
    pub fn ports(mut self, from: u16, to: u16) -> Self {
        if let Carried::Udp { source, destination } | Carried::Tcp { source, destination, .. } =
            &mut self.carried
        {
            (*source, *destination) = (from, to);
        }
        self
    }

    /// Contents before the marker, for example an IKE header or a TLS record.
    pub fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }

    /// The marker by which the far side recognises it, at the end of its payload.
    pub fn marked(mut self, marker: Marker) -> Self {
        self.marker = Some(marker);
        self
    }

    /// The whole frame, from the Ethernet header on. Fails on mixed families and on too long a payload.
    pub fn frame(&self, source: Mac, destination: Mac) -> Result<Vec<u8>> {
        let behind_ip = self.behind_ip()?;
        let length = u16::try_from(behind_ip.len()).context("the payload is too long for one packet")?;
        let (ether_type, ip) = match (self.source, self.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut header =
                    Ipv4Header::new(length, HOP_LIMIT, self.carried.protocol(), from.octets(), to.octets())?;
                header.header_checksum = header.calc_header_checksum();
                (EtherType::IPV4, header.to_bytes().to_vec())
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let header = Ipv6Header {
                    payload_length: length,
                    next_header: self.carried.protocol(),
                    hop_limit: HOP_LIMIT,
                    source: from.octets(),
                    destination: to.octets(),
                    ..Ipv6Header::default()
                };
                (EtherType::IPV6, header.to_bytes().to_vec())
            }
            (from, to) => bail!("a packet cannot go from {from} to {to}: two address families"),
        };
        let ethernet = Ethernet2Header { source: source.0, destination: destination.0, ether_type };
        Ok([&ethernet.to_bytes()[..], &ip, &behind_ip].concat())
    }

    fn behind_ip(&self) -> Result<Vec<u8>> {
        let mut contents = self.payload.clone();
        contents.extend(self.marker.into_iter().flat_map(Marker::bytes));
        Ok(match self.carried {
            Carried::Udp { source, destination } => self.datagram(source, destination, &contents)?,
            Carried::Tcp { source, destination, sequence, flags } => {
                self.segment(TcpHeader::new(source, destination, sequence, 0xffff), flags, &contents)?
            }
            Carried::Esp { spi, sequence } => security_payload(spi, sequence, &contents),
            Carried::Ah { spi, sequence } => {
                let check = noise(spi ^ sequence, 12);
                let header = IpAuthHeader::new(ip_number::UDP, spi, sequence, &check)?;
                [&header.to_bytes()[..], &self.datagram(40_000, 9_000, &contents)?].concat()
            }
            Carried::Other { .. } => contents,
        })
    }

    fn datagram(&self, source: u16, destination: u16, contents: &[u8]) -> Result<Vec<u8>> {
        let mut header = UdpHeader::without_ipv4_checksum(source, destination, contents.len())?;
        header.checksum = match (self.source, self.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                header.calc_checksum_ipv4_raw(from.octets(), to.octets(), contents)?
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                header.calc_checksum_ipv6_raw(from.octets(), to.octets(), contents)?
            }
            _ => 0, // refused by `frame`
        };
        Ok([&header.to_bytes()[..], contents].concat())
    }

    fn segment(&self, mut header: TcpHeader, flags: TcpFlags, contents: &[u8]) -> Result<Vec<u8>> {
        (header.syn, header.ack, header.fin, header.rst) = (flags.syn, flags.ack, flags.fin, flags.rst);
        header.psh = !contents.is_empty();
        header.acknowledgment_number = u32::from(flags.ack);
        header.checksum = match (self.source, self.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                header.calc_checksum_ipv4_raw(from.octets(), to.octets(), contents)?
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                header.calc_checksum_ipv6_raw(from.octets(), to.octets(), contents)?
            }
            _ => 0, // refused by `frame`
        };
        Ok([&header.to_bytes()[..], contents].concat())
    }
}

/// RFC 4303 §2: SPI, sequence number, then what looks like an initialisation vector, ciphertext and check
/// value. The contents stay readable, for the marker's sake; nobody on the path could know the difference.
fn security_payload(spi: u32, sequence: u32, contents: &[u8]) -> Vec<u8> {
    let padding = (4 - contents.len() % 4) % 4;
    let (vector, check) = (noise(spi ^ sequence, 16), noise(!(spi ^ sequence), 12 + padding));
    [&spi.to_be_bytes()[..], &sequence.to_be_bytes(), &vector, contents, &check].concat()
}

/// Bytes that look like ciphertext and are the same for the same seed.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(u64::from(seed));
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    use super::*;
    use crate::addresses::{APPLICATION_SERVER, INTERNET_HOST, INTERNET_HOST_V6, device, device_v6};

    const FROM: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const TO: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn frame(packet: &Packet) -> Vec<u8> {
        packet.frame(FROM, TO).expect("the packet is well formed")
    }

    #[test]
    fn a_marker_is_found_again_in_every_kind_of_packet() {
        let (from, to, marker) = (device(7), INTERNET_HOST, Marker(0xdead_beef));
        let kinds = [
            Packet::udp(from, to),
            Packet::tcp(from, to, 9, TcpFlags { syn: true, ..TcpFlags::default() }),
            Packet::esp(from, to, 0x1001, 1),
            Packet::ah(from, to, 0x1002, 1),
            Packet::of_protocol(from, to, 47),
            Packet::udp(device_v6(7), INTERNET_HOST_V6),
        ];
        for packet in kinds {
            let frame = frame(&packet.payload(*b"odd").marked(marker));
            assert_eq!(Marker::all_in(&frame), [marker]);
        }
    }

    #[test]
    fn a_packet_without_a_marker_bears_none() {
        assert_eq!(Marker::all_in(&frame(&Packet::udp(device(1), INTERNET_HOST).payload(vec![0; 64]))), []);
    }

    #[test]
    fn merged_segments_show_all_their_markers() {
        let payload = [Marker(1).bytes(), Marker(2).bytes()].concat();
        assert_eq!(Marker::all_in(&payload), [Marker(1), Marker(2)]);
    }

    #[test]
    fn lengths_and_checksums_are_what_a_reader_computes() {
        let packet =
            Packet::udp(device(7), APPLICATION_SERVER).ports(1, 2).payload(*b"abc").marked(Marker(3));
        let frame = frame(&packet);
        let sliced = SlicedPacket::from_ethernet(&frame).expect("the frame parses");
        let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("not IPv4") };
        let header = ip.header().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        assert_eq!(usize::from(header.total_len), frame.len() - Ethernet2Header::LEN);
        let Some(TransportSlice::Udp(udp)) = &sliced.transport else { panic!("not UDP") };
        let checksum = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).expect("it is short");
        assert_eq!((udp.checksum(), udp.source_port(), udp.destination_port()), (checksum, 1, 2));
    }

    #[test]
    fn a_segment_over_ipv6_has_the_right_checksum() {
        let flags = TcpFlags { syn: true, ..TcpFlags::default() };
        let frame = frame(&Packet::tcp(device_v6(7), INTERNET_HOST_V6, 77, flags).marked(Marker(3)));
        let sliced = SlicedPacket::from_ethernet(&frame).expect("the frame parses");
        let Some(NetSlice::Ipv6(ip)) = &sliced.net else { panic!("not IPv6") };
        let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else { panic!("not TCP") };
        let header = tcp.to_header();
        let checksum =
            header.calc_checksum_ipv6(&ip.header().to_header(), tcp.payload()).expect("it is short");
        assert_eq!(header.checksum, checksum);
        assert!(header.syn && !header.ack);
    }

    #[test]
    fn an_authentication_header_announces_udp() {
        let frame = frame(&Packet::ah(device(7), INTERNET_HOST, 5, 1).marked(Marker(3)));
        let sliced = SlicedPacket::from_ethernet(&frame).expect("the frame parses");
        let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("not IPv4") };
        assert_eq!(ip.header().protocol(), ip_number::AUTH);
        assert!(ip.extensions().auth.is_some());
        assert!(matches!(sliced.transport, Some(TransportSlice::Udp(_))));
    }

    #[test]
    fn two_families_in_one_packet_are_refused() {
        assert!(Packet::udp(device(1), INTERNET_HOST_V6).frame(FROM, TO).is_err());
    }
}
