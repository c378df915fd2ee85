//! The loaded program and its maps: load, attach, inject, read.
//!
//! One [`Gate`] is one node's program. Dropping it detaches the program and frees the maps. Nothing here
//! knows devices or policies.

use std::{os::fd::AsFd, sync::Arc};

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf},
    programs::{ProgramError, TestRun, TestRunAttrs, TestRunOptions, Xdp, XdpMode},
};
use weir_dataplane_common::{
    abi::{AddressKey, Profile, Settings, Side},
    reason::{REASONS, Reason},
};

use crate::{Error, entries::Entries, generator::context, object, ring::AlarmRing};

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
    ebpf: Ebpf,
    entries: Arc<Entries>,
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

impl Gate {
    /// Loads the live program.
    ///
    /// # Errors
    /// [`Error::NotBuilt`], [`Error::Abi`], [`Error::NotPermitted`], [`Error::Verifier`], [`Error::Load`].
    pub fn load(options: &Options) -> Result<Self, Error> {
        Self::load_object(object::live()?, options)
    }

    /// Loads a program built from the same source in another way: the private copy, or the bench's variants.
    ///
    /// # Errors
    /// As [`Gate::load`].
    pub fn load_object(object: &[u8], options: &Options) -> Result<Self, Error> {
        let missing = missing_capabilities();
        if !missing.is_empty() {
            return Err(Error::NotPermitted { missing });
        }
        let settings = Plain(options.settings);
        let mut ebpf = EbpfLoader::new()
            .override_global("SETTINGS", &settings, true)
            .map_max_entries("ENTRIES", options.entries)
            .map_max_entries("UNPOOLED", options.unpooled.max(1))
            .map_max_entries("ALARMS", options.ring_bytes)
            .load(object)
            .map_err(|error| Error::Load(Box::new(error)))?;
        for side in [Side::Access, Side::Network] {
            load_program(&mut ebpf, program_of(side))?;
        }
        let Some(Map::Array(data)) = ebpf.map("ENTRIES") else { return Err(no_map("ENTRIES")) };
        let entries = Arc::new(Entries::map(data.fd().as_fd(), options.entries)?);
        Ok(Self { ebpf, entries })
    }

    /// The entries, shared with the kernel.
    pub fn entries(&self) -> Arc<Entries> {
        self.entries.clone()
    }

    /// Attaches the program of `side` to an interface, by its name in this network namespace.
    ///
    /// # Errors
    /// [`Error::NoInterface`], [`Error::Attach`].
    pub fn attach(&mut self, interface: &str, side: Side, mode: Mode) -> Result<(), Error> {
        let (xdp_mode, name) = match mode {
            Mode::Native => (XdpMode::Driver, "native"),
            Mode::Generic => (XdpMode::Skb, "generic"),
        };
        let attached = xdp(&mut self.ebpf, program_of(side))?.attach(interface, xdp_mode);
        attached.map(drop).map_err(|error| attach_error(interface, mode, name, &error))
    }

    /// Writes a profile that no entry names.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn write_profile(&mut self, number: u32, profile: &Profile) -> Result<(), Error> {
        let mut table: Array<_, Plain<Profile>> = typed(&mut self.ebpf, "PROFILE_TABLE")?;
        table.set(number, Plain(*profile), 0).map_err(|error| map_error("PROFILE_TABLE", "writing", &error))
    }

    /// Leads an address outside the pools to an entry.
    ///
    /// # Errors
    /// [`Error::Map`], also when the table is full.
    pub fn put_unpooled(&mut self, key: AddressKey, entry: u32) -> Result<(), Error> {
        let mut table: HashMap<_, Plain<AddressKey>, u32> = typed(&mut self.ebpf, "UNPOOLED")?;
        table.insert(Plain(key), entry, 0).map_err(|error| map_error("UNPOOLED", "adding", &error))
    }

    /// The ring of alarms; there is one reader, so it is given once.
    ///
    /// # Errors
    /// [`Error::Map`] if it was taken before.
    pub fn take_alarms(&mut self) -> Result<AlarmRing, Error> {
        let map = self.ebpf.take_map("ALARMS").ok_or_else(|| no_map("ALARMS"))?;
        let ring =
            RingBuf::<MapData>::try_from(map).map_err(|error| map_error("ALARMS", "opening", &error))?;
        Ok(AlarmRing::new(ring))
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

    /// Alarms that found the ring full.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn lost_alarms(&mut self) -> Result<u64, Error> {
        let table: PerCpuArray<_, u64> = typed(&mut self.ebpf, "LOST_ALARMS")?;
        sum(&table, "LOST_ALARMS", 0)
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
        let run = xdp(&mut self.ebpf, program_of(side))?.test_run(options);
        run.map(drop).map_err(|error| test_run_error(frame, &error))
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

pub(crate) fn attach_error(interface: &str, mode: Mode, name: &'static str, error: &ProgramError) -> Error {
    if matches!(error, ProgramError::UnknownInterface { .. }) {
        return Error::NoInterface(interface.to_owned());
    }
    let advice = match (kernel_answer(error), mode) {
        (Some(libc::EBUSY | libc::EEXIST), _) => {
            "another XDP program is attached (see `ip link`): end what attached it, or give weir another interface"
        }
        (Some(libc::EOPNOTSUPP), Mode::Native) => {
            "its driver has no native XDP: set xdp_mode = \"generic\", which is slower, or use another interface"
        }
        (_, Mode::Native) => {
            "the driver may not take native XDP as the interface is set up now, for example with so large an \
             MTU (`dmesg` may say more); xdp_mode = \"generic\" is slower and works everywhere"
        }
        (_, Mode::Generic) => "`dmesg` may say more",
    };
    Error::Attach { interface: interface.to_owned(), mode: name, cause: with_sources(error), advice }
}

/// The error number at the root of an error.
fn kernel_answer(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(answer) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error) {
            return Some(answer);
        }
        cause = error.source();
    }
    None
}

/// An error with its causes, which aya keeps in the chain.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

fn typed<'e, T>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<T, Error>
where
    T: TryFrom<&'e mut Map>,
    T::Error: std::error::Error,
{
    let map = ebpf.map_mut(name).ok_or_else(|| no_map(name))?;
    T::try_from(map).map_err(|error| map_error(name, "opening", &error))
}

fn sum(table: &PerCpuArray<&mut MapData, u64>, name: &'static str, index: u32) -> Result<u64, Error> {
    let values = table.get(&index, 0).map_err(|error| map_error(name, "reading", &error))?;
    Ok(values.iter().sum())
}

fn no_map(map: &'static str) -> Error {
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
    use std::io;

    fn refused(mode: Mode, answer: i32) -> String {
        let io_error = io::Error::from_raw_os_error(answer);
        let call = aya::sys::SyscallError { call: "bpf_link_create", io_error };
        attach_error("eth7", mode, "native", &ProgramError::SyscallError(call)).to_string()
    }

    #[test]
    fn a_refused_attachment_names_the_interface_the_kernels_answer_and_what_to_do() {
        let taken = refused(Mode::Native, libc::EBUSY);
        assert!(taken.contains("eth7") && taken.contains("os error 16"), "{taken}");
        assert!(taken.contains("another XDP program is attached"), "{taken}");
        let lacking = refused(Mode::Native, libc::EOPNOTSUPP);
        assert!(lacking.contains("xdp_mode = \"generic\""), "{lacking}");
        let generic = refused(Mode::Generic, libc::EINVAL);
        assert!(!generic.contains("generic\""), "nothing to fall back to: {generic}");
    }

    #[test]
    fn an_interface_that_is_not_there_is_no_matter_of_modes() {
        let unknown = ProgramError::UnknownInterface { name: "eth7".to_owned() };
        let error = attach_error("eth7", Mode::Native, "native", &unknown);
        assert!(matches!(error, Error::NoInterface(name) if name == "eth7"));
    }

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
