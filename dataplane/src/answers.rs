//! The answering program beside the gate: put in its place, counted, measured.
//!
//! It is loaded only where the settings ask for answers. The gate finds it through the map `ANSWERS`, which keeps
//! it for as long as a process holds the map or it is pinned; without it a packet that could be answered is
//! dropped in silence. What is answered is not known here: see `weir_dataplane_common::answer`.

use std::io::ErrorKind;

use aya::{
    Ebpf,
    maps::{MapError, PerCpuArray, ProgramArray},
    programs::{ProgramError, Xdp},
};
use weir_dataplane_common::{abi::Settings, answer::Answer};

use crate::{
    Error, Gate,
    gate::{load_program, map_error, typed, xdp},
};

const PROGRAM: &str = "weir_answer";
const PLACE: &str = "ANSWERS";
const COUNTS: &str = "ANSWER_COUNTS";

/// Loads the answering program and puts it where the gate looks for it, or empties that place.
pub(crate) fn install(ebpf: &mut Ebpf, settings: &Settings) -> Result<(), Error> {
    if settings.answers_per_second == 0 {
        let mut place: ProgramArray<_> = typed(ebpf, PLACE)?;
        return match place.clear_index(&0) {
            Ok(()) => Ok(()),
            // It was empty.
            Err(MapError::SyscallError(error)) if error.io_error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(map_error(PLACE, "emptying", &error)),
        };
    }
    load_program(ebpf, PROGRAM)?;
    let load = |error: ProgramError| Error::Load(Box::new(error));
    let program =
        xdp(ebpf, PROGRAM)?.fd().map_err(load)?.try_clone().map_err(|error| Error::Load(error.into()))?;
    let mut place: ProgramArray<_> = typed(ebpf, PLACE)?;
    place.set(0, &program, 0).map_err(|error| map_error(PLACE, "filling", &error))
}

impl Gate {
    /// What became of the packets that could have been answered, summed over CPUs, in the order of their numbers.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn answer_counts(&mut self) -> Result<[(Answer, u64); Answer::ALL.len()], Error> {
        let table: PerCpuArray<_, u64> = typed(self.ebpf(), COUNTS)?;
        let mut counts = Answer::ALL.map(|answer| (answer, 0));
        for (answer, count) in &mut counts {
            let values =
                table.get(&(*answer as u32), 0).map_err(|error| map_error(COUNTS, "reading", &error))?;
            *count = values.iter().sum();
        }
        Ok(counts)
    }

    /// Instructions the verifier processed for the answering program; `None` where it is not loaded.
    ///
    /// # Errors
    /// [`Error::Load`] if the kernel does not tell.
    pub fn verified_answer_instructions(&mut self) -> Result<Option<u32>, Error> {
        let Some(program) = self.ebpf().program(PROGRAM) else { return Ok(None) };
        let load = |error: ProgramError| Error::Load(Box::new(error));
        let program: &Xdp = program.try_into().map_err(load)?;
        match program.info() {
            Ok(info) => Ok(Some(info.verified_instruction_count().unwrap_or(u32::MAX))),
            Err(ProgramError::NotLoaded) => Ok(None),
            Err(error) => Err(load(error)),
        }
    }
}
