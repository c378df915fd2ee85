//! File systems that a test mounts below its world's directory: a BPF file system of its own, a disk that is full soon.
//!
//! It must never mount anything elsewhere. What is pinned in such a BPF file system goes when it is unmounted, and
//! with the pins go the attachments. Read mount(2) first.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::remains::{self, Claim, Remnant};
use crate::world::World;

/// A mounted file system; dropping it unmounts it.
#[derive(Debug)]
pub struct Mount {
    path: PathBuf,
    _claim: Claim,
}

impl Mount {
    /// A BPF file system.
    pub fn bpf(world: &World) -> Result<Self> {
        Self::new(&world.directory().join("bpf"), "bpf", "")
    }

    /// A disk with so much room, bytes (in whole pages), in the place of a directory of the world.
    pub fn disk(world: &World, name: &str, bytes: usize) -> Result<Self> {
        Self::new(&world.directory().join(name), "tmpfs", &format!("size={bytes}"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn new(path: &Path, kind: &str, options: &str) -> Result<Self> {
        let options = CString::new(options)?;
        let ((), claim) = remains::make(|| {
            fs::create_dir_all(path)?;
            rustix::mount::mount("weir-test", path, kind, MountFlags::empty(), options.as_c_str())
                .with_context(|| format!("cannot mount a {kind} file system on {}", path.display()))?;
            Ok(((), Remnant::Mount(path.to_owned())))
        })?;
        Ok(Self { path: path.to_owned(), _claim: claim })
    }
}

/// Unmounts what is mounted on a directory; that nothing is, is no error.
pub(crate) fn unmount(path: &Path) -> Result<()> {
    match rustix::mount::unmount(path, UnmountFlags::DETACH) {
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot unmount {}", path.display())),
    }
}

/// Unmounts everything below a directory, as a killed run left it.
pub(crate) fn unmount_below(directory: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    let places = table.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
    let below: Vec<&Path> = places.filter(|place| place.starts_with(directory)).collect();
    below.into_iter().rev().try_for_each(unmount)
}
