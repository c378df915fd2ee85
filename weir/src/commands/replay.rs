//! `weir replay CAPTURE`: what the XDP program says to each packet of a capture.
//!
//! What this is: the command line. What it must not do: read or judge; that is `crate::replay`.

use std::process::ExitCode;

use crate::replay;

/// Judge the packets of a capture by a private copy of the XDP program, with the capture's clock; needs root.
///
/// The copy is attached nowhere: no traffic passes it, and no running node notices. Packets of fewer than 14
/// bytes, which the kernel runs through no program, are judged in user space.
#[derive(Debug, clap::Args)]
#[command(after_help = replay::HELP)]
pub struct Replay {
    #[command(flatten)]
    options: replay::Options,
}

impl Replay {
    /// Judges and prints.
    ///
    /// # Errors
    /// As [`replay::replay`].
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        replay::replay(&self.options).map(|()| ExitCode::SUCCESS)
    }
}
