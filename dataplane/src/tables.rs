//! The kernel's tables in ordinary memory: for `inspect`, which needs no root, and for tests.

use std::collections::HashMap;

use weir_dataplane_common::{
    abi::{AddressKey, Entry, Ledger, Profile, STRANGER_PROFILE, Switches},
    atomic::Word64,
    node::Tables,
};

/// Entries, profiles and the hash of unpooled devices, without a kernel.
#[derive(Default)]
pub struct MemoryTables {
    /// Entries by index.
    pub entries: Vec<Entry>,
    /// Ledgers by the same index.
    pub ledgers: Vec<Ledger>,
    /// Profiles by number.
    pub profiles: Vec<Profile>,
    /// What strangers are judged by.
    pub stranger_profile: Profile,
    /// What an operator has switched.
    pub switches: Switches,
    /// When the strangers so far are paid for: one interface.
    pub stranger_rate: Word64,
    /// Entries of devices outside the pools.
    pub unpooled: HashMap<AddressKey, u32>,
}

impl MemoryTables {
    /// Empty entries, and one profile for devices without a policy.
    pub fn new(entries: u32, nothing_cached: Profile) -> Self {
        let mut tables = Self { profiles: vec![nothing_cached], ..Self::default() };
        tables.grow(entries);
        tables
    }

    /// Writes a profile, the strangers' too, as the kernel's table has it.
    pub fn write_profile(&mut self, number: u32, profile: &Profile) {
        let place = number as usize;
        if number == STRANGER_PROFILE {
            self.stranger_profile = *profile;
        } else {
            self.profiles.resize(self.profiles.len().max(place + 1), Profile::default());
            self.profiles[place] = *profile;
        }
    }

    /// Makes entries and their ledgers until there are so many.
    pub fn grow(&mut self, entries: u32) {
        let entries = (entries as usize).max(self.entries.len());
        self.entries.resize_with(entries, Entry::default);
        self.ledgers.resize_with(entries, Ledger::default);
    }
}

impl Tables for MemoryTables {
    fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(index as usize)
    }

    fn ledger(&self, index: u32) -> Option<&Ledger> {
        self.ledgers.get(index as usize)
    }

    fn profile(&self, number: u32) -> Option<&Profile> {
        if number == STRANGER_PROFILE {
            Some(&self.stranger_profile)
        } else {
            self.profiles.get(number as usize)
        }
    }

    fn switches(&self) -> Option<&Switches> {
        Some(&self.switches)
    }

    fn stranger_rate(&self) -> Option<&Word64> {
        Some(&self.stranger_rate)
    }

    fn index_of(&self, key: &AddressKey) -> Option<u32> {
        self.unpooled.get(key).copied()
    }
}
