//! A BPF file system that nobody else sees: a place where maps have paths while a program is loaded over them.
//!
//! The loading library finds the maps that a program is to share by their pins. An unpinned node has none, and a
//! pinned one's are not for this. A detached mount needs no directory, works without `/sys/fs/bpf`, and is gone with
//! its descriptor, whatever happens. Needs kernel 5.2 and CAP_SYS_ADMIN.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::Error;

/// The file system, for as long as this lives.
pub(super) struct PrivateBpffs(OwnedFd);

impl PrivateBpffs {
    /// Makes one.
    pub(super) fn mount() -> Result<Self, Error> {
        let mounted = || {
            let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_create(&context)?;
            fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        };
        let refused = |error: rustix::io::Errno| {
            Error::Capture(format!(
                "a private BPF file system cannot be made: {error}; the node needs CAP_SYS_ADMIN for the moment in \
                 which a capture begins"
            ))
        };
        mounted().map(Self).map_err(refused)
    }

    /// Where a pin of this name is.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }
}
