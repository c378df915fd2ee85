//! What the admin API shows of nodes.

use serde::{Deserialize, Serialize};
use weir_service_control::DeviceId;

use super::views::device_text;

/// A node that has attached since control started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its configured name.
    pub name: String,
    /// Drawn at its agent's start.
    pub boot: String,
    /// Version of its packet path's layout; recorded, not judged.
    pub abi_version: u32,
    /// Kinds of access it reports.
    pub kinds: Vec<String>,
    /// Whether its stream is open.
    pub connected: bool,
    /// Since when it is, or is not, connected.
    pub since_ms: i64,
    /// Streams it has opened.
    pub streams: u64,
    /// What became of the updates sent on this stream, or on the last one.
    pub updates: NodeUpdates,
    /// The latest update it refused.
    pub last_refusal: Option<Refusal>,
}

/// Updates sent to a node on one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeUpdates {
    /// Handed to the stream.
    pub sent: u64,
    /// Applied, says the node.
    pub acknowledged: u64,
    /// Refused by the node; what was there before stands.
    pub refused: u64,
}

/// Why a node refused an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// When.
    pub at_ms: i64,
    /// Whose entry.
    #[serde(with = "device_text")]
    pub device: DeviceId,
    /// The node's words.
    pub reason: String,
}
