//! `weir check FILE`: is a configuration sound, and what does it mean?
//!
//! What this is: every fault on standard error, or a summary in words on standard output. What it must not
//! do: touch the machine; a file is checked where it is written, not where it will run.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{self, LoadError, Summary};

/// Check a configuration file: name every fault, or say in words what the file means.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 sound, 1 faulty, 2 unreadable.")]
pub struct Check {
    /// The TOML file.
    file: PathBuf,
}

impl Check {
    /// Checks and reports.
    ///
    /// # Errors
    /// Standard output could not be written to.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let error = match config::load(&self.file) {
            Ok(configuration) => {
                let mut out = io::stdout().lock();
                writeln!(out, "{}: sound", self.file.display())?;
                write!(out, "{}", Summary(&configuration))?;
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) => error,
        };
        let mut err = io::stderr().lock();
        writeln!(err, "{error}")?;
        match error {
            LoadError::Unreadable { .. } => Ok(ExitCode::from(2)),
            LoadError::Faulty { faults, .. } => {
                let noun = if faults.len() == 1 { "fault" } else { "faults" };
                writeln!(err, "{}: {} {noun}", self.file.display(), faults.len())?;
                Ok(ExitCode::FAILURE)
            }
        }
    }
}
