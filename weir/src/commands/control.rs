//! `weir control FILE`: service control for any number of nodes.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::daemon;

/// Run service control: decide on alarms, keep every node's cache, answer the admin API.
#[derive(Debug, clap::Args)]
pub struct Control {
    /// The TOML file; its `control` section, subscribers and policies count.
    file: PathBuf,
}

impl Control {
    /// Runs until SIGINT or SIGTERM.
    ///
    /// # Errors
    /// The configuration is faulty or control cannot start.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let configuration = daemon::configuration(&self.file)?;
        let config = configuration
            .control_role()
            .with_context(|| format!("{}: there is no [control] section to run", self.file.display()))?;
        daemon::run(|shutdown| async { Ok(weir_server::serve(config, shutdown).await?) })?;
        Ok(ExitCode::SUCCESS)
    }
}
