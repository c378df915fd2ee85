//! `weir alarm list|show|cancel`: alarms that are active, and an operator's end to them (R-D13).

use anyhow::anyhow;
use clap::Subcommand;
use weir_server::api;

use super::show::{done, instant, print, yes_no};
use crate::admin_client::{Access, segment};
use crate::table::Table;

/// Look at active alarms, or cancel one.
#[derive(Debug, clap::Args)]
pub struct Alarm {
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All active alarms.
    List,
    /// The active alarms of one device.
    Show {
        /// The device's IMSI.
        device: String,
    },
    /// Cancel a device's alarms: its next access is judged by its policies again.
    Cancel {
        /// The device's IMSI.
        device: String,
    },
}

impl Alarm {
    /// Asks and prints.
    ///
    /// # Errors
    /// Control cannot be reached, or the device has no active alarm.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = self.access.client();
        match self.what {
            What::List => {
                let alarms: Vec<api::Alarm> = client.get("alarms").await?;
                print(self.access.json, &alarms, |alarms| table(alarms))
            }
            What::Show { device } => {
                let mut alarms: Vec<api::Alarm> = client.get("alarms").await?;
                alarms.retain(|alarm| alarm.device.0 == device);
                if alarms.is_empty() {
                    return Err(anyhow!("device {device} has no active alarm"));
                }
                print(self.access.json, &alarms, |alarms| table(alarms))
            }
            What::Cancel { device } => {
                client.post(&format!("alarms/{}/cancel", segment(&device))).await?;
                done(self.access.json, &format!("alarms of device {device} cancelled"))
            }
        }
    }
}

/// Alarms, a line each.
pub(super) fn table(alarms: &[api::Alarm]) -> Table<7> {
    let mut table = Table::new(["device", "since", "node", "condition", "kind", "access held", "state"]);
    for alarm in alarms {
        let raised = alarm.raised.as_ref();
        table.row([
            alarm.device.0.clone(),
            instant(alarm.since_ms),
            raised.map_or_else(|| "before the restart".to_owned(), |raised| raised.id.node.clone()),
            raised.map(|raised| condition(&raised.condition)).unwrap_or_default(),
            raised.map(|raised| format!("{:?}", raised.kind).to_lowercase()).unwrap_or_default(),
            raised.map(|raised| yes_no(raised.access_held)).unwrap_or_default(),
            state(alarm.state),
        ]);
    }
    table
}

fn state(state: api::AlarmState) -> String {
    match state {
        api::AlarmState::SubscriptionQueried => "HSS asked".to_owned(),
        api::AlarmState::PoliciesQueried => "PCRF asked".to_owned(),
        api::AlarmState::RetryAtMs(at) => format!("no answer; asked again at {}", instant(at)),
        api::AlarmState::RejectedUntilMs(at) => format!("rejected; looked at again at {}", instant(at)),
    }
}

fn condition(condition: &api::Condition) -> String {
    match condition {
        api::Condition::Count { requests, window } => format!("{requests} requests in {window}"),
        api::Condition::Protocol(class) => class.clone(),
    }
}
