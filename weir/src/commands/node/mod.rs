//! `weir node FILE` judges packets on this machine; its subcommands, one file each, look after nodes.
//!
//! `attached` asks control about its nodes, `local` this machine's node itself; `detach` removes what a node
//! has left in the kernel.

mod attached;
mod detach;
mod local;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;

use crate::{ask, daemon};

/// Run a node with FILE, or look after nodes.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Node {
    /// Run this machine's node: the TOML file whose `node` section and bindings count.
    file: Option<PathBuf>,
    #[command(subcommand)]
    errand: Option<Errand>,
}

/// A line for each subcommand, in the order of the help text.
#[derive(Debug, Subcommand)]
enum Errand {
    List(attached::List),
    Show(attached::Show),
    Status(local::ShowStatus),
    Bypass(local::Bypass),
    Detach(detach::Detach),
}

impl Node {
    /// Runs the node until SIGINT or SIGTERM, or does the errand.
    ///
    /// # Errors
    /// The node cannot start or go on; whoever is asked cannot be reached or refuses.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match (self.file, self.errand) {
            (Some(file), _) => judge(&file),
            (None, Some(errand)) => errand.run(),
            (None, None) => anyhow::bail!("name a configuration FILE, or see `weir node --help`"),
        }
    }
}

impl Errand {
    fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(list) => ask(list.run()),
            Self::Show(show) => ask(show.run()),
            Self::Status(status) => ask(status.run()),
            Self::Bypass(bypass) => ask(bypass.run()),
            Self::Detach(detach) => detach.run(),
        }
    }
}

fn judge(file: &Path) -> anyhow::Result<ExitCode> {
    let configuration = daemon::configuration(file)?;
    let config = configuration
        .node_role()
        .with_context(|| format!("{}: there is no [node] section to run", file.display()))?;
    daemon::run(|shutdown| async move { Ok(weir_agent::run(config, shutdown.cancelled()).await?) })?;
    Ok(ExitCode::SUCCESS)
}
