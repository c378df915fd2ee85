//! Service control as people may look at it: cheap copies, made device by device as they are read.

use std::sync::Arc;

use crate::device::{Device, TrackedAlarm};
use crate::lifecycle::{AlarmPhase, Stage};
use crate::register::Place;
use crate::{
    AccessKind, AlarmId, Condition, DeviceCounts, DeviceId, NodeName, Policy, ServiceControl, Status,
    UnixMillis, Until,
};

/// A device as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSnapshot {
    /// Which.
    pub device: DeviceId,
    /// The entry's revision, or that of the last one it had.
    pub revision: u64,
    /// Whether nodes hold an entry for it.
    pub cached: bool,
    /// The policies in that entry.
    pub policies: Arc<[Policy]>,
    /// The strictest that any node was told; lapsed instructions are left out.
    pub status: Status,
    /// Whether an alarm of some node is active.
    pub alarm_active: bool,
    /// Known not to be a machine (R-D9).
    pub not_m2m: bool,
    /// Why the entry is as it is; empty if nothing was ever decided.
    pub explanation: String,
    /// What each node counted in each boot.
    pub counts: Vec<CountsSnapshot>,
}

/// One node's counts for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountsSnapshot {
    /// The node.
    pub node: NodeName,
    /// Its boot; `None`: all its earlier boots together.
    pub boot: Option<String>,
    /// The counts. Admissions too old for any window are left out.
    pub counts: DeviceCounts,
}

/// An active alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmSnapshot {
    /// Whose.
    pub device: DeviceId,
    /// What the node said when it raised it. `None`: it was rejected before service control restarted.
    pub raised: Option<RaisedAlarm>,
    /// When service control first heard of it.
    pub since: UnixMillis,
    /// How far it has come.
    pub progress: AlarmProgress,
}

/// What an alarm is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaisedAlarm {
    /// Its name.
    pub id: AlarmId,
    /// What holds.
    pub condition: Condition,
    /// What kind of access raised it.
    pub kind: AccessKind,
    /// Whether that access was held.
    pub access_held: bool,
}

/// How far an alarm has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmProgress {
    /// The HSS has been asked.
    SubscriptionQueried,
    /// The PCRF has been asked.
    PoliciesQueried,
    /// An answer failed to come; it is asked again.
    RetryAt(UnixMillis),
    /// Decided against; looked at again then.
    RejectedUntil(UnixMillis),
}

impl ServiceControl {
    /// All devices known, by identifier.
    pub fn devices(&self) -> impl Iterator<Item = DeviceSnapshot> + '_ {
        let places = self.devices.sorted(self.devices.places());
        places.into_iter().map(|place| self.shown(place))
    }

    /// One device.
    pub fn device(&self, id: &DeviceId) -> Option<DeviceSnapshot> {
        self.devices.find(id).map(|place| self.shown(place))
    }

    /// How many devices nodes hold an entry for.
    pub fn cached_devices(&self) -> usize {
        self.devices.cached()
    }

    /// How many devices have an active alarm.
    pub fn alarmed_devices(&self) -> usize {
        self.devices.alarmed()
    }

    /// All active alarms, by device.
    pub fn alarms(&self) -> impl Iterator<Item = AlarmSnapshot> + '_ {
        let places = self.devices.sorted(self.devices.alarmed_places());
        places.into_iter().flat_map(|place| self.alarms_at(place))
    }

    /// The active alarms of one device.
    pub fn alarms_of(&self, id: &DeviceId) -> Vec<AlarmSnapshot> {
        self.devices.find(id).map_or_else(Vec::new, |place| self.alarms_at(place))
    }

    fn alarms_at(&self, place: Place) -> Vec<AlarmSnapshot> {
        let id = self.devices.id(place);
        self.devices.look(place, |device| {
            device.alarms.iter().filter_map(|alarm| self.alarm(&id, device, alarm)).collect()
        })
    }

    fn shown(&self, place: Place) -> DeviceSnapshot {
        self.devices.look(place, |device| self.shown_as(self.devices.id(place), device))
    }

    fn shown_as(&self, id: DeviceId, device: &Device) -> DeviceSnapshot {
        let sight = device.sight(None);
        let lapsed = |until: &Until| matches!(until, Until::Instant(at) if *at <= self.now);
        DeviceSnapshot {
            device: id,
            revision: device.revision,
            cached: sight.cached,
            policies: sight.policies,
            status: Status {
                throttled_until: sight.status.throttled_until.filter(|at| *at > self.now),
                rejected: sight.status.rejected.filter(|until| !lapsed(until)),
            },
            alarm_active: device.alarmed(),
            not_m2m: sight.not_m2m,
            explanation: device.explanation.to_string(),
            counts: self.counts(device),
        }
    }

    fn counts(&self, device: &Device) -> Vec<CountsSnapshot> {
        let shown = device.counts.rows().iter().map(|row| CountsSnapshot {
            node: self.nodes.name(row.node).clone(),
            boot: row.boot.map(|boot| self.nodes.boot_name(boot).to_owned()),
            counts: DeviceCounts {
                requests: row.requests,
                admitted: row.admitted,
                rejected: row.rejected,
                unsolicited: row.unsolicited,
                last_rejection: row.last_rejection.as_deref().map(str::to_owned),
                admissions: row.admissions.to_vec(),
                windows: row.windows.to_vec(),
            },
        });
        shown.collect()
    }

    fn alarm(&self, id: &DeviceId, device: &Device, alarm: &TrackedAlarm) -> Option<AlarmSnapshot> {
        let progress = match (&alarm.phase, device.stage) {
            (AlarmPhase::Rejected { review_at, .. }, _) => AlarmProgress::RejectedUntil(*review_at),
            (AlarmPhase::Waiting, stage) => stage.progress(),
            (AlarmPhase::Cancelled | AlarmPhase::Lifted { .. }, _) => return None,
        };
        let raised = alarm.key().zip(alarm.condition.clone()).zip(alarm.kind);
        let raised = raised.map(|((key, condition), kind)| RaisedAlarm {
            id: self.nodes.alarm_id(key),
            condition,
            kind,
            access_held: alarm.access_held,
        });
        Some(AlarmSnapshot { device: id.clone(), raised, since: alarm.raised_at, progress })
    }
}

impl Stage {
    fn progress(self) -> AlarmProgress {
        use crate::lifecycle::Question::{Policies, Subscription};
        match self {
            Self::Asking { question: Policies, .. } => AlarmProgress::PoliciesQueried,
            Self::Pausing { until, .. } => AlarmProgress::RetryAt(until),
            // A waiting alarm keeps its device from being settled.
            Self::Asking { question: Subscription, .. } | Self::Settled => AlarmProgress::SubscriptionQueried,
        }
    }
}
