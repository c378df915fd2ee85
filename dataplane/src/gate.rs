//! The loaded program and its maps: load, attach, inject, read.
//!
//! One [`Gate`] is one node's program. Dropping it detaches the program and frees the maps, unless they are pinned
//! ([`Gate::load_pinned`]). Nothing here knows devices or policies.

mod attach;
mod contents;

use std::{
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
};

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Map, MapData, RingBuf},
    programs::{ProgramError, ProgramFd, TestRun, TestRunAttrs, TestRunOptions, Xdp},
};
use weir_dataplane_common::{
    abi::{Settings, Side},
    directory,
};

use crate::{
    Error, Found, Pins, answers,
    capture::Capturing,
    entries::{Entries, Maps},
    generator::context,
    object,
    pins::{Held, Layout, Object},
    ring::AlarmRing,
};

pub(crate) use attach::attach_error;

/// The least room for alarms in the ring, bytes.
pub const SMALLEST_RING: u32 = 4096;

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before the stack. Refused, not replaced, where the driver cannot.
    Native,
    /// In the stack: slower, everywhere, only when asked for.
    Generic,
}

/// What a gate is loaded with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Entries in all.
    pub entries: u32,
    /// Of which outside the pools.
    pub unpooled: u32,
    /// Bytes of the alarm ring: a power of two times the page size.
    pub ring_bytes: u32,
    /// What the kernel is to know about this node.
    pub settings: Settings,
}

/// A plain value as bytes for the loader.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Plain<T: Copy + 'static>(pub T);
// SAFETY: used for `repr(C)` types with explicit padding only.
unsafe impl<T: Copy + 'static> Pod for Plain<T> {}

/// A loaded program with its maps.
pub struct Gate {
    // Dropped first: it puts the live program back in its place.
    capturing: Option<Capturing>,
    ebpf: Ebpf,
    entries: Arc<Entries>,
    /// What is pinned, if anything is to be.
    pinned: Option<Held>,
    /// Attachments of a gate that pins nothing.
    links: Vec<Object>,
    options: Options,
    /// The ring of alarms, once it has gone to its reader.
    alarms: Option<OwnedFd>,
}

/// The program that judges frames of a side.
pub(crate) const fn program_of(side: Side) -> &'static str {
    match side {
        Side::Access => "weir_access",
        Side::Network => "weir_network",
    }
}

/// Whether this binary carries the program; without it nothing can be loaded.
pub fn is_built() -> bool {
    object::is_embedded()
}

/// Capabilities that loading needs and this process has not.
pub fn missing_capabilities() -> Vec<&'static str> {
    const NEEDED: [(u32, &str); 3] = [(12, "CAP_NET_ADMIN"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    // CAP_SYS_ADMIN stands for the newer two.
    let admin = effective >> 21 & 1 != 0;
    let has = |bit: u32| effective >> bit & 1 != 0 || admin && bit != 12;
    NEEDED.iter().filter(|(bit, _)| !has(*bit)).map(|(_, name)| *name).collect()
}

/// Entries, or bytes, of the maps whose size is decided here and not by the program.
fn sizes(options: &Options) -> [(&'static str, u32); 4] {
    [
        ("ENTRIES", options.entries),
        ("LEDGERS", options.entries),
        ("UNPOOLED", directory::buckets(options.unpooled)),
        ("ALARMS", options.ring_bytes),
    ]
}

/// The maps that are shared as memory, with this many entries.
fn shared_memory(ebpf: &Ebpf, entries: u32, buckets: u32) -> Result<Entries, Error> {
    let fd = |name: &'static str| match ebpf.map(name) {
        Some(Map::Array(data)) => Ok(data.fd().as_fd()),
        _ => Err(no_map(name)),
    };
    let maps = Maps {
        entries: fd("ENTRIES")?,
        ledgers: fd("LEDGERS")?,
        switches: fd("SWITCHES")?,
        unpooled: fd("UNPOOLED")?,
        buckets,
    };
    Entries::map(&maps, entries)
}

fn check_rights() -> Result<(), Error> {
    let missing = missing_capabilities();
    if missing.is_empty() { Ok(()) } else { Err(Error::NotPermitted { missing }) }
}

impl Gate {
    /// Loads the live program.
    ///
    /// # Errors
    /// [`Error::NotBuilt`], [`Error::Abi`], [`Error::NotPermitted`], [`Error::Verifier`], [`Error::Load`].
    pub fn load(options: &Options) -> Result<Self, Error> {
        Self::load_object(object::live()?, options)
    }

    /// Loads the live program over what is pinned for this node, or over new maps that are pinned when the gate is
    /// attached. A gate loaded so leaves everything in place when it is dropped.
    ///
    /// The order of a start: load, write what the entries are to hold, [`Gate::attach`] each interface, then
    /// [`Gate::detach_others`]. An agent killed in between leaves the old program at work over the old maps.
    ///
    /// # Errors
    /// As [`Gate::load`]; [`Error::NoBpffs`], [`Error::PinnedAbi`], [`Error::NodeRuns`], [`Error::Pins`].
    pub fn load_pinned(options: &Options, pins: &Pins) -> Result<(Self, Found), Error> {
        let object = object::live()?;
        check_rights()?;
        let shapes = object::maps(object, &sizes(options))?;
        let (held, found) = Held::take(pins, &shapes, Layout::of(&options.settings))?;
        let mut options = *options;
        options.settings.strangers_seed = held.layout.strangers_seed;
        let set = held.set();
        let paths = shapes.iter().map(|shape| (shape.name.as_str(), set.join(&shape.name))).collect();
        Ok((Self { pinned: Some(held), ..Self::load_over(object, &options, paths)? }, found))
    }

    /// Loads a program built from the same source in another way: the private copy, or the bench's variants.
    ///
    /// # Errors
    /// As [`Gate::load`].
    pub fn load_object(object: &[u8], options: &Options) -> Result<Self, Error> {
        check_rights()?;
        Self::load_over(object, options, Vec::new())
    }

    /// Loads over the maps pinned at these paths; one that is not there is made and pinned.
    pub(crate) fn load_over(
        object: &[u8],
        options: &Options,
        paths: Vec<(&str, PathBuf)>,
    ) -> Result<Self, Error> {
        let buckets = directory::buckets(options.unpooled);
        let settings = Plain(Settings { directory_buckets: buckets, ..options.settings });
        let mut loader = EbpfLoader::new();
        loader.override_global("SETTINGS", &settings, true);
        for (map, entries) in sizes(options) {
            loader.map_max_entries(map, entries);
        }
        for (map, path) in paths {
            loader.map_pin_path(map, path);
        }
        let mut ebpf = loader.load(object).map_err(|error| Error::Load(Box::new(error)))?;
        for side in [Side::Access, Side::Network] {
            load_program(&mut ebpf, program_of(side))?;
        }
        answers::install(&mut ebpf, &options.settings)?;
        let entries = Arc::new(shared_memory(&ebpf, options.entries, buckets)?);
        let (links, options) = (Vec::new(), *options);
        Ok(Self { capturing: None, ebpf, entries, pinned: None, links, options, alarms: None })
    }

    /// The entries, shared with the kernel.
    pub fn entries(&self) -> Arc<Entries> {
        self.entries.clone()
    }

    /// The ring of alarms; there is one reader, so it is given once.
    ///
    /// # Errors
    /// [`Error::Map`] if it was taken before.
    pub fn take_alarms(&mut self) -> Result<AlarmRing, Error> {
        let map = self.ebpf.take_map("ALARMS").ok_or_else(|| no_map("ALARMS"))?;
        if let Map::RingBuf(data) = &map {
            let shared = data.fd().as_fd().try_clone_to_owned();
            self.alarms = Some(shared.map_err(|error| map_error("ALARMS", "sharing", &error))?);
        }
        let ring =
            RingBuf::<MapData>::try_from(map).map_err(|error| map_error("ALARMS", "opening", &error))?;
        Ok(AlarmRing::new(ring))
    }

    /// Runs a frame once through the live program as if it had come in on `ifindex`; what the program passes
    /// goes on to the stack. The interface must be in this thread's network namespace.
    ///
    /// # Errors
    /// [`Error::TestRun`].
    pub fn inject(&mut self, side: Side, ifindex: u32, frame: &[u8]) -> Result<(), Error> {
        let context = context(frame.len() as u32, ifindex);
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            attrs: TestRunAttrs::new().xdp_live_frames(1),
            ..TestRunOptions::new()
        };
        let run = xdp(self.judging(), program_of(side))?.test_run(options);
        run.map(drop).map_err(|error| test_run_error(frame, &error))
    }

    /// What judges at present: the capturing program, or else the live one.
    fn judging(&mut self) -> &mut Ebpf {
        match &mut self.capturing {
            Some(capturing) => capturing.gate().ebpf(),
            None => &mut self.ebpf,
        }
    }

    /// Instructions the verifier processed for the more costly of the two programs (goal P11).
    ///
    /// # Errors
    /// [`Error::Load`] if the kernel does not tell.
    pub fn verified_instructions(&mut self) -> Result<u32, Error> {
        let mut most = 0;
        for side in [Side::Access, Side::Network] {
            let info = xdp(&mut self.ebpf, program_of(side))?
                .info()
                .map_err(|error| Error::Load(Box::new(error)))?;
            most = most.max(info.verified_instruction_count().unwrap_or(u32::MAX));
        }
        Ok(most)
    }

    /// The kernel's number of this gate's own program of a side.
    pub(crate) fn program_id(&mut self, side: Side) -> Result<u32, Error> {
        let info = xdp(&mut self.ebpf, program_of(side))?.info();
        Ok(info.map_err(|error| Error::Load(Box::new(error)))?.id())
    }

    /// A handle on this gate's own program of a side.
    pub(crate) fn program_fd(&mut self, side: Side) -> Result<ProgramFd, Error> {
        let own = xdp(&mut self.ebpf, program_of(side))?.fd().and_then(|own| Ok(own.try_clone()?));
        own.map_err(|error| Error::Load(Box::new(error)))
    }

    /// The attachments of this gate.
    pub(crate) fn links(&self) -> Result<Vec<Object>, Error> {
        match &self.pinned {
            Some(held) => Ok(held.pins.links()?.into_iter().map(|link| link.link).collect()),
            None => self
                .links
                .iter()
                .map(Object::another)
                .collect::<Result<_, _>>()
                .map_err(|error| Error::Capture(format!("an attachment cannot be shared: {error}"))),
        }
    }

    /// The capture under way.
    pub(crate) fn capturing(&mut self) -> &mut Option<Capturing> {
        &mut self.capturing
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// The ring of alarms, once it has gone to its reader.
    pub(crate) fn alarms_taken(&self) -> Option<&OwnedFd> {
        self.alarms.as_ref()
    }

    pub(crate) fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    pub(crate) fn ebpf_ref(&self) -> &Ebpf {
        &self.ebpf
    }
}

pub(crate) fn xdp<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut Xdp, Error> {
    let program = ebpf.program_mut(name).ok_or_else(|| Error::Load(format!("no program {name}").into()))?;
    program.try_into().map_err(|error: ProgramError| Error::Load(Box::new(error)))
}

pub(crate) fn load_program(ebpf: &mut Ebpf, name: &'static str) -> Result<(), Error> {
    xdp(ebpf, name)?.load().map_err(|error| match error {
        ProgramError::LoadError { io_error, verifier_log } => Error::Verifier {
            program: name,
            cause: io_error.to_string(),
            log: last_lines(&verifier_log.to_string(), 20),
        },
        other => Error::Load(Box::new(other)),
    })
}

fn last_lines(log: &str, count: usize) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// An error with its causes, which aya keeps in the chain.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

pub(crate) fn typed<'e, T>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<T, Error>
where
    T: TryFrom<&'e mut Map>,
    T::Error: std::error::Error,
{
    let map = ebpf.map_mut(name).ok_or_else(|| no_map(name))?;
    T::try_from(map).map_err(|error| map_error(name, "opening", &error))
}

pub(crate) fn no_map(map: &'static str) -> Error {
    Error::Map { map, operation: "finding", cause: "the object has no such map, or it was taken".to_owned() }
}

pub(crate) fn map_error(map: &'static str, operation: &'static str, error: &dyn std::error::Error) -> Error {
    Error::Map { map, operation, cause: with_sources(error) }
}

pub(crate) fn test_run_error(frame: &[u8], error: &ProgramError) -> Error {
    Error::TestRun { length: frame.len(), cause: with_sources(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_verifiers_log_the_last_lines_are_shown() {
        assert_eq!(last_lines("1\n2\n3\n", 2), "2\n3");
        assert_eq!(last_lines("1\n2", 20), "1\n2");
        assert_eq!(last_lines("", 20), "");
        let error =
            Error::Verifier { program: "weir_access", cause: "EACCES".to_owned(), log: "R1".to_owned() };
        assert!(error.to_string().ends_with("last lines of the verifier's log:\nR1"), "{error}");
    }

    #[test]
    fn missing_rights_are_named() {
        let error = Error::NotPermitted { missing: vec!["CAP_BPF", "CAP_PERFMON"] };
        assert!(error.to_string().contains("CAP_BPF, CAP_PERFMON missing"), "{error}");
    }
}
