//! The packet blocks of pcapng, and what their times mean.
//!
//! What this is: the bodies of three block types (enhanced, simple, and the obsolete packet block) to
//! values. What it must not do: keep state, or read options, which no verdict depends on. Read first:
//! draft-ietf-opsawg-pcapng §4.3, §4.4 and appendix A; §4.2 for `if_tsresol` and `if_tsoffset`.

use anyhow::Context;
use pcap_file::Endianness;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;

const OBSOLETE: u32 = 2;
const SIMPLE: u32 = 3;
const ENHANCED: u32 = 6;

/// A packet block's body.
#[derive(Debug, PartialEq, Eq)]
pub struct Packet<'b> {
    /// The interface it was captured on, counted within its section.
    pub interface: u32,
    /// Its time in the interface's units; `None` for a simple packet.
    pub units: Option<u64>,
    /// Its length on the wire.
    pub wire_length: u32,
    /// What was captured; of a simple packet, up to three bytes of padding more.
    pub bytes: &'b [u8],
}

impl<'b> Packet<'b> {
    /// Reads the body of a block of this type; `None` for a block that is no packet.
    ///
    /// # Errors
    /// The block is too short for what it says.
    pub fn read(kind: u32, body: &'b [u8], order: Endianness) -> Option<anyhow::Result<Self>> {
        let mut fields = Fields { body, order };
        let packet = match kind {
            ENHANCED => fields.enhanced(),
            SIMPLE => fields.simple(),
            OBSOLETE => fields.obsolete(),
            _ => return None,
        };
        Some(packet.context("the block is shorter than the packet in it: the file is damaged"))
    }
}

/// What is left of a body.
struct Fields<'b> {
    body: &'b [u8],
    order: Endianness,
}

impl<'b> Fields<'b> {
    fn enhanced(&mut self) -> Option<Packet<'b>> {
        let interface = self.word()?;
        self.timed(interface)
    }

    /// The interface and a count of drops share the first word.
    fn obsolete(&mut self) -> Option<Packet<'b>> {
        let word = self.word()?;
        let interface = if self.order.is_little() { word & 0xffff } else { word >> 16 };
        self.timed(interface)
    }

    fn timed(&mut self, interface: u32) -> Option<Packet<'b>> {
        let (high, low) = (self.word()?, self.word()?);
        let captured = self.word()? as usize;
        let wire_length = self.word()?;
        let bytes = self.body.get(..captured)?;
        Some(Packet { interface, units: Some(u64::from(high) << 32 | u64::from(low)), wire_length, bytes })
    }

    fn simple(&mut self) -> Option<Packet<'b>> {
        let wire_length = self.word()?;
        let bytes = &self.body[..self.body.len().min(wire_length as usize)];
        Some(Packet { interface: 0, units: None, wire_length, bytes })
    }

    fn word(&mut self) -> Option<u32> {
        let (word, rest) = self.body.split_first_chunk()?;
        self.body = rest;
        Some(if self.order.is_little() { u32::from_le_bytes(*word) } else { u32::from_be_bytes(*word) })
    }
}

/// What an interface's times mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Exponent in the lower seven bits, of two if the highest bit is set, else of ten.
    resolution: u8,
    /// Seconds to be added.
    offset: i64,
}

impl Clock {
    /// As the interface's options say; microseconds since the epoch unless they do.
    pub fn of(options: &[InterfaceDescriptionOption<'_>]) -> Self {
        let mut clock = Self { resolution: 6, offset: 0 };
        for option in options {
            match option {
                InterfaceDescriptionOption::IfTsResol(resolution) => clock.resolution = *resolution,
                InterfaceDescriptionOption::IfTsOffset(offset) => clock.offset = offset.cast_signed(),
                _ => {}
            }
        }
        clock
    }

    /// Nanoseconds since the epoch; what lies before it or beyond 64 bits is the nearest that does not.
    pub fn nanos(self, units: u64) -> u64 {
        let (units, exponent) = (i128::from(units), u32::from(self.resolution & 0x7f));
        let nanos = if self.resolution & 0x80 != 0 {
            // Below 2⁶⁴ × 2³⁰.
            (units * 1_000_000_000) >> exponent
        } else if exponent <= 9 {
            units * 10i128.pow(9 - exponent)
        } else {
            10i128.checked_pow(exponent - 9).map_or(0, |parts| units / parts)
        };
        let nanos = nanos + i128::from(self.offset) * 1_000_000_000;
        u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use InterfaceDescriptionOption::{IfTsOffset, IfTsResol};

    #[test]
    fn times_are_microseconds_unless_the_interface_says_otherwise() {
        for (options, units, nanos) in [
            (vec![], 1_500_000, 1_500_000_000),
            (vec![IfTsResol(9)], 1_500_000_001, 1_500_000_001),
            (vec![IfTsResol(0)], 2, 2_000_000_000),
            (vec![IfTsResol(12)], 1_999, 1),
            (vec![IfTsResol(0x80 | 10)], 1536, 1_500_000_000),
            (vec![IfTsResol(127)], u64::MAX, 0),
            (vec![IfTsResol(0xff)], u64::MAX, 0),
            (vec![IfTsResol(0)], u64::MAX, u64::MAX),
            (vec![IfTsOffset(100)], 1, 100_000_001_000),
            (vec![IfTsOffset((-1i64).cast_unsigned())], 1_000_002, 2_000),
            (vec![IfTsOffset(i64::MIN.cast_unsigned())], 5, 0),
        ] {
            assert_eq!(Clock::of(&options).nanos(units), nanos, "{options:?}");
        }
    }

    #[test]
    fn the_obsolete_block_is_read_in_both_byte_orders() {
        let fields = |order: fn(u32) -> [u8; 4], half: fn(u16) -> [u8; 2]| {
            let words = [1, 2, 3, 3].map(order).concat();
            [half(7).to_vec(), half(9).to_vec(), words, b"abc\0".to_vec()].concat()
        };
        let little = fields(u32::to_le_bytes, u16::to_le_bytes);
        let big = fields(u32::to_be_bytes, u16::to_be_bytes);
        let expected = Packet { interface: 7, units: Some(1 << 32 | 2), wire_length: 3, bytes: b"abc" };
        for (body, order) in [(little, Endianness::Little), (big, Endianness::Big)] {
            assert_eq!(Packet::read(OBSOLETE, &body, order).expect("a packet").expect("whole"), expected);
        }
    }

    #[test]
    fn padding_of_a_simple_packet_is_not_part_of_it() {
        let body = [&3u32.to_be_bytes()[..], b"abc\0"].concat();
        let packet = Packet::read(SIMPLE, &body, Endianness::Big).expect("a packet").expect("whole");
        assert_eq!((packet.bytes, packet.units), (&b"abc"[..], None));
    }

    #[test]
    fn every_truncation_of_a_body_is_an_error_and_other_blocks_are_no_packets() {
        let body = [&[0; 12][..], &4u32.to_be_bytes(), &4u32.to_be_bytes(), b"abcd"].concat();
        for length in 0..body.len() {
            assert!(Packet::read(ENHANCED, &body[..length], Endianness::Big).expect("a packet").is_err());
        }
        assert!(Packet::read(ENHANCED, &body, Endianness::Big).expect("a packet").is_ok());
        assert!(Packet::read(5, &body, Endianness::Big).is_none());
    }
}
