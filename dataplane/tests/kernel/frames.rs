//! Frames of every stack that a gateway meets, written by `etherparse`, then sometimes cut or damaged.

use std::net::IpAddr;

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, IpAuthHeader, IpHeaders, IpNumber, Ipv4Extensions,
    Ipv4Header, Ipv4Options, Ipv6Extensions, Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, PacketBuilder,
    PacketBuilderStep, VlanId,
};

use super::random::Random;

/// The longest frame drawn: Ethernet's own header and 1500 bytes.
const LONGEST: usize = 1514;
const ESP: IpNumber = IpNumber::ENCAPSULATING_SECURITY_PAYLOAD;

/// A frame from one address to another; ARP and the like carry none.
pub fn draw(random: &mut Random, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let mut frame = whole(random, source, destination);
    frame.truncate(LONGEST);
    if random.once_in(6) {
        damage(random, &mut frame);
    }
    if random.once_in(6) {
        let length = random.below(frame.len() as u64 + 1) as usize;
        frame.truncate(length);
    }
    frame
}

/// Up to three bytes changed, most often in the headers.
fn damage(random: &mut Random, frame: &mut [u8]) {
    for _ in 0..=random.below(3) {
        let reach = if random.once_in(4) { frame.len() } else { frame.len().min(80) };
        let at = random.below(reach as u64) as usize;
        frame[at] = if random.once_in(2) { frame[at] ^ 1 << random.below(8) } else { random.next() as u8 };
    }
}

/// One frame of each stack, undamaged: what the truncations start from.
pub fn one_of_each(source: IpAddr, destination: IpAddr) -> Vec<Vec<u8>> {
    let mut random = Random::of(1);
    let payload = [0xa5; 100];
    let mut frames: Vec<_> = (0..STACKS)
        .map(|stack| ip_packet(&mut random, stack, ip_headers(source, destination), &payload))
        .collect();
    frames.push(fragment(&mut random, source, destination, &payload));
    frames.push(tagged(ip_headers(source, destination), &payload));
    frames.push(arp(source));
    frames
}

fn whole(random: &mut Random, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let most = if random.once_in(3) { 1480 } else { 100 };
    let length = random.below(most) as usize;
    let payload = random.bytes(length);
    match random.below(20) {
        0 => arp(source),
        1 => tagged(ip_headers(source, destination), &payload),
        2 => fragment(random, source, destination, &payload),
        3 => random.bytes(14 + length),
        _ => {
            let stack = random.below(STACKS);
            let mut headers = ip_headers(source, destination);
            vary(random, &mut headers);
            ip_packet(random, stack, headers, &payload)
        }
    }
}

fn ethernet() -> PacketBuilderStep<etherparse::Ethernet2Header> {
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
}

/// Headers of the destination's family; a source of the other family becomes a made-up one.
fn ip_headers(source: IpAddr, destination: IpAddr) -> IpHeaders {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = Ipv4Header::new(0, 64, IpNumber::UDP, source.octets(), destination.octets());
            IpHeaders::Ipv4(header.expect("an empty payload fits"), Ipv4Extensions::default())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => IpHeaders::Ipv6(
            Ipv6Header {
                hop_limit: 64,
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv6Header::default()
            },
            Ipv6Extensions::default(),
        ),
        _ => unreachable!("addresses are drawn in pairs of one family"),
    }
}

/// Options and extension headers.
fn vary(random: &mut Random, headers: &mut IpHeaders) {
    match headers {
        IpHeaders::Ipv4(header, extensions) => {
            if random.once_in(3) {
                let words = random.below(11) as usize;
                header.options = Ipv4Options::try_from(&random.bytes(words * 4)[..]).expect("whole words");
            }
            header.dont_fragment = random.once_in(2);
            if random.once_in(15) {
                extensions.auth = Some(authentication());
            }
        }
        IpHeaders::Ipv6(header, extensions) => {
            header.traffic_class = random.next() as u8;
            if random.once_in(8) {
                let padding = Ipv6RawExtHeader::new_raw(IpNumber::UDP, &[1, 4, 0, 0, 0, 0]);
                extensions.hop_by_hop_options = Some(padding.expect("six bytes fit"));
            }
        }
    }
}

fn authentication() -> IpAuthHeader {
    IpAuthHeader::new(IpNumber::UDP, 7, 9, &[0; 12]).expect("twelve bytes fit")
}

const STACKS: u64 = 7;

fn ip_packet(random: &mut Random, stack: u64, mut headers: IpHeaders, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = (random.next() as u16, *random.pick(&[53, 443, 500, 4500, 5683]));
    let mut frame = Vec::new();
    if stack == 5 {
        match &mut headers {
            IpHeaders::Ipv4(_, extensions) => extensions.auth = Some(authentication()),
            IpHeaders::Ipv6(_, extensions) => extensions.auth = Some(authentication()),
        }
    }
    let is_v4 = matches!(headers, IpHeaders::Ipv4(..));
    let step = ethernet().ip(headers);
    let written = match stack {
        0 | 1 => step.udp(source, destination).write(&mut frame, payload),
        2 => step.tcp(source, destination, 7, 1000).syn().write(&mut frame, payload),
        3 => step.write(&mut frame, ESP, payload),
        4 if is_v4 => step.icmpv4_echo_request(1, 2).write(&mut frame, payload),
        4 => step.icmpv6_echo_request(1, 2).write(&mut frame, payload),
        5 => step.write(&mut frame, IpNumber::UDP, payload),
        _ => step.write(&mut frame, IpNumber(*random.pick(&[47, 103, 132, 253, 255])), payload),
    };
    written.expect("a Vec takes any packet");
    frame
}

/// The first or a later fragment.
fn fragment(random: &mut Random, source: IpAddr, destination: IpAddr, payload: &[u8]) -> Vec<u8> {
    let offset = (random.below(3) * 8) as u16;
    let offset = etherparse::IpFragOffset::try_new(offset).expect("thirteen bits");
    let mut headers = ip_headers(source, destination);
    match &mut headers {
        IpHeaders::Ipv4(header, _) => (header.fragment_offset, header.more_fragments) = (offset, true),
        IpHeaders::Ipv6(_, extensions) => {
            extensions.fragment = Some(Ipv6FragmentHeader::new(IpNumber::UDP, offset, true, 77));
        }
    }
    let mut frame = Vec::new();
    ethernet().ip(headers).udp(1, 53).write(&mut frame, payload).expect("a Vec takes any packet");
    frame
}

fn tagged(headers: IpHeaders, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let step = ethernet().single_vlan(VlanId::try_new(42).expect("twelve bits")).ip(headers);
    step.udp(1, 53).write(&mut frame, payload).expect("a Vec takes any packet");
    frame
}

fn arp(source: IpAddr) -> Vec<u8> {
    let asker = match source {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => [0; 4],
    };
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &[2, 0, 0, 0, 0, 1],
        &asker,
        &[0; 6],
        &[192, 0, 2, 1],
    );
    let mut frame = Vec::new();
    ethernet().arp(packet.expect("lengths agree")).write(&mut frame).expect("a Vec takes any packet");
    frame
}
