//! The answer to a dropped packet: TCP is told with a reset, everything else with ICMP "administratively
//! prohibited".
//!
//! Off unless configured. Here stands which reasons are answered, which packets must not be, and the bytes of the
//! reply; how often is in [`limit`]. What [`is_answered`] does not name is never answered: a reason that doubts who
//! sent the packet must not be put there, for the answer would go to whoever was named as its source.
//!
//! The gate has no address of its own, so a reply comes from the address that the packet was sent to, as a
//! bridge's does. Nothing here writes to the frame: the reply is built beside it. The checksum of an offending TCP
//! segment is not verified: with offloading it is not there yet when the program runs.
//!
//! Read first: RFC 9293 §3.10.7.1 (reset), RFC 1122 §3.2.2 and RFC 1812 §4.3.2 (ICMP), RFC 4443 §2.4 (ICMPv6).

pub mod limit;
mod reset;
#[cfg(test)]
mod tests;

use self::reset::{Segment, TCP};
use crate::{abi::STRANGER_PROFILE, reason::Reason};

/// The reasons that are answered: a policy's refusals, of a device that is known and sits on the access side.
const ANSWERED: [Reason; 4] =
    [Reason::LimitExceeded, Reason::StatusReject, Reason::ForbiddenProtocol, Reason::Released];

/// Bytes of the offending packet that ICMP quotes at most: what makes a packet of 576 bytes (RFC 1812 §4.3.2.3).
pub const QUOTE: usize = 576 - IPV4 - ICMP;
/// And ICMPv6: the least MTU, 1280 bytes (RFC 4443 §2.4).
pub const QUOTE_V6: usize = 1280 - IPV6 - ICMP;

/// The longest reply, Ethernet header and all, in whole words.
pub const LONGEST: usize = (ETHERNET + 1280).next_multiple_of(8);

/// The shortest: some drivers send a frame as it is, and a shorter one is no Ethernet frame.
pub const SHORTEST: u32 = 60;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const ICMP: usize = 8;
const HOPS: u8 = 64;
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_AH: u8 = 51;
const PROTOCOL_ICMPV6: u8 = 58;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
/// What may hide a later fragment or an ICMP error: hop-by-hop options, routing, fragment, destination options,
/// mobility, HIP, shim6.
const EXTENSIONS: [u8; 7] = [0, 43, 44, 60, 135, 139, 140];

/// What became of a packet that could have been answered; the numbers are places in the kernel's counters.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A TCP reset was sent.
    Reset = 0,
    /// ICMP "administratively prohibited" was sent.
    Prohibited = 1,
    /// Nothing was sent: the node's limit had no room.
    Limited = 2,
    /// Nothing was sent: such a packet must not be answered, or cannot be.
    Unanswerable = 3,
}

impl Answer {
    /// All, in the order of their numbers.
    pub const ALL: [Answer; 4] = [Answer::Reset, Answer::Prohibited, Answer::Limited, Answer::Unanswerable];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Answer::Reset => "rst",
            Answer::Prohibited => "icmp",
            Answer::Limited => "limited",
            Answer::Unanswerable => "unanswerable",
        }
    }
}

/// Whether a packet dropped for the reason with this number, by the profile with this number, may be answered at
/// all. Not a stranger's: whoever is named as its source has not been shown to be there.
#[inline(always)]
pub const fn is_answered(reason: u32, profile: u32) -> bool {
    const MASK: u64 = {
        let (mut mask, mut at) = (0, 0);
        while at < ANSWERED.len() {
            mask |= 1 << ANSWERED[at] as u32;
            at += 1;
        }
        mask
    };
    MASK >> (reason & 63) & 1 != 0 && profile != STRANGER_PROFILE
}

/// Where the offending frame's bytes are: in a slice, or behind the kernel's helpers.
pub trait Frame {
    /// Its length.
    fn length(&self) -> u32;
    /// `N` bytes from `at` on; `None` if it ends before.
    fn load<const N: usize>(&self, at: u32) -> Option<[u8; N]>;
    /// Copies `length` bytes, 1 to `MOST`, from `at` on to the front of `target`; false if the frame ends before.
    fn copy<const MOST: usize>(&self, at: u32, length: u32, target: &mut [u8; MOST]) -> bool;
}

/// A reply's bytes.
#[repr(C, align(8))]
pub struct Reply(pub [u8; LONGEST]);

impl Reply {
    /// Room for a reply.
    #[inline(always)]
    pub const fn empty() -> Self {
        Self([0; LONGEST])
    }
}

/// Writes the answer to a dropped frame from the access side. Says what it is and how many bytes of `reply`;
/// `None`: this frame is not to be answered.
#[inline(always)]
pub fn build<F: Frame>(frame: &F, reply: &mut Reply) -> Option<(Answer, u32)> {
    let ethernet = frame.load::<ETHERNET>(0)?;
    // To or from a group: RFC 1122 §3.2.2.
    if (ethernet[0] | ethernet[6]) & 1 != 0 {
        return None;
    }
    *reply = Reply::empty();
    let (answer, length) = match [ethernet[12], ethernet[13]] {
        [0x08, 0x00] => ipv4(frame, reply)?,
        [0x86, 0xdd] => ipv6(frame, reply)?,
        _ => return None,
    };
    put(reply, 0, from_array::<6>(&ethernet, 6)?)?;
    put(reply, 6, from_array::<6>(&ethernet, 0)?)?;
    put(reply, 12, [ethernet[12], ethernet[13]])?;
    Some((answer, if length < SHORTEST { SHORTEST } else { length }))
}

#[inline(always)]
fn ipv4<F: Frame>(frame: &F, reply: &mut Reply) -> Option<(Answer, u32)> {
    let header = frame.load::<IPV4>(ETHERNET as u32)?;
    let length = u32::from(header[0] & 0xf) * 4;
    let total = u32::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || length < IPV4 as u32 || total < length {
        return None;
    }
    let (source, destination) = (from_array::<4>(&header, 12)?, from_array::<4>(&header, 16)?);
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let is_later = fragment & 0x1fff != 0;
    if is_later || !is_host_v4(source) || !is_host_v4(destination) || frame.length() < total + ETHERNET as u32
    {
        return None;
    }
    let (at, payload) = (ETHERNET as u32 + length, total - length);
    let (answer, protocol, length) = if header[9] == PROTOCOL_TCP {
        // Of a fragmented segment the length is not known.
        let segment = if fragment & 0x2000 == 0 { Segment::read(frame, at, payload)? } else { return None };
        put(reply, ETHERNET + IPV4, segment.reset()?)?;
        (Answer::Reset, PROTOCOL_TCP, (IPV4 + TCP) as u32)
    } else {
        if !may_be_told_of(frame, header[9], PROTOCOL_ICMP, ECHO_REQUEST, at, payload) {
            return None;
        }
        // Destination unreachable, communication administratively prohibited: RFC 1812 §5.2.7.1.
        put(reply, ETHERNET + IPV4, [3, 13])?;
        let quoted = quote::<F, { ETHERNET + IPV4 + ICMP }, QUOTE>(frame, total, reply)?;
        (Answer::Prohibited, PROTOCOL_ICMP, (IPV4 + ICMP) as u32 + quoted)
    };
    finish_ipv4(reply, (destination, source), protocol, length)?;
    Some((answer, ETHERNET as u32 + length))
}

/// Puts the IPv4 header before what is there, and the checksums into both.
#[inline(always)]
fn finish_ipv4(reply: &mut Reply, (from, to): ([u8; 4], [u8; 4]), protocol: u8, length: u32) -> Option<()> {
    // Precedence 6 for ICMP (RFC 1812 §4.3.2.5); never to be fragmented, so the identification is free.
    put(reply, 14, [0x45, if protocol == PROTOCOL_ICMP { 0xc0 } else { 0 }])?;
    put(reply, 16, (length as u16).to_be_bytes())?;
    put(reply, 20, [0x40, 0, HOPS, protocol])?;
    put(reply, 26, from)?;
    put(reply, 30, to)?;
    put(reply, 24, checksum(sum::<14, 34>(reply)))?;
    if protocol == PROTOCOL_TCP {
        let pseudo_header = sum::<26, 34>(reply) + u32::from(PROTOCOL_TCP) + TCP as u32;
        put(reply, 50, checksum(pseudo_header + sum::<34, 54>(reply)))
    } else {
        put(reply, 36, checksum(sum::<34, { ETHERNET + 576 }>(reply)))
    }
}

#[inline(always)]
fn ipv6<F: Frame>(frame: &F, reply: &mut Reply) -> Option<(Answer, u32)> {
    let header = frame.load::<IPV6>(ETHERNET as u32)?;
    let payload = u32::from(u16::from_be_bytes([header[4], header[5]]));
    let (source, destination) = (from_array::<16>(&header, 8)?, from_array::<16>(&header, 24)?);
    let at = (ETHERNET + IPV6) as u32;
    let is_readable = header[0] >> 4 == 6 && frame.length() >= at + payload;
    if !is_readable || !is_host_v6(&source) || !is_host_v6(&destination) {
        return None;
    }
    let (answer, protocol, length) = if header[6] == PROTOCOL_TCP {
        put(reply, ETHERNET + IPV6, Segment::read(frame, at, payload)?.reset()?)?;
        (Answer::Reset, PROTOCOL_TCP, TCP as u32)
    } else {
        if !may_be_told_of(frame, header[6], PROTOCOL_ICMPV6, ECHO_REQUEST_V6, at, payload) {
            return None;
        }
        // The same of ICMPv6: RFC 4443 §3.1.
        put(reply, ETHERNET + IPV6, [1, 1])?;
        let quoted = quote::<F, { ETHERNET + IPV6 + ICMP }, QUOTE_V6>(frame, IPV6 as u32 + payload, reply)?;
        (Answer::Prohibited, PROTOCOL_ICMPV6, ICMP as u32 + quoted)
    };
    finish_ipv6(reply, (destination, source), protocol, length)?;
    Some((answer, (ETHERNET + IPV6) as u32 + length))
}

/// Puts the IPv6 header before what is there, and the checksum into that.
#[inline(always)]
fn finish_ipv6(reply: &mut Reply, (from, to): ([u8; 16], [u8; 16]), protocol: u8, length: u32) -> Option<()> {
    put(reply, 14, [0x60, 0, 0, 0])?;
    put(reply, 18, (length as u16).to_be_bytes())?;
    put(reply, 20, [protocol, HOPS])?;
    put(reply, 22, from)?;
    put(reply, 38, to)?;
    let pseudo_header = sum::<22, 54>(reply) + u32::from(protocol) + length;
    if protocol == PROTOCOL_TCP {
        put(reply, 70, checksum(pseudo_header + sum::<54, 74>(reply)))
    } else {
        put(reply, 56, checksum(pseudo_header + sum::<54, { ETHERNET + 1280 }>(reply)))
    }
}

/// Copies the packet's beginning, at most `MOST` bytes, behind the ICMP header; how much.
#[inline(always)]
fn quote<F: Frame, const AT: usize, const MOST: usize>(
    frame: &F,
    packet: u32,
    reply: &mut Reply,
) -> Option<u32> {
    let quoted = if packet < MOST as u32 { packet } else { MOST as u32 };
    let target = reply.0.get_mut(AT..)?.first_chunk_mut::<MOST>()?;
    frame.copy(ETHERNET as u32, quoted, target).then_some(quoted)
}

/// Whether ICMP may be sent about a packet of this protocol: not about ICMP but for a question that expects an
/// answer, and not about what may be a fragment or ICMP behind further headers.
#[inline(always)]
fn may_be_told_of<F: Frame>(frame: &F, protocol: u8, icmp: u8, question: u8, at: u32, payload: u32) -> bool {
    let mut hidden = protocol;
    if protocol == icmp || protocol == PROTOCOL_AH {
        let first = if payload < ICMP as u32 { None } else { frame.load::<1>(at) };
        let Some([first]) = first else { return false };
        if protocol == icmp {
            return first == question;
        }
        // AH begins with the number of what is behind it.
        hidden = first;
    }
    let mut told = hidden != PROTOCOL_ICMP && hidden != PROTOCOL_ICMPV6;
    for extension in EXTENSIONS {
        told &= hidden != extension;
    }
    told
}

/// Whether an address is one that a host has: not "this network", loopback, multicast, reserved or broadcast.
/// The broadcast address of a subnet cannot be told from here.
#[inline(always)]
const fn is_host_v4(address: [u8; 4]) -> bool {
    let first = address[0];
    first != 0 && first != 127 && first < 224
}

/// The same of an IPv6 address: neither multicast nor within ::/64 (unspecified, loopback, mapped).
#[inline(always)]
fn is_host_v6(address: &[u8; 16]) -> bool {
    let [a, b, c, d, e, f, g, h, ..] = *address;
    a != 0xff && u64::from_ne_bytes([a, b, c, d, e, f, g, h]) != 0
}

/// `N` bytes of an array that is long enough; where it is not, the compiler sees it and nothing is answered.
#[inline(always)]
fn from_array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

#[inline(always)]
fn put<const N: usize>(reply: &mut Reply, at: usize, bytes: [u8; N]) -> Option<()> {
    *reply.0.get_mut(at..)?.first_chunk_mut::<N>()? = bytes;
    Some(())
}

/// The sum over these bytes of a reply, an even number, not yet folded (RFC 1071). What was not written is zero.
#[inline(always)]
fn sum<const FROM: usize, const TO: usize>(reply: &Reply) -> u32 {
    let bytes = reply.0.get(FROM..TO).unwrap_or_default();
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().fold(0, |sum, pair| sum + u32::from(u16::from_be_bytes(*pair)))
}

/// The checksum of a sum of fewer than 2¹⁶ words.
#[inline(always)]
const fn checksum(sum: u32) -> [u8; 2] {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (!(sum as u16)).to_be_bytes()
}

#[cfg(not(target_arch = "bpf"))]
impl Frame for &[u8] {
    fn length(&self) -> u32 {
        self.len() as u32
    }

    fn load<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        self.get(at as usize..)?.first_chunk().copied()
    }

    fn copy<const MOST: usize>(&self, at: u32, length: u32, target: &mut [u8; MOST]) -> bool {
        let bytes = self.get(at as usize..(at + length) as usize);
        bytes.map(|bytes| target[..bytes.len()].copy_from_slice(bytes)).is_some()
    }
}
