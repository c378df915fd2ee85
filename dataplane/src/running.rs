//! Looking into the maps of a program that another process loaded: for tests, the demo and diagnosis.
//!
//! Read-only: nothing here changes an entry or a counter. The program is named by its kernel identifier, as
//! `ip -details link` shows it beside the interface.

use aya::{
    maps::{Map, MapData, PerCpuArray},
    programs::loaded_programs,
};
use weir_dataplane_common::reason::Reason;

use crate::{
    Error,
    entries::{Entries, Maps},
    gate::map_error,
};

/// The maps of a running gate.
pub struct Running {
    entries: Entries,
    reasons: PerCpuArray<MapData, u64>,
}

impl Running {
    /// Opens the maps of the program with this identifier.
    ///
    /// # Errors
    /// [`Error::Load`] if there is no such program, [`Error::Map`] if it has not weir's maps.
    pub fn of_program(id: u32) -> Result<Self, Error> {
        let load = |error: aya::programs::ProgramError| Error::Load(Box::new(error));
        let maps = loaded_programs()
            .filter_map(Result::ok)
            .find(|program| program.id() == id)
            .ok_or_else(|| Error::Load(format!("no BPF program has the identifier {id}").into()))?
            .map_ids()
            .map_err(load)?
            .unwrap_or_default();
        let entries = find(&maps, "ENTRIES")?;
        let count =
            entries.info().map_err(|error| map_error("ENTRIES", "asking about", &error))?.max_entries();
        let (ledgers, switches) = (find(&maps, "LEDGERS")?, find(&maps, "SWITCHES")?);
        let unpooled = find(&maps, "UNPOOLED")?;
        let buckets =
            unpooled.info().map_err(|error| map_error("UNPOOLED", "asking about", &error))?.max_entries();
        let maps_of = Maps {
            entries: entries.fd(),
            ledgers: ledgers.fd(),
            switches: switches.fd(),
            unpooled: unpooled.fd(),
            buckets,
        };
        let entries = Entries::map_read_only(&maps_of, count)?;
        let reasons = PerCpuArray::try_from(Map::PerCpuArray(find(&maps, "REASON_COUNTS")?))
            .map_err(|error| map_error("REASON_COUNTS", "opening", &error))?;
        Ok(Self { entries, reasons })
    }

    /// The entries, as they are.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Packets by reason, summed over CPUs.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn reason_counts(&self) -> Result<Vec<(Reason, u64)>, Error> {
        let count = |reason: &Reason| {
            let values = self.reasons.get(&u32::from(*reason as u8), 0);
            let values = values.map_err(|error| map_error("REASON_COUNTS", "reading", &error))?;
            Ok((*reason, values.iter().sum()))
        };
        Reason::ALL.iter().map(count).collect()
    }
}

fn find(ids: &[u32], name: &'static str) -> Result<MapData, Error> {
    for id in ids {
        let map = MapData::from_id(*id).map_err(|error| map_error(name, "opening", &error))?;
        let info = map.info().map_err(|error| map_error(name, "asking about", &error))?;
        // The kernel keeps 15 bytes of a name.
        if info.name_as_str().is_some_and(|found| !found.is_empty() && name.starts_with(found)) {
            return Ok(map);
        }
    }
    Err(Error::Map {
        map: name,
        operation: "finding",
        cause: "the program uses no map of this name".to_owned(),
    })
}
