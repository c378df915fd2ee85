//! What stands in the maps that are not shared as memory: profiles, addresses outside the pools, counters.
//!
//! Counters are summed over CPUs and only ever read: the program alone writes them.

use aya::maps::{Array, MapData, PerCpuArray};
use weir_dataplane_common::{
    abi::{AddressKey, Profile, RULES},
    capture::loss,
    directory,
    reason::{REASONS, Reason},
};

use super::{Gate, Plain, map_error, typed};
use crate::Error;

impl Gate {
    /// Writes a profile that no entry names.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn write_profile(&mut self, number: u32, profile: &Profile) -> Result<(), Error> {
        let mut table: Array<_, Plain<Profile>> = typed(&mut self.ebpf, "PROFILE_TABLE")?;
        table.set(number, Plain(*profile), 0).map_err(|error| map_error("PROFILE_TABLE", "writing", &error))
    }

    /// A profile as it is written.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn read_profile(&mut self, number: u32) -> Result<Profile, Error> {
        let table: Array<_, Plain<Profile>> = typed(&mut self.ebpf, "PROFILE_TABLE")?;
        let read = table.get(&number, 0).map_err(|error| map_error("PROFILE_TABLE", "reading", &error))?;
        Ok(read.0)
    }

    /// The addresses outside the pools and the entries they lead to, in no order.
    pub fn unpooled(&self) -> Vec<(AddressKey, u32)> {
        directory::all(self.entries.unpooled()).collect()
    }

    /// Forgets an address outside the pools: it leads nowhere.
    ///
    /// # Errors
    /// [`Error::Map`] when it is not there.
    pub fn remove_unpooled(&mut self, key: AddressKey) -> Result<(), Error> {
        let removed = directory::remove(self.entries.unpooled(), key);
        if removed { Ok(()) } else { Err(unpooled_error("removing", "the address is not there")) }
    }

    /// Leads an address outside the pools to an entry.
    ///
    /// # Errors
    /// [`Error::Map`] when there is no room for it.
    pub fn put_unpooled(&mut self, key: AddressKey, entry: u32) -> Result<(), Error> {
        let put = directory::put(self.entries.unpooled(), key, entry);
        if put {
            Ok(())
        } else {
            Err(unpooled_error("adding", "there is no room within the address's reach"))
        }
    }

    /// Packets by reason, summed over CPUs.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn reason_counts(&mut self) -> Result<Vec<(Reason, u64)>, Error> {
        let table: PerCpuArray<_, u64> = typed(&mut self.ebpf, "REASON_COUNTS")?;
        debug_assert!(table.len() as usize == REASONS);
        Reason::ALL
            .iter()
            .map(|reason| Ok((*reason, sum(&table, "REASON_COUNTS", *reason as u32)?)))
            .collect()
    }

    /// On a node that only watches: packets that would have been dropped by reason, summed over CPUs.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn shadow_counts(&mut self) -> Result<Vec<(Reason, u64)>, Error> {
        let table: PerCpuArray<_, u64> = typed(&mut self.ebpf, "SHADOW_COUNTS")?;
        Reason::ALL
            .iter()
            .map(|reason| Ok((*reason, sum(&table, "SHADOW_COUNTS", *reason as u32)?)))
            .collect()
    }

    /// Packets that the rule in this place of a profile would have dropped, were it not in shadow.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn rule_shadows(&mut self, profile: u32, place: u32) -> Result<u64, Error> {
        let table: PerCpuArray<_, u64> = typed(&mut self.ebpf, "RULE_SHADOWS")?;
        sum(&table, "RULE_SHADOWS", profile * RULES as u32 + place)
    }

    /// Alarms that found the ring full.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn lost_alarms(&mut self) -> Result<u64, Error> {
        let table: PerCpuArray<_, u64> = typed(&mut self.ebpf, "LOST_ALARMS")?;
        sum(&table, "LOST_ALARMS", 0)
    }

    /// Packets that a capture wanted and that found its ring full, of all captures so far.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn lost_copies(&mut self) -> Result<u64, Error> {
        let table: PerCpuArray<_, u64> = typed(&mut self.ebpf, "CAPTURE_LOSSES")?;
        sum(&table, "CAPTURE_LOSSES", loss::RING_FULL)
    }
}

fn unpooled_error(operation: &'static str, cause: &str) -> Error {
    Error::Map { map: "UNPOOLED", operation, cause: cause.to_owned() }
}

fn sum(table: &PerCpuArray<&mut MapData, u64>, name: &'static str, index: u32) -> Result<u64, Error> {
    let values = table.get(&index, 0).map_err(|error| map_error(name, "reading", &error))?;
    Ok(values.iter().sum())
}
