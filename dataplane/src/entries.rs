//! The kernel's entries and ledgers as memory.
//!
//! The maps are `BPF_F_MMAPABLE`, so an entry is changed by the same single-word operations that the kernel
//! uses. The map call must not be used on them: it would overwrite what the kernel counted meanwhile.

use std::{marker::PhantomData, ops::Deref, os::fd::AsFd, os::fd::AsRawFd};

use memmap2::{MmapOptions, MmapRaw};
use weir_dataplane_common::{
    abi::{Entry, Ledger, Switches},
    directory::Bucket,
};

use crate::Error;

/// Everything of a node that is shared with the kernel as memory. Dereferences to the entries.
pub struct Entries {
    entries: Mapped<Entry>,
    ledgers: Mapped<Ledger>,
    switches: Mapped<Switches>,
    unpooled: Mapped<Bucket>,
}

/// Where they lie: their maps' descriptors.
pub(crate) struct Maps<F> {
    pub(crate) entries: F,
    pub(crate) ledgers: F,
    pub(crate) switches: F,
    pub(crate) unpooled: F,
    /// How many buckets there are in the last.
    pub(crate) buckets: u32,
}

impl Entries {
    /// Maps `count` entries and ledgers, to read and write.
    pub(crate) fn map(maps: &Maps<impl AsFd>, count: u32) -> Result<Self, Error> {
        Self::mapped(maps, count, |options, fd| options.map_raw(fd))
    }

    /// The same, only to read: writing through it is a fault.
    pub(crate) fn map_read_only(maps: &Maps<impl AsFd>, count: u32) -> Result<Self, Error> {
        Self::mapped(maps, count, |options, fd| options.map_raw_read_only(fd))
    }

    fn mapped(
        maps: &Maps<impl AsFd>,
        count: u32,
        map: impl Fn(MmapOptions, i32) -> std::io::Result<MmapRaw>,
    ) -> Result<Self, Error> {
        Ok(Self {
            entries: Mapped::new("ENTRIES", &maps.entries, count, &map)?,
            ledgers: Mapped::new("LEDGERS", &maps.ledgers, count, &map)?,
            switches: Mapped::new("SWITCHES", &maps.switches, 1, &map)?,
            unpooled: Mapped::new("UNPOOLED", &maps.unpooled, maps.buckets, &map)?,
        })
    }

    /// The ledgers, with the entries' indices.
    pub fn ledgers(&self) -> &[Ledger] {
        &self.ledgers
    }

    /// Where addresses outside the pools lead. One writer at a time.
    pub fn unpooled(&self) -> &[Bucket] {
        &self.unpooled
    }

    /// What an operator has switched.
    pub fn switches(&self) -> &Switches {
        &self.switches[0]
    }
}

impl Deref for Entries {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        &self.entries
    }
}

/// A map's values as a slice.
struct Mapped<T> {
    map: MmapRaw,
    count: usize,
    values: PhantomData<T>,
}

impl<T> Mapped<T> {
    fn new(
        name: &'static str,
        fd: &impl AsFd,
        count: u32,
        map: &impl Fn(MmapOptions, i32) -> std::io::Result<MmapRaw>,
    ) -> Result<Self, Error> {
        let mut options = MmapOptions::new();
        options.len(count as usize * size_of::<T>());
        let map = map(options, fd.as_fd().as_raw_fd()).map_err(|error| Error::Map {
            map: name,
            operation: "mapping it as memory",
            cause: error.to_string(),
        })?;
        Ok(Self { map, count: count as usize, values: PhantomData })
    }
}

impl<T> Deref for Mapped<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the mapping is page-aligned, holds `count` values, and every field of them is an atomic word or
        // never changed, so shared references stay valid while the kernel writes.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.count) }
    }
}
