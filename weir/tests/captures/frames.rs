//! Frames of many kinds, from the Ethernet header on.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{EtherType, Ethernet2Header, IpNumber, PacketBuilder, PacketBuilderStep};

const LINK: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

fn v4(from: &str, to: &str) -> PacketBuilderStep<etherparse::IpHeaders> {
    let octets = |address: &str| address.parse::<Ipv4Addr>().expect("an address").octets();
    PacketBuilder::ethernet2(LINK.0, LINK.1).ipv4(octets(from), octets(to), 64)
}

fn v6(from: &str, to: &str) -> PacketBuilderStep<etherparse::IpHeaders> {
    let octets = |address: &str| address.parse::<Ipv6Addr>().expect("an address").octets();
    PacketBuilder::ethernet2(LINK.0, LINK.1).ipv6(octets(from), octets(to), 64)
}

fn ip(from: &str, to: &str) -> PacketBuilderStep<etherparse::IpHeaders> {
    if from.contains(':') { v6(from, to) } else { v4(from, to) }
}

/// A UDP datagram from port 40000 to port 53.
pub fn udp(from: &str, to: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    ip(from, to).udp(40_000, 53).write(&mut frame, b"question").expect("a Vec takes any packet");
    frame
}

/// The first segment of a TCP connection from port 40001 to port 443, with so much payload.
pub fn tcp(from: &str, to: &str, payload: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    let segment = ip(from, to).tcp(40_001, 443, 1, 0xffff).syn();
    segment.write(&mut frame, &vec![7; payload]).expect("a Vec takes any packet");
    frame
}

/// A packet of any IP protocol. The builder would make headers of its own for some numbers, so the number is
/// written afterwards; the IPv4 header's checksum is then wrong, which the network judges and weir does not.
pub fn of_protocol(number: u8, from: &str, to: &str) -> Vec<u8> {
    const EXPERIMENTAL: IpNumber = IpNumber(253);
    let mut frame = Vec::new();
    ip(from, to).write(&mut frame, EXPERIMENTAL, &[9; 16]).expect("a Vec takes any packet");
    let place = if from.contains(':') { 20 } else { 23 };
    frame[place] = number;
    frame
}

/// An ESP packet.
pub fn esp(from: &str, to: &str) -> Vec<u8> {
    of_protocol(50, from, to)
}

/// An ARP question.
pub fn arp() -> Vec<u8> {
    let header = Ethernet2Header { source: LINK.0, destination: [0xff; 6], ether_type: EtherType::ARP };
    [&header.to_bytes()[..], &[0; 28]].concat()
}
