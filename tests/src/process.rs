//! A real process of a world, usually `weir`: started inside a namespace, logged, and ended without fail.
//!
//! It must never end a process other than the one it started: signals go through a pidfd. Dropping it asks
//! with SIGTERM and kills after a patience; what happens when nothing is dropped is told in `remains`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::http;
use crate::namespace::Namespace;
use crate::remains::{self, Claim, PATIENCE, Remnant};
use crate::spawner;

/// How many lines of a log an error shows.
const TAIL: usize = 30;
/// How often readiness is asked for.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// What to run.
#[derive(Clone, Debug)]
pub struct Program {
    label: String,
    path: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

impl Program {
    /// A program by its path; the label names its logs.
    pub fn new(label: &str, path: impl Into<PathBuf>) -> Self {
        Self { label: label.to_owned(), path: path.into(), arguments: Vec::new(), environment: Vec::new() }
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds a variable to the inherited environment.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }
}

/// A running process; ended on drop.
#[derive(Debug)]
pub struct Process {
    label: String,
    child: Child,
    handle: Arc<OwnedFd>,
    output: PathBuf,
    errors: PathBuf,
    ended: Option<ExitStatus>,
    namespace: Namespace,
    // After everything else: undoing it is nothing once the process has been waited for.
    _claim: Claim,
}

impl Process {
    /// Starts a program inside a namespace. Its output goes to `<label>.out` and `<label>.err` in `logs`; a
    /// second process of that label is appended.
    pub fn start(namespace: &Namespace, logs: &Path, program: Program) -> Result<Self> {
        let Program { label, path, arguments, environment } = program;
        let (output, errors) = (logs.join(format!("{label}.out")), logs.join(format!("{label}.err")));
        let mut command = namespace.command(&path)?;
        command
            .args(arguments)
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(appending(&output)?)
            .stderr(appending(&errors)?);
        let ((child, handle), claim) = remains::make(|| {
            let mut child = spawner::spawn(command)
                .with_context(|| format!("cannot start {label}: {}", path.display()))?;
            match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
                Ok(handle) => {
                    let handle = Arc::new(handle);
                    let remnant = Remnant::Process(Arc::clone(&handle));
                    Ok(((child, handle), remnant))
                }
                Err(error) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    Err(error).with_context(|| format!("cannot hold on to {label}"))
                }
            }
        })?;
        Ok(Self {
            label,
            child,
            handle,
            output,
            errors,
            ended: None,
            namespace: namespace.clone(),
            _claim: claim,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The namespace it was started in.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Waits until `/readyz` on this loopback port inside its namespace answers 200. An error, with the
    /// last lines of its log, if it does not in time, or at once if the process ends.
    pub fn wait_ready(&mut self, port: u16, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        let mut last = String::from("it was never asked");
        while Instant::now() < deadline {
            match http::get(&self.namespace, port, "/readyz") {
                Ok(response) if response.status == 200 => return Ok(()),
                Ok(response) => last = format!("status {}: {}", response.status, response.body.trim()),
                Err(error) => last = format!("{error:#}"),
            }
            if let Some(status) = self.wait(ASK_AGAIN)? {
                bail!("{} ended before it was ready, {status}\n{}", self.label, self.tail());
            }
        }
        bail!("{} was not ready within {within:?}; at last {last}\n{}", self.label, self.tail());
    }

    /// Waits for its end; `None` if it still runs after that time.
    pub fn wait(&mut self, within: Duration) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() && remains::ended_within(&self.handle, within)? {
            self.ended = Some(self.child.wait().with_context(|| format!("cannot wait for {}", self.label))?);
        }
        Ok(self.ended)
    }

    /// Sends it a signal, for example `Signal::STOP` and `Signal::CONT`.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        remains::signal(&self.handle, signal)
    }

    /// Asks it to end with SIGTERM; an error if it had to be killed or failed. Returns its log.
    pub fn end(mut self) -> Result<String> {
        let status = self.stop()?;
        if !status.success() && status.signal() != Some(Signal::TERM.as_raw()) {
            bail!("{} ended badly, {status}\n{}", self.label, self.tail());
        }
        Ok(self.log())
    }

    /// Kills it with SIGKILL, as a power cut would, and waits until it is gone.
    pub fn kill(mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        let gone = self.wait(PATIENCE)?;
        gone.map(drop).with_context(|| format!("{} did not end within {PATIENCE:?} of SIGKILL", self.label))
    }

    /// What it has written so far: standard output, then standard error.
    pub fn log(&self) -> String {
        let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        read(&self.output) + &read(&self.errors)
    }

    /// What it has written to standard output so far.
    pub fn output(&self) -> Result<String> {
        fs::read_to_string(&self.output).with_context(|| format!("cannot read {}", self.output.display()))
    }

    fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        remains::end(&self.handle, PATIENCE)?;
        self.wait(PATIENCE)?.with_context(|| format!("{} has ended but cannot be waited for", self.label))
    }

    fn tail(&self) -> String {
        tail(&self.log(), TAIL)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("left behind: {}: {error:#}", self.label);
        }
    }
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn appending(path: &Path) -> Result<File> {
    let opened = File::options().create(true).append(true).open(path);
    opened.with_context(|| format!("cannot write the log {}", path.display()))
}
