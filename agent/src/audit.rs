//! What operators did on this node, past control: kept on disk until control has it (R-X8).
//!
//! What this is: lines, and the queue they wait in. What it must not do: decide anything, stand in the way of an
//! operator (a full disk is said, not obeyed), or keep a line that is no longer needed: it names a device. A line
//! goes when control has written it down and what it began is over; until then the next agent learns from it who
//! suspended what, and why. Read first: `control/proto/proto/weir/v1/node.proto`, `AuditLines`.
//!
//! The file is `<state_dir>/<node>.audit`, for its owner alone: a checksum and a JSON object per line. Lines are
//! appended and synced one by one; whatever takes lines away writes a new file and renames it.

mod file;
mod queue;

use serde::{Deserialize, Serialize};
use weir_proto::v1;
use weir_socket::Caller;

pub use queue::{Kept, Queue};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// From here on, no packet is judged.
    BypassBegun,
    /// From here on, packets are judged again.
    BypassEnded,
    /// From here on, every packet of the device passes.
    ExemptionBegun,
    /// From here on, the device is judged again.
    ExemptionEnded,
}

/// A process on this machine that did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Its user.
    pub uid: u32,
    /// That user's name, if this machine knows one.
    pub name: Option<String>,
    /// Its number; by now perhaps another process's.
    pub pid: i32,
}

/// What is to be written down; the queue numbers it. `Debug` names no device.
#[derive(Clone, PartialEq, Eq)]
pub struct Deed {
    /// When, Unix ms.
    pub at_ms: i64,
    /// Who; `None`: the node itself, because a time was over.
    pub who: Option<Who>,
    /// What.
    pub what: What,
    /// To which device; `None`: to all.
    pub device: Option<String>,
    /// When it ends by itself, or would have, Unix ms.
    pub until_ms: i64,
    /// Why, in the operator's words.
    pub reason: String,
}

/// A numbered deed. `Debug` names no device.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Larger than that of every line before it, in any queue of this node ever.
    pub sequence: u64,
    /// When, Unix ms.
    pub at_ms: i64,
    /// Who; `None`: the node itself, because a time was over.
    pub who: Option<Who>,
    /// What.
    pub what: What,
    /// To which device; `None`: to all.
    pub device: Option<String>,
    /// When it ends by itself, or would have, Unix ms.
    pub until_ms: i64,
    /// Why, in the operator's words.
    pub reason: String,
}

impl What {
    /// As the contract and the file say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BypassBegun => "bypass-begun",
            Self::BypassEnded => "bypass-ended",
            Self::ExemptionBegun => "exemption-begun",
            Self::ExemptionEnded => "exemption-ended",
        }
    }

    /// Whether something begins with it.
    pub const fn begins(self) -> bool {
        matches!(self, Self::BypassBegun | Self::ExemptionBegun)
    }
}

impl Who {
    /// A caller whom the kernel knows.
    pub fn of(caller: &Caller) -> Option<Self> {
        let (uid, pid) = (caller.uid?, caller.pid.unwrap_or(0));
        Some(Self { uid, name: caller.name.clone(), pid })
    }
}

impl Line {
    fn new(sequence: u64, deed: Deed) -> Self {
        let Deed { at_ms, who, what, device, until_ms, reason } = deed;
        Self { sequence, at_ms, who, what, device, until_ms, reason }
    }

    /// As control gets it.
    pub fn message(&self) -> v1::AuditLine {
        let who =
            |who: &Who| v1::Caller { uid: who.uid, name: who.name.clone().unwrap_or_default(), pid: who.pid };
        v1::AuditLine {
            sequence: self.sequence,
            at_ms: self.at_ms,
            who: self.who.as_ref().map(who),
            what: self.what.name().to_owned(),
            device: self.device.clone().unwrap_or_default(),
            until_ms: self.until_ms,
            reason: self.reason.clone(),
        }
    }
}

impl std::fmt::Debug for Deed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // An operator's words may name the device (R-X7).
        out.debug_struct("Deed").field("what", &self.what).field("at_ms", &self.at_ms).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut line = out.debug_struct("Line");
        line.field("sequence", &self.sequence).field("what", &self.what).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
