//! The kernel's tables in ordinary memory: for `inspect`, which needs no root, and for tests.

use std::collections::HashMap;

use weir_dataplane_common::{
    abi::{AddressKey, Entry, Profile},
    node::Tables,
};

/// Entries, profiles and the hash of unpooled devices, without a kernel.
#[derive(Default)]
pub struct MemoryTables {
    /// Entries by index.
    pub entries: Vec<Entry>,
    /// Profiles by number.
    pub profiles: Vec<Profile>,
    /// Entries of devices outside the pools.
    pub unpooled: HashMap<AddressKey, u32>,
}

impl MemoryTables {
    /// Empty entries, and one profile for devices without a policy.
    pub fn new(entries: u32, nothing_cached: Profile) -> Self {
        let entries = (0..entries).map(|_| Entry::default()).collect();
        Self { entries, profiles: vec![nothing_cached], unpooled: HashMap::new() }
    }
}

impl Tables for MemoryTables {
    fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(index as usize)
    }

    fn profile(&self, number: u32) -> Option<&Profile> {
        self.profiles.get(number as usize)
    }

    fn index_of(&self, key: &AddressKey) -> Option<u32> {
        self.unpooled.get(key).copied()
    }
}
