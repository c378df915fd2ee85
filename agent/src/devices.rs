//! Which device is which entry, both ways.
//!
//! A device's first address is its primary entry, where all its state lies; further addresses are aliases
//! that lead to it. So a dual-stack device has one law and one limit.

use std::collections::HashMap;

use weir_dataplane::{Layout, layout::Place};
use weir_dataplane_common::abi::{ALIAS, AddressKey, Control, Entry, VALID};

use crate::{Error, config::Binding};

/// A device's number in this table.
pub type DeviceNumber = usize;

/// The bound devices.
#[derive(Default)]
pub struct Devices {
    devices: Vec<Device>,
    by_id: HashMap<String, DeviceNumber>,
    by_entry: HashMap<u32, DeviceNumber>,
}

struct Device {
    id: String,
    entry: u32,
}

/// Entries to write and hash entries to add, for a set of bindings.
#[derive(Default)]
pub struct Plan {
    /// The devices.
    pub devices: Devices,
    /// Entries that lead to another.
    pub aliases: Vec<(u32, u32)>,
    /// Addresses outside the pools.
    pub unpooled: Vec<(AddressKey, u32)>,
}

impl Devices {
    /// The device with this identifier.
    pub fn number_of(&self, id: &str) -> Option<DeviceNumber> {
        self.by_id.get(id).copied()
    }

    /// The device whose primary entry this is.
    pub fn at_entry(&self, entry: u32) -> Option<DeviceNumber> {
        self.by_entry.get(&entry).copied()
    }

    /// A device's identifier.
    pub fn id(&self, device: DeviceNumber) -> &str {
        &self.devices[device].id
    }

    /// A device's primary entry.
    pub fn entry(&self, device: DeviceNumber) -> u32 {
        self.devices[device].entry
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }
}

impl Plan {
    /// Finds an entry for every address.
    ///
    /// # Errors
    /// [`Error::Binding`] for an address or a device bound twice, or an address outside the pools without room.
    pub fn new(bindings: &[Binding], layout: &Layout) -> Result<Self, Error> {
        let (mut plan, mut unpooled) = (Plan::default(), layout.unpooled());
        let mut taken = HashMap::new();
        for binding in bindings {
            let number = plan.devices.devices.len();
            let mut primary = None;
            for address in &binding.addresses {
                let refuse = |cause: &str| Error::Binding { address: *address, cause: cause.to_owned() };
                let place = layout.place(*address);
                if plan.devices.number_of(&binding.device).is_some() {
                    return Err(refuse("its device has a binding already; list all its addresses in one"));
                }
                if taken.insert(place_key(place), number).is_some() {
                    return Err(refuse("it is bound already (an IPv6 /64 is one address here)"));
                }
                let entry = match place {
                    Place::Pooled(entry) => entry,
                    Place::Unpooled(key) => {
                        let entry = unpooled.next().ok_or_else(|| {
                            refuse("it is in no pool and unpooled_devices leaves no room; raise it or add a pool")
                        })?;
                        plan.unpooled.push((key, entry));
                        entry
                    }
                };
                match primary {
                    None => primary = Some(entry),
                    Some(primary) => plan.aliases.push((entry, primary)),
                }
            }
            if let Some(entry) = primary {
                plan.devices.add(&binding.device, entry);
            }
        }
        Ok(plan)
    }

    /// Writes the entries: primaries with nothing cached, aliases that lead to them.
    pub fn install(&self, entries: &[Entry]) {
        for (number, device) in self.devices.devices.iter().enumerate() {
            let entry = &entries[device.entry as usize];
            entry.owner.store(number as u32);
            entry.control.store(Control(VALID).0);
        }
        for (alias, primary) in &self.aliases {
            let entry = &entries[*alias as usize];
            entry.owner.store(*primary);
            entry.control.store(Control(VALID | ALIAS).0);
        }
    }
}

impl Devices {
    fn add(&mut self, id: &str, entry: u32) {
        let number = self.devices.len();
        self.devices.push(Device { id: id.to_owned(), entry });
        self.by_id.insert(id.to_owned(), number);
        self.by_entry.insert(entry, number);
    }
}

fn place_key(place: Place) -> (u64, u64) {
    match place {
        Place::Pooled(entry) => (u64::MAX, u64::from(entry)),
        Place::Unpooled(key) => (key.high, key.low),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(device: &str, addresses: &[&str]) -> Binding {
        let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        Binding { device: device.to_owned(), addresses }
    }

    fn layout() -> Layout {
        let pools = ["10.45.0.0/24", "2001:db8:45::/56"].map(|pool| pool.parse().expect("a prefix"));
        Layout::new(&pools, 1).expect("a layout")
    }

    #[test]
    fn a_second_address_leads_to_the_first_ones_entry() {
        let plan = Plan::new(&[binding("one", &["10.45.0.7", "2001:db8:45:3::1"])], &layout()).expect("fits");
        assert_eq!(plan.devices.entry(0), 7);
        assert_eq!(plan.aliases, [(256 + 3, 7)]);
        let entries: Vec<Entry> = (0..600).map(|_| Entry::default()).collect();
        plan.install(&entries);
        assert!(Control(entries[259].control.load()).has(ALIAS));
        assert_eq!(entries[259].owner.load(), 7);
    }

    #[test]
    fn unpooled_addresses_take_entries_behind_the_pools_until_there_are_none() {
        let one = binding("one", &["192.0.2.1"]);
        let plan = Plan::new(std::slice::from_ref(&one), &layout()).expect("fits");
        assert_eq!(plan.devices.entry(0), 512);
        let refused = Plan::new(&[one, binding("two", &["192.0.2.2"])], &layout());
        assert!(refused.err().expect("no room").to_string().contains("unpooled_devices"));
    }

    #[test]
    fn a_device_has_one_binding_since_it_has_one_limit() {
        let bindings = [binding("one", &["10.45.0.7"]), binding("one", &["10.45.0.8"])];
        let refused = Plan::new(&bindings, &layout()).err().expect("twice").to_string();
        assert!(refused.contains("binding already") && !refused.contains("one:"), "{refused}");
    }

    #[test]
    fn an_address_is_bound_once() {
        for other in ["10.45.0.7", "2001:db8:45:3:ffff::9"] {
            let one = binding("one", &["10.45.0.7", "2001:db8:45:3::1"]);
            let refused = Plan::new(&[one, binding("two", &[other])], &layout());
            assert!(refused.err().expect("twice").to_string().contains("bound already"));
        }
    }
}
