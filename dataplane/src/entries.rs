//! The kernel's entries as memory.
//!
//! The map is `BPF_F_MMAPABLE`, so an entry is changed by the same single-word operations that the kernel
//! uses. The map call must not be used on it: it would overwrite what the kernel counted meanwhile.

use std::{ops::Deref, os::fd::AsFd, os::fd::AsRawFd};

use memmap2::{MmapOptions, MmapRaw};
use weir_dataplane_common::abi::Entry;

use crate::Error;

/// All entries of a node, shared with the kernel.
pub struct Entries {
    map: MmapRaw,
    count: usize,
}

impl Entries {
    /// Maps `count` entries of the map behind `fd`, to read and write.
    pub(crate) fn map(fd: impl AsFd, count: u32) -> Result<Self, Error> {
        let options = Self::options(count);
        Self::mapped(options.map_raw(fd.as_fd().as_raw_fd()), count)
    }

    /// The same, only to read: writing through it is a fault.
    pub(crate) fn map_read_only(fd: impl AsFd, count: u32) -> Result<Self, Error> {
        let options = Self::options(count);
        Self::mapped(options.map_raw_read_only(fd.as_fd().as_raw_fd()), count)
    }

    fn options(count: u32) -> MmapOptions {
        let mut options = MmapOptions::new();
        options.len(count as usize * size_of::<Entry>());
        options
    }

    fn mapped(map: std::io::Result<MmapRaw>, count: u32) -> Result<Self, Error> {
        let map = map.map_err(|error| Error::Map {
            map: "ENTRIES",
            operation: "mapping it as memory",
            cause: error.to_string(),
        })?;
        Ok(Self { map, count: count as usize })
    }
}

impl Deref for Entries {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        // SAFETY: the mapping is page-aligned, holds `count` entries, and every field is an atomic word or
        // never changed, so shared references stay valid while the kernel writes.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.count) }
    }
}
