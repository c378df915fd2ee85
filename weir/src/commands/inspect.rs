//! `weir inspect CAPTURE`: what weir's law says to each packet of a capture, judged in user space.
//!
//! What this is: the command line. What it must not do: read or judge; that is `crate::replay`.

use std::process::ExitCode;

use crate::replay;

/// Judge the packets of a capture by weir's law, in user space; needs no rights.
#[derive(Debug, clap::Args)]
#[command(after_help = replay::HELP)]
pub struct Inspect {
    #[command(flatten)]
    options: replay::Options,
}

impl Inspect {
    /// Judges and prints.
    ///
    /// # Errors
    /// As [`replay::inspect`].
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        replay::inspect(&self.options).map(|()| ExitCode::SUCCESS)
    }
}
