//! A network namespace that exists as long as somebody holds it.
//!
//! It must never change the namespace of the calling thread: work inside happens on a thread of its own, or
//! in a child between fork and exec. Read network_namespaces(7) and ip-netns(8) first.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::names::WorldName;
use crate::remains::{self, Claim, NAMESPACES, Remnant};

/// A named network namespace. Clones are the same one; the last to be dropped removes it.
#[derive(Clone, Debug)]
pub struct Namespace {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    name: String,
    _claim: Claim,
}

impl Namespace {
    /// Makes the namespace `weir-<pid>-<n>-<label>`, with its loopback up.
    pub fn create(world: WorldName, label: &str) -> Result<Self> {
        let name = world.part(label);
        let ((), claim) = remains::make(|| {
            let remnant = Remnant::Namespace(name.clone());
            if let Err(error) = run(Command::new("ip").args(["netns", "add", &name]), None) {
                // It may have failed half-way.
                remnant.undo()?;
                return Err(error.context(format!("cannot make the network namespace {name}")));
            }
            Ok(((), remnant))
        })?;
        let namespace = Self { held: Arc::new(Held { name, _claim: claim }) };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns exec` takes it.
    pub fn name(&self) -> &str {
        &self.held.name
    }

    /// Where the name is bound in the file system.
    pub fn path(&self) -> PathBuf {
        Path::new(NAMESPACES).join(self.name())
    }

    /// Runs `inside` in the namespace, on a thread of its own. Sockets opened there stay in the namespace
    /// and may be used from anywhere. A panic inside is passed on.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = self.open()?;
        std::thread::scope(|scope| {
            let visitor = scope.spawn(move || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .with_context(|| format!("cannot enter the network namespace {}", self.name()))?;
                inside()
            });
            visitor.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A command whose process will start inside. Unlike `ip netns exec` there is no process between, and
    /// `/sys` still shows the namespace of the caller.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let file = self.open()?;
        let mut command = Command::new(program);
        // SAFETY: between fork and exec only setns is called; nothing is allocated and no lock is taken.
        unsafe {
            command.pre_exec(move || {
                Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?)
            });
        }
        Ok(command)
    }

    /// Runs a command through `ip netns exec` (which shows it this namespace's `/sys` too) to its end and
    /// returns what it wrote to its standard output.
    pub fn exec(&self, words: &[&str]) -> Result<String> {
        run(Command::new("ip").args(["netns", "exec", self.name()]).args(words), None)
    }

    /// Runs `ip` commands inside, one per line, without the leading `ip`.
    pub fn ip(&self, commands: &str) -> Result<()> {
        run(Command::new("ip").args(["-n", self.name(), "-batch", "-"]), Some(commands)).map(drop)
    }

    /// Sets kernel parameters under `/proc/sys/net` inside, in the given order.
    pub fn set(&self, parameters: &[(&str, &str)]) -> Result<()> {
        self.enter(|| {
            for (parameter, value) in parameters {
                fs::write(Path::new("/proc/sys/net").join(parameter), value)
                    .with_context(|| format!("cannot set net/{parameter} to {value} in {}", self.name()))?;
            }
            Ok(())
        })
    }

    fn open(&self) -> Result<File> {
        let path = self.path();
        File::open(&path).with_context(|| format!("cannot open {}", path.display()))
    }
}

/// Runs a command to its end; what it wrote to standard output, or an error with what it wrote to the other.
fn run(command: &mut Command, input: Option<&str>) -> Result<String> {
    let shown = format!("{command:?}");
    // Ctrl-C must not reach it half-way: what it makes is undone by us (see `remains`).
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {shown}"))?;
    // Taken and dropped here, so that the child sees the end of its input.
    let mut stdin = child.stdin.take().context("the child's standard input is piped")?;
    let written = stdin.write_all(input.unwrap_or_default().as_bytes());
    drop(stdin);
    let output = child.wait_with_output().with_context(|| format!("cannot wait for {shown}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{shown} failed, {}: {}", output.status, complaint.trim());
    written.with_context(|| format!("{shown} did not read its input"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
