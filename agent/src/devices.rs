//! Which device is which entry, both ways.
//!
//! A device's first address is its primary entry, where all its state lies; further addresses are aliases
//! that lead to it. So a dual-stack device has one law and one limit.
//!
//! Entries outlive the agent where they are pinned, and are judged by while the next one starts. It finds each
//! device's entry where the device was bound before and leaves it as it is; a place that is now another device's is
//! shut, emptied and opened again. Whose an entry is, its `owner` says: a checksum of the device's identifier.

use std::collections::{HashMap, HashSet};

use weir_dataplane::{Layout, layout::Place};
use weir_dataplane_common::abi::{ALIAS, AddressKey, Control, Entry, Ledger, STATUS_REJECT, STRANGER, VALID};

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
    /// Addresses outside the pools that are not in the hash yet.
    pub unpooled: Vec<(AddressKey, u32)>,
    /// Addresses in the hash that no device is bound to any more: to be removed first.
    pub unbound: Vec<AddressKey>,
}

/// What became of the entries of maps taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Devices whose entries stay as they are.
    pub kept: usize,
    /// Devices that begin anew, shut until [`open`] is called.
    pub begun: usize,
    /// Entries of bindings that are no more.
    pub cleared: usize,
}

/// What an entry is for.
#[derive(Clone, Copy)]
enum Role {
    Primary { owner: u32 },
    Alias { primary: u32 },
}

/// An entry of a device about which nothing has been said yet: no access passes.
const SHUT: Control = Control(VALID | STATUS_REJECT);

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
        Self::over(bindings, layout, &[])
    }

    /// The same over a hash in which these addresses lead to these entries already: they go on doing so.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn over(bindings: &[Binding], layout: &Layout, hash: &[(AddressKey, u32)]) -> Result<Self, Error> {
        let mut plan = Plan::default();
        let mut rooms = Rooms::new(bindings, layout, hash);
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
                if place == Place::Unpooled(AddressKey::NOBODY) {
                    return Err(refuse(
                        "it is of the reserved prefix ::/16, in which no device has an address",
                    ));
                }
                if taken.insert(place_key(place), number).is_some() {
                    return Err(refuse("it is bound already (an IPv6 /64 is one address here)"));
                }
                let entry = match place {
                    Place::Pooled(entry) => entry,
                    Place::Unpooled(key) => match rooms.standing.get(&key) {
                        Some(entry) => *entry,
                        None => {
                            let entry = rooms.free.pop().ok_or_else(|| {
                                refuse("it is in no pool and unpooled_devices leaves no room; raise it or add a pool")
                            })?;
                            plan.unpooled.push((key, entry));
                            entry
                        }
                    },
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
        plan.unbound = rooms.unbound;
        Ok(plan)
    }

    /// Writes entries of new maps: primaries with nothing cached, aliases that lead to them.
    pub fn install(&self, entries: &[Entry]) {
        for device in &self.devices.devices {
            let entry = &entries[device.entry as usize];
            entry.owner.store(checksum(&device.id));
            entry.control.store(VALID);
        }
        for (alias, primary) in &self.aliases {
            lead(&entries[*alias as usize], *primary);
        }
    }

    /// Goes over the entries of maps that another agent left, while packets are judged by them.
    pub fn adopt(&self, entries: &[Entry], ledgers: &[Ledger]) -> Adopted {
        let (roles, mut adopted) = (self.roles(), Adopted::default());
        for (index, (entry, ledger)) in (0u32..).zip(entries.iter().zip(ledgers)) {
            let control = Control(entry.control.load());
            let is_alias = control.has(VALID) && control.has(ALIAS);
            match roles.get(&index) {
                // A stranger's is the kernel's.
                None if control.has(VALID) && !control.has(STRANGER) => {
                    entry.control.store(0);
                    empty(entry, ledger);
                    adopted.cleared += 1;
                }
                None => {}
                Some(Role::Primary { owner }) => {
                    if control.has(VALID) && !is_alias && entry.owner.load() == *owner {
                        adopted.kept += 1;
                    } else {
                        begin(entry, ledger, *owner);
                        adopted.begun += 1;
                    }
                }
                Some(Role::Alias { primary }) if is_alias && entry.owner.load() == *primary => {}
                Some(Role::Alias { primary }) => {
                    entry.control.store(0);
                    empty(entry, ledger);
                    lead(entry, *primary);
                }
            }
        }
        adopted
    }

    fn roles(&self) -> HashMap<u32, Role> {
        let primary = |device: &Device| (device.entry, Role::Primary { owner: checksum(&device.id) });
        let alias = |(alias, primary): &(u32, u32)| (*alias, Role::Alias { primary: *primary });
        self.devices.devices.iter().map(primary).chain(self.aliases.iter().map(alias)).collect()
    }
}

/// Whether control has said nothing about an entry's device yet.
pub fn is_blank(entry: &Entry) -> bool {
    let control = Control(entry.control.load());
    control.0 == VALID || control == SHUT
}

/// Opens an entry that begins anew, unless something has been written about its device.
pub fn open(entry: &Entry) {
    // Where this fails somebody wrote meanwhile, and what was written stands.
    entry.control.replace(SHUT.0, VALID);
}

/// Shut first: a packet that comes in between meets the old device's state or none.
fn begin(entry: &Entry, ledger: &Ledger, owner: u32) {
    ledger.rejected_until.store(0);
    entry.control.store(SHUT.0);
    empty(entry, ledger);
    entry.owner.store(owner);
}

/// Everything but the control word.
fn empty(entry: &Entry, ledger: &Ledger) {
    [&entry.session, &entry.bucket].iter().for_each(|word| word.store(0));
    let words = [
        &entry.retry_until,
        &entry.binding,
        &entry.owner,
        &entry.requests,
        &entry.admitted,
        &entry.rejected,
        &entry.unsolicited,
        &entry.last_rejection,
        &entry.last_alarm,
        &entry.exempt_until,
        &ledger.throttled_until,
        &ledger.rejected_until,
    ];
    words.iter().for_each(|word| word.store(0));
    ledger.requests.clear();
    ledger.admissions.clear();
}

fn lead(alias: &Entry, primary: u32) {
    alias.owner.store(primary);
    alias.control.store(VALID | ALIAS);
}

/// By which the next agent knows whose an entry is. Two devices of one network have the same with a chance of one
/// in four thousand million, which matters only if one takes the other's address while no agent runs.
fn checksum(device: &str) -> u32 {
    crc32fast::hash(device.as_bytes())
}

/// Entries for addresses outside the pools.
struct Rooms {
    standing: HashMap<AddressKey, u32>,
    /// The lowest last.
    free: Vec<u32>,
    unbound: Vec<AddressKey>,
}

impl Rooms {
    fn new(bindings: &[Binding], layout: &Layout, hash: &[(AddressKey, u32)]) -> Self {
        let bound: HashSet<AddressKey> = bindings
            .iter()
            .flat_map(|binding| &binding.addresses)
            .filter_map(|address| match layout.place(*address) {
                Place::Unpooled(key) => Some(key),
                Place::Pooled(_) => None,
            })
            .collect();
        let rooms = layout.unpooled();
        let stays = |(key, entry): &&(AddressKey, u32)| bound.contains(key) && rooms.contains(entry);
        let standing: HashMap<AddressKey, u32> = hash.iter().filter(stays).copied().collect();
        let in_use: HashSet<u32> = standing.values().copied().collect();
        let unbound = hash.iter().map(|(key, _)| *key).filter(|key| !standing.contains_key(key)).collect();
        Self { standing, free: rooms.rev().filter(|entry| !in_use.contains(entry)).collect(), unbound }
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
        Place::Unpooled(key) => (0, key.0),
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
    fn an_unpooled_address_that_leads_to_an_entry_already_goes_on_doing_so() {
        let layout = Layout::new(&[], 3).expect("a layout");
        let all = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|address| binding(address, &[address]));
        let first = Plan::new(&all, &layout).expect("fits");
        let hash = first.unpooled.clone();
        let place_of =
            |plan: &Plan, device: &str| plan.devices.number_of(device).map(|it| plan.devices.entry(it));
        // The first is unbound and a new one comes; the order is another.
        let [_, two, three] = all;
        let second = Plan::over(&[three, binding("new", &["192.0.2.9"]), two], &layout, &hash).expect("fits");
        assert_eq!(second.unbound, [hash[0].0]);
        for device in ["192.0.2.2", "192.0.2.3"] {
            assert_eq!(place_of(&second, device), place_of(&first, device));
        }
        assert_eq!(place_of(&second, "new"), Some(hash[0].1), "the place that is free now");
        assert_eq!(second.unpooled.len(), 1, "the others are in the hash");
    }

    #[test]
    fn a_device_has_one_binding_since_it_has_one_limit() {
        let bindings = [binding("one", &["10.45.0.7"]), binding("one", &["10.45.0.8"])];
        let refused = Plan::new(&bindings, &layout()).err().expect("twice").to_string();
        assert!(refused.contains("binding already") && !refused.contains("one:"), "{refused}");
    }

    #[test]
    fn an_address_that_no_device_can_have_is_refused() {
        let refused = Plan::new(&[binding("one", &["::7"])], &layout()).err().expect("reserved");
        assert!(refused.to_string().contains("reserved prefix"), "{refused}");
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
