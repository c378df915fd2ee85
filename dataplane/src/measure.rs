//! Timed runs of the loaded program, and what the kernel says about its size: for the bench.
//!
//! A timed run leaves its traces in entries and counters like any packet, and excludes the driver: what it
//! takes to bring a frame from a network card to the program and back. It must not be used on a gate that
//! serves traffic.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use aya::{
    maps::{Map, MapData, PerCpuArray},
    programs::{ProgramError, TestRun, TestRunOptions, Xdp},
};
use weir_dataplane_common::{abi::Side, answer::LONGEST as LONGEST_REPLY, reason::Reason};

use crate::{
    Error, Gate,
    gate::{map_error, program_of, test_run_error},
};

/// What the kernel made of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Instructions that the verifier processed.
    pub verified: u32,
    /// Bytes of BPF after the verifier's rewriting.
    pub translated: u32,
    /// Bytes of machine code.
    pub jitted: u32,
}

impl Gate {
    /// Runs a frame `repeat` times through the program of a side; what it returned (an XDP action) and how long
    /// one run took on average, rounded down to a nanosecond by the kernel. Several threads may do so at once.
    ///
    /// # Errors
    /// [`Error::TestRun`].
    pub fn run(&self, side: Side, frame: &[u8], repeat: u32) -> Result<(u32, Duration), Error> {
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
        let run = self.program(side)?.test_run(options).map_err(|error| test_run_error(frame, &error))?;
        Ok((run.return_value, run.duration))
    }

    /// Runs a frame once through the program of a side; what it returned (an XDP action) and what it made of the
    /// frame.
    ///
    /// # Errors
    /// [`Error::TestRun`].
    pub fn run_once(&self, side: Side, frame: &[u8]) -> Result<(u32, Vec<u8>), Error> {
        let mut left = vec![0; frame.len() + LONGEST_REPLY];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut left), ..TestRunOptions::new() };
        let run = self.program(side)?.test_run(options).map_err(|error| test_run_error(frame, &error))?;
        left.truncate(run.data_size_out as usize);
        Ok((run.return_value, left))
    }

    /// Packets that one CPU judged so.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn count_on(&self, cpu: usize, reason: Reason) -> Result<u64, Error> {
        const MAP: &str = "REASON_COUNTS";
        let map = self.ebpf_ref().map(MAP).ok_or(Error::NotBuilt)?;
        let counts: PerCpuArray<&MapData, u64> =
            PerCpuArray::try_from(map).map_err(|error| map_error(MAP, "opening", &error))?;
        let counts = counts.get(&(reason as u32), 0).map_err(|error| map_error(MAP, "reading", &error))?;
        Ok(counts.get(cpu).copied().unwrap_or(0))
    }

    /// The size of the program of a side.
    ///
    /// # Errors
    /// [`Error::Load`] if the kernel does not tell.
    pub fn size(&self, side: Side) -> Result<Size, Error> {
        let info = self.program(side)?.info().map_err(|error| Error::Load(Box::new(error)))?;
        Ok(Size {
            verified: info.verified_instruction_count().unwrap_or(u32::MAX),
            translated: info.size_translated().unwrap_or(0),
            jitted: info.size_jitted(),
        })
    }

    /// Bytes of kernel memory of each of the gate's maps, by name, as the kernel accounts them.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn memory(&self) -> Result<Vec<(String, u64)>, Error> {
        let maps = self.ebpf_ref().maps();
        maps.filter_map(|(name, map)| Some((name, data_of(map)?)))
            .map(|(name, data)| Ok((name.to_owned(), memlock(data)?)))
            .collect()
    }

    fn program(&self, side: Side) -> Result<&Xdp, Error> {
        let name = program_of(side);
        let program =
            self.ebpf_ref().program(name).ok_or_else(|| Error::Load(format!("no program {name}").into()))?;
        program.try_into().map_err(|error: ProgramError| Error::Load(Box::new(error)))
    }
}

/// The map's own data, of the types that the gate has.
fn data_of(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data) | Map::HashMap(data) | Map::PerCpuArray(data) | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}

/// What `bpftool map show` prints as memlock.
fn memlock(map: &MapData) -> Result<u64, Error> {
    let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    let told = fs::read_to_string(&path).ok();
    let line = told.as_deref().and_then(|told| told.lines().find_map(|line| line.strip_prefix("memlock:")));
    line.and_then(|number| number.trim().parse().ok()).ok_or_else(|| Error::Map {
        map: "any",
        operation: "asking for its memory",
        cause: format!("{path} has no memlock line"),
    })
}
