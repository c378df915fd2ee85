//! `weir device list|show`: what control knows of devices, and what it decided about one. `weir device exempt` asks
//! this machine's node, without control.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Subcommand;
use weir_server::api;

use super::show::{instant, numbers, print, status, yes_no};
use super::{alarm, policy, suspend::Terms};
use crate::admin_client::{Access, segment};
use crate::local_client::{DEFAULT_SOCKET, node};
use crate::table::Table;

/// Look at devices: policies, status, alarms, counts and decisions; or exempt one for a while.
#[derive(Debug, clap::Args)]
pub struct Device {
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All devices that control has heard of.
    List,
    /// Everything about one device.
    Show {
        /// The device's IMSI.
        device: String,
    },
    /// Break-glass: let every packet of a device pass this machine's node for a while. Needs no control; is audited.
    Exempt {
        /// The device's IMSI.
        device: String,
        /// The node's local socket.
        #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
        node_socket: PathBuf,
        #[command(flatten)]
        terms: Terms,
    },
}

impl Device {
    /// Asks and prints.
    ///
    /// # Errors
    /// Control cannot be reached or does not know the device.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = self.access.client();
        match self.what {
            What::List => {
                let devices: Vec<api::DeviceSummary> = client.get("devices").await?;
                print(self.access.json, &devices, |devices| table(devices))
            }
            What::Show { device } => {
                let device: api::Device = client.get(&format!("devices/{}", segment(&device))).await?;
                print(self.access.json, &device, in_words)
            }
            What::Exempt { device, node_socket, terms } => {
                let path = format!("devices/{}/exemption", segment(&device));
                let (node, what) = (node(&node_socket, "--node-socket"), format!("device {device}"));
                terms.ask(&node, &path, &what, self.access.json).await
            }
        }
    }
}

fn table(devices: &[api::DeviceSummary]) -> Table<6> {
    let mut table = Table::new(["device", "cached", "policies", "status", "alarm", "machine"]);
    for device in devices {
        table.row([
            device.device.0.clone(),
            yes_no(device.cached),
            numbers(&device.policies),
            status(&device.status),
            if device.alarm_active { "active" } else { "none" }.to_owned(),
            if device.not_m2m { "no" } else { "" }.to_owned(),
        ]);
    }
    table
}

fn in_words(device: &api::Device) -> String {
    let mut words = table(std::slice::from_ref(&device.summary)).to_string();
    let subscribed = match &device.subscriber {
        Some(subscriber) => format!("subscribed as {}", subscriber.device_type),
        None => "not subscribed".to_owned(),
    };
    let _ = writeln!(words, "\n{subscribed}; entry revision {}", device.revision);
    if !device.explanation.is_empty() {
        let _ = writeln!(words, "{}", device.explanation);
    }
    if !device.policy_details.is_empty() {
        let _ = write!(words, "\nPolicies\n{}", policy::table(&device.policy_details));
    }
    if !device.alarms.is_empty() {
        let _ = write!(words, "\nActive alarms\n{}", alarm::table(&device.alarms));
    }
    if !device.counts.is_empty() {
        let _ = write!(words, "\nCounts\n{}", counts(&device.counts));
    }
    if !device.decisions.is_empty() {
        let _ = write!(words, "\nLatest decisions\n{}", decisions(&device.decisions));
    }
    words
}

fn counts(counts: &[api::Counts]) -> Table<7> {
    let heading = ["node", "boot", "requests", "admitted", "rejected", "unsolicited", "last rejection"];
    let mut table = Table::new(heading);
    for count in counts {
        table.row([
            count.node.clone(),
            count.boot.clone().unwrap_or_else(|| "earlier".to_owned()),
            count.requests.to_string(),
            count.admitted.to_string(),
            count.rejected.to_string(),
            count.unsolicited.to_string(),
            count.last_rejection.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn decisions(decisions: &[api::Decision]) -> Table<3> {
    let mut table = Table::new(["at", "alarm", "explanation"]);
    for decision in decisions {
        let fate = match decision.fate {
            api::Fate::Unchanged => "",
            api::Fate::Cancelled => "cancelled",
            api::Fate::Rejected => "rejected",
        };
        table.row([instant(decision.at_ms), fate.to_owned(), decision.explanation.clone()]);
    }
    table
}
