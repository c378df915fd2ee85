//! Alarms from the instant the agent knows of them until they are off again.
//!
//! | from | event | to |
//! |---|---|---|
//! | none | the kernel raised it, by its record or the sweep | Waiting |
//! | Waiting | nobody answered in time | Denied, or Allowed if `on_outage` says so |
//! | Waiting, Denied, Allowed | control rejects | Rejected |
//! | Rejected | a snapshot shows that control has forgotten the device | Waiting |
//! | any | control cancels | none |
//!
//! Waiting, denied and allowed alarms are *unanswered*: they are said again on every new stream. All but the
//! allowed ones are active. One alarm per device: while one is active the kernel raises no other; if it does
//! after all, the new one takes the old one's place. A held frame is kept for two seconds, and only so many;
//! afterwards the device's next packet redeems the access. Time is the node's own clock: the world's may jump.

use std::{collections::BTreeMap, time::Duration};

use weir_dataplane::ring::AlarmCondition;
use weir_dataplane_common::{
    abi::{AccessKind, Side},
    tick::{Tick, length_ticks},
};

use crate::devices::DeviceNumber;

/// How long a held frame is worth delivering.
pub const FRAME_LIFETIME: Duration = Duration::from_secs(2);
/// Frames held at once; one more is not kept.
pub const MOST_FRAMES: usize = 4096;

/// The alarms that are active or unanswered.
#[derive(Debug, Default)]
pub struct Alarms {
    sequence: u64,
    alarms: BTreeMap<DeviceNumber, Alarm>,
    frames: usize,
    frames_without_room: u64,
}

/// One of them.
#[derive(Debug)]
pub struct Alarm {
    /// Its number within this boot.
    pub sequence: u64,
    /// Why it was raised.
    pub cause: Cause,
    /// What has become of it.
    pub phase: Phase,
    since: Tick,
    frame: Option<HeldFrame>,
}

/// Why an alarm was raised: what held at that instant, however often it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// What holds.
    pub condition: AlarmCondition,
    /// Requests in the alarm's window, the held one included; 0 if they are not counted.
    pub requests: u32,
    /// The kind of access.
    pub kind: AccessKind,
    /// Whether an access is held.
    pub access_held: bool,
}

/// What has become of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Control has not answered.
    Waiting,
    /// Nor in time; it stays active.
    Denied,
    /// Nor in time; the held access was accepted and the device raises no other alarm.
    Allowed,
    /// Control's answer: it stays active until control cancels it.
    Rejected,
}

/// A frame waiting for its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFrame {
    /// The side whose program is to judge it again.
    pub side: Side,
    /// The interface it came in on.
    pub ifindex: u32,
    /// When it came.
    pub held: Tick,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Alarm {
    /// Whether control's answer is still awaited.
    pub fn is_unanswered(&self) -> bool {
        self.phase != Phase::Rejected
    }
}

impl Alarms {
    /// Numbers the alarms from here on: no agent of these maps uses another's numbers.
    pub fn begin_after(&mut self, sequence: u64) {
        self.sequence = sequence;
    }

    /// Takes an alarm up, in the place of an older one of the device.
    pub fn raise(&mut self, device: DeviceNumber, cause: Cause, frame: Option<HeldFrame>, now: Tick) {
        self.cancel(device, now);
        self.sequence += 1;
        let alarm = Alarm { sequence: self.sequence, cause, phase: Phase::Waiting, since: now, frame: None };
        self.alarms.insert(device, alarm);
        if let Some(frame) = frame {
            self.bring_frame(device, frame);
        }
    }

    /// Keeps the frame of an undecided alarm that holds an access and has none. A packet of an open session is
    /// no access: delivered after that session, it would be charged as a new one.
    pub fn bring_frame(&mut self, device: DeviceNumber, frame: HeldFrame) {
        let Some(alarm) = self.alarms.get_mut(&device) else { return };
        let undecided = matches!(alarm.phase, Phase::Waiting | Phase::Denied);
        let wanted = undecided && alarm.cause.access_held && alarm.frame.is_none();
        if !wanted || frame.bytes.is_empty() {
            return;
        }
        if self.frames < MOST_FRAMES {
            alarm.frame = Some(frame);
            self.frames += 1;
        } else {
            self.frames_without_room += 1;
        }
    }

    /// Frames held now, and those that were not kept for want of room.
    pub fn frames(&self) -> (usize, u64) {
        (self.frames, self.frames_without_room)
    }

    /// A device's alarm.
    pub fn get(&self, device: DeviceNumber) -> Option<&Alarm> {
        self.alarms.get(&device)
    }

    /// Whether `on_outage` has accepted what a device's alarm held, and control has not answered yet.
    pub fn is_allowed(&self, device: DeviceNumber) -> bool {
        self.get(device).is_some_and(|alarm| alarm.phase == Phase::Allowed)
    }

    /// Devices whose alarm control has not answered.
    pub fn unanswered(&self) -> impl Iterator<Item = DeviceNumber> {
        self.alarms.iter().filter(|(_, alarm)| alarm.is_unanswered()).map(|(device, _)| *device)
    }

    /// Ends a device's alarm; its frame, if that is worth delivering.
    pub fn cancel(&mut self, device: DeviceNumber, now: Tick) -> Option<HeldFrame> {
        let frame = self.take_frame(device, now);
        self.alarms.remove(&device);
        frame
    }

    /// Answered: a device's alarm stays active, what it held is discarded.
    pub fn reject(&mut self, device: DeviceNumber, now: Tick) {
        self.take_frame(device, now);
        if let Some(alarm) = self.alarms.get_mut(&device) {
            (alarm.phase, alarm.cause.access_held) = (Phase::Rejected, false);
        }
    }

    /// Accepts for the time being what a device's alarm holds; its frame, if that is worth delivering.
    pub fn allow(&mut self, device: DeviceNumber, now: Tick) -> Option<HeldFrame> {
        self.alarms.get_mut(&device)?.phase = Phase::Allowed;
        self.take_frame(device, now)
    }

    /// A rejected alarm that control has forgotten waits again, from now on; false if there is none.
    pub fn reopen(&mut self, device: DeviceNumber, now: Tick) -> bool {
        let rejected = self.alarms.get_mut(&device).filter(|alarm| alarm.phase == Phase::Rejected);
        let Some(alarm) = rejected else { return false };
        (alarm.phase, alarm.since) = (Phase::Waiting, now);
        true
    }

    /// Lets go of frames too old to deliver.
    pub fn forget_old_frames(&mut self, now: Tick) {
        for alarm in self.alarms.values_mut() {
            if alarm.frame.take_if(|frame| !frame.is_fresh(now)).is_some() {
                self.frames -= 1;
            }
        }
    }

    /// Devices whose alarm has now waited for longer than `timeout`; each is named once and denied.
    pub fn overdue(&mut self, now: Tick, timeout: Duration) -> Vec<DeviceNumber> {
        let timeout = ticks(timeout);
        let waiting = self.alarms.iter_mut().filter(|(_, alarm)| alarm.phase == Phase::Waiting);
        let overdue = waiting.filter(|(_, alarm)| age(alarm.since, now) > timeout);
        overdue
            .map(|(device, alarm)| {
                alarm.phase = Phase::Denied;
                *device
            })
            .collect()
    }

    fn take_frame(&mut self, device: DeviceNumber, now: Tick) -> Option<HeldFrame> {
        let frame = self.alarms.get_mut(&device)?.frame.take()?;
        self.frames -= 1;
        Some(frame).filter(|frame| frame.is_fresh(now))
    }
}

impl HeldFrame {
    fn is_fresh(&self, now: Tick) -> bool {
        age(self.held, now) <= ticks(FRAME_LIFETIME)
    }
}

/// Ticks since an instant; 0 if it lies ahead.
fn age(instant: Tick, now: Tick) -> u32 {
    now.0.saturating_sub(instant.0).min(u64::from(u32::MAX)) as u32
}

/// A length in ticks, at most what [`age`] can tell.
fn ticks(length: Duration) -> u32 {
    const LONGEST: Duration = Duration::from_secs(20 * 24 * 3600);
    length_ticks(length.min(LONGEST).as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Tick = Tick(u32::MAX as u64 - 100);

    fn after(millis: u64) -> Tick {
        NOW.after(ticks(Duration::from_millis(millis)))
    }

    fn frame(bytes: usize) -> HeldFrame {
        HeldFrame { side: Side::Access, ifindex: 3, held: NOW, bytes: vec![1; bytes] }
    }

    fn raise(alarms: &mut Alarms, device: DeviceNumber, access_held: bool) {
        let (condition, kind) = (AlarmCondition::Count, AccessKind::Packet);
        alarms.raise(device, Cause { condition, requests: 4, kind, access_held }, Some(frame(60)), NOW);
    }

    fn unanswered(alarms: &Alarms) -> Vec<DeviceNumber> {
        alarms.unanswered().collect()
    }

    #[test]
    fn alarms_are_numbered_within_the_boot_and_a_newer_one_takes_the_olders_place() {
        let mut alarms = Alarms::default();
        [1, 2, 1].iter().for_each(|device| raise(&mut alarms, *device, true));
        assert_eq!([1, 2].map(|device| alarms.get(device).expect("raised").sequence), [3, 2]);
        assert_eq!((unanswered(&alarms), alarms.frames), (vec![1, 2], 2));
    }

    #[test]
    fn a_rejected_alarm_is_kept_but_answered_and_its_frame_is_gone() {
        let mut alarms = Alarms::default();
        raise(&mut alarms, 1, true);
        alarms.reject(1, NOW);
        alarms.bring_frame(1, frame(60));
        assert_eq!((unanswered(&alarms), alarms.frames), (vec![], 0));
        let kept = alarms.get(1).expect("kept");
        assert_eq!((kept.phase, kept.cause.access_held), (Phase::Rejected, false));
        assert_eq!(alarms.cancel(1, NOW), None);
        assert!(alarms.get(1).is_none());
    }

    #[test]
    fn only_a_rejected_alarm_waits_again_and_for_its_full_time() {
        let mut alarms = Alarms::default();
        raise(&mut alarms, 1, true);
        assert!(!alarms.reopen(1, NOW) && !alarms.reopen(2, NOW));
        alarms.reject(1, NOW);
        assert!(alarms.reopen(1, after(5000)) && unanswered(&alarms) == [1]);
        let timeout = Duration::from_secs(1);
        assert!(alarms.overdue(after(5900), timeout).is_empty());
        assert_eq!(alarms.overdue(after(6100), timeout), [1]);
    }

    #[test]
    fn frames_are_forgotten_after_two_seconds_but_their_alarms_are_not() {
        let mut alarms = Alarms::default();
        raise(&mut alarms, 1, true);
        alarms.forget_old_frames(after(2000));
        assert_eq!(alarms.frames, 1);
        alarms.forget_old_frames(after(2002));
        assert_eq!((alarms.frames, unanswered(&alarms)), (0, vec![1]));
        assert_eq!(alarms.cancel(1, after(2002)), None);
    }

    #[test]
    fn an_old_frame_is_not_given_out_even_if_nobody_has_looked_for_a_while() {
        let mut alarms = Alarms::default();
        [1, 2].iter().for_each(|device| raise(&mut alarms, *device, true));
        assert_eq!(alarms.cancel(1, after(2500)), None);
        assert_eq!(alarms.allow(2, after(1500)), Some(frame(60)));
        assert_eq!(alarms.frames, 0);
    }

    #[test]
    fn an_overdue_alarm_is_named_once_and_stays_unanswered() {
        let mut alarms = Alarms::default();
        raise(&mut alarms, 1, true);
        let timeout = Duration::from_secs(1);
        assert!(alarms.overdue(after(1000), timeout).is_empty());
        assert_eq!(alarms.overdue(after(1002), timeout), [1]);
        assert!(alarms.overdue(after(5000), timeout).is_empty());
        assert_eq!(unanswered(&alarms), [1], "a late answer still counts");
        alarms.allow(1, NOW);
        assert!(alarms.is_allowed(1) && unanswered(&alarms) == [1]);
    }

    #[test]
    fn what_holds_no_access_or_was_not_carried_is_not_kept() {
        let mut alarms = Alarms::default();
        raise(&mut alarms, 1, false);
        raise(&mut alarms, 2, true);
        alarms.cancel(2, NOW);
        alarms.raise(2, alarms.get(1).expect("raised").cause, Some(frame(0)), NOW);
        alarms.bring_frame(3, frame(60));
        assert_eq!(alarms.frames, 0);
    }

    #[test]
    fn frames_are_bounded() {
        let mut alarms = Alarms::default();
        (0..MOST_FRAMES + 10).for_each(|device| raise(&mut alarms, device, true));
        assert_eq!((alarms.frames, unanswered(&alarms).len()), (MOST_FRAMES, MOST_FRAMES + 10));
        assert_eq!(alarms.frames(), (MOST_FRAMES, 10), "what was not kept is counted");
        assert_eq!(alarms.cancel(MOST_FRAMES + 1, NOW), None);
        alarms.cancel(0, NOW);
        alarms.bring_frame(MOST_FRAMES + 2, frame(60));
        assert_eq!(alarms.frames, MOST_FRAMES);
    }
}
