//! How values look on disk: JSON of structs that belong to the store, so that service control's types may change
//! without a file becoming unreadable. Whoever changes a struct here so that an earlier weir would misread it raises
//! [`crate::SCHEMA`].

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use weir_service_control as sc;

use crate::error::Fault;
use crate::policy_record::PolicyRecord;
use crate::{AuditLine, AuditWho, Subscriber};

/// A record as bytes.
pub(crate) fn bytes(what: &'static str, record: &impl Serialize) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(record).map_err(|source| Fault::Record { what, source })
}

/// Bytes as a record.
pub(crate) fn value<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|source| Fault::Record { what, source })
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SubscriberRecord {
    device_type: String,
    pub(crate) policies: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct EntryRecord {
    revision: u64,
    cached: bool,
    policies: Vec<PolicyRecord>,
    throttled_until_ms: Option<i64>,
    rejected: Option<UntilRecord>,
    not_m2m: bool,
    release_session: bool,
    answers: Option<AlarmIdRecord>,
    alarm: FateRecord,
    explanation: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum UntilRecord {
    InstantMs(i64),
    FurtherNotice,
}

#[derive(Serialize, Deserialize)]
struct AlarmIdRecord {
    node: String,
    boot: String,
    sequence: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FateRecord {
    Unchanged,
    Cancel,
    Reject,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct DecisionRecord {
    at_ms: i64,
    device: String,
    alarm: Option<AlarmIdRecord>,
    fate: FateRecord,
    entry: EntryRecord,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct AuditRecord {
    node: String,
    sequence: u64,
    at_ms: i64,
    received_ms: i64,
    who: Option<WhoRecord>,
    what: String,
    device: Option<String>,
    until_ms: i64,
    reason: String,
}

#[derive(Serialize, Deserialize)]
struct WhoRecord {
    uid: u32,
    name: Option<String>,
    pid: i32,
}

impl From<&Subscriber> for SubscriberRecord {
    fn from(subscriber: &Subscriber) -> Self {
        let policies = subscriber.policies.iter().map(|policy| policy.0).collect();
        Self { device_type: subscriber.device_type.clone(), policies }
    }
}

impl SubscriberRecord {
    pub(crate) fn subscriber(self, device: sc::DeviceId) -> Subscriber {
        let policies = self.policies.into_iter().map(sc::PolicyId).collect();
        Subscriber { device, device_type: self.device_type, policies }
    }
}

impl From<&sc::CacheUpdate> for EntryRecord {
    fn from(entry: &sc::CacheUpdate) -> Self {
        Self {
            revision: entry.revision,
            cached: entry.cached,
            policies: entry.policies.iter().map(Into::into).collect(),
            throttled_until_ms: entry.status.throttled_until.map(|at| at.0),
            rejected: entry.status.rejected.map(|until| match until {
                sc::Until::Instant(at) => UntilRecord::InstantMs(at.0),
                sc::Until::FurtherNotice => UntilRecord::FurtherNotice,
            }),
            not_m2m: entry.not_m2m,
            release_session: entry.release_session,
            answers: entry.answers.as_ref().map(Into::into),
            alarm: entry.alarm.into(),
            explanation: entry.explanation.clone(),
        }
    }
}

impl EntryRecord {
    pub(crate) fn entry(self, device: sc::DeviceId) -> sc::CacheUpdate {
        sc::CacheUpdate {
            revision: self.revision,
            device,
            cached: self.cached,
            policies: self.policies.into_iter().map(Into::into).collect(),
            status: sc::Status {
                throttled_until: self.throttled_until_ms.map(sc::UnixMillis),
                rejected: self.rejected.map(|until| match until {
                    UntilRecord::InstantMs(at) => sc::Until::Instant(sc::UnixMillis(at)),
                    UntilRecord::FurtherNotice => sc::Until::FurtherNotice,
                }),
            },
            not_m2m: self.not_m2m,
            release_session: self.release_session,
            answers: self.answers.map(Into::into),
            alarm: self.alarm.into(),
            explanation: self.explanation,
        }
    }
}

impl From<&sc::AlarmId> for AlarmIdRecord {
    fn from(id: &sc::AlarmId) -> Self {
        Self { node: id.node.0.clone(), boot: id.boot.clone(), sequence: id.sequence }
    }
}

impl From<AlarmIdRecord> for sc::AlarmId {
    fn from(record: AlarmIdRecord) -> Self {
        Self { node: sc::NodeName(record.node), boot: record.boot, sequence: record.sequence }
    }
}

impl From<sc::AlarmFate> for FateRecord {
    fn from(fate: sc::AlarmFate) -> Self {
        match fate {
            sc::AlarmFate::Unchanged => Self::Unchanged,
            sc::AlarmFate::Cancel => Self::Cancel,
            sc::AlarmFate::Reject => Self::Reject,
        }
    }
}

impl From<FateRecord> for sc::AlarmFate {
    fn from(record: FateRecord) -> Self {
        match record {
            FateRecord::Unchanged => Self::Unchanged,
            FateRecord::Cancel => Self::Cancel,
            FateRecord::Reject => Self::Reject,
        }
    }
}

impl From<&sc::Decision> for DecisionRecord {
    fn from(decision: &sc::Decision) -> Self {
        Self {
            at_ms: decision.at.0,
            device: decision.device.0.clone(),
            alarm: decision.alarm.as_ref().map(Into::into),
            fate: decision.fate.into(),
            entry: (&decision.entry).into(),
        }
    }
}

impl From<DecisionRecord> for sc::Decision {
    fn from(record: DecisionRecord) -> Self {
        let device = sc::DeviceId(record.device);
        Self {
            at: sc::UnixMillis(record.at_ms),
            device: device.clone(),
            alarm: record.alarm.map(Into::into),
            fate: record.fate.into(),
            entry: record.entry.entry(device),
        }
    }
}

impl From<&AuditLine> for AuditRecord {
    fn from(line: &AuditLine) -> Self {
        let who = |who: &AuditWho| WhoRecord { uid: who.uid, name: who.name.clone(), pid: who.pid };
        Self {
            node: line.node.0.clone(),
            sequence: line.sequence,
            at_ms: line.at.0,
            received_ms: line.received.0,
            who: line.who.as_ref().map(who),
            what: line.what.clone(),
            device: line.device.as_ref().map(|device| device.0.clone()),
            until_ms: line.until.0,
            reason: line.reason.clone(),
        }
    }
}

impl From<AuditRecord> for AuditLine {
    fn from(record: AuditRecord) -> Self {
        Self {
            node: sc::NodeName(record.node),
            sequence: record.sequence,
            at: sc::UnixMillis(record.at_ms),
            received: sc::UnixMillis(record.received_ms),
            who: record.who.map(|who| AuditWho { uid: who.uid, name: who.name, pid: who.pid }),
            what: record.what,
            device: record.device.map(sc::DeviceId),
            until: sc::UnixMillis(record.until_ms),
            reason: record.reason,
        }
    }
}
