//! The loaded program as the core's [`Kernel`].

use std::sync::Arc;

use weir_dataplane::{Gate, entries::Entries};
use weir_dataplane_common::abi::{Entry, Ledger, Profile, Side, Switches};

use crate::core::Kernel;

/// A gate and its mapped entries.
pub(crate) struct LoadedGate {
    gate: Gate,
    entries: Arc<Entries>,
}

impl LoadedGate {
    pub(crate) fn new(gate: Gate) -> Self {
        let entries = gate.entries();
        Self { gate, entries }
    }

    pub(crate) fn gate(&mut self) -> &mut Gate {
        &mut self.gate
    }
}

impl Kernel for LoadedGate {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn ledgers(&self) -> &[Ledger] {
        self.entries.ledgers()
    }

    fn switches(&self) -> &Switches {
        self.entries.switches()
    }

    fn read_profile(&mut self, number: u32) -> Result<Profile, String> {
        self.gate.read_profile(number).map_err(|error| error.to_string())
    }

    fn write_profile(&mut self, number: u32, profile: &Profile) -> Result<(), String> {
        self.gate.write_profile(number, profile).map_err(|error| error.to_string())
    }

    fn inject(&mut self, side: Side, ifindex: u32, frame: &[u8]) -> Result<(), String> {
        self.gate.inject(side, ifindex, frame).map_err(|error| error.to_string())
    }
}
