//! A node's program, maps and links, pinned: what outlives the agent.
//!
//! `<bpffs>/weir/<node>/` holds `abi-<version>/`, the *set* (a pin for each map and program, and the layout for
//! which they were made), and `link-<interface>-<number>`, the attachments. While they stand, packets are judged
//! and counted, whether or not an agent runs. Read-only data is not pinned: it belongs to a program, and every load
//! makes it anew.
//!
//! An agent may be killed at any step of a start. Each leaves something that the next start can go on from:
//!
//! 1. *Hold*: the directory is locked (`flock`), so nobody else changes it. A killed agent's lock is gone.
//! 2. *Sweep*: what a killed start left half-made is removed: `…-new`, and links whose interface is gone. Nothing
//!    attached uses the former; the latter judge nothing.
//! 3. *Load*: maps of the same layout are used as they are. Otherwise new ones are pinned in `abi-<version>-new`,
//!    and swept if the start ends here. The old program judges by the old maps.
//! 4. The caller fills in the entries.
//! 5. *Promote*, at the first attachment: one rename makes the new set *the* set, or exchanges it with the old one.
//!    So a set that has the name `abi-<version>` is complete and filled, whether or not it is attached. If the start
//!    ends here, the old program goes on with its maps, which have lost their pins but not their users.
//! 6. *Attach*: a link of this node on the interface gets the new program by one `bpf_link_update`; each packet
//!    meets the old program or the new one. Where there is none, one is made and then pinned; killed in between,
//!    the kernel detaches it, as if it had never been made.
//! 7. What is no longer configured is detached last.
//!
//! Links are known by what they are (program and interface), never by their names: interfaces change theirs.
//!
//! What this must not do: use a set of another ABI version, or guess about one. Read first: bpf(2), "BPF file
//! system".

mod claim;
mod directory;
mod link;
mod removal;
mod set;

use std::path::{Path, PathBuf};

pub use claim::{Claim, claim};
pub(crate) use directory::{PinnedLink, failed, unpin};
pub(crate) use link::{Attachment, Object};
pub use removal::Removed;
pub(crate) use set::{Held, Layout, MapShape};

/// Where the BPF file system is mounted, as a rule.
pub const BPFFS: &str = "/sys/fs/bpf";

/// Where a node's pins are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    bpffs: PathBuf,
    node: String,
}

/// What a load found pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No maps: all are new and empty.
    Nothing,
    /// Maps of the same layout, which are used as they are: entries, profiles, addresses, counters and the ring go on.
    Taken,
    /// Maps of another layout (other pools, other sizes) or not all of them: all are new and empty, and the old ones
    /// go when this gate is attached.
    Replaced,
}

impl Pins {
    /// The pins of `node` below the BPF file system mounted at `bpffs`, usually [`BPFFS`]. Touches nothing.
    pub fn new(bpffs: &Path, node: &str) -> Self {
        Self { bpffs: bpffs.to_owned(), node: node.to_owned() }
    }

    /// The directory of this node's pins.
    pub fn directory(&self) -> PathBuf {
        self.bpffs.join("weir").join(directory::name_of(&self.node))
    }
}
