//! Generated load: what the generator's program and user space agree on, and how a frame is given a new source.
//!
//! Not part of the law: nothing that judges a packet may use this. It is here so that the rewriting, checksums
//! included, is tested without a kernel. Read first: RFC 1624 (incremental update of the internet checksum).

/// Frames must be at least this long: all that [`Spread::rewrite`] may touch lies before it.
pub const LONGEST_HEADERS: usize = 62;

/// What a frame is, as far as rewriting its source goes; the numbers are those of [`Spread::shape`].
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Ethernet, IPv4 without options, and no checksum over the addresses but the header's own.
    Ipv4 = 0,
    /// The same with TCP behind it.
    Ipv4Tcp = 1,
    /// Ethernet, IPv6, UDP.
    Ipv6Udp = 2,
}

/// Which sources the frames of a run have: `span` consecutive ones from `first` on.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Spread {
    /// The first IPv4 address, or the upper half of the first IPv6 address: one device per /64.
    pub first: u64,
    /// How many; at least 1.
    pub span: u32,
    /// A [`Shape`]'s number.
    pub shape: u32,
}

/// A device of the floors: as much as any gate must keep.
#[repr(C, align(64))]
#[derive(Clone, Copy, Default, Debug)]
pub struct Slot {
    /// Packets of this device.
    pub packets: u64,
    /// When the last one came, coarse monotonic ns.
    pub last_ns: u64,
    /// Explicit padding to a cache line.
    pub padding: [u64; 6],
}

const _: () = {
    assert!(size_of::<Slot>() == 64);
    assert!(size_of::<Spread>() == 16);
};

impl Spread {
    /// Gives the frame the source that `random` draws. Checksums that cover it stay as right or wrong as
    /// they were.
    #[inline(always)]
    pub fn rewrite(&self, frame: &mut [u8; LONGEST_HEADERS], random: u32) {
        // The upper half of a product: evenly spread, without a division.
        let drawn = (u64::from(random) * u64::from(self.span)) >> 32;
        let source = self.first.wrapping_add(drawn);
        if self.shape == Shape::Ipv6Udp as u32 {
            let changed = put::<8, 22>(frame, source.to_be_bytes());
            update::<60>(frame, changed);
        } else {
            let changed = put::<4, 26>(frame, (source as u32).to_be_bytes());
            update::<24>(frame, changed);
            if self.shape == Shape::Ipv4Tcp as u32 {
                update::<50>(frame, changed);
            }
        }
    }
}

/// Writes `N` bytes at `AT`; the sum that a checksum over them grows by, ones' complement, not yet folded.
#[inline(always)]
fn put<const N: usize, const AT: usize>(frame: &mut [u8; LONGEST_HEADERS], bytes: [u8; N]) -> u32 {
    let mut grown = 0;
    let mut at = 0;
    while at < N {
        let old = u16::from_be_bytes([frame[AT + at], frame[AT + at + 1]]);
        grown += u32::from(!old) + u32::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        frame[AT + at] = bytes[at];
        frame[AT + at + 1] = bytes[at + 1];
        at += 2;
    }
    grown
}

/// RFC 1624, equation 3: HC' = ~(~HC + ~m + m').
#[inline(always)]
fn update<const AT: usize>(frame: &mut [u8; LONGEST_HEADERS], grown: u32) {
    let old = u16::from_be_bytes([frame[AT], frame[AT + 1]]);
    let mut sum = u32::from(!old) + grown;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    [frame[AT], frame[AT + 1]] = (!(sum as u16)).to_be_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{Ipv4HeaderSlice, PacketBuilder, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    fn rewritten(mut frame: Vec<u8>, spread: &Spread, randoms: &[u32]) -> Vec<u8> {
        frame.resize(frame.len().max(LONGEST_HEADERS), 0);
        let headers: &mut [u8; LONGEST_HEADERS] =
            (&mut frame[..LONGEST_HEADERS]).try_into().expect("as long as that");
        randoms.iter().for_each(|random| spread.rewrite(headers, *random));
        frame
    }

    fn built(builder: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut frame = Vec::new();
        builder(&mut frame);
        frame
    }

    proptest! {
        #[test]
        fn a_rewritten_tcp_packet_has_right_checksums_and_a_source_in_range(
            randoms in prop::collection::vec(any::<u32>(), 1..5), span in 1u32..1 << 20,
        ) {
            let frame = built(|frame| PacketBuilder::ethernet2([2; 6], [4; 6])
                .ipv4([10, 16, 0, 0], [203, 0, 113, 5], 64).tcp(40000, 443, 7, 1024)
                .write(frame, b"ten bytes!").expect("a Vec takes any packet"));
            let spread = Spread { first: 0x0a10_0000, span, shape: Shape::Ipv4Tcp as u32 };
            let frame = rewritten(frame, &spread, &randoms);
            let header = Ipv4HeaderSlice::from_slice(&frame[14..]).expect("an IPv4 header");
            prop_assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
            prop_assert!(u32::from(header.source_addr()) - 0x0a10_0000 < span);
            let packet = SlicedPacket::from_ethernet(&frame).expect("a packet");
            let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("no TCP") };
            prop_assert_eq!(Ok(tcp.checksum()), tcp.calc_checksum_ipv4(
                header.source_addr().octets(), header.destination_addr().octets()));
        }

        #[test]
        fn a_rewritten_ipv6_packet_has_a_right_checksum_and_a_source_in_range(
            randoms in prop::collection::vec(any::<u32>(), 1..5), span in 1u32..1 << 20,
        ) {
            let source: u128 = 0x2001_0db8_0040_0000_0000_0000_0000_0001;
            let frame = built(|frame| PacketBuilder::ethernet2([2; 6], [4; 6])
                .ipv6(source.to_be_bytes(), [9; 16], 64).udp(40000, 53)
                .write(frame, b"").expect("a Vec takes any packet"));
            let spread = Spread { first: (source >> 64) as u64, span, shape: Shape::Ipv6Udp as u32 };
            let frame = rewritten(frame, &spread, &randoms);
            let packet = SlicedPacket::from_ethernet(&frame).expect("a packet");
            let Some(TransportSlice::Udp(udp)) = packet.transport else { panic!("no UDP") };
            let drawn: [u8; 16] = frame[22..38].try_into().expect("16 bytes");
            prop_assert!((u128::from_be_bytes(drawn) >> 64) as u64 - spread.first < u64::from(span));
            let expected = udp.to_header().calc_checksum_ipv6_raw(drawn, [9; 16], b"");
            prop_assert_eq!(Ok(udp.checksum()), expected);
        }
    }
}
