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

#[cfg(test)]
mod tests {
    use super::*;
    use weir_dataplane_common::abi::HELD_FRAME;

    fn record() -> AlarmRecord {
        let mut record = AlarmRecord {
            entry: 7,
            ifindex: 3,
            tick: 1000,
            frame_length: 60,
            carried: 60,
            condition: condition::PROTOCOL,
            side: Side::Network as u8,
            kind: AccessKind::Trigger as u8,
            access_held: 1,
            padding: 0,
            classes: Classes::of(Class::Esp).0,
            frame: [0; HELD_FRAME],
        };
        record.frame[..60].fill(0xa5);
        record
    }

    fn bytes(record: &AlarmRecord) -> &[u8] {
        let start = std::ptr::from_ref(record).cast();
        // SAFETY: the record is plain bytes without padding, and lives as long as the slice.
        unsafe { std::slice::from_raw_parts(start, size_of::<AlarmRecord>()) }
    }

    #[test]
    fn a_record_of_the_kernel_is_an_alarm_with_its_frame() {
        let alarm = decode(bytes(&record())).expect("understood");
        assert_eq!((alarm.entry, alarm.ifindex, alarm.tick), (7, 3, Tick(1000)));
        assert_eq!(alarm.condition, AlarmCondition::Protocol(Class::Esp));
        assert_eq!((alarm.side, alarm.kind, alarm.access_held), (Side::Network, AccessKind::Trigger, true));
        assert_eq!(alarm.frame, [0xa5; 60]);
    }

    #[test]
    fn a_frame_too_long_to_carry_leaves_an_alarm_without_one() {
        let alarm = decode(bytes(&AlarmRecord { carried: 0, frame_length: 9000, ..record() }));
        assert!(alarm.expect("understood").frame.is_empty());
    }

    #[test]
    fn a_record_that_cannot_be_understood_is_no_alarm() {
        assert!(decode(&bytes(&record())[1..]).is_none(), "cut short");
        let broken = [
            AlarmRecord { condition: 0, ..record() },
            AlarmRecord { kind: 3, ..record() },
            AlarmRecord { classes: 1 << 63, ..record() },
            AlarmRecord { carried: HELD_FRAME as u32 + 1, ..record() },
        ];
        assert!(broken.iter().all(|record| decode(bytes(record)).is_none()));
    }
}
