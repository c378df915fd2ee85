//! What a world would leave behind, and how it is undone: on drop, on a signal, and after a kill.
//!
//! Three ways lead out of a run. *Drop* (also while panicking) undoes each [`Claim`]. *Ctrl-C, SIGTERM, hang-up*:
//! [`clean_on_signal`] undoes every claim, then exits. *SIGKILL* of this process: children die with it
//! (see `spawner`), and [`sweep_orphans`] of the next run removes namespaces and directories.
//!
//! It must only undo what was registered here or bears the name of a dead owner, and ends processes through
//! a pidfd, which cannot come to mean another process. Creation happens under the registry's lock, so
//! that a signal finds a thing either registered or not made.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::mount;
use crate::names::WorldName;

/// How long a process may take to end after SIGTERM before it is killed.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Where `ip netns` keeps the names of namespaces.
pub const NAMESPACES: &str = "/run/netns";

/// Something that outlives the process unless it is undone. Undoing twice is harmless.
#[derive(Clone, Debug)]
pub enum Remnant {
    /// A running process that we started.
    Process(Arc<OwnedFd>),
    /// A network namespace, by its `ip netns` name.
    Namespace(String),
    /// A file system mounted on this directory.
    Mount(PathBuf),
    /// A directory with all that is in it.
    Directory(PathBuf),
}

impl Remnant {
    /// Processes first (they hold the others), directories last (they hold the logs).
    fn turn(&self) -> u8 {
        match self {
            Self::Process(_) => 0,
            Self::Namespace(_) => 1,
            Self::Mount(_) => 2,
            Self::Directory(_) => 3,
        }
    }

    pub(crate) fn undo(&self) -> Result<()> {
        match self {
            Self::Process(process) => end(process, PATIENCE),
            Self::Namespace(name) => remove_namespace(name),
            Self::Mount(path) => mount::unmount(path),
            Self::Directory(path) => remove_directory(path),
        }
    }
}

#[derive(Default)]
struct Registry {
    next: u64,
    claims: BTreeMap<u64, Remnant>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { next: 0, claims: BTreeMap::new() });

fn registry() -> MutexGuard<'static, Registry> {
    // A panic while the lock was held leaves a usable list; the rest must still be undone.
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The duty to undo one [`Remnant`], done on drop.
#[derive(Debug)]
#[must_use = "dropping the claim undoes what was made"]
pub struct Claim {
    number: u64,
    remnant: Remnant,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Err(error) = self.remnant.undo() {
            eprintln!("left behind: {error:#}");
        }
        // Only now: a signal during the undoing must still find the claim.
        registry().claims.remove(&self.number);
    }
}

/// Makes something that must be undone. Never returns once a signal has begun to undo everything.
pub fn make<T>(create: impl FnOnce() -> Result<(T, Remnant)>) -> Result<(T, Claim)> {
    let mut registry = registry();
    let (value, remnant) = create()?;
    let number = registry.next;
    registry.next += 1;
    registry.claims.insert(number, remnant.clone());
    Ok((value, Claim { number, remnant }))
}

/// From now on Ctrl-C, SIGTERM and hang-up undo everything and exit with 128 + the signal's number.
pub fn clean_on_signal() -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    static HANDLER: Once = Once::new();
    let mut outcome = Ok(());
    HANDLER.call_once(|| {
        outcome = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])
            .and_then(|mut signals| {
                std::thread::Builder::new().name("undo on signal".into()).spawn(move || {
                    if let Some(signal) = signals.forever().next() {
                        undo_everything();
                        std::process::exit(128 + signal);
                    }
                })
            })
            .map(drop)
            .context("cannot listen for signals, so an interrupted run would leave its world behind");
    });
    outcome
}

/// Undoes every claim and keeps the registry locked for ever, so that nothing new is made before the exit.
fn undo_everything() {
    let registry = registry();
    let mut remnants: Vec<&Remnant> = registry.claims.values().collect();
    remnants.sort_by_key(|remnant| remnant.turn());
    for remnant in &remnants {
        if let Remnant::Process(process) = remnant {
            // All are asked at once, so that their patience runs side by side.
            let _ = pidfd_send_signal(process, Signal::TERM);
        }
    }
    for remnant in remnants {
        if let Err(error) = remnant.undo() {
            eprintln!("left behind: {error:#}");
        }
    }
    std::mem::forget(registry);
}

/// Ends a process: SIGTERM, then SIGKILL once `patience` is over. One that has ended is no error.
pub(crate) fn end(process: &OwnedFd, patience: Duration) -> Result<()> {
    signal(process, Signal::TERM)?;
    // A stopped process would not see the SIGTERM.
    signal(process, Signal::CONT)?;
    if ended_within(process, patience)? {
        return Ok(());
    }
    signal(process, Signal::KILL)?;
    if ended_within(process, PATIENCE)? {
        return Ok(());
    }
    bail!("a process did not end within {PATIENCE:?} of SIGKILL");
}

/// Sends a signal; a process that has ended already is no error.
pub(crate) fn signal(process: &OwnedFd, signal: Signal) -> Result<()> {
    match pidfd_send_signal(process, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => {
            Err(error).with_context(|| format!("cannot send {signal:?} to a process of this world"))
        }
    }
}

/// Waits until the process behind a pidfd has ended (reaped or not); false if it has not by then.
pub fn ended_within(process: &OwnedFd, within: Duration) -> Result<bool> {
    readable_by(process, Instant::now() + within).context("cannot wait for a process of this world")
}

/// Waits until `fd` is readable; false if it is not by the deadline. An interruption does not shorten the wait.
pub(crate) fn readable_by(fd: &OwnedFd, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes what killed runs left: namespaces (ending what still runs in them) and directories whose
/// owner is dead. Returns the names of what it removed. Never touches what a living process made.
pub fn sweep_orphans() -> Result<Vec<String>> {
    let mut swept = Vec::new();
    for name in orphans_in(Path::new(NAMESPACES))? {
        end_processes_in(&name)?;
        remove_namespace(&name)?;
        swept.push(name);
    }
    let directories = std::env::temp_dir();
    for name in orphans_in(&directories)? {
        mount::unmount_below(&directories.join(&name))?;
        remove_directory(&directories.join(&name))?;
        swept.push(name);
    }
    Ok(swept)
}

/// Names in a directory that are a part of a world whose owner is gone, and that belong to this user.
fn orphans_in(directory: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", directory.display())),
    };
    let ours = rustix::process::geteuid().as_raw();
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let orphan = WorldName::of(&name)?.is_orphan();
            (orphan && fs::symlink_metadata(entry.path()).ok()?.uid() == ours).then_some(name)
        })
        .collect();
    names.sort();
    Ok(names)
}

/// Ends what a killed run left running in its namespace. Its children die with their parent; this is for
/// grandchildren, which do not.
fn end_processes_in(name: &str) -> Result<()> {
    let Ok(namespace) = identity(&Path::new(NAMESPACES).join(name)) else {
        return Ok(()); // another sweep was faster
    };
    if namespace == identity(Path::new("/proc/self/ns/net"))? {
        bail!(
            "the namespace {name} is the one this process runs in; it is left alone: remove the name by hand"
        );
    }
    let listing =
        Command::new("ip").args(["netns", "pids", name]).output().context("cannot run `ip netns pids`")?;
    for line in String::from_utf8_lossy(&listing.stdout).lines() {
        let Some(pid) = line.trim().parse().ok().and_then(Pid::from_raw) else { continue };
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        // The pidfd pins the process; only now is it certain that the number still means the one listed.
        let inside = identity(Path::new(&format!("/proc/{}/ns/net", pid.as_raw_nonzero())));
        if inside.is_ok_and(|inside| inside == namespace) {
            end(&process, Duration::from_secs(1))?;
        }
    }
    Ok(())
}

/// Device and inode, by which the kernel tells namespaces apart.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|data| (data.dev(), data.ino()))
}

fn remove_namespace(name: &str) -> Result<()> {
    let path = Path::new(NAMESPACES).join(name);
    if !path.exists() {
        return Ok(());
    }
    // In a process group of its own: a second Ctrl-C must not stop it half-way.
    let output = Command::new("ip")
        .args(["netns", "delete", name])
        .process_group(0)
        .output()
        .context("cannot run `ip netns delete`")?;
    if output.status.success() || !path.exists() {
        return Ok(());
    }
    bail!("cannot remove the namespace {name}: {}", String::from_utf8_lossy(&output.stderr).trim());
}

fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Stdio};

    use super::*;

    /// A shell that says a line once it has done `first`, and then waits to be ended.
    fn shell(first: &str) -> (Child, OwnedFd) {
        let script = format!("{first}; echo ready; while :; do read -r line; done");
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell is on every system");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("it says a line");
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).expect("it is our child");
        (child, handle)
    }

    fn signal_that_ended(mut child: Child) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        child.wait().expect("it is our child").signal()
    }

    #[test]
    fn a_process_is_asked_before_it_is_killed() {
        let (child, handle) = shell(":");
        end(&handle, PATIENCE).expect("it ends");
        assert_eq!(signal_that_ended(child), Some(Signal::TERM.as_raw()));
    }

    #[test]
    fn a_process_that_ignores_the_question_is_killed() {
        let (child, handle) = shell("trap '' TERM");
        end(&handle, Duration::from_millis(50)).expect("it ends");
        assert_eq!(signal_that_ended(child), Some(Signal::KILL.as_raw()));
    }

    #[test]
    fn a_stopped_process_is_ended() {
        let (child, handle) = shell(":");
        signal(&handle, Signal::STOP).expect("it can be stopped");
        end(&handle, PATIENCE).expect("it ends");
        assert_eq!(signal_that_ended(child), Some(Signal::TERM.as_raw()));
    }

    #[test]
    fn ending_what_has_ended_is_no_error() {
        let (child, handle) = shell(":");
        end(&handle, PATIENCE).expect("it ends");
        signal_that_ended(child);
        end(&handle, PATIENCE).expect("it has ended");
    }

    #[test]
    fn a_claim_undoes_what_was_made_when_it_is_dropped() {
        let path = std::env::temp_dir().join(WorldName::next().part("claim"));
        let ((), claim) = make(|| {
            fs::create_dir(&path)?;
            fs::write(path.join("log"), "something")?;
            Ok(((), Remnant::Directory(path.clone())))
        })
        .expect("a directory can be made");
        drop(claim);
        assert!(!path.exists());
    }
}
