//! What a frame says, read by `etherparse` and not by us.

use std::net::IpAddr;

use etherparse::{
    IpNumber, Ipv4Slice, Ipv6Slice, NetSlice, SlicedPacket, TcpHeaderSlice, TransportSlice, UdpHeaderSlice,
};
use weir_dataplane::layout::to_ip;
use weir_dataplane_common::{abi::Trace, parse::Address};

#[derive(Debug, PartialEq)]
pub struct Reading {
    source: IpAddr,
    destination: IpAddr,
    /// The IP header's own protocol number, before any extension header.
    protocol: u8,
    /// Zero without UDP or TCP, in a later fragment, and behind an extension header.
    ports: (u16, u16),
}

/// What `etherparse` makes of a frame.
#[derive(Debug, PartialEq)]
pub enum Opinion {
    /// An IP packet, of which this is so.
    Ip(Reading),
    /// Something else that it can read.
    NotIp,
    /// Nothing that binds us: it refused, or there are tags that we do not read.
    None,
}

pub fn opinion(frame: &[u8]) -> Opinion {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return Opinion::None };
    if !packet.link_exts.is_empty() {
        return Opinion::None;
    }
    match &packet.net {
        Some(NetSlice::Ipv4(ip)) => of_ipv4(ip, packet.transport.as_ref()),
        Some(NetSlice::Ipv6(ip)) => of_ipv6(ip, packet.transport.as_ref()),
        Some(NetSlice::Arp(_)) => Opinion::NotIp,
        None => Opinion::None,
    }
}

fn of_ipv4(ip: &Ipv4Slice<'_>, transport: Option<&TransportSlice<'_>>) -> Opinion {
    let header = ip.header();
    let first_of_several = header.more_fragments() && header.fragments_offset().value() == 0;
    let ports = if !ip.extensions().is_empty() {
        Some((0, 0))
    } else if first_of_several {
        ports_of_first_fragment(header.protocol(), ip.payload().payload)
    } else {
        Some(ports(transport))
    };
    let Some(ports) = ports else { return Opinion::None };
    Opinion::Ip(Reading {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        protocol: header.protocol().0,
        ports,
    })
}

fn of_ipv6(ip: &Ipv6Slice<'_>, transport: Option<&TransportSlice<'_>>) -> Opinion {
    let header = ip.header();
    let plain = ip.extensions().is_empty();
    let (source, destination) = (header.source_addr(), header.destination_addr());
    // We refuse mapped addresses on the wire; and a stated length of zero is to us no room for a transport
    // header, to `etherparse` whatever the frame has.
    let mapped = source.to_ipv4_mapped().or(destination.to_ipv4_mapped()).is_some();
    if mapped || header.payload_length() == 0 {
        return Opinion::None;
    }
    Opinion::Ip(Reading {
        source: source.into(),
        destination: destination.into(),
        protocol: header.next_header().0,
        ports: if plain { ports(transport) } else { (0, 0) },
    })
}

fn ports(transport: Option<&TransportSlice<'_>>) -> (u16, u16) {
    match transport {
        Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port()),
        Some(TransportSlice::Tcp(tcp)) => (tcp.source_port(), tcp.destination_port()),
        _ => (0, 0),
    }
}

/// `etherparse` leaves fragments alone, though the first one begins with the transport header; `None` if that is
/// cut short.
fn ports_of_first_fragment(protocol: IpNumber, payload: &[u8]) -> Option<(u16, u16)> {
    match protocol {
        IpNumber::UDP => {
            let udp = UdpHeaderSlice::from_slice(payload).ok()?;
            Some((udp.source_port(), udp.destination_port()))
        }
        IpNumber::TCP => {
            let tcp = TcpHeaderSlice::from_slice(payload).ok()?;
            Some((tcp.source_port(), tcp.destination_port()))
        }
        _ => Some((0, 0)),
    }
}

/// The program's own reading, in the same terms; `None` if it saw no IP packet.
pub fn of_trace(trace: &Trace) -> Option<Reading> {
    let address = |halves: [u64; 2]| to_ip(Address { high: halves[0], low: halves[1] });
    (trace.ip_version != 0).then(|| Reading {
        source: address(trace.source),
        destination: address(trace.destination),
        protocol: trace.ip_protocol,
        ports: (trace.source_port, trace.destination_port),
    })
}
