//! A kernel in memory: the agent's [`Kernel`] over [`MemoryTables`], with the shared law as its program.

use std::collections::VecDeque;

use weir_agent::core::Kernel;
use weir_dataplane::{
    ring::{AlarmCondition, KernelAlarm},
    tables::MemoryTables,
};
use weir_dataplane_common::{
    abi::{AccessKind, Control, Entry, Ledger, Profile, Settings, Side, Switches, condition},
    admit::Outcome,
    node::{Judgement, Tables, judge},
    parse::Cursor,
    reason::Verdict,
    tick::Tick,
};

/// The interface that frames come in on.
pub const IFINDEX: u32 = 7;

/// Entries, profiles, a ring, and the frames that got through.
pub struct MemoryKernel {
    pub tables: MemoryTables,
    settings: Settings,
    /// What the program's clock reads.
    pub nanos: u64,
    pub ring: VecDeque<KernelAlarm>,
    /// Records the ring has room for; what comes beyond is lost.
    pub room: usize,
    /// What passed, sent or injected.
    pub delivered: Vec<Vec<u8>>,
    /// Frames the agent injected, and what became of them.
    pub injected: Vec<(Outcome, Vec<u8>)>,
    /// Why a profile cannot be written, if it cannot.
    pub refuses_profiles: Option<String>,
    /// Why a frame cannot be injected, if it cannot.
    pub refuses_frames: Option<String>,
}

impl MemoryKernel {
    pub fn new(entries: u32, settings: Settings) -> Self {
        Self {
            tables: MemoryTables::new(entries, Profile::default()),
            settings,
            nanos: 0,
            ring: VecDeque::new(),
            room: usize::MAX,
            delivered: Vec::new(),
            injected: Vec::new(),
            refuses_profiles: None,
            refuses_frames: None,
        }
    }

    /// What the program does with a frame, its alarm record included.
    pub fn receive(&mut self, side: Side, frame: &[u8]) -> Outcome {
        let now = Tick::from_nanos(self.nanos);
        let judgement = judge(Cursor::new(frame), side, &self.settings, &self.tables, || now);
        if let Some(record) = record(&judgement, side, now, frame)
            && self.ring.len() < self.room
        {
            self.ring.push_back(record);
        }
        if judgement.outcome.reason.verdict() == Verdict::Pass {
            self.delivered.push(frame.to_vec());
        }
        judgement.outcome
    }
}

/// The record as the program writes it and the ring's reader understands it.
fn record(judgement: &Judgement, side: Side, tick: Tick, frame: &[u8]) -> Option<KernelAlarm> {
    let raised = judgement.outcome.raised?;
    let condition = match raised.condition {
        condition::COUNT => AlarmCondition::Count,
        _ => AlarmCondition::Protocol(raised.classes.iter().next()?),
    };
    Some(KernelAlarm {
        entry: judgement.entry,
        condition,
        side,
        kind: judgement.outcome.access.unwrap_or(AccessKind::Packet),
        access_held: raised.access_held,
        tick,
        ifindex: IFINDEX,
        frame: frame.to_vec(),
    })
}

impl Kernel for MemoryKernel {
    fn entries(&self) -> &[Entry] {
        &self.tables.entries
    }

    fn ledgers(&self) -> &[Ledger] {
        &self.tables.ledgers
    }

    fn switches(&self) -> &Switches {
        &self.tables.switches
    }

    fn read_profile(&mut self, number: u32) -> Result<Profile, String> {
        Ok(self.tables.profile(number).copied().unwrap_or_default())
    }

    fn write_profile(&mut self, number: u32, profile: &Profile) -> Result<(), String> {
        if let Some(reason) = &self.refuses_profiles {
            return Err(reason.clone());
        }
        if self.tables.profile(number) != Some(profile) {
            let named = |entry: &Entry| number != 0 && Control(entry.control.load()).profile() == number;
            assert!(
                !self.tables.entries.iter().any(named),
                "profile {number} changes while an entry names it"
            );
            self.tables.write_profile(number, profile);
        }
        Ok(())
    }

    fn inject(&mut self, side: Side, ifindex: u32, frame: &[u8]) -> Result<(), String> {
        assert_eq!(ifindex, IFINDEX, "a frame goes in where it came in");
        if let Some(reason) = &self.refuses_frames {
            return Err(reason.clone());
        }
        let outcome = self.receive(side, frame);
        self.injected.push((outcome, frame.to_vec()));
        Ok(())
    }
}
