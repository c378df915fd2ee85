//! The `[[binding]]` list: which addresses are which device's.
//!
//! What this is: static bindings, checked against the pools and each other. What it must not do: name a
//! device in a fault (R-X7).

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use weir_service_control::DeviceId;

use super::document::{Item, Table};
use super::fault::{Faults, Place};
use super::node::Frame;
use super::words;

/// A device and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingEntry {
    /// Whose addresses.
    pub device: DeviceId,
    /// IPv4 as /32, IPv6 as /64; at least one.
    pub addresses: Vec<IpNet>,
}

/// What the bindings so far have taken.
#[derive(Default)]
struct Taken {
    devices: HashSet<DeviceId>,
    addresses: HashMap<IpNet, Place>,
    unpooled: u32,
}

/// Reads all bindings; `None` if something in one of them is at fault.
pub fn read_all(tables: &[Table<'_>], frame: &Frame) -> Option<Vec<BindingEntry>> {
    let mut taken = Taken::default();
    let read: Vec<_> = tables.iter().map(|table| taken.read(table, frame)).collect();
    read.into_iter().collect()
}

impl Taken {
    fn read(&mut self, table: &Table<'_>, frame: &Frame) -> Option<BindingEntry> {
        let device = table.require("device", "write the device's IMSI").and_then(|item| {
            let device = words::device(&item)?;
            if !self.devices.insert(device.clone()) {
                return item.fault("this device has a binding already", "list all its addresses in one");
            }
            Some(device)
        });
        let list = table.require("addresses", r#"list the device's addresses, e.g. ["10.45.0.7"]"#)?;
        let items = list.items()?;
        if items.is_empty() {
            return list.fault("the list is empty", "write at least one address or remove the binding");
        }
        let count = items.len();
        let addresses: Vec<_> =
            items.iter().filter_map(|item| self.take(table.faults(), item, frame)).collect();
        (addresses.len() == count).then_some(BindingEntry { device: device?, addresses })
    }

    fn take(&mut self, faults: &Faults<'_>, item: &Item<'_>, frame: &Frame) -> Option<IpNet> {
        let address = address(item)?;
        if let Some(first) = self.addresses.get(&address) {
            let what = format!("{address} is bound already, in line {}", faults.line_of(first));
            return item.fault(what, "an address belongs to one device: remove one");
        }
        self.addresses.insert(address, item.place.clone());
        if let Some(pools) = &frame.pools
            && !pools.iter().any(|pool| pool.prefix.contains(&address))
        {
            self.unpooled += 1;
            if frame.unpooled_devices.is_some_and(|room| self.unpooled > room) {
                let what = format!(
                    "{address} is in no pool, and node.unpooled_devices leaves no room for a {} such address",
                    ordinal(self.unpooled)
                );
                return item.fault(what, "raise node.unpooled_devices, or add a pool that contains it");
            }
        }
        Some(address)
    }
}

/// What one entry stands for: an IPv4 address, or an IPv6 /64.
fn address(item: &Item<'_>) -> Option<IpNet> {
    let text = item.text()?;
    let parsed = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let Some(parsed) = parsed else {
        return item.fault(format!("{text:?} is not an address"), FORM);
    };
    let network = match parsed {
        IpNet::V4(address) if address.prefix_len() != 32 => {
            return item.fault(format!("{address} is more than one IPv4 address"), FORM);
        }
        IpNet::V6(address) if address.prefix_len() != 64 => {
            let remedy = format!("write \"{}\"", slash_64(address.addr()));
            return item.fault(format!("{text:?} is not a /64, which is what one device gets"), remedy);
        }
        network => network,
    };
    if network.trunc() != network {
        return item.fault(format!("{network} has host bits set"), format!("write \"{}\"", network.trunc()));
    }
    let address = network.addr();
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return item.fault(format!("{network} is no address that a device can have"), FORM);
    }
    Some(network)
}

const FORM: &str = r#"write one IPv4 address or one IPv6 /64: "10.45.0.7" or "2001:db8:45:7::/64""#;

fn slash_64(address: Ipv6Addr) -> IpNet {
    let upper_half = Ipv6Addr::from_bits(address.to_bits() >> 64 << 64);
    IpNet::V6(Ipv6Net::new_assert(upper_half, 64))
}

fn ordinal(number: u32) -> String {
    let suffix = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}
