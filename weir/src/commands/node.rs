//! `weir node FILE` judges packets on this machine; `weir node list|show` asks control about its nodes.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Subcommand;
use weir_server::api;

use super::show::{instant, print, yes_no};
use crate::admin_client::Access;
use crate::daemon;
use crate::table::Table;

/// Run a node with FILE, or look at the nodes that have attached since control started.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Node {
    /// Run this machine's node: the TOML file whose `node` section and bindings count.
    file: Option<PathBuf>,
    #[command(subcommand)]
    question: Option<Question>,
}

/// What is asked of control.
#[derive(Debug, Subcommand)]
enum Question {
    /// All nodes.
    List {
        #[command(flatten)]
        access: Access,
    },
    /// One node.
    Show {
        #[command(flatten)]
        access: Access,
        /// The node's name.
        name: String,
    },
}

impl Node {
    /// Runs the node until SIGINT or SIGTERM, or asks and prints.
    ///
    /// # Errors
    /// The node cannot start or go on; control cannot be reached or there is no such node.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match (self.file, self.question) {
            (Some(file), _) => judge(&file),
            (None, Some(question)) => crate::ask(question.run()),
            (None, None) => anyhow::bail!("name a configuration FILE, or ask `list` or `show NAME`"),
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

impl Question {
    async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List { access } => {
                let nodes: Vec<api::Node> = access.client().get("nodes").await?;
                print(access.json, &nodes, |nodes| table(nodes))
            }
            Self::Show { access, name } => {
                let nodes: Vec<api::Node> = access.client().get("nodes").await?;
                let node = nodes.into_iter().find(|node| node.name == name);
                let node =
                    node.ok_or_else(|| anyhow!("no node named {name:?} has attached since control started"))?;
                print(access.json, &node, in_words)
            }
        }
    }
}

fn table(nodes: &[api::Node]) -> Table<7> {
    let mut table = Table::new(["node", "connected", "since", "kinds", "sent", "acknowledged", "refused"]);
    for node in nodes {
        table.row([
            node.name.clone(),
            yes_no(node.connected),
            instant(node.since_ms),
            node.kinds.join("+"),
            node.updates.sent.to_string(),
            node.updates.acknowledged.to_string(),
            node.updates.refused.to_string(),
        ]);
    }
    table
}

fn in_words(node: &api::Node) -> String {
    let mut words = table(std::slice::from_ref(node)).to_string();
    let _ = writeln!(
        words,
        "boot {}, layout version {}, {} stream(s)",
        node.boot, node.abi_version, node.streams
    );
    if let Some(refusal) = &node.last_refusal {
        let (at, device) = (instant(refusal.at_ms), &refusal.device.0);
        let _ = writeln!(words, "last refused: {device} at {at}: {}", refusal.reason);
    }
    words
}
