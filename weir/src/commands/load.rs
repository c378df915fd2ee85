//! `weir load packets`: generated traffic out of an interface.
//!
//! What this is: the command line. What it must not do: make or send packets; that is `crate::load`.

use std::process::ExitCode;

use clap::Subcommand;

use crate::load;

/// Generate load, bounded in rate, number and time; needs root.
#[derive(Debug, clap::Args)]
pub struct Load {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Packets from random devices of a prefix, out of one interface.
    ///
    /// The kernel generates them, millions a second on one core, if the interface's driver can send XDP frames
    /// (veth can, if the far end has an XDP program or receive offload). With --receive they are sent from user
    /// space instead, each with the time in its payload, and read on another interface.
    Packets(load::Options),
}

impl Load {
    /// Sends and prints.
    ///
    /// # Errors
    /// As [`load::run`].
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let What::Packets(options) = &self.what;
        load::run(options).map(|()| ExitCode::SUCCESS)
    }
}
