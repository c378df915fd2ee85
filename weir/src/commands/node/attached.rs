//! `weir node list|show`: what control says of the nodes that have attached to it.

use std::fmt::Write;

use anyhow::anyhow;
use weir_server::api;

use crate::admin_client::Access;
use crate::commands::show::{instant, print, yes_no};
use crate::table::Table;

/// All nodes.
#[derive(Debug, clap::Args)]
pub struct List {
    #[command(flatten)]
    access: Access,
}

/// One node.
#[derive(Debug, clap::Args)]
pub struct Show {
    #[command(flatten)]
    access: Access,
    /// The node's name.
    name: String,
}

impl List {
    /// Asks and prints.
    ///
    /// # Errors
    /// Control cannot be reached.
    pub async fn run(self) -> anyhow::Result<()> {
        let nodes: Vec<api::Node> = self.access.client().get("nodes").await?;
        print(self.access.json, &nodes, |nodes| table(nodes))
    }
}

impl Show {
    /// Asks and prints.
    ///
    /// # Errors
    /// Control cannot be reached, or no such node has attached.
    pub async fn run(self) -> anyhow::Result<()> {
        let nodes: Vec<api::Node> = self.access.client().get("nodes").await?;
        let name = self.name;
        let node = nodes.into_iter().find(|node| node.name == name);
        let node =
            node.ok_or_else(|| anyhow!("no node named {name:?} has attached since control started"))?;
        print(self.access.json, &node, in_words)
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
