//! `weir subscriber list|show|set|delete`: devices as the embedded HSS knows them.

use clap::Subcommand;
use weir_server::api;
use weir_service_control::DeviceId;

use super::show::{done, numbers, print};
use crate::admin_client::{Access, segment};
use crate::table::Table;

/// Look at subscribers, or change them.
#[derive(Debug, clap::Args)]
pub struct Subscriber {
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All subscribers.
    List,
    /// One subscriber.
    Show {
        /// The device's IMSI.
        device: String,
    },
    /// Add a subscriber, or replace what is known of it.
    Set {
        /// The device's IMSI.
        device: String,
        /// The type the operator gives the device, e.g. meter.
        #[arg(long = "type", value_name = "TYPE")]
        device_type: String,
        /// Its policies, e.g. 1,2; none if left out.
        #[arg(long, value_name = "ID,…", value_delimiter = ',')]
        policies: Vec<u32>,
    },
    /// Remove a subscriber.
    Delete {
        /// The device's IMSI.
        device: String,
    },
}

impl Subscriber {
    /// Asks and prints.
    ///
    /// # Errors
    /// Control cannot be reached or refuses, and says why.
    pub async fn run(self) -> anyhow::Result<()> {
        let (client, json) = (self.access.client(), self.access.json);
        match self.what {
            What::List => {
                let subscribers: Vec<api::Subscriber> = client.get("subscribers").await?;
                print(json, &subscribers, |subscribers| table(subscribers))
            }
            What::Show { device } => {
                let subscriber: api::Subscriber = client.get(&path(&device)).await?;
                print(json, &subscriber, |subscriber| table(std::slice::from_ref(subscriber)))
            }
            What::Set { device, device_type, policies } => {
                let path = path(&device);
                let subscriber = api::Subscriber { device: DeviceId(device), device_type, policies };
                let kept: api::Subscriber = client.put(&path, &subscriber).await?;
                print(json, &kept, |kept| table(std::slice::from_ref(kept)))
            }
            What::Delete { device } => {
                client.delete(&path(&device)).await?;
                done(json, &format!("subscriber {device} deleted"))
            }
        }
    }
}

fn path(device: &str) -> String {
    format!("subscribers/{}", segment(device))
}

fn table(subscribers: &[api::Subscriber]) -> Table<3> {
    let mut table = Table::new(["device", "type", "policies"]);
    for subscriber in subscribers {
        let (device, device_type) = (subscriber.device.0.clone(), subscriber.device_type.clone());
        table.row([device, device_type, numbers(&subscriber.policies)]);
    }
    table
}
