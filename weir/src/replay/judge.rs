//! The two judges of a capture: the shared law in user space, and a private copy of the loaded program.
//!
//! What this is: two ways to the same tables. What it must not do: decide anything; a difference between
//! the two is a fault of one of them, and a test looks for it.

use std::sync::Arc;

use weir_dataplane::entries::Entries;
use weir_dataplane::gate::{self, Options};
use weir_dataplane::replay::{PrivateCopy, SHORTEST_FRAME};
use weir_dataplane::tables::MemoryTables;
use weir_dataplane_common::abi::{AddressKey, Entry, Ledger, Profile, Settings, Side, Trace};
use weir_dataplane_common::node;
use weir_dataplane_common::parse::Cursor;
use weir_dataplane_common::reason::{Reason, Verdict};
use weir_dataplane_common::tick::Tick;

/// The longest frame that is run through the program whole: what a page holds beside what the kernel adds.
/// Of a longer one (segments merged at capture) the program gets the beginning, where all headers are.
const LONGEST_FRAME: usize = 3072;

/// The smallest ring the kernel makes. Nobody reads these alarms: they stand in the trace.
const RING_BYTES: u32 = gate::SMALLEST_RING;

/// Who judges frames, by which tables.
pub trait Judge {
    /// The devices' entries.
    fn entries(&self) -> &[Entry];

    /// Their ledgers.
    fn ledgers(&self) -> &[Ledger];

    /// Writes a profile that no entry names.
    ///
    /// # Errors
    /// The kernel's.
    fn write_profile(&mut self, number: u32, profile: &Profile) -> anyhow::Result<()>;

    /// Leads an address outside the pools to an entry. User space makes the entry if it is not there; the
    /// kernel has made all of them at load.
    ///
    /// # Errors
    /// The kernel's.
    fn put_unpooled(&mut self, key: AddressKey, entry: u32) -> anyhow::Result<()>;

    /// Judges a frame that came in on `side` at `nanos`.
    ///
    /// # Errors
    /// The kernel's.
    fn judge(&mut self, frame: &[u8], side: Side, nanos: u64) -> anyhow::Result<(Verdict, Trace)>;
}

/// The law in user space: no root, no kernel.
pub struct UserSpace {
    tables: MemoryTables,
    settings: Settings,
}

impl UserSpace {
    /// With this many entries to begin with.
    pub fn new(settings: Settings, entries: u32) -> Self {
        Self { tables: MemoryTables::new(entries, Profile::default()), settings }
    }
}

impl Judge for UserSpace {
    fn entries(&self) -> &[Entry] {
        &self.tables.entries
    }

    fn ledgers(&self) -> &[Ledger] {
        &self.tables.ledgers
    }

    fn write_profile(&mut self, number: u32, profile: &Profile) -> anyhow::Result<()> {
        self.tables.write_profile(number, profile);
        Ok(())
    }

    fn put_unpooled(&mut self, key: AddressKey, entry: u32) -> anyhow::Result<()> {
        self.tables.unpooled.insert(key, entry);
        self.tables.grow(entry + 1);
        Ok(())
    }

    fn judge(&mut self, frame: &[u8], side: Side, nanos: u64) -> anyhow::Result<(Verdict, Trace)> {
        let clock = || Tick::from_nanos(nanos);
        let judgement = node::judge(Cursor::new(frame), side, &self.settings, &self.tables, clock);
        Ok((judgement.outcome.reason.verdict(), judgement.trace()))
    }
}

/// A private copy of the program that judges live traffic.
pub struct Kernel {
    copy: PrivateCopy,
    entries: Arc<Entries>,
    /// For frames that the kernel runs through no program: too short to have a device.
    short: UserSpace,
}

impl Kernel {
    /// Loads a copy with room for this many entries, of which so many are outside the pools.
    ///
    /// # Errors
    /// Rights are missing, the program is, or the kernel refuses it.
    pub fn load(settings: Settings, entries: u32, unpooled: u32) -> anyhow::Result<Self> {
        let copy = PrivateCopy::load(&Options { entries, unpooled, ring_bytes: RING_BYTES, settings })?;
        Ok(Self { entries: copy.entries(), copy, short: UserSpace::new(settings, 0) })
    }

    /// Says before a long capture is read whether [`Self::load`] would be permitted.
    ///
    /// # Errors
    /// Rights are missing or the program is.
    pub fn check_rights() -> anyhow::Result<()> {
        if !gate::is_built() {
            return Err(weir_dataplane::Error::NotBuilt.into());
        }
        let missing = gate::missing_capabilities();
        if missing.is_empty() {
            return Ok(());
        }
        let error = weir_dataplane::Error::NotPermitted { missing };
        anyhow::bail!("{error}; or use `weir inspect`, which judges in user space and needs none")
    }
}

impl Judge for Kernel {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn ledgers(&self) -> &[Ledger] {
        self.entries.ledgers()
    }

    fn write_profile(&mut self, number: u32, profile: &Profile) -> anyhow::Result<()> {
        Ok(self.copy.write_profile(number, profile)?)
    }

    fn put_unpooled(&mut self, key: AddressKey, entry: u32) -> anyhow::Result<()> {
        Ok(self.copy.put_unpooled(key, entry)?)
    }

    fn judge(&mut self, frame: &[u8], side: Side, nanos: u64) -> anyhow::Result<(Verdict, Trace)> {
        if frame.len() < SHORTEST_FRAME {
            return self.short.judge(frame, side, nanos);
        }
        let (verdict, trace) = self.copy.judge(&frame[..frame.len().min(LONGEST_FRAME)], side, nanos)?;
        let expected = Reason::from_number(trace.reason).map(Reason::verdict);
        anyhow::ensure!(
            expected == Some(verdict),
            "the program said {} for reason number {}, which means otherwise: a fault of weir",
            verdict.name(),
            trace.reason
        );
        Ok((verdict, trace))
    }
}
