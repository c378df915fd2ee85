//! The TCP header that refuses a segment.
//!
//! Numbers only: the checksum covers addresses, which are the IP header's matter. Read first: RFC 9293 §3.10.7.1.

use super::{Frame, from_array};

/// Bytes of a TCP header without options.
pub(super) const TCP: usize = 20;
pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const ACK: u8 = 16;

/// What a reset needs to know of the segment it is for.
pub(super) struct Segment {
    ports: [u8; 4],
    sequence: u32,
    acknowledged: u32,
    flags: u8,
    /// Bytes of data.
    data: u32,
}

impl Segment {
    /// Reads it; `None` for one that is itself a reset or cannot be read.
    #[inline(always)]
    pub(super) fn read<F: Frame>(frame: &F, at: u32, length: u32) -> Option<Self> {
        let header = frame.load::<TCP>(at)?;
        let headers = u32::from(header[12] >> 4) * 4;
        if headers < TCP as u32 || headers > length || header[13] & RST != 0 {
            return None;
        }
        Some(Self {
            ports: from_array(&header, 0)?,
            sequence: u32::from_be_bytes(from_array(&header, 4)?),
            acknowledged: u32::from_be_bytes(from_array(&header, 8)?),
            flags: header[13],
            data: length - headers,
        })
    }

    /// The header of the reset, without its checksum: RFC 9293 §3.10.7.1, as for a port that is closed.
    #[inline(always)]
    pub(super) fn reset(&self) -> Option<[u8; TCP]> {
        let (sequence, acknowledged, flags) = if self.flags & ACK != 0 {
            (self.acknowledged, 0, RST)
        } else {
            // SYN and FIN each take a place in the sequence.
            let length = self.data + u32::from(self.flags & SYN != 0) + u32::from(self.flags & FIN != 0);
            (0, self.sequence.wrapping_add(length), RST | ACK)
        };
        let ([p, q, r, s], [a, b, c, d], [e, f, g, h]) =
            (self.ports, sequence.to_be_bytes(), acknowledged.to_be_bytes());
        Some([r, s, p, q, a, b, c, d, e, f, g, h, 0x50, flags, 0, 0, 0, 0, 0, 0])
    }
}
