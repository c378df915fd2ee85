//! `weir node bypass|status`: this machine's node, asked without control (R-X8).

use std::fmt::Write;
use std::path::PathBuf;

use weir_agent::local::api::{Status, Suspended};

use crate::commands::show::{instant, print, yes_no};
use crate::commands::suspend::Terms;
use crate::local_client::{DEFAULT_SOCKET, node};
use crate::table::Table;

/// Break-glass: let every packet of this machine's node pass for a while, judged by nothing. Needs no control; is
/// audited.
#[derive(Debug, clap::Args)]
pub struct Bypass {
    /// The node's local socket.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    #[command(flatten)]
    terms: Terms,
    /// Print JSON as the node says it, for programs.
    #[arg(long)]
    json: bool,
}

/// What this machine's node is doing, as it says itself; needs no control.
#[derive(Debug, clap::Args)]
pub struct ShowStatus {
    /// The node's local socket.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// Print JSON as the node says it, for programs.
    #[arg(long)]
    json: bool,
}

impl Bypass {
    /// Asks and prints.
    ///
    /// # Errors
    /// The node cannot be reached, or says why not.
    pub async fn run(self) -> anyhow::Result<()> {
        self.terms.ask(&node(&self.socket, "--socket"), "bypass", "this node", self.json).await
    }
}

impl ShowStatus {
    /// Asks and prints.
    ///
    /// # Errors
    /// The node cannot be reached.
    pub async fn run(self) -> anyhow::Result<()> {
        let status: Status = node(&self.socket, "--socket").get("status").await?;
        print(self.json, &status, in_words)
    }
}

fn in_words(status: &Status) -> String {
    let mut words = String::new();
    let (access, network) = (status.access_interfaces.join(", "), status.network_interfaces.join(", "));
    let _ = writeln!(words, "node {}: devices behind {access}, network behind {network}", status.node);
    let (boot, abi, before) = (&status.boot, status.abi_version, status.incarnation);
    let _ =
        writeln!(words, "boot {boot}, layout version {abi}, {before} agent(s) on these maps before this one");
    let (connected, synced) = (yes_no(status.connected), yes_no(status.synced));
    let _ = writeln!(words, "connected to control: {connected}; synced with it: {synced}");
    let _ = match &status.pins {
        Some(pins) => writeln!(words, "pinned in {pins}; state in {}", status.state_dir),
        None => writeln!(words, "not pinned; state in {}", status.state_dir),
    };
    let place =
        if status.audit_on_disk { "on disk" } else { "NOT on disk: see to the state directory's disk" };
    let _ = writeln!(words, "audit lines that control does not have yet: {}, {place}", status.audit_waiting);
    if let Some(bypass) = &status.bypass {
        let _ = writeln!(words, "\nBYPASSED: no packet is judged, {}", suspended(bypass));
    }
    if !status.exemptions.is_empty() {
        let mut table = Table::new(["exempt device", "until", "by", "reason"]);
        for exemption in &status.exemptions {
            let Suspended { until_ms, reason, .. } = &exemption.suspended;
            let by = by(&exemption.suspended);
            table.row([exemption.device.clone(), instant(*until_ms), by, reason.clone()]);
        }
        let _ = write!(words, "\n{table}");
    }
    words
}

fn suspended(suspended: &Suspended) -> String {
    let (until, by) = (instant(suspended.until_ms), by(suspended));
    format!("until {until}, by {}: {}", if by.is_empty() { "somebody" } else { &by }, suspended.reason)
}

fn by(suspended: &Suspended) -> String {
    suspended
        .who
        .as_ref()
        .map(|who| who.name.clone().unwrap_or_else(|| format!("uid {}", who.uid)))
        .unwrap_or_default()
}
