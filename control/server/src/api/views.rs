//! What the admin API shows of devices, alarms and decisions.
//!
//! Times are Unix milliseconds in fields that end in `_ms`. Device identifiers appear in full: whoever may
//! open the admin socket may see them. They stay [`DeviceId`]s in memory, so that `Debug` does not print them.

use serde::{Deserialize, Serialize};
use weir_service_control::DeviceId;

use super::{Kind, Policy, Subscriber};

/// A device in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSummary {
    /// The device's IMSI.
    #[serde(with = "device_text")]
    pub device: DeviceId,
    /// Whether nodes hold an entry for it.
    pub cached: bool,
    /// Identifiers of its policies.
    pub policies: Vec<u32>,
    /// The standing instruction.
    pub status: Status,
    /// Whether an alarm of some node is active.
    pub alarm_active: bool,
    /// Known not to be a machine (R-D9).
    pub not_m2m: bool,
}

/// Everything about one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// What a list shows.
    #[serde(flatten)]
    pub summary: DeviceSummary,
    /// The entry's revision, or that of the last one it had.
    pub revision: u64,
    /// Why the entry is as it is; empty if nothing was ever decided.
    pub explanation: String,
    /// What the embedded HSS knows of it.
    pub subscriber: Option<Subscriber>,
    /// The policies in its entry, in full.
    pub policy_details: Vec<Policy>,
    /// Its alarms.
    pub alarms: Vec<Alarm>,
    /// What each node counted.
    pub counts: Vec<Counts>,
    /// The latest decisions, newest first.
    pub decisions: Vec<Decision>,
}

/// A device's standing instruction; both fields empty: no action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Throttled by its throttle policy until then.
    pub throttled_until_ms: Option<i64>,
    /// No new access until then.
    pub rejected_until: Option<Until>,
}

/// How long an instruction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// It lapses at this instant.
    AtMs(i64),
    /// Until told otherwise.
    FurtherNotice,
}

/// Names an alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmId {
    /// The node that raised it.
    pub node: String,
    /// That node's boot.
    pub boot: String,
    /// Its number within the boot.
    pub sequence: u64,
}

/// Why an alarm was raised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Too many requests.
    Count {
        /// Requests in the window.
        requests: u32,
        /// The alarm's window, e.g. `1m`.
        window: String,
    },
    /// A security protocol was seen.
    Protocol(String),
}

/// An active alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Whose.
    #[serde(with = "device_text")]
    pub device: DeviceId,
    /// Since when control knows of it.
    pub since_ms: i64,
    /// What its node said; `None`: it was rejected before control restarted, and no node has repeated it since.
    pub raised: Option<RaisedAlarm>,
    /// How far it has come.
    pub state: AlarmState,
}

/// What a node said when it raised an alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaisedAlarm {
    /// The alarm's name.
    pub id: AlarmId,
    /// What holds.
    pub condition: Condition,
    /// What kind of access raised it.
    pub kind: Kind,
    /// Whether that access is held.
    pub access_held: bool,
}

/// How far an active alarm has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlarmState {
    /// The HSS has been asked.
    SubscriptionQueried,
    /// The PCRF has been asked.
    PoliciesQueried,
    /// An answer failed to come; it is asked again then.
    RetryAtMs(i64),
    /// Decided against; looked at again then.
    RejectedUntilMs(i64),
}

/// What became of a device's alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// As it was.
    Unchanged,
    /// Cleared, the held access accepted.
    Cancelled,
    /// Still active, the held access discarded.
    Rejected,
}

/// A node's cumulative counts for a device, within one boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The node.
    pub node: String,
    /// Its boot; `None`: all its earlier boots together.
    pub boot: Option<String>,
    /// Attempts.
    pub requests: u64,
    /// Attempts let through.
    pub admitted: u64,
    /// Attempts refused.
    pub rejected: u64,
    /// Downlink packets to the idle device that were no trigger.
    pub unsolicited: u64,
    /// Why the latest was refused.
    pub last_rejection: Option<String>,
}

/// A decision, as the record keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub at_ms: i64,
    /// About whom.
    #[serde(with = "device_text")]
    pub device: DeviceId,
    /// The alarm decided on, if one was.
    pub alarm: Option<AlarmId>,
    /// What became of it.
    pub fate: Fate,
    /// The entry's revision.
    pub revision: u64,
    /// Identifiers of the entry's policies.
    pub policies: Vec<u32>,
    /// The entry's standing instruction.
    pub status: Status,
    /// Known not to be a machine.
    pub not_m2m: bool,
    /// Who decided what, and why.
    pub explanation: String,
}

/// A [`DeviceId`] as text in JSON and TOML.
pub(super) mod device_text {
    use serde::{Deserialize, Deserializer, Serializer};
    use weir_service_control::DeviceId;

    pub fn serialize<S: Serializer>(device: &DeviceId, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&device.0)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<DeviceId, D::Error> {
        String::deserialize(from).map(DeviceId)
    }
}
