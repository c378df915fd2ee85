//! What the admin API shows of what operators did on nodes, past control (R-X8).

use serde::{Deserialize, Serialize};

/// A line of a node's audit, durable here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// Where it was done.
    pub node: String,
    /// The line's number there.
    pub sequence: u64,
    /// When, by the node's clock.
    pub at_ms: i64,
    /// When control first heard of it.
    pub received_ms: i64,
    /// Who did it; absent: the node itself, because a time was over.
    pub who: Option<AuditWho>,
    /// `bypass-begun`, `bypass-ended`, `exemption-begun` or `exemption-ended`.
    pub what: String,
    /// The device that is or was exempt.
    pub device: Option<String>,
    /// When it ends by itself, or would have.
    pub until_ms: i64,
    /// In the operator's words.
    pub reason: String,
}

/// A process on the node's machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditWho {
    /// Its user.
    pub uid: u32,
    /// That user's name there.
    pub name: Option<String>,
    /// Its number.
    pub pid: i32,
}

impl std::fmt::Debug for AuditLine {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither the device nor a reason that may name it (R-X7).
        out.debug_struct("AuditLine")
            .field("node", &self.node)
            .field("sequence", &self.sequence)
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

impl From<&weir_store::AuditLine> for AuditLine {
    fn from(line: &weir_store::AuditLine) -> Self {
        let who =
            |who: &weir_store::AuditWho| AuditWho { uid: who.uid, name: who.name.clone(), pid: who.pid };
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
