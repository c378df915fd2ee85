//! The ring of copies, as it is read.

use std::{
    mem::offset_of,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    time::{SystemTime, UNIX_EPOCH},
};

use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use weir_dataplane_common::{
    abi::{NO_INDEX, Side},
    capture::{HEAD, Record, loss},
    reason::Reason,
};

use crate::{Error, clock, gate::map_error};

/// The ring. Readable (as a file descriptor) when there is something.
pub struct CaptureRing {
    ring: RingBuf<MapData>,
    losses: PerCpuArray<MapData, u64>,
    /// What was lost before this capture.
    before: Losses,
    /// When the monotonic clock was at 0, ns since the Unix epoch. Fixed, so that a step of the system's clock does
    /// not reorder what is captured.
    epoch: u64,
}

/// A judged packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// When, ns since the Unix epoch.
    pub at_ns: u64,
    /// The interface it came in on.
    pub ifindex: u32,
    /// The device's primary entry; none if no device is bound to the address.
    pub entry: Option<u32>,
    /// Why it was passed or dropped.
    pub reason: Reason,
    /// Why it would have been dropped by a node that does not only watch.
    pub in_earnest: Option<Reason>,
    /// Where it came in.
    pub side: Side,
    /// The frame's length on the wire.
    pub frame_length: u32,
    /// As much of the frame as was asked for and fits.
    pub frame: Vec<u8>,
}

/// Packets that were wanted and not copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// The ring had no room.
    pub ring_full: u64,
    /// The second had its number of copies.
    pub over_rate: u64,
}

impl CaptureRing {
    /// Opens the maps behind these; what an earlier capture left in the ring is thrown away.
    pub(super) fn open(ring: OwnedFd, losses: OwnedFd) -> Result<Self, Error> {
        let open = |name, fd| MapData::from_fd(fd).map_err(|error| map_error(name, "opening", &error));
        let ring = Map::RingBuf(open("CAPTURES", ring)?);
        let mut ring = RingBuf::try_from(ring).map_err(|error| map_error("CAPTURES", "opening", &error))?;
        while ring.next().is_some() {}
        let losses = Map::PerCpuArray(open("CAPTURE_LOSSES", losses)?);
        let losses =
            PerCpuArray::try_from(losses).map_err(|error| map_error("CAPTURE_LOSSES", "opening", &error))?;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let epoch = wall.saturating_sub(clock::monotonic_nanos());
        let mut ring = Self { ring, losses, before: Losses::default(), epoch };
        ring.before = ring.losses()?;
        Ok(ring)
    }

    /// The next packet, if there is one. A record that cannot be understood is skipped: only another ABI writes one,
    /// and that was refused at load.
    pub fn next_packet(&mut self) -> Option<Captured> {
        while let Some(item) = self.ring.next() {
            if let Some(captured) = decode(&item, self.epoch) {
                return Some(captured);
            }
        }
        None
    }

    /// What was lost since this capture began.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn losses(&self) -> Result<Losses, Error> {
        let sum = |place| {
            let values = self.losses.get(&place, 0);
            let values = values.map_err(|error| map_error("CAPTURE_LOSSES", "reading", &error))?;
            Ok(values.iter().sum::<u64>())
        };
        Ok(Losses {
            ring_full: sum(loss::RING_FULL)?.saturating_sub(self.before.ring_full),
            over_rate: sum(loss::OVER_RATE)?.saturating_sub(self.before.over_rate),
        })
    }
}

impl AsRawFd for CaptureRing {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

impl AsFd for CaptureRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

fn decode(bytes: &[u8], epoch: u64) -> Option<Captured> {
    let (head, frame) = bytes.split_at_checked(HEAD)?;
    let word = |at: usize| Some(u32::from_ne_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let nanos = u64::from_ne_bytes(head.get(..8)?.try_into().ok()?);
    let entry = word(offset_of!(Record, entry))?;
    let captured = word(offset_of!(Record, captured))? as usize;
    let reason = Reason::from_number(head[offset_of!(Record, reason)])?;
    let in_earnest = Reason::from_number(head[offset_of!(Record, in_earnest)])?;
    Some(Captured {
        at_ns: epoch.saturating_add(nanos),
        ifindex: word(offset_of!(Record, ifindex))?,
        entry: (entry != NO_INDEX).then_some(entry),
        reason,
        in_earnest: (in_earnest != reason).then_some(in_earnest),
        side: match head[offset_of!(Record, side)] {
            0 => Side::Access,
            1 => Side::Network,
            _ => return None,
        },
        frame_length: word(offset_of!(Record, frame_length))?,
        frame: frame.get(..captured)?.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_dataplane_common::capture::LONGEST_SNAP;

    fn record() -> Record {
        let mut frame = [0; LONGEST_SNAP];
        frame[..60].fill(0xa5);
        Record {
            nanos: 5,
            ifindex: 3,
            entry: 7,
            frame_length: 1500,
            captured: 60,
            reason: Reason::Throttled as u8,
            side: Side::Network as u8,
            in_earnest: Reason::Throttled as u8,
            padding: [0; 5],
            frame,
        }
    }

    /// As the kernel sends it: no more of the frame than is in use.
    fn bytes(record: &Record) -> &[u8] {
        let start = std::ptr::from_ref(record).cast();
        // SAFETY: the record is plain bytes without padding, and lives as long as the slice.
        unsafe { std::slice::from_raw_parts(start, HEAD + 60) }
    }

    #[test]
    fn a_record_of_the_kernel_is_a_packet_with_its_time_and_its_bytes() {
        let captured = decode(bytes(&record()), 1_000_000).expect("understood");
        assert_eq!((captured.at_ns, captured.ifindex, captured.entry), (1_000_005, 3, Some(7)));
        assert_eq!((captured.reason, captured.in_earnest), (Reason::Throttled, None));
        assert_eq!(captured.side, Side::Network);
        assert_eq!((captured.frame_length, captured.frame), (1500, vec![0xa5; 60]));
        let nobodys = decode(bytes(&Record { entry: NO_INDEX, ..record() }), 0).expect("understood");
        assert_eq!(nobodys.entry, None);
        let watched = Record { reason: Reason::Admitted as u8, ..record() };
        let watched = decode(bytes(&watched), 0).expect("understood");
        assert_eq!((watched.reason, watched.in_earnest), (Reason::Admitted, Some(Reason::Throttled)));
    }

    #[test]
    fn a_record_that_cannot_be_understood_is_no_packet() {
        let whole = record();
        assert!(decode(&bytes(&whole)[1..], 0).is_none() && decode(&[], 0).is_none(), "cut short");
        let broken =
            [Record { reason: 255, ..whole }, Record { side: 2, ..whole }, Record { captured: 61, ..whole }];
        assert!(broken.iter().all(|record| decode(bytes(record), 0).is_none()));
    }
}
