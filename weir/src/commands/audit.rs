//! `weir audit list`: what operators did on nodes, past control, as far as control has heard of it (R-X8).

use clap::Subcommand;
use weir_server::api::AuditLine;

use super::show::{instant, print};
use crate::admin_client::{Access, segment};
use crate::table::Table;

/// Look at what operators did on nodes, past control.
#[derive(Debug, clap::Args)]
pub struct Audit {
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The latest acts, newest first. What a node has done and not yet told is on the node: `weir node status`.
    List {
        /// Of this node only.
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
        /// How many, at most 1000.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
}

impl Audit {
    /// Asks and prints.
    ///
    /// # Errors
    /// Control cannot be reached.
    pub async fn run(self) -> anyhow::Result<()> {
        let What::List { node, limit } = self.what;
        let of = node.map(|node| format!("&node={}", segment(&node))).unwrap_or_default();
        let lines: Vec<AuditLine> = self.access.client().get(&format!("audit?limit={limit}{of}")).await?;
        print(self.access.json, &lines, |lines| table(lines))
    }
}

fn table(lines: &[AuditLine]) -> Table<7> {
    let mut table = Table::new(["at", "node", "what", "device", "until", "by", "reason"]);
    for line in lines {
        let by = match &line.who {
            Some(who) => who.name.clone().unwrap_or_else(|| format!("uid {}", who.uid)),
            None => "the node".to_owned(),
        };
        table.row([
            instant(line.at_ms),
            line.node.clone(),
            line.what.replace('-', " "),
            line.device.clone().unwrap_or_default(),
            instant(line.until_ms),
            by,
            line.reason.clone(),
        ]);
    }
    table
}
