//! Replies are read back by `etherparse`, which shares no code with what wrote them.

use etherparse::{
    Icmpv4Slice, Icmpv6Slice, IpHeaders, IpNumber, Ipv4Header, Ipv6Header, NetSlice, PacketBuilder,
    SlicedPacket, TcpHeader, TcpSlice, TransportSlice,
};
use proptest::prelude::*;

use super::{
    reset::{ACK, RST, SYN},
    *,
};

const DEVICE: [u8; 6] = [2, 0, 0, 0, 0, 1];
const GATE: [u8; 6] = [4, 0, 0, 0, 0, 2];
const SOURCE: [u8; 4] = [10, 45, 0, 7];
const SERVER: [u8; 4] = [203, 0, 113, 5];
const SOURCE6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0x45, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9];
const SERVER6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];

/// What the device sent, by family.
fn packet(v6: bool, protocol: u8, options: &[u8], body: &[u8]) -> Vec<u8> {
    let headers = if v6 {
        let mut header = Ipv6Header { source: SOURCE6, destination: SERVER6, ..Ipv6Header::default() };
        header.hop_limit = 3;
        IpHeaders::Ipv6(header, Default::default())
    } else {
        let mut header = Ipv4Header::new(0, 3, IpNumber(protocol), SOURCE, SERVER).expect("no payload yet");
        header.options = options.try_into().expect("whole words, at most ten");
        IpHeaders::Ipv4(header, Default::default())
    };
    let mut frame = Vec::new();
    let step = PacketBuilder::ethernet2(DEVICE, GATE).ip(headers);
    step.write(&mut frame, IpNumber(protocol), body).expect("a Vec takes any packet");
    frame
}

fn answered(frame: &[u8]) -> Option<(Answer, Vec<u8>)> {
    let mut reply = Reply::empty();
    let (answer, length) = build(&frame, &mut reply)?;
    Some((answer, reply.0[..length as usize].to_vec()))
}

/// Where the IP packet ends whose addresses, header checksum and lengths are right.
fn end_of(reply: &[u8]) -> usize {
    let sliced = SlicedPacket::from_ethernet(reply).expect("a packet");
    match sliced.net.expect("IP") {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            assert_eq!((header.source(), header.destination(), header.ttl()), (SERVER, SOURCE, HOPS));
            assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
            assert!(header.dont_fragment() && !header.more_fragments());
            ETHERNET + usize::from(header.total_len())
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            assert_eq!((header.source(), header.destination(), header.hop_limit()), (SERVER6, SOURCE6, HOPS));
            ETHERNET + IPV6 + usize::from(header.payload_length())
        }
        NetSlice::Arp(_) => panic!("ARP"),
    }
}

/// The reply, if it is this one, goes back where the frame came from, and has right IP and transport lengths.
fn reply_to(frame: &[u8], expected: Answer) -> Vec<u8> {
    let (answer, reply) = answered(frame).unwrap_or_else(|| panic!("no answer to {frame:02x?}"));
    assert_eq!(answer, expected);
    assert_eq!(reply[..14], [&DEVICE[..], &GATE, &frame[12..14]].concat());
    assert!(reply.len() >= SHORTEST as usize);
    let end = end_of(&reply);
    assert_eq!(reply.len(), end.max(SHORTEST as usize), "nothing but padding behind the packet");
    assert!(reply[end..].iter().all(|byte| *byte == 0));
    reply
}

/// The TCP header of a reset with a right checksum.
fn reset_to(frame: &[u8]) -> TcpHeader {
    let reply = reply_to(frame, Answer::Reset);
    let Some(TransportSlice::Tcp(tcp)) = SlicedPacket::from_ethernet(&reply).expect("a packet").transport
    else {
        panic!("no TCP: {reply:02x?}")
    };
    let expected = if frame[12] == 8 {
        tcp.calc_checksum_ipv4(SERVER, SOURCE)
    } else {
        tcp.calc_checksum_ipv6(SERVER6, SOURCE6)
    };
    assert_eq!(Ok(tcp.checksum()), expected);
    assert!(tcp.payload().is_empty());
    tcp.to_header()
}

/// What an ICMP reply with a right checksum quotes.
fn quoted_of(frame: &[u8]) -> Vec<u8> {
    let reply = reply_to(frame, Answer::Prohibited);
    match SlicedPacket::from_ethernet(&reply).expect("a packet").transport {
        Some(TransportSlice::Icmpv4(icmp)) => {
            assert_eq!((icmp.type_u8(), icmp.code_u8()), (3, 13));
            assert!(is_checked_v4(&icmp));
            icmp.payload().to_vec()
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            assert_eq!((icmp.type_u8(), icmp.code_u8()), (1, 1));
            assert!(is_checked_v6(&icmp));
            icmp.payload().to_vec()
        }
        other => panic!("{other:?}"),
    }
}

fn is_checked_v4(icmp: &Icmpv4Slice<'_>) -> bool {
    icmp.icmp_type().calc_checksum(icmp.payload()) == icmp.checksum() && icmp.bytes5to8() == [0; 4]
}

fn is_checked_v6(icmp: &Icmpv6Slice<'_>) -> bool {
    icmp.is_checksum_valid(SERVER6, SOURCE6) && icmp.bytes5to8() == [0; 4]
}

fn most(v6: bool) -> usize {
    if v6 { QUOTE_V6 } else { QUOTE }
}

fn udp(v6: bool, payload: usize) -> Vec<u8> {
    let length = (payload as u16 + 8).to_be_bytes();
    packet(v6, 17, &[], &[&[0x9c, 0x40, 0, 53], &length[..], &[1, 2], &vec![7; payload]].concat())
}

fn tcp(v6: bool, flags: u8) -> Vec<u8> {
    packet(v6, PROTOCOL_TCP, &[], &segment(flags, 100, 200, 0, b""))
}

fn segment(flags: u8, sequence: u32, acknowledged: u32, options: usize, data: &[u8]) -> Vec<u8> {
    let mut header = vec![0x9c, 0x40, 0x01, 0xbb];
    header.extend(sequence.to_be_bytes());
    header.extend(acknowledged.to_be_bytes());
    header.extend([(5 + options as u8) << 4, flags, 0x12, 0x34, 0xaa, 0xbb, 0, 0]);
    header.extend(vec![1; options * 4]);
    header.extend(data);
    header
}

#[test]
fn only_refusals_of_devices_by_policy_are_answered() {
    let answered: Vec<_> = Reason::ALL.iter().filter(|reason| is_answered(**reason as u32, 1)).collect();
    assert_eq!(
        answered,
        [&Reason::LimitExceeded, &Reason::StatusReject, &Reason::ForbiddenProtocol, &Reason::Released]
    );
    assert!(!is_answered(u32::MAX, 1));
    assert!(Reason::ALL.iter().all(|reason| !is_answered(*reason as u32, STRANGER_PROFILE)));
}

#[test]
fn a_connection_attempt_is_refused_as_by_a_closed_port() {
    for v6 in [false, true] {
        let reset = reset_to(&tcp(v6, SYN));
        assert_eq!((reset.source_port, reset.destination_port), (443, 40000));
        assert_eq!((reset.sequence_number, reset.acknowledgment_number), (0, 101));
        assert!(reset.rst && reset.ack && !reset.syn && !reset.fin && !reset.psh && !reset.urg);
    }
}

#[test]
fn a_datagram_is_answered_with_a_quote_of_its_beginning() {
    for v6 in [false, true] {
        for payload in [0, 1, 8, 519, 520, 521, 1183, 1184, 1185, 1400] {
            let frame = udp(v6, payload);
            let quoted = quoted_of(&frame);
            assert_eq!(quoted, frame[14..][..(frame.len() - 14).min(most(v6))], "{payload} bytes");
        }
    }
}

#[test]
fn padding_behind_the_packet_is_not_quoted() {
    let mut frame = udp(false, 0);
    frame.resize(60, 0xee);
    assert_eq!(quoted_of(&frame), frame[14..42]);
}

#[test]
fn esp_and_ah_are_answered_unless_icmp_or_a_fragment_may_hide_in_them() {
    for v6 in [false, true] {
        quoted_of(&packet(v6, 50, &[], &[1; 24]));
        quoted_of(&packet(v6, 51, &[], &[6; 24]));
        for hidden in [1, 58, 44, 0, 60] {
            assert_eq!(answered(&packet(v6, 51, &[], &[hidden; 24])), None, "AH before {hidden}");
        }
    }
}

#[test]
fn of_icmp_only_echo_requests_are_answered() {
    for kind in 0..=255 {
        let frame = packet(false, PROTOCOL_ICMP, &[], &[kind, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(answered(&frame).is_some(), kind == 8, "ICMP type {kind}");
        let frame = packet(true, PROTOCOL_ICMPV6, &[], &[kind, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(answered(&frame).is_some(), kind == 128, "ICMPv6 type {kind}");
    }
}

#[test]
fn a_reset_is_not_answered() {
    for flags in [RST, RST | ACK, RST | SYN] {
        assert_eq!(answered(&tcp(false, flags)).or(answered(&tcp(true, flags))), None);
    }
}

#[test]
fn later_fragments_and_what_may_hide_them_are_not_answered() {
    let mut later = udp(false, 40);
    later[21] = 1;
    assert_eq!(answered(&later), None);
    let mut first = udp(false, 40);
    first[20] = 0x20;
    assert!(answered(&first).is_some(), "the first one shows what it is of");
    let mut first = tcp(false, SYN);
    first[20] = 0x20;
    assert_eq!(answered(&first), None, "of a fragmented segment the length is not known");
    for extension in EXTENSIONS {
        let mut frame = udp(true, 40);
        frame[20] = extension;
        assert_eq!(answered(&frame), None, "extension header {extension}");
    }
}

#[test]
fn nothing_that_may_have_gone_to_many_or_come_from_nobody_is_answered() {
    for address in [[224, 0, 0, 1], [239, 1, 2, 3], [255; 4], [240, 0, 0, 1], [0; 4], [127, 0, 0, 1]] {
        for at in [26, 30] {
            let mut frame = udp(false, 0);
            frame[at..at + 4].copy_from_slice(&address);
            assert_eq!(answered(&frame), None, "{address:?} at {at}");
        }
    }
    for address in [0xff02 << 112 | 1, 0, 1, 0xffff_0a2d_0007u128] {
        for at in [22, 38] {
            let mut frame = udp(true, 0);
            frame[at..at + 16].copy_from_slice(&address.to_be_bytes());
            assert_eq!(answered(&frame), None, "{address:x} at {at}");
        }
    }
    for at in [0, 6] {
        let mut frame = udp(false, 0);
        frame[at] |= 1;
        assert_eq!(answered(&frame), None, "a group's Ethernet address at {at}");
    }
}

#[test]
fn what_is_not_plain_ip_is_not_answered() {
    for (at, value) in [(12, 0x81), (13, 6), (14, 0x65), (14, 0x44)] {
        let mut frame = udp(false, 0);
        frame[at] = value;
        assert_eq!(answered(&frame), None, "byte {at} = {value:#x}");
    }
    let mut frame = tcp(false, SYN);
    frame[46] = 0x40;
    assert_eq!(answered(&frame), None, "a data offset below five words");
    frame[46] = 0x60;
    assert_eq!(answered(&frame), None, "a data offset behind the segment's end");
}

#[test]
fn no_part_of_a_packet_is_answered() {
    for frame in [udp(false, 9), udp(true, 9), tcp(false, SYN), tcp(true, SYN)] {
        for length in 0..frame.len() {
            assert_eq!(answered(&frame[..length]), None, "{length} of {} bytes", frame.len());
        }
    }
}

proptest! {
    #[test]
    fn a_reset_has_the_numbers_that_rfc_9293_gives_it(
        v6: bool, flags: u8, sequence: u32, acknowledged: u32, words in 0usize..=10, options in 0usize..=10,
        data in prop::collection::vec(any::<u8>(), 0..1400),
    ) {
        let flags = flags & !RST;
        let words = vec![1; if v6 { 0 } else { words * 4 }];
        let segment = segment(flags, sequence, acknowledged, options, &data);
        let reset = reset_to(&packet(v6, PROTOCOL_TCP, &words, &segment));
        let sent = TcpSlice::from_slice(&segment).expect("a segment");
        let expected = if sent.ack() {
            (acknowledged, 0, false)
        } else {
            let length = data.len() + usize::from(sent.syn()) + usize::from(sent.fin());
            (0, sequence.wrapping_add(length as u32), true)
        };
        prop_assert_eq!((reset.sequence_number, reset.acknowledgment_number, reset.ack), expected);
        prop_assert_eq!((reset.source_port, reset.destination_port), (443, 40000));
        prop_assert!(reset.rst && !(reset.syn || reset.fin || reset.psh || reset.urg || reset.ece || reset.cwr));
    }

    #[test]
    fn any_protocol_but_icmp_and_extension_headers_is_answered_with_a_quote(
        v6: bool, protocol: u8, words in 0usize..=10, body in prop::collection::vec(any::<u8>(), 0..1460),
    ) {
        prop_assume!(![1, 6, 51, 58].contains(&protocol) && !EXTENSIONS.contains(&protocol));
        let frame = packet(v6, protocol, &vec![1; words * 4], &body);
        let quoted = quoted_of(&frame);
        prop_assert_eq!(&quoted[..], &frame[14..][..(frame.len() - 14).min(most(v6))]);
    }

    #[test]
    fn any_bytes_are_answered_or_not(frame in prop::collection::vec(any::<u8>(), 0..200)) {
        answered(&frame);
    }

    #[test]
    fn an_answer_is_never_answered(v6: bool, flags: u8, payload in 0usize..200) {
        for frame in [udp(v6, payload), tcp(v6, flags & !RST)] {
            let (_, mut reply) = answered(&frame).expect("an answer");
            prop_assert_eq!(answered(&reply), None);
            // Nor is what a device makes of it that sends it back.
            reply.swap(26, 30);
            prop_assert_eq!(answered(&reply), None);
        }
    }
}
