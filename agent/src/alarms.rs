//! Alarms on their way: raised by the kernel, outstanding until control answers, whatever happens between.
//!
//! ```text
//!            raise                       answer (cancel or reject, late ones too)
//!   none ───────────► outstanding ─────────────────────────────────────────────► none
//!                      │  ▲ resent on every new stream
//!            overdue   ▼  │
//!                     decided by outage (once); stays outstanding, since a late answer still counts
//! ```
//! One alarm per device: its alarm bit is set, so the kernel raises no second one. A held frame is kept for
//! two seconds, and only so many; afterwards the device's next packet redeems the access.

use std::{collections::BTreeMap, time::Duration};

use weir_dataplane::ring::AlarmCondition;
use weir_dataplane_common::abi::{AccessKind, Side};

use crate::devices::DeviceNumber;

/// How long a held frame is worth delivering.
pub const FRAME_LIFETIME: Duration = Duration::from_secs(2);
/// Frames held at once; one more is not kept.
pub const MOST_FRAMES: usize = 4096;

/// The alarms that control has not answered.
#[derive(Debug, Default)]
pub struct Alarms {
    sequence: u64,
    outstanding: BTreeMap<DeviceNumber, Outstanding>,
    frames: usize,
}

/// One of them.
#[derive(Debug)]
pub struct Outstanding {
    /// Its number within this boot.
    pub sequence: u64,
    /// What holds.
    pub condition: AlarmCondition,
    /// The kind of access.
    pub kind: AccessKind,
    /// Whether an access is held.
    pub access_held: bool,
    raised_ms: i64,
    outage_decided: bool,
    frame: Option<HeldFrame>,
}

/// A frame waiting for its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFrame {
    /// The side whose program is to judge it again.
    pub side: Side,
    /// The interface it came in on.
    pub ifindex: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Alarms {
    /// Takes an alarm up. False if the device has one outstanding already; a frame is then kept if that one
    /// had none (the sweep found it before the ring did).
    pub fn raise(
        &mut self,
        device: DeviceNumber,
        condition: AlarmCondition,
        kind: AccessKind,
        access_held: bool,
        frame: Option<HeldFrame>,
        now_ms: i64,
    ) -> bool {
        let frame = frame.filter(|frame| !frame.bytes.is_empty() && self.frames < MOST_FRAMES);
        if let Some(known) = self.outstanding.get_mut(&device) {
            if known.frame.is_none() && !known.outage_decided && frame.is_some() {
                known.frame = frame;
                self.frames += 1;
            }
            return false;
        }
        self.frames += usize::from(frame.is_some());
        self.sequence += 1;
        let alarm = Outstanding {
            sequence: self.sequence,
            condition,
            kind,
            access_held,
            raised_ms: now_ms,
            outage_decided: false,
            frame,
        };
        self.outstanding.insert(device, alarm);
        true
    }

    /// A device's outstanding alarm.
    pub fn get(&self, device: DeviceNumber) -> Option<&Outstanding> {
        self.outstanding.get(&device)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceNumber, &Outstanding)> {
        self.outstanding.iter().map(|(device, alarm)| (*device, alarm))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.outstanding.len()
    }

    /// Whether every alarm is answered.
    pub fn is_empty(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// Ends a device's alarm; its frame, if it is still held.
    pub fn end(&mut self, device: DeviceNumber) -> Option<HeldFrame> {
        let frame = self.outstanding.remove(&device)?.frame;
        self.frames -= usize::from(frame.is_some());
        frame
    }

    /// Lets go of frames too old to deliver.
    pub fn forget_old_frames(&mut self, now_ms: i64) {
        let oldest = now_ms - FRAME_LIFETIME.as_millis() as i64;
        for alarm in self.outstanding.values_mut() {
            if alarm.frame.is_some() && alarm.raised_ms < oldest {
                alarm.frame = None;
                self.frames -= 1;
            }
        }
    }

    /// Devices whose alarm has now waited for longer than `timeout`; each is named once.
    pub fn overdue(&mut self, now_ms: i64, timeout: Duration) -> Vec<DeviceNumber> {
        let oldest = now_ms - timeout.as_millis() as i64;
        let overdue = self.outstanding.iter_mut().filter(|(_, a)| !a.outage_decided && a.raised_ms < oldest);
        overdue
            .map(|(device, alarm)| {
                alarm.outage_decided = true;
                *device
            })
            .collect()
    }

    /// Takes the frame of an alarm that stays outstanding.
    pub fn take_frame(&mut self, device: DeviceNumber) -> Option<HeldFrame> {
        let frame = self.outstanding.get_mut(&device)?.frame.take();
        self.frames -= usize::from(frame.is_some());
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Option<HeldFrame> {
        Some(HeldFrame { side: Side::Access, ifindex: 3, bytes: vec![1; 60] })
    }

    fn raise(alarms: &mut Alarms, device: DeviceNumber, frame: Option<HeldFrame>, now_ms: i64) -> bool {
        alarms.raise(device, AlarmCondition::Count, AccessKind::Packet, true, frame, now_ms)
    }

    #[test]
    fn a_device_has_one_alarm_and_it_keeps_its_number() {
        let mut alarms = Alarms::default();
        assert!(raise(&mut alarms, 1, None, 0) && raise(&mut alarms, 2, None, 0));
        assert!(!raise(&mut alarms, 1, None, 5));
        assert_eq!(alarms.get(1).expect("outstanding").sequence, 1);
        assert_eq!(alarms.get(2).expect("outstanding").sequence, 2);
    }

    #[test]
    fn a_frame_that_comes_after_the_sweep_is_kept() {
        let mut alarms = Alarms::default();
        raise(&mut alarms, 1, None, 0);
        raise(&mut alarms, 1, frame(), 5);
        assert_eq!(alarms.end(1), frame());
        assert_eq!((alarms.len(), alarms.frames), (0, 0));
    }

    #[test]
    fn frames_are_forgotten_after_two_seconds_but_their_alarms_are_not() {
        let mut alarms = Alarms::default();
        raise(&mut alarms, 1, frame(), 0);
        alarms.forget_old_frames(2000);
        assert!(alarms.get(1).expect("outstanding").frame.is_some());
        alarms.forget_old_frames(2001);
        assert_eq!(alarms.end(1), None);
        assert_eq!(alarms.frames, 0);
    }

    #[test]
    fn an_overdue_alarm_is_named_once_and_stays_outstanding() {
        let mut alarms = Alarms::default();
        raise(&mut alarms, 1, frame(), 0);
        let timeout = Duration::from_secs(1);
        assert!(alarms.overdue(1000, timeout).is_empty());
        assert_eq!(alarms.overdue(1001, timeout), [1]);
        assert!(alarms.overdue(5000, timeout).is_empty());
        assert!(alarms.get(1).is_some(), "a late answer still counts");
    }

    #[test]
    fn frames_are_bounded() {
        let mut alarms = Alarms::default();
        for device in 0..MOST_FRAMES + 10 {
            raise(&mut alarms, device, frame(), 0);
        }
        assert_eq!(alarms.frames, MOST_FRAMES);
        assert_eq!(alarms.len(), MOST_FRAMES + 10);
        assert_eq!(alarms.end(MOST_FRAMES + 1), None);
    }
}
