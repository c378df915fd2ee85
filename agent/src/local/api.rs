//! The shapes of the local API, for both ends. Unknown fields of a request are refused.

use serde::{Deserialize, Serialize};

use crate::audit::{Line, Who};

/// For how long the law shall be suspended, and why. Both are required.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspend {
    /// Seconds, from 1 to a day's.
    pub for_seconds: u64,
    /// One line for the audit.
    pub reason: String,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// When it ends by itself, or would have, Unix ms.
    pub until_ms: i64,
    /// The number of its line in the audit.
    pub audit_line: u64,
    /// Whether the line survives the agent; otherwise it is lost if the agent ends before control has it.
    pub on_disk: bool,
}

/// The node as it is now. `Debug` names no device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its configured name.
    pub node: String,
    /// What its counters and alarms belong to.
    pub boot: String,
    /// Version of the packet path's layout.
    pub abi_version: u32,
    /// How many agents have taken over the maps.
    pub incarnation: u32,
    /// Interfaces towards the devices.
    pub access_interfaces: Vec<String>,
    /// Interfaces towards the network.
    pub network_interfaces: Vec<String>,
    /// Whether a stream to control is open.
    pub connected: bool,
    /// Whether the entries are what control wants.
    pub synced: bool,
    /// Where program and maps are pinned; absent: they end with the agent.
    pub pins: Option<String>,
    /// The directory of the last-known-good cache and of the audit that waits for control.
    pub state_dir: String,
    /// The bypass in force.
    pub bypass: Option<Suspended>,
    /// The exemptions in force.
    pub exemptions: Vec<Exemption>,
    /// Audit lines that control does not have yet.
    pub audit_waiting: usize,
    /// Whether all of them survive the agent.
    pub audit_on_disk: bool,
}

/// A suspension of the law.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspended {
    /// When it ends by itself, Unix ms.
    pub until_ms: i64,
    /// Who began it; absent: not known any more.
    pub who: Option<Who>,
    /// Why, in the operator's words.
    pub reason: String,
}

/// A device for which the law is suspended.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exemption {
    /// Its identifier.
    pub device: String,
    /// The suspension.
    #[serde(flatten)]
    pub suspended: Suspended,
}

/// A line that waits for control.
pub type AuditLine = Line;

impl std::fmt::Debug for Suspend {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Suspend").field("for_seconds", &self.for_seconds).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Suspended {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Suspended").field("until_ms", &self.until_ms).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Exemption {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Exemption").field("suspended", &self.suspended).finish_non_exhaustive()
    }
}
