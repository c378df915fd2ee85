//! Alarms as they come from the kernel.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use aya::maps::{MapData, RingBuf};
use weir_dataplane_common::{
    abi::{AccessKind, AlarmRecord, Side, condition},
    inspect::{Class, Classes},
    tick::Tick,
};

/// The ring of alarms. Readable (as a file descriptor) when there are some.
pub struct AlarmRing(RingBuf<MapData>);

/// An alarm, with the frame that was held.
#[derive(Clone, Debug)]
pub struct KernelAlarm {
    /// The device's primary entry.
    pub entry: u32,
    /// What holds.
    pub condition: AlarmCondition,
    /// The side it came in on, whose program is to judge it again.
    pub side: Side,
    /// The kind of access.
    pub kind: AccessKind,
    /// Whether an access is held.
    pub access_held: bool,
    /// When.
    pub tick: Tick,
    /// The interface the frame came in on.
    pub ifindex: u32,
    /// The frame; empty if it was too long to carry.
    pub frame: Vec<u8>,
}

/// What holds for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmCondition {
    /// More requests than the alarm permits.
    Count,
    /// A packet of this class.
    Protocol(Class),
}

impl AlarmRing {
    pub(crate) fn new(ring: RingBuf<MapData>) -> Self {
        Self(ring)
    }

    /// The next alarm, if there is one. A record that cannot be understood is skipped: only another ABI
    /// writes one, and that was refused at load.
    pub fn next_alarm(&mut self) -> Option<KernelAlarm> {
        while let Some(item) = self.0.next() {
            if let Some(alarm) = decode(&item) {
                return Some(alarm);
            }
        }
        None
    }
}

impl AsRawFd for AlarmRing {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for AlarmRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn decode(bytes: &[u8]) -> Option<KernelAlarm> {
    if bytes.len() < size_of::<AlarmRecord>() {
        return None;
    }
    // SAFETY: long enough, any alignment, and every bit pattern is a record.
    let record = unsafe { bytes.as_ptr().cast::<AlarmRecord>().read_unaligned() };
    let condition = match record.condition {
        condition::COUNT => AlarmCondition::Count,
        condition::PROTOCOL => AlarmCondition::Protocol(Classes(record.classes).iter().next()?),
        _ => return None,
    };
    Some(KernelAlarm {
        entry: record.entry,
        condition,
        side: if record.side == Side::Access as u8 { Side::Access } else { Side::Network },
        kind: AccessKind::from_number(record.kind)?,
        access_held: record.access_held != 0,
        tick: Tick(record.tick),
        ifindex: record.ifindex,
        frame: record.frame.get(..record.carried as usize)?.to_vec(),
    })
}
