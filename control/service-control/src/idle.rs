//! A device about which nothing is going on: what is to be remembered of it, in few bytes.
//!
//! Most devices are idle most of the time, and each costs memory all the time. Whatever happens to one happens to
//! a [`Device`] made of this, which is packed again when it is over. Read first: `register`, which does that.
//!
//! Idle is a device with no question open, no alarm active, nothing throttled, rejected or released. What is no
//! longer looked at is left out: when a concluded alarm was raised, and over what.

use std::sync::Arc;
use std::time::Duration;

use crate::counts::{CountRow, Counts};
use crate::device::{Device, Entry, TrackedAlarm};
use crate::lifecycle::{AlarmPhase, Stage};
use crate::nodes::{AlarmKey, BootIndex, NodeIndex};
use crate::packing::{Reader, Writer};
use crate::shared::Shared;
use crate::{Policy, PolicyId, SubWindows, UnixMillis};

/// An idle device.
#[derive(Debug)]
pub(crate) struct Idle {
    /// Of the entry; `None`: there is none.
    policies: Option<Arc<[Policy]>>,
    explanation: Arc<str>,
    /// Until when it is believed not to be M2M, the revision, concluded alarms, and counts.
    memory: Box<[u8]>,
}

/// What packing needs: equal explanations are kept once, and the writer's room is used again.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    explanations: Shared<str>,
    writer: Writer,
}

impl Packer {
    /// `None`: the device is not idle. What is unchanged since `before` stays where it is.
    pub(crate) fn pack(&mut self, device: &Device, before: Option<&mut Idle>) -> Option<Idle> {
        if !device.is_idle() {
            return None;
        }
        self.writer.clear();
        write_device(&mut self.writer, device);
        let policies = device.entry.as_ref().map(|entry| entry.policies.clone());
        let (explanation, memory) = match before {
            None => (None, None),
            Some(before) => (
                Arc::ptr_eq(&before.explanation, &device.explanation).then(|| before.explanation.clone()),
                (*before.memory == *self.writer.bytes()).then(|| std::mem::take(&mut before.memory)),
            ),
        };
        let explanation = explanation.unwrap_or_else(|| self.explanations.one(device.explanation.clone()));
        let memory = memory.unwrap_or_else(|| self.writer.bytes().into());
        Some(Idle { policies, explanation, memory })
    }
}

impl Idle {
    /// Whether nodes hold an entry for it.
    pub(crate) fn cached(&self) -> bool {
        self.policies.is_some()
    }

    /// Whether nodes have nothing to do with it: no entry, and no alarm that was ever theirs.
    pub(crate) fn unknown_to_nodes(&self) -> bool {
        let mut reader = Reader::new(&self.memory);
        let _ = (not_m2m_until(&mut reader), reader.number());
        self.policies.is_none() && reader.length() == 0
    }

    /// Its policies, if they are known to be all that matters.
    pub(crate) fn settled_policies(&self) -> Option<&[Policy]> {
        self.policies.as_deref().filter(|_| not_m2m_until(&mut Reader::new(&self.memory)).is_none())
    }

    pub(crate) fn unpack(&self) -> Device {
        let mut reader = Reader::new(&self.memory);
        let not_m2m_until = not_m2m_until(&mut reader);
        let entry = self.policies.clone();
        let entry = entry.map(|policies| Box::new(Entry { policies, not_m2m_until, ..Entry::default() }));
        Device {
            revision: reader.number(),
            stage: Stage::Settled,
            entry,
            alarms: reader.list(read_alarm),
            counts: Counts::of(reader.list(read_row)),
            explanation: self.explanation.clone(),
        }
    }
}

impl Device {
    fn is_idle(&self) -> bool {
        let quiet = |entry: &Entry| {
            let Entry { policies: _, not_m2m_until: _, throttles, rejected, own, release } = entry;
            throttles.is_empty() && rejected.is_none() && own.is_empty() && !release
        };
        let concluded = |alarm: &TrackedAlarm| match alarm.phase {
            AlarmPhase::Cancelled | AlarmPhase::Lifted { .. } => true,
            AlarmPhase::Waiting | AlarmPhase::Rejected { .. } => false,
        };
        self.stage == Stage::Settled
            && self.entry.as_deref().is_none_or(quiet)
            && self.alarms.iter().all(concluded)
    }
}

fn write_device(writer: &mut Writer, device: &Device) {
    let Device { revision, stage: _, entry, alarms, counts, explanation: _ } = device;
    let not_m2m_until = entry.as_ref().and_then(|entry| entry.not_m2m_until);
    writer.number(not_m2m_until.is_some());
    not_m2m_until.inspect(|until| writer.signed(until.0));
    writer.number(*revision);
    writer.length(alarms.len());
    alarms.iter().for_each(|alarm| write_alarm(writer, alarm));
    let rows = counts.rows();
    writer.length(rows.len());
    rows.iter().for_each(|row| write_row(writer, row));
}

fn not_m2m_until(reader: &mut Reader<'_>) -> Option<UnixMillis> {
    (reader.number() > 0).then(|| UnixMillis(reader.signed()))
}

fn write_row(writer: &mut Writer, row: &CountRow) {
    let CountRow {
        node,
        boot,
        requests,
        admitted,
        rejected,
        unsolicited,
        last_rejection,
        admissions,
        windows,
    } = row;
    writer.number(node.0);
    writer.number(boot.map_or(0, |boot| u64::from(boot.0) + 1));
    for total in [requests, admitted, rejected, unsolicited] {
        writer.number(*total);
    }
    writer.number(last_rejection.is_some());
    last_rejection.as_deref().inspect(|reason| writer.text(reason));
    writer.length(admissions.len());
    let mut before = 0;
    for at in admissions {
        writer.signed(at.0.wrapping_sub(before));
        before = at.0;
    }
    writer.length(windows.len());
    windows.iter().for_each(|windows| write_windows(writer, windows));
}

fn read_row(reader: &mut Reader<'_>) -> CountRow {
    let node = NodeIndex(reader.small());
    let boot = reader.number().checked_sub(1).map(|boot| BootIndex(boot as u32));
    let [requests, admitted, rejected, unsolicited] = std::array::from_fn(|_| reader.number());
    let last_rejection = (reader.number() > 0).then(|| reader.text().into());
    let mut at = 0_i64;
    let admissions = reader.list(|reader| {
        at = at.wrapping_add(reader.signed());
        UnixMillis(at)
    });
    CountRow {
        node,
        boot,
        requests,
        admitted,
        rejected,
        unsolicited,
        last_rejection,
        admissions: admissions.into(),
        windows: reader.list(read_windows).into(),
    }
}

fn write_windows(writer: &mut Writer, windows: &SubWindows) {
    let SubWindows { policy, throttle, newest_start, length, counts } = windows;
    writer.number(policy.0);
    writer.number(*throttle);
    writer.signed(newest_start.0);
    writer.number(length.as_secs());
    writer.number(length.subsec_nanos());
    counts.iter().for_each(|count| writer.number(*count));
}

fn read_windows(reader: &mut Reader<'_>) -> SubWindows {
    SubWindows {
        policy: PolicyId(reader.small()),
        throttle: reader.number() > 0,
        newest_start: UnixMillis(reader.signed()),
        length: Duration::new(reader.number(), reader.small()),
        counts: std::array::from_fn(|_| reader.small()),
    }
}

fn write_alarm(writer: &mut Writer, alarm: &TrackedAlarm) {
    writer.number(alarm.source.is_some());
    if let Some((node, AlarmKey { boot, sequence })) = alarm.source {
        writer.number(node.0);
        writer.number(boot.0);
        writer.number(sequence);
    }
    let told = match &alarm.phase {
        AlarmPhase::Lifted { told } => Some(told),
        _ => None,
    };
    writer.number(told.is_some());
    if let Some(told) = told {
        writer.length(told.len());
        told.iter().for_each(|node| writer.number(node.0));
    }
}

fn read_alarm(reader: &mut Reader<'_>) -> TrackedAlarm {
    let source = (reader.number() > 0).then(|| {
        let (node, boot) = (NodeIndex(reader.small()), BootIndex(reader.small()));
        (node, AlarmKey { boot, sequence: reader.number() })
    });
    let lifted = reader.number() > 0;
    let phase = if lifted {
        AlarmPhase::Lifted { told: reader.list(|reader| NodeIndex(reader.small())) }
    } else {
        AlarmPhase::Cancelled
    };
    TrackedAlarm {
        source,
        raised_at: UnixMillis::default(),
        condition: None,
        kind: None,
        access_held: false,
        phase,
    }
}

#[cfg(test)]
mod tests;
