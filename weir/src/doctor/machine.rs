//! What this machine is: facts, as the kernel tells them now.
//!
//! What this is: a value for each question the doctor asks, with "it does not tell" as an answer of its own.
//! What it must not do: decide whether a fact is good, or fail because one of them cannot be had.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::time::{ClockId, clock_getres};
use weir_dataplane::{Error, gate, netlink, running::Running};

use super::ethtool::{Ethtool, Offloads};

/// What is asked beyond the machine itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Interfaces, by name.
    pub interfaces: Vec<String>,
    /// Directories in which files are to be made.
    pub directories: Vec<(Purpose, PathBuf)>,
}

/// Everything the doctor knows.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The kernel's release, such as `6.18.44-amd64`.
    pub kernel: String,
    /// Capabilities that loading needs and this process has not.
    pub missing_capabilities: Vec<&'static str>,
    /// Whether this binary carries the XDP program.
    pub program_embedded: bool,
    /// Whether the kernel compiles BPF programs; `None` where it does not show that.
    pub jit: Option<bool>,
    /// Whether the kernel carries its type information (BTF).
    pub type_information: bool,
    /// Whether the BPF file system is mounted in its usual place.
    pub bpf_file_system: bool,
    /// The clock of the day; the kernel's words where it cannot be asked.
    pub clock: Result<Clock, String>,
    /// The step of the clock that the XDP program reads.
    pub clock_step: Duration,
    /// Bytes of memory that can be had without swapping.
    pub available_memory: Option<u64>,
    /// The wanted interfaces, in their order.
    pub interfaces: Vec<Interface>,
    /// The wanted directories, in their order.
    pub directories: Vec<Directory>,
}

/// How well the clock of the day is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Whether something keeps it right.
    pub synchronised: bool,
    /// How wrong it may be at most, as its keeper says.
    pub max_error: Duration,
}

/// An interface that was asked for.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// What it is; `None` if it is not there; the kernel's words where it cannot be asked.
    pub found: Result<Option<Adapter>, String>,
}

/// What an interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// Whether it is switched on.
    pub is_up: bool,
    /// Whether its frames begin with an Ethernet header; the loopback's do.
    pub has_ethernet: bool,
    /// The largest packet it takes, bytes.
    pub mtu: u32,
    /// Its driver's name, if it has one that answers.
    pub driver: Option<String>,
    /// Whether the driver runs XDP programs; `None` where the kernel does not tell.
    pub native_xdp: Option<bool>,
    /// XDP programs on it.
    pub programs: Vec<Attached>,
    /// Its offloads, if the driver tells.
    pub offloads: Option<Offloads>,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Where it runs.
    pub place: Place,
    /// Its number in the kernel.
    pub program: u32,
    /// Whose it is.
    pub owner: Owner,
}

/// Where an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the driver.
    Native,
    /// In the kernel's stack.
    Generic,
    /// In the adapter.
    Offloaded,
}

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// weir's: it has weir's maps.
    Weir,
    /// Somebody else's.
    Other,
    /// This process may not look.
    Hidden,
}

/// What is to be made in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Control's sockets; it makes missing directories itself.
    Sockets,
    /// Control's store; its directory must be there.
    Store,
}

/// A directory in which a file is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// What is to be made there.
    pub purpose: Purpose,
    /// Its path.
    pub path: PathBuf,
    /// What stands there.
    pub state: DirectoryState,
}

/// What stands where a directory is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryState {
    /// A directory in which this process may make files.
    Writable,
    /// A directory in which it may not, or something that is no directory.
    Refused,
    /// Nothing, and this process may make it.
    Creatable,
    /// Nothing, and it may not.
    Missing,
}

/// Asks the machine.
pub fn gather(wanted: &Wanted) -> Facts {
    let uname = rustix::system::uname();
    Facts {
        kernel: uname.release().to_string_lossy().into_owned(),
        missing_capabilities: gate::missing_capabilities(),
        program_embedded: gate::is_built(),
        jit: jit(),
        type_information: Path::new("/sys/kernel/btf/vmlinux").exists(),
        bpf_file_system: read("/proc/self/mounts").is_some_and(|mounts| has_bpf_file_system(&mounts)),
        clock: clock().map_err(|error| error.to_string()),
        clock_step: clock_step(),
        available_memory: read("/proc/meminfo").and_then(|meminfo| available_memory(&meminfo)),
        interfaces: wanted.interfaces.iter().map(|name| interface(name)).collect(),
        directories: wanted.directories.iter().map(|(purpose, path)| directory(*purpose, path)).collect(),
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Shown to root and in the first network namespace only.
fn jit() -> Option<bool> {
    Some(read("/proc/sys/net/core/bpf_jit_enable")?.trim() != "0")
}

fn has_bpf_file_system(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some("/sys/fs/bpf") && words.next() == Some("bpf")
    })
}

fn available_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

fn clock_step() -> Duration {
    let step = clock_getres(ClockId::MonotonicCoarse);
    Duration::new(step.tv_sec.unsigned_abs(), step.tv_nsec.unsigned_abs() as u32)
}

fn clock() -> io::Result<Clock> {
    // SAFETY: a `timex` of zeros is a valid one, and asks only.
    let mut answer: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes within the structure.
    let state = unsafe { libc::adjtimex(&mut answer) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Clock {
        synchronised: state != libc::TIME_ERROR && answer.status & libc::STA_UNSYNC == 0,
        max_error: Duration::from_micros(u64::try_from(answer.maxerror).unwrap_or_default()),
    })
}

fn interface(name: &str) -> Interface {
    let found = netlink::link(name).map(|link| link.map(|link| adapter(name, link)));
    Interface { name: name.to_owned(), found: found.map_err(|error| error.to_string()) }
}

fn adapter(name: &str, link: netlink::Link) -> Adapter {
    let ethtool = Ethtool::open().ok();
    Adapter {
        is_up: link.is_up,
        has_ethernet: [1, 772].contains(&link.hardware),
        mtu: link.mtu,
        driver: ethtool.as_ref().and_then(|ethtool| ethtool.driver(name).ok()),
        native_xdp: netlink::xdp_features(link.index).ok().flatten().map(|features| features & 1 != 0),
        programs: link.programs.into_iter().map(attached).collect(),
        offloads: ethtool.and_then(|ethtool| ethtool.offloads(name).ok()),
    }
}

fn attached((place, program): (u8, u32)) -> Attached {
    let place = match place {
        2 => Place::Generic,
        3 => Place::Offloaded,
        _ => Place::Native,
    };
    let owner = match Running::of_program(program) {
        Ok(_) => Owner::Weir,
        Err(Error::Map { .. }) => Owner::Other,
        Err(_) => Owner::Hidden,
    };
    Attached { place, program, owner }
}

fn directory(purpose: Purpose, path: &Path) -> Directory {
    let may_write = |path: &Path| {
        path.is_dir() && accessat(CWD, path, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
    };
    let state = match fs::symlink_metadata(path) {
        Ok(_) if may_write(path) => DirectoryState::Writable,
        Ok(_) => DirectoryState::Refused,
        Err(_) => match path.ancestors().skip(1).find(|above| above.exists()) {
            Some(above) if may_write(above) => DirectoryState::Creatable,
            _ => DirectoryState::Missing,
        },
    };
    Directory { purpose, path: path.to_owned(), state }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read_in_bytes() {
        let meminfo = "MemTotal:       24684084 kB\nMemFree: 1 kB\nMemAvailable:   22722620 kB\n";
        assert_eq!(available_memory(meminfo), Some(22_722_620 * 1024));
        assert_eq!(available_memory("MemTotal: 1 kB\n"), None, "kernels before 3.14");
    }

    #[test]
    fn the_bpf_file_system_counts_only_in_its_usual_place() {
        assert!(has_bpf_file_system("proc /proc proc rw 0 0\nbpf /sys/fs/bpf bpf rw,mode=700 0 0\n"));
        assert!(!has_bpf_file_system("bpf /mnt/bpf bpf rw 0 0\ntmpfs /sys/fs/bpf tmpfs rw 0 0\n"));
    }

    #[test]
    fn a_directory_is_writable_refused_or_could_be_made() {
        let made = tempfile::tempdir().expect("a directory");
        let file = made.path().join("file");
        fs::write(&file, "").expect("a file");
        let state = |path: &Path| directory(Purpose::Sockets, path).state;
        assert_eq!(state(made.path()), DirectoryState::Writable);
        assert_eq!(state(&made.path().join("a/b")), DirectoryState::Creatable);
        assert_eq!(state(&file), DirectoryState::Refused);
        assert_eq!(state(&file.join("below")), DirectoryState::Missing);
    }

    #[test]
    fn every_machine_has_a_loopback_and_not_what_nobody_made() {
        let wanted = Wanted {
            interfaces: vec!["lo".into(), "weir-absent".into(), "a-name-that-is-far-too-long".into()],
            ..Wanted::default()
        };
        let facts = gather(&wanted);
        let found = |place: usize| facts.interfaces[place].found.as_ref().expect("netlink answers");
        let loopback = found(0).as_ref().expect("there is a loopback");
        assert!(loopback.mtu > 0 && loopback.has_ethernet, "{loopback:?}");
        assert_eq!((found(1), found(2)), (&None, &None));
        assert!(!facts.clock_step.is_zero() && !facts.kernel.is_empty());
    }
}
