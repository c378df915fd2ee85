//! Whose packets a capture holds: the devices, their entries, and the side a packet came from.
//!
//! What this is: the tables of a node made without a node, from a configuration or, without one, from the
//! source addresses as they appear. What it must not do: show a device's identifier unless asked (R-X7).

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use anyhow::Context;
use weir_agent::config::Timings;
use weir_agent::devices::Plan;
use weir_agent::{profile, strangers};
use weir_dataplane::Layout;
use weir_dataplane::layout::{Strangers, check_servers, to_address, to_ip};
use weir_dataplane_common::abi::{
    AccessKind, AddressKey, Control, Profile, STRANGER_PROFILE, Settings, Side, VALID,
};
use weir_dataplane_common::parse::{self, Address, Cursor, Parsed};
use weir_dataplane_common::tick::Tick;

use super::judge::Judge;
use super::{clock, policies};
use crate::config::Configuration;

/// Places strangers in the same way in every run.
const SEED: u64 = 0x6a09_e667_f3bc_c908;

/// Source addresses that become devices where nothing is configured: 192 MiB of entries.
pub const MOST_SOURCES: u32 = 1 << 20;

/// The session's times where nothing is configured, as in a configuration that leaves them out.
const TIMINGS: Timings = Timings {
    inactivity: Duration::from_secs(10),
    max_session_age: Duration::from_secs(24 * 3600),
    retry_interval: Duration::from_secs(1),
};

/// Devices and what they are judged by.
pub struct World {
    /// What the program knows about the node.
    pub settings: Settings,
    /// Entries in all.
    pub entries: u32,
    /// Of which outside the pools.
    pub unpooled: u32,
    profiles: Vec<Profile>,
    /// What strangers are judged by, where each is judged by itself.
    stranger_profile: Option<Profile>,
    /// Their places.
    strangers: Range<u32>,
    plan: Plan,
    /// The control word each device begins with; by the device's number, like the following.
    controls: Vec<Control>,
    devices: Vec<Device>,
    numbers: HashMap<AddressKey, u32>,
    /// How many source addresses may become devices; `None`: devices are configured.
    pub room: Option<u32>,
    /// Packets of source addresses that found no room.
    pub turned_away: u64,
}

/// A device of the capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its address or pseudonym; its identifier only if that was asked for.
    pub name: String,
    /// Its primary entry.
    pub entry: u32,
}

impl World {
    /// Nothing is configured and nothing limited: up to `room` source addresses become devices.
    ///
    /// # Errors
    /// More room than a node can have.
    pub fn open(room: u32) -> anyhow::Result<Self> {
        let layout = Layout::new(&[], room)?;
        let kinds = [AccessKind::Packet, AccessKind::Trigger];
        let unlimited = profile::compile(None, &kinds, &TIMINGS, None)?;
        Ok(Self {
            settings: layout.settings(&[], Strangers::default()),
            entries: layout.entries(),
            unpooled: room,
            profiles: vec![unlimited],
            stranger_profile: None,
            strangers: layout.strangers(),
            plan: Plan::default(),
            controls: Vec::new(),
            devices: Vec::new(),
            numbers: HashMap::new(),
            room: Some(room),
            turned_away: 0,
        })
    }

    /// The node of a configuration, with its devices' policies cached from the start.
    ///
    /// # Errors
    /// The file has no `[node]`, or more than a node can hold.
    pub fn configured(configuration: &Configuration, show_identifiers: bool) -> anyhow::Result<Self> {
        let node = configuration.node_role().context(
            "the configuration has no [node], whose pools, times and alarm condition a capture is judged by",
        )?;
        let mut layout = Layout::new(&node.pools, node.unpooled_devices)?;
        if let Some(limit) = &node.stranger_limit {
            layout = layout.with_strangers(limit.table(SEED))?;
        }
        check_servers(&node.application_servers)?;
        let plan = Plan::new(&node.bindings, &layout)?;
        let (profiles, controls) = policies::profiles(configuration, &node)?;
        let limit = node.stranger_limit.as_ref();
        let stranger_profile = limit.map(|limit| strangers::profile_of(&node, limit)).transpose()?;
        let mut world = Self {
            settings: layout.settings(&node.application_servers, node.strangers),
            entries: layout.entries(),
            unpooled: node.unpooled_devices,
            profiles,
            stranger_profile,
            strangers: layout.strangers(),
            plan,
            controls,
            devices: Vec::new(),
            numbers: HashMap::new(),
            room: None,
            turned_away: 0,
        };
        for (number, binding) in node.bindings.iter().enumerate() {
            let name =
                if show_identifiers { binding.device.clone() } else { format!("device-{}", number + 1) };
            world.devices.push(Device { name, entry: world.plan.devices.entry(number) });
            let keys = binding.addresses.iter().map(|address| AddressKey::of(to_address(*address)));
            world.numbers.extend(keys.map(|key| (key, number as u32)));
        }
        Ok(world)
    }

    /// Entries that user space begins with; it makes those of an open world as their devices appear.
    pub fn first_entries(&self) -> u32 {
        if self.room.is_some() { 0 } else { self.entries }
    }

    /// Writes the world into a judge's tables.
    ///
    /// # Errors
    /// The judge's.
    pub fn install(&self, judge: &mut impl Judge) -> anyhow::Result<()> {
        for (number, profile) in self.profiles.iter().enumerate() {
            judge.write_profile(number as u32, profile)?;
        }
        if let Some(profile) = &self.stranger_profile {
            judge.write_profile(STRANGER_PROFILE, profile)?;
        }
        for (key, entry) in &self.plan.unpooled {
            judge.put_unpooled(*key, *entry)?;
        }
        self.plan.install(judge.entries());
        for (device, control) in self.devices.iter().zip(&self.controls) {
            judge.entries()[device.entry as usize].control.store(control.0);
        }
        Ok(())
    }

    /// On which side a frame came in; `None` if neither address is a device's nor the source a server's. In an open
    /// world a new source becomes a device here.
    ///
    /// # Errors
    /// The judge's.
    pub fn side_of(&mut self, frame: &[u8], judge: &mut impl Judge) -> anyhow::Result<Option<Side>> {
        let Parsed::Ip(packet) = parse::ethernet(Cursor::new(frame)) else { return Ok(None) };
        let is_device = |address| self.numbers.contains_key(&AddressKey::of(address));
        if is_device(packet.source) {
            return Ok(Some(Side::Access));
        }
        let Some(room) = self.room else {
            let wakes_stranger = self.settings.strangers != 0 && self.settings.is_server(packet.source);
            let is_downlink = is_device(packet.destination) || wakes_stranger;
            return Ok(is_downlink.then_some(Side::Network));
        };
        if self.devices.len() as u32 >= room {
            self.turned_away += 1;
            return Ok(None);
        }
        self.adopt(packet.source, judge)?;
        Ok(Some(Side::Access))
    }

    fn adopt(&mut self, source: Address, judge: &mut impl Judge) -> anyhow::Result<()> {
        let (key, number) = (AddressKey::of(source), self.devices.len() as u32);
        judge.put_unpooled(key, number)?;
        let entry = &judge.entries()[number as usize];
        entry.owner.store(number);
        entry.control.store(Control(VALID).0);
        self.numbers.insert(key, number);
        self.devices.push(Device { name: name_of(source), entry: number });
        Ok(())
    }

    /// The number of the device whose primary entry this is; `None` for a stranger's.
    pub fn number_at(&self, entry: u32) -> Option<u32> {
        match self.room {
            // Sources become devices in the order of their entries.
            Some(_) => Some(entry).filter(|number| (*number as usize) < self.devices.len()),
            None => self.plan.devices.at_entry(entry).map(|number| number as u32),
        }
    }

    /// All devices, by number.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Keeps the entries' old instants old.
    pub fn keep_old(&self, judge: &impl Judge, nanos: u64) {
        let now = Tick::from_nanos(nanos);
        let pair = |entry: u32| (&judge.entries()[entry as usize], &judge.ledgers()[entry as usize]);
        for device in &self.devices {
            let (entry, ledger) = pair(device.entry);
            let number = Control(entry.control.load()).profile() as usize;
            if let Some(profile) = self.profiles.get(number) {
                clock::keep_old((entry, ledger), profile, now);
            }
        }
        for (place, profile) in self.strangers.clone().zip(self.stranger_profile.iter().cycle()) {
            clock::keep_old(pair(place), profile, now);
        }
    }
}

/// What a source address is called: an IPv6 device has a /64.
fn name_of(source: Address) -> String {
    match source.as_v4() {
        Some(_) => to_ip(source).to_string(),
        None => format!("{}/64", to_ip(Address { low: 0, ..source })),
    }
}

#[cfg(test)]
mod tests {
    use super::super::judge::UserSpace;
    use super::*;

    /// An Ethernet frame with an IPv4 header of protocol 253 and nothing behind it.
    fn frame(source: [u8; 4]) -> Vec<u8> {
        let header = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 253, 0, 0];
        [&[0; 12][..], &[8, 0], &header, &source, &[203, 0, 113, 5]].concat()
    }

    #[test]
    fn sources_beyond_the_room_are_nobody_and_counted() {
        let mut world = World::open(1).expect("room for one");
        let mut judge = UserSpace::new(world.settings, world.first_entries());
        world.install(&mut judge).expect("memory");
        let mut side_of = |last| world.side_of(&frame([10, 45, 0, last]), &mut judge).expect("memory");
        assert_eq!([7, 8, 7, 9].map(&mut side_of), [Some(Side::Access), None, Some(Side::Access), None]);
        assert_eq!((world.turned_away, world.devices().len()), (2, 1));
        let (_, trace) = judge.judge(&frame([10, 45, 0, 7]), Side::Access, 1).expect("memory");
        assert_eq!(world.number_at(trace.entry), Some(0));
    }
}
