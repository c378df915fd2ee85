//! The kernel's entries as memory.
//!
//! The map is `BPF_F_MMAPABLE`, so an entry is changed by the same single-word operations that the kernel
//! uses. The map call must not be used on it: it would overwrite what the kernel counted meanwhile.

use std::{ops::Deref, os::fd::AsFd, os::fd::AsRawFd};

use memmap2::{MmapMut, MmapOptions};
use weir_dataplane_common::abi::Entry;

use crate::Error;

/// All entries of a node, shared with the kernel.
pub struct Entries {
    map: MmapMut,
    count: usize,
}

impl Entries {
    /// Maps `count` entries of the map behind `fd`.
    pub(crate) fn map(fd: impl AsFd, count: u32) -> Result<Self, Error> {
        let length = count as usize * size_of::<Entry>();
        // SAFETY: the map is an array of `count` entries, which live in kernel memory as long as the mapping
        // does, and which both sides change by atomic words only.
        let map = unsafe { MmapOptions::new().len(length).map_mut(fd.as_fd().as_raw_fd()) };
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
