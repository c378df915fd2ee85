//! From service control's state to what the admin API shows of it. Leaves out, never adds.

use weir_service_control as sc;

use super::duration;
use super::views::{
    Alarm, AlarmId, AlarmState, Condition, Counts, Decision, Device, DeviceSummary, Fate, RaisedAlarm,
    Status, Until,
};

impl From<sc::Status> for Status {
    fn from(status: sc::Status) -> Self {
        Self {
            throttled_until_ms: status.throttled_until.map(|at| at.0),
            rejected_until: status.rejected.map(|until| match until {
                sc::Until::Instant(at) => Until::AtMs(at.0),
                sc::Until::FurtherNotice => Until::FurtherNotice,
            }),
        }
    }
}

impl From<&sc::AlarmId> for AlarmId {
    fn from(id: &sc::AlarmId) -> Self {
        Self { node: id.node.0.clone(), boot: id.boot.clone(), sequence: id.sequence }
    }
}

impl From<&sc::Condition> for Condition {
    fn from(condition: &sc::Condition) -> Self {
        match condition {
            sc::Condition::Count { requests, window } => {
                Self::Count { requests: *requests, window: duration::format(*window) }
            }
            sc::Condition::Protocol(class) => Self::Protocol(class.clone()),
        }
    }
}

impl From<sc::AlarmFate> for Fate {
    fn from(fate: sc::AlarmFate) -> Self {
        match fate {
            sc::AlarmFate::Unchanged => Self::Unchanged,
            sc::AlarmFate::Cancel => Self::Cancelled,
            sc::AlarmFate::Reject => Self::Rejected,
        }
    }
}

impl From<&sc::Decision> for Decision {
    fn from(decision: &sc::Decision) -> Self {
        Self {
            at_ms: decision.at.0,
            device: decision.device.clone(),
            alarm: decision.alarm.as_ref().map(Into::into),
            fate: decision.fate.into(),
            revision: decision.entry.revision,
            policies: decision.entry.policies.iter().map(|policy| policy.id.0).collect(),
            status: decision.entry.status.into(),
            not_m2m: decision.entry.not_m2m,
            explanation: decision.entry.explanation.clone(),
        }
    }
}

impl From<&sc::DeviceSnapshot> for DeviceSummary {
    fn from(device: &sc::DeviceSnapshot) -> Self {
        Self {
            device: device.device.clone(),
            cached: device.cached,
            policies: device.policies.iter().map(|policy| policy.id.0).collect(),
            status: device.status.into(),
            alarm_active: device.alarm_active,
            not_m2m: device.not_m2m,
        }
    }
}

impl From<sc::AlarmSnapshot> for Alarm {
    fn from(alarm: sc::AlarmSnapshot) -> Self {
        let raised = alarm.raised.map(|raised| RaisedAlarm {
            id: (&raised.id).into(),
            condition: (&raised.condition).into(),
            kind: raised.kind.into(),
            access_held: raised.access_held,
        });
        let state = match alarm.progress {
            sc::AlarmProgress::SubscriptionQueried => AlarmState::SubscriptionQueried,
            sc::AlarmProgress::PoliciesQueried => AlarmState::PoliciesQueried,
            sc::AlarmProgress::RetryAt(at) => AlarmState::RetryAtMs(at.0),
            sc::AlarmProgress::RejectedUntil(at) => AlarmState::RejectedUntilMs(at.0),
        };
        Self { device: alarm.device, since_ms: alarm.since.0, raised, state }
    }
}

impl From<&sc::CountsSnapshot> for Counts {
    fn from(counted: &sc::CountsSnapshot) -> Self {
        Self {
            node: counted.node.0.clone(),
            boot: counted.boot.clone(),
            requests: counted.counts.requests,
            admitted: counted.counts.admitted,
            rejected: counted.counts.rejected,
            unsolicited: counted.counts.unsolicited,
            last_rejection: counted.counts.last_rejection.clone(),
        }
    }
}

impl From<&sc::DeviceSnapshot> for Device {
    fn from(device: &sc::DeviceSnapshot) -> Self {
        Self {
            revision: device.revision,
            explanation: device.explanation.clone(),
            policy_details: device.policies.iter().map(Into::into).collect(),
            counts: device.counts.iter().map(Into::into).collect(),
            ..Self::unheard_of(device.into())
        }
    }
}

impl Device {
    /// A device of which service control knows this much.
    fn unheard_of(summary: DeviceSummary) -> Self {
        Self {
            summary,
            revision: 0,
            explanation: String::new(),
            subscriber: None,
            policy_details: Vec::new(),
            alarms: Vec::new(),
            counts: Vec::new(),
            decisions: Vec::new(),
        }
    }
}

/// A device that service control has never heard of.
impl From<sc::DeviceId> for Device {
    fn from(device: sc::DeviceId) -> Self {
        Self::unheard_of(DeviceSummary {
            device,
            cached: false,
            policies: Vec::new(),
            status: Status::default(),
            alarm_active: false,
            not_m2m: false,
        })
    }
}
