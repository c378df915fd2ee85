//! Packets for the generator: of one sort, from the devices of a prefix, to one address.
//!
//! A packet is what it says and nothing more: right lengths and checksums, a payload of zeroes. Only load and
//! measurement use this; weir itself never sends a packet of its own making.

use std::net::IpAddr;

use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, PacketBuilder, err::packet::BuildWriteError,
};
use ipnet::IpNet;
use weir_dataplane_common::load::{LONGEST_HEADERS, Shape, Spread};

use crate::Error;

/// The shortest frame: a whole number of words, and long enough for IPv6 with UDP.
pub const SHORTEST: usize = 64;
const _: () = assert!(SHORTEST >= LONGEST_HEADERS);

/// The longest frame, without jumbo frames and without its check sequence.
pub const LONGEST: usize = 1514;

/// What a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// UDP in IPv4.
    Udp,
    /// TCP in IPv4, an acknowledgement.
    Tcp,
    /// ESP in IPv4.
    Esp,
    /// UDP in IPv6.
    Udp6,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 4] = [Kind::Udp, Kind::Tcp, Kind::Esp, Kind::Udp6];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Esp => "esp",
            Self::Udp6 => "udp6",
        }
    }

    const fn shape(self) -> Shape {
        match self {
            Self::Udp | Self::Esp => Shape::Ipv4,
            Self::Tcp => Shape::Ipv4Tcp,
            Self::Udp6 => Shape::Ipv6Udp,
        }
    }
}

/// Packets of one sort.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// What they are.
    pub kind: Kind,
    /// The devices: each IPv4 address, or each IPv6 /64, of the prefix.
    pub devices: IpNet,
    /// To whom.
    pub server: IpAddr,
    /// Ethernet address of the sender.
    pub from: [u8; 6],
    /// Ethernet address of the next hop.
    pub to: [u8; 6],
    /// Length of the frame, [`SHORTEST`] to [`LONGEST`] bytes.
    pub length: usize,
}

impl Traffic {
    /// What the generator draws sources from: the first `most` devices of the prefix, or all.
    pub fn spread(&self, most: u32) -> Spread {
        let bits = match self.devices {
            IpNet::V4(prefix) => 32 - prefix.prefix_len(),
            IpNet::V6(prefix) => 64 - prefix.prefix_len().min(64),
        };
        let first = match self.devices.network() {
            IpAddr::V4(address) => u64::from(u32::from(address)),
            IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
        };
        let devices = 1u64 << bits.min(32);
        Spread { first, span: devices.min(u64::from(most)).max(1) as u32, shape: self.kind.shape() as u32 }
    }

    /// A frame of the first device.
    ///
    /// # Errors
    /// [`Error::Traffic`] if kind, addresses and length do not go together.
    pub fn frame(&self) -> Result<Vec<u8>, Error> {
        if !(SHORTEST..=LONGEST).contains(&self.length) {
            return Err(Error::Traffic(format!(
                "a frame of {} bytes; {SHORTEST} to {LONGEST} go",
                self.length
            )));
        }
        let (source, server) = (self.devices.network(), self.server);
        let frame = match (self.kind, source, server) {
            (Kind::Udp6, IpAddr::V6(source), IpAddr::V6(server)) => {
                // The first host of the first /64: the network's own address is for routers.
                let source = (u128::from(source) | 1).to_be_bytes();
                self.udp6(source, server.octets())
            }
            (Kind::Udp, IpAddr::V4(source), IpAddr::V4(server)) => self.udp(source.octets(), server.octets()),
            (Kind::Tcp, IpAddr::V4(source), IpAddr::V4(server)) => self.tcp(source.octets(), server.octets()),
            (Kind::Esp, IpAddr::V4(source), IpAddr::V4(server)) => self.esp(source.octets(), server.octets()),
            _ => {
                let kind = self.kind.name();
                return Err(Error::Traffic(format!("{kind} from {source} to {server}: another family")));
            }
        };
        frame.map_err(|error| Error::Traffic(error.to_string()))
    }

    fn udp(&self, source: [u8; 4], server: [u8; 4]) -> Result<Vec<u8>, BuildWriteError> {
        let mut frame = Vec::with_capacity(self.length);
        let udp = PacketBuilder::ethernet2(self.from, self.to).ipv4(source, server, 64).udp(40_000, 9_000);
        udp.write(&mut frame, &vec![0; self.length - 42])?;
        // Zero says that there is no checksum: it would have to follow the source address.
        frame[40..42].fill(0);
        Ok(frame)
    }

    fn udp6(&self, source: [u8; 16], server: [u8; 16]) -> Result<Vec<u8>, BuildWriteError> {
        let mut frame = Vec::with_capacity(self.length);
        let udp = PacketBuilder::ethernet2(self.from, self.to).ipv6(source, server, 64).udp(40_000, 9_000);
        udp.write(&mut frame, &vec![0; self.length - 62])?;
        Ok(frame)
    }

    fn tcp(&self, source: [u8; 4], server: [u8; 4]) -> Result<Vec<u8>, BuildWriteError> {
        let mut frame = Vec::with_capacity(self.length);
        let ip = PacketBuilder::ethernet2(self.from, self.to).ipv4(source, server, 64);
        ip.tcp(40_000, 443, 7, 1024).ack(9).write(&mut frame, &vec![0; self.length - 54])?;
        Ok(frame)
    }

    /// RFC 4303 §2: security parameters index, sequence number, then what cannot be read.
    fn esp(&self, source: [u8; 4], server: [u8; 4]) -> Result<Vec<u8>, BuildWriteError> {
        let mut frame = Vec::with_capacity(self.length);
        let ether_type = EtherType::IPV4;
        Ethernet2Header { source: self.from, destination: self.to, ether_type }.write(&mut frame)?;
        let (body, protocol) = ((self.length - 34) as u16, IpNumber::ENCAPSULATING_SECURITY_PAYLOAD);
        let header = Ipv4Header::new(body, 64, protocol, source, server);
        header.expect("a frame is shorter than the longest packet").write(&mut frame)?;
        frame.extend_from_slice(&[0, 0, 0x10, 1, 0, 0, 0, 1]);
        frame.resize(self.length, 0xa5);
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(kind: Kind) -> Traffic {
        let (devices, server) = match kind {
            Kind::Udp6 => ("2001:db8:40::/44", "2001:db8:ffff::5"),
            _ => ("10.16.0.0/12", "203.0.113.5"),
        };
        Traffic {
            kind,
            devices: devices.parse().expect("a prefix"),
            server: server.parse().expect("an address"),
            from: [2; 6],
            to: [4; 6],
            length: SHORTEST,
        }
    }

    #[test]
    fn every_kind_has_the_length_asked_for_and_the_protocol_of_its_name() {
        for (kind, protocol) in [(Kind::Udp, 17), (Kind::Tcp, 6), (Kind::Esp, 50), (Kind::Udp6, 17)] {
            for length in [SHORTEST, 1000, LONGEST] {
                let frame = Traffic { length, ..traffic(kind) }.frame().expect("a frame");
                assert_eq!(frame.len(), length, "{kind:?}");
                assert_eq!(frame[if kind == Kind::Udp6 { 20 } else { 23 }], protocol, "{kind:?}");
            }
        }
    }

    #[test]
    fn sources_are_the_prefixs_devices_and_no_more_than_asked_for() {
        assert_eq!(traffic(Kind::Udp).spread(u32::MAX).span, 1 << 20);
        assert_eq!(traffic(Kind::Udp6).spread(u32::MAX).span, 1 << 20);
        assert_eq!(traffic(Kind::Udp).spread(10_000).span, 10_000);
        assert_eq!(traffic(Kind::Udp6).spread(1).first, 0x2001_0db8_0040_0000);
    }

    #[test]
    fn what_does_not_go_together_is_refused_with_the_reason() {
        let other = Traffic { kind: Kind::Udp6, ..traffic(Kind::Udp) };
        assert!(other.frame().expect_err("IPv6 from IPv4").to_string().contains("another family"));
        let short = Traffic { length: 20, ..traffic(Kind::Udp) };
        assert!(short.frame().expect_err("too short").to_string().contains("64 to 1514"));
    }
}
