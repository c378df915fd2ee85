//! The directories of the pins: where they are, whose they are, what is in them.
//!
//! A BPF file system has directories, pinned objects and nothing else; it refuses names with a dot.

use std::{
    fs::{self, DirBuilder, File},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock, statfs};
use weir_dataplane_common::abi::ABI_VERSION;

use super::{Attachment, Object, Pins};
use crate::Error;

/// What `statfs` says of a BPF file system.
const MAGIC: u64 = 0xcafe_4a11;
/// What is being made has this at the end of its name.
pub(super) const NEW: &str = "-new";

/// A pinned link.
pub(crate) struct PinnedLink {
    pub path: PathBuf,
    pub link: Object,
    pub attachment: Attachment,
}

/// A node's directory, locked.
#[derive(Debug)]
pub(crate) struct Hold(File);

impl Drop for Hold {
    fn drop(&mut self) {
        // Said, not left to the closing of the file: a child between fork and exec has the file open too. A refusal
        // leaves it to that.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Pins {
    /// Refuses a place where nothing can be pinned.
    pub(super) fn check_bpffs(&self) -> Result<(), Error> {
        match statfs(&self.bpffs) {
            Ok(found) if found.f_type as u64 == MAGIC => Ok(()),
            _ => Err(Error::NoBpffs(self.bpffs.clone())),
        }
    }

    /// Makes this node's directory, if it is not there, and locks it until the hold is dropped.
    pub(super) fn hold(&self) -> Result<Hold, Error> {
        let path = self.directory();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|error| failed(&path, "making the directory", &error))?;
        let file = File::open(&path).map_err(|error| failed(&path, "opening", &error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Hold(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(Error::NodeRuns { node: self.node.clone(), process: None })
            }
            Err(error) => Err(failed(&path, "locking", &error.into())),
        }
    }

    /// Refuses what another ABI version pinned.
    pub(super) fn refuse_other_versions(&self) -> Result<(), Error> {
        for path in list(&self.directory())? {
            let version = path.file_name().and_then(|name| name.to_str()?.strip_prefix("abi-")?.parse().ok());
            if let Some(found) = version.filter(|found| *found != ABI_VERSION) {
                let (needed, node) = (ABI_VERSION, self.node.clone());
                return Err(Error::PinnedAbi { directory: path, found, needed, node });
            }
        }
        Ok(())
    }

    /// Removes what a killed start left half-made, and links whose interface is gone.
    pub(super) fn sweep(&self) -> Result<(), Error> {
        for path in list(&self.directory())? {
            if path.to_str().is_some_and(|path| path.ends_with(NEW)) {
                remove_all(&path)?;
            }
        }
        self.drop_dead_links()
    }

    /// Removes the links whose interface is gone.
    pub(crate) fn drop_dead_links(&self) -> Result<(), Error> {
        let links = self.links()?;
        let dead = links.iter().filter(|link| link.attachment.ifindex == 0);
        dead.into_iter().try_for_each(|link| unpin(&link.path))
    }

    /// The pinned links.
    pub(crate) fn links(&self) -> Result<Vec<PinnedLink>, Error> {
        let open = |path: PathBuf| {
            let link = Object::open(&path).ok()?;
            // What is no link of XDP does not concern a gate; `detach_all` removes it.
            let attachment = link.attachment().ok()?;
            Some(PinnedLink { path, link, attachment })
        };
        let is_link = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("link-"))
        };
        Ok(list(&self.directory())?.into_iter().filter(is_link).filter_map(open).collect())
    }

    /// Where a link is pinned. The number keeps apart what had the same name at different times.
    pub(crate) fn link_path(&self, interface: &str, ifindex: u32) -> PathBuf {
        self.directory().join(format!("link-{}-{ifindex}", name_of(interface)))
    }

    /// The set of this ABI version.
    pub(super) fn set(&self) -> PathBuf {
        self.directory().join(format!("abi-{ABI_VERSION}"))
    }

    /// The set that is being made.
    pub(super) fn staged_set(&self) -> PathBuf {
        self.directory().join(format!("abi-{ABI_VERSION}{NEW}"))
    }
}

/// A name that a BPF file system takes: letters, digits, `-` and `_` as they are, other bytes as `%` and two digits.
pub(super) fn name_of(name: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02x}"),
    };
    name.bytes().map(byte).collect()
}

/// What is in a directory, in the order of the names; nothing in one that is not there.
pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(directory, "listing", &error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths =
        paths.collect::<Result<Vec<_>, _>>().map_err(|error| failed(directory, "listing", &error))?;
    paths.sort();
    Ok(paths)
}

/// Removes a pin; one that is not there is no error.
pub(crate) fn unpin(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(path, "removing the pin", &error)),
        _ => Ok(()),
    }
}

/// Removes a set, or a pin.
pub(super) fn remove_all(path: &Path) -> Result<(), Error> {
    if !path.is_dir() {
        return unpin(path);
    }
    list(path)?.iter().try_for_each(|inner| remove_all(inner))?;
    fs::remove_dir(path).map_err(|error| failed(path, "removing the directory", &error))
}

pub(crate) fn failed(path: &Path, operation: &'static str, error: &std::io::Error) -> Error {
    Error::Pins { path: path.to_owned(), operation, cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_bpf_file_system_refuses_are_written_in_another_way() {
        assert_eq!(name_of("eth0"), "eth0");
        assert_eq!(name_of("eth0.100"), "eth0%2e100");
        assert_eq!(name_of("../up"), "%2e%2e%2fup");
        assert_ne!(name_of("a%2eb"), name_of("a.b"), "two names never become one");
    }

    #[test]
    fn what_is_no_bpf_file_system_is_refused_with_both_ways_out() {
        for place in ["/proc", "/nowhere/at/all"] {
            let error = Pins::new(Path::new(place), "n").check_bpffs().expect_err("not of that kind");
            let text = error.to_string();
            assert!(text.contains(&format!("mount -t bpf bpf {place}")), "{text}");
            assert!(text.contains("pin = false"), "{text}");
        }
    }
}
