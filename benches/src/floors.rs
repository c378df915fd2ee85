//! The floors: a plain drop, an array look-up, a hash look-up (`floors-ebpf`).

use std::path::Path;

use anyhow::{Context, Result};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{HashMap, PerCpuArray},
    programs::{TestRun, TestRunOptions, Xdp, XdpMode},
};
use weir_dataplane_common::load::Slot;

use crate::bed::{Bed, Lane};
use crate::contender::Contender;
use crate::cpu_time::this_thread;
use crate::frames::FIRST_OUTSIDE;
use crate::plan::DEVICES;

/// Which floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing but the drop.
    Drop,
    /// One array element by address.
    Array,
    /// One hash element by address.
    Hash,
    /// As [`Kind::Array`], with elements as large as weir's entries.
    Wide,
}

impl Kind {
    /// The program's name.
    fn program(self) -> &'static str {
        match self {
            Self::Drop => "floor_drop",
            Self::Array => "floor_array",
            Self::Hash => "floor_hash",
            Self::Wide => "floor_wide",
        }
    }
}

/// A floor's program, alone in its object so that nothing is shared with the others.
pub struct Floor {
    ebpf: Ebpf,
    kind: Kind,
    lane: Option<Lane>,
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodSlot(Slot);
// SAFETY: `repr(C)` with explicit padding.
unsafe impl Pod for PodSlot {}

impl Floor {
    /// Loads it with room for [`DEVICES`]; the hash knows every address outside the pools.
    ///
    /// # Errors
    /// If the object is missing or refused.
    pub fn load(objects: &Path, kind: Kind) -> Result<Self> {
        let path = objects.join("floors.o");
        let object = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let devices = |wanted| if kind == wanted { DEVICES } else { 1 };
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("FLOOR_ARRAY", devices(Kind::Array))
            .map_max_entries("FLOOR_WIDE", devices(Kind::Wide))
            .map_max_entries("FLOOR_HASH", devices(Kind::Hash))
            .load(&object)?;
        let program: &mut Xdp = ebpf.program_mut(kind.program()).context("no such floor")?.try_into()?;
        program.load()?;
        let mut floor = Self { ebpf, kind, lane: None };
        if kind == Kind::Hash {
            floor.fill()?;
        }
        Ok(floor)
    }

    fn fill(&mut self) -> Result<()> {
        let map = self.ebpf.map_mut("FLOOR_HASH").context("no hash")?;
        let mut hash: HashMap<_, u32, PodSlot> = HashMap::try_from(map)?;
        (0..DEVICES)
            .try_for_each(|device| hash.insert(FIRST_OUTSIDE + device, PodSlot(Slot::default()), 0))?;
        Ok(())
    }

    /// Attaches it to the node's end of a lane of its own.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn attach(mut self, bed: &Bed, name: &str) -> Result<Self> {
        let lane = bed.lane(name)?;
        bed.node.enter(|| self.attach_here(name))?;
        self.lane = Some(lane);
        Ok(self)
    }

    /// Attaches it to an interface of the calling thread's namespace.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn attach_here(&mut self, interface: &str) -> Result<()> {
        let program: &mut Xdp =
            self.ebpf.program_mut(self.kind.program()).context("no such floor")?.try_into()?;
        program.attach(interface, XdpMode::Driver)?;
        Ok(())
    }

    /// Runs a frame `repeat` times; the processor's time for one run, in ns.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn run(&self, frame: &[u8], repeat: u32) -> Result<f64> {
        let program: &Xdp = self.ebpf.program(self.kind.program()).context("no such floor")?.try_into()?;
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
        let before = this_thread();
        program.test_run(options)?;
        Ok((this_thread() - before) as f64 / f64::from(repeat))
    }
}

impl Contender for Floor {
    fn lane(&self) -> &Lane {
        self.lane.as_ref().expect("a contender is attached before it is measured")
    }

    fn treated(&mut self) -> Result<Option<u64>> {
        if self.kind == Kind::Drop {
            return Ok(None);
        }
        let map = self.ebpf.map("RECEIVED").context("no counter")?;
        let counts: PerCpuArray<_, u64> = PerCpuArray::try_from(map)?;
        Ok(Some(counts.get(&(self.kind as u32), 0)?.iter().sum()))
    }
}
