//! The way up: alarms from the kernel or from the sweep, and what happens when nobody answers them.
//!
//! The entry's control word says whether an alarm is new, not the ring: a record can be lost, or come after
//! the sweep has found its alarm.

use std::collections::HashSet;

use weir_dataplane::ring::{AlarmCondition, KernelAlarm};
use weir_dataplane_common::{
    abi::{
        ALARM_UNSEEN, ALARM_WORD, AccessKind, Control, HELD, LAST_ALARM_CLASS, LAST_ALARM_HELD, REDEEM,
        condition,
    },
    inspect::Classes,
    subwindow::{self, SubWindows},
    tick::window_ticks,
};
use weir_proto::v1::{self, from_node::Message as Up};

use super::{Core, Kernel};
use crate::{
    alarms::{Cause, HeldFrame},
    config::OnOutage,
    devices::DeviceNumber,
    entry,
    time::Instant,
    translate,
};

impl<K: Kernel> Core<K> {
    /// The kernel raised an alarm.
    pub fn kernel_alarm(&mut self, alarm: KernelAlarm, now: Instant) -> Option<Up> {
        let device = self.devices.at_entry(alarm.entry)?;
        let (side, ifindex, held) = (alarm.side, alarm.ifindex, alarm.tick);
        let frame = HeldFrame { side, ifindex, held, bytes: alarm.frame };
        let entry = self.entry(device);
        if !entry::notice_alarm(entry) {
            // The sweep was here before: what is new is the frame.
            self.alarms.bring_frame(device, frame);
            return None;
        }
        let cause = Cause {
            condition: alarm.condition,
            requests: self.requests(alarm.condition, device, now),
            kind: alarm.kind,
            access_held: alarm.access_held,
        };
        self.take_up(device, cause, Some(frame), now)
    }

    /// Looks for alarm bits whose record found the ring full: those unseen in two sweeps. The ring is to be
    /// emptied before.
    pub fn sweep(&mut self, now: Instant) -> Vec<Up> {
        let unseen: HashSet<DeviceNumber> = (0..self.devices.len())
            .filter(|device| Control(self.entry(*device).control.load()).has(ALARM_UNSEEN))
            .collect();
        let mut lost: Vec<DeviceNumber> = unseen.intersection(&self.unseen_last_sweep).copied().collect();
        lost.sort_unstable();
        self.unseen_last_sweep = unseen;
        lost.into_iter().filter_map(|device| self.sweep_up(device, now)).collect()
    }

    /// Every second: old frames go, unanswered alarms are decided as configured, and statuses follow the world's
    /// clock if it has moved against the node's.
    pub fn time_passes(&mut self, now: Instant) {
        self.follow_clock(now);
        if let Some(strangers) = &mut self.strangers {
            strangers.look(&self.kernel, now.tick);
        }
        self.alarms.forget_old_frames(now.tick);
        for device in self.alarms.overdue(now.tick, self.config.alarm_timeout) {
            self.figures.outages_decided += 1;
            if self.config.on_outage == OnOutage::Allow {
                self.allow(device, now);
            }
        }
    }

    fn sweep_up(&mut self, device: DeviceNumber, now: Instant) -> Option<Up> {
        let entry = self.entry(device);
        let last = entry.last_alarm.load();
        if !entry::notice_alarm(entry) {
            return None;
        }
        let cause = self.cause_as_written(device, last, now);
        self.figures.alarms_swept += 1;
        self.take_up(device, cause, None, now)
    }

    /// The cause that the kernel wrote into the entry, where there is no record.
    pub(super) fn cause_as_written(&self, device: DeviceNumber, last_alarm: u32, now: Instant) -> Cause {
        let condition = match Classes(1 << (last_alarm >> LAST_ALARM_CLASS & 63)).iter().next() {
            Some(class) if last_alarm as u8 == condition::PROTOCOL => AlarmCondition::Protocol(class),
            _ => AlarmCondition::Count,
        };
        Cause {
            condition,
            requests: self.requests(condition, device, now),
            kind: AccessKind::from_number((last_alarm >> 8) as u8).unwrap_or(AccessKind::Packet),
            access_held: last_alarm & LAST_ALARM_HELD != 0,
        }
    }

    fn take_up(
        &mut self,
        device: DeviceNumber,
        cause: Cause,
        frame: Option<HeldFrame>,
        now: Instant,
    ) -> Option<Up> {
        self.alarms.raise(device, cause, frame, now.tick);
        self.figures.alarms_raised += 1;
        self.alarm_message(device, now)
    }

    /// Requests in the alarm's window. More than it permits by definition, which a full history cannot tell.
    fn requests(&self, condition: AlarmCondition, device: DeviceNumber, now: Instant) -> u32 {
        let Some((permitted, window)) = self.config.alarm_limit() else { return 0 };
        let (ledger, window) = (self.ledger(device), window_ticks(window.as_nanos() as u64));
        let requests = if self.counts_by_words(device) {
            let word = SubWindows(ledger.words()[ALARM_WORD].load());
            word.at(subwindow::number(now.tick, window)).sum()
        } else {
            ledger.requests.count_within(now.tick, window)
        };
        if condition == AlarmCondition::Count { requests.max(permitted + 1) } else { requests }
    }

    /// Whether a device's ledger holds words where it might hold its last requests.
    fn counts_by_words(&self, device: DeviceNumber) -> bool {
        self.profile(Control(self.entry(device).control.load()).profile()).by_words != 0
    }

    /// A device's alarm as it is said now: the cause as it was, the counts as they are.
    pub(super) fn alarm_message(&mut self, device: DeviceNumber, now: Instant) -> Option<Up> {
        let alarm = self.alarms.get(device)?;
        let entry = &self.kernel.entries()[self.devices.entry(device) as usize];
        self.counts[device].read(entry);
        let id = self.devices.id(device);
        let ledger = &self.kernel.ledgers()[self.devices.entry(device) as usize];
        let profile = self.profile(Control(entry.control.load()).profile());
        let counts = self.counts[device].message(id, ledger, profile, now);
        let alarm_id =
            v1::AlarmId { node: self.config.name.clone(), boot: self.boot.clone(), sequence: alarm.sequence };
        // Read after the counts: an access that `on_outage` let through is among the admissions, and is not to be
        // counted on top of them.
        let still_held = Control(entry.control.load()).has(HELD | REDEEM);
        let mut raised = translate::alarm(alarm_id, id, &alarm.cause, counts, &self.config);
        raised.access_held &= still_held;
        Some(Up::Alarm(raised))
    }

    /// Nobody answered and the operator prefers service: the held access is accepted. What the entry says
    /// otherwise stands.
    fn allow(&mut self, device: DeviceNumber, now: Instant) {
        entry::allow(self.entry(device));
        let frame = self.alarms.allow(device, now.tick);
        self.deliver(frame);
    }

    /// Runs a held frame through the program once more, which redeems it.
    pub(super) fn deliver(&mut self, frame: Option<HeldFrame>) {
        let Some(frame) = frame else { return };
        match self.kernel.inject(frame.side, frame.ifindex, &frame.bytes) {
            Ok(()) => self.figures.frames_injected += 1,
            Err(reason) => {
                self.figures.injections_failed += 1;
                tracing::warn!(
                    "a held frame could not be delivered, the device's next packet redeems it: {reason}"
                );
            }
        }
    }
}
