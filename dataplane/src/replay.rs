//! A private copy of the loaded program, for captures and tests.
//!
//! The same source, verified by the same kernel, with two additions that the live program does not have: its
//! clock is what the caller sets, and it says what it decided about each packet. It is attached nowhere.

use std::sync::Arc;

use aya::{
    maps::{Array, MapData},
    programs::{TestRun, TestRunOptions},
};
use weir_dataplane_common::{
    abi::{AddressKey, Profile, Side, Trace},
    reason::Verdict,
};

use crate::{
    Error, Gate,
    entries::Entries,
    gate::{Options, Plain, map_error, program_of, test_run_error, xdp},
    object,
    ring::AlarmRing,
};

/// `XDP_DROP` and `XDP_PASS`.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// The shortest frame that the kernel runs through a program.
pub const SHORTEST_FRAME: usize = 14;

/// The private copy.
pub struct PrivateCopy {
    gate: Gate,
    clock: Array<MapData, u64>,
    trace: Array<MapData, Plain<Trace>>,
}

impl PrivateCopy {
    /// Loads a copy with maps of its own.
    ///
    /// # Errors
    /// As [`Gate::load`].
    pub fn load(options: &Options) -> Result<Self, Error> {
        let mut gate = Gate::load_object(object::replay()?, options)?;
        let clock = take(&mut gate, "REPLAY_CLOCK")?;
        let trace = take(&mut gate, "REPLAY_TRACE")?;
        Ok(Self { gate, clock, trace })
    }

    /// The entries it judges by.
    pub fn entries(&self) -> Arc<Entries> {
        self.gate.entries()
    }

    /// Its alarms.
    ///
    /// # Errors
    /// [`Error::Map`] if they were taken before.
    pub fn take_alarms(&mut self) -> Result<AlarmRing, Error> {
        self.gate.take_alarms()
    }

    /// Writes a profile.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn write_profile(&mut self, number: u32, profile: &Profile) -> Result<(), Error> {
        self.gate.write_profile(number, profile)
    }

    /// Leads an address outside the pools to an entry.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn put_unpooled(&mut self, key: AddressKey, entry: u32) -> Result<(), Error> {
        self.gate.put_unpooled(key, entry)
    }

    /// Instructions the verifier processed.
    ///
    /// # Errors
    /// As [`Gate::verified_instructions`].
    pub fn verified_instructions(&mut self) -> Result<u32, Error> {
        self.gate.verified_instructions()
    }

    /// Alarms that found the ring full.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn lost_alarms(&mut self) -> Result<u64, Error> {
        self.gate.lost_alarms()
    }

    /// Judges a frame of at least [`SHORTEST_FRAME`] bytes that came in on `side` at `nanos`.
    ///
    /// # Errors
    /// [`Error::TestRun`], [`Error::Map`].
    pub fn judge(&mut self, frame: &[u8], side: Side, nanos: u64) -> Result<(Verdict, Trace), Error> {
        self.clock.set(0, nanos, 0).map_err(|error| map_error("REPLAY_CLOCK", "setting", &error))?;
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() };
        let run = xdp(self.gate.ebpf(), program_of(side))?.test_run(options);
        let verdict = match run.map_err(|error| test_run_error(frame, &error))?.return_value {
            XDP_PASS => Verdict::Pass,
            XDP_DROP => Verdict::Drop,
            other => {
                let cause = format!("the program returned {other}, which is neither pass nor drop");
                return Err(Error::TestRun { length: frame.len(), cause });
            }
        };
        let trace = self.trace.get(&0, 0).map_err(|error| map_error("REPLAY_TRACE", "reading", &error))?;
        Ok((verdict, trace.0))
    }
}

fn take<V: aya::Pod>(gate: &mut Gate, name: &'static str) -> Result<Array<MapData, V>, Error> {
    let map = gate.ebpf().take_map(name).ok_or(Error::NotBuilt)?;
    Array::try_from(map).map_err(|error| map_error(name, "opening", &error))
}
