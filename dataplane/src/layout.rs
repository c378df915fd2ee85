//! Which address is which entry.
//!
//! A gateway owns its address pools, so a pooled IPv4 address or IPv6 /64 is an index: one memory access in
//! the kernel. Addresses outside the pools go through a hash to entries behind the pools, and behind these are the
//! strangers' places, if strangers are judged one by one. The layout is fixed when the program is loaded.

use std::{net::IpAddr, ops::Range};

use ipnet::IpNet;
use weir_dataplane_common::{
    abi::{AddressKey, POOLS, Pool4, Pool6, Prefix, SERVERS, Settings},
    parse::Address,
};

use crate::Error;

/// The most entries a node may have: 3 GiB of them.
pub const MOST_ENTRIES: u64 = 16 << 20;

/// The most places strangers may have; their number is a power of two.
pub const MOST_STRANGERS: u32 = 1 << 20;

const SECOND_NS: u32 = 1_000_000_000;

/// Where the entries of a node's addresses lie.
#[derive(Clone, Debug)]
pub struct Layout {
    pools: Vec<Pool>,
    unpooled: u32,
    /// Entries of devices, the strangers' places not counted.
    devices: u32,
    strangers: Option<StrangerTable>,
}

#[derive(Clone, Debug)]
struct Pool {
    prefix: IpNet,
    first: u32,
}

/// Where a device's address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// To this entry.
    Pooled(u32),
    /// Through the hash, to an entry yet to be chosen.
    Unpooled(AddressKey),
}

/// A table in which strangers are judged one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrangerTable {
    /// Places: a power of two, up to [`MOST_STRANGERS`].
    pub places: u32,
    /// New strangers that an interface may bring in a second, at least one, with a second's burst.
    pub new_per_second: u32,
    /// Whether a stranger for whom there is no place passes.
    pub pass_when_full: bool,
    /// Decides which stranger has which places. Drawn at random for live traffic, so that nobody can aim at a place;
    /// a pinned table keeps the seed it was made with.
    pub seed: u64,
}

/// What a node does with packets that are nobody's access.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strangers {
    /// Drop packets of addresses no device is bound to.
    pub drop_unknown: bool,
    /// Drop packets whose headers cannot be read.
    pub drop_unparsable: bool,
    /// Drop packets to idle devices that are no trigger.
    pub drop_unsolicited: bool,
}

impl Layout {
    /// Lays out pools one behind another, then `unpooled` entries for other addresses.
    ///
    /// # Errors
    /// [`Error::Layout`] for overlapping pools, IPv6 pools longer than /64, too many pools or entries.
    pub fn new(pools: &[IpNet], unpooled: u32) -> Result<Self, Error> {
        let mut laid_out: Vec<Pool> = Vec::new();
        let mut next = 0u64;
        for prefix in pools.iter().map(IpNet::trunc) {
            if let Some(other) = laid_out.iter().find(|pool| overlap(&pool.prefix, &prefix)) {
                return Err(Error::Layout(format!("pools {} and {prefix} overlap", other.prefix)));
            }
            laid_out.push(Pool { prefix, first: next as u32 });
            next += entries_of(&prefix)?;
            if next + u64::from(unpooled) > MOST_ENTRIES {
                return Err(Error::Layout(format!(
                    "the pools up to {prefix} and {unpooled} unpooled devices need more than {MOST_ENTRIES} entries"
                )));
            }
        }
        for (family, ours) in [("IPv4", false), ("IPv6", true)] {
            let count = laid_out.iter().filter(|pool| matches!(pool.prefix, IpNet::V6(_)) == ours).count();
            if count > POOLS {
                return Err(Error::Layout(format!("{count} {family} pools; a node holds {POOLS}")));
            }
        }
        Ok(Self { pools: laid_out, unpooled, devices: next as u32 + unpooled, strangers: None })
    }

    /// With a table of strangers behind the devices.
    ///
    /// # Errors
    /// [`Error::Layout`] for a number of places or a rate that the kernel cannot work with.
    pub fn with_strangers(mut self, table: StrangerTable) -> Result<Self, Error> {
        let StrangerTable { places, new_per_second, .. } = table;
        if !places.is_power_of_two() || places > MOST_STRANGERS {
            return Err(Error::Layout(format!(
                "{places} places for strangers; their number is a power of two up to {MOST_STRANGERS}"
            )));
        }
        if new_per_second == 0 {
            return Err(Error::Layout(
                "no new stranger in a second; at least one has to be let in".to_owned(),
            ));
        }
        if u64::from(self.devices) + u64::from(places) > MOST_ENTRIES {
            return Err(Error::Layout(format!(
                "{} devices and {places} strangers need more than {MOST_ENTRIES} entries",
                self.devices
            )));
        }
        self.strangers = Some(table);
        Ok(self)
    }

    /// Entries in all, at least one.
    pub fn entries(&self) -> u32 {
        self.strangers().end.max(1)
    }

    /// The entries for addresses outside the pools.
    pub fn unpooled(&self) -> Range<u32> {
        self.devices - self.unpooled..self.devices
    }

    /// The strangers' places; none if strangers are not judged one by one.
    pub fn strangers(&self) -> Range<u32> {
        self.devices..self.devices + self.strangers.map_or(0, |table| table.places)
    }

    /// Where an address leads. All addresses of an IPv6 /64 lead to one place.
    pub fn place(&self, address: IpAddr) -> Place {
        let address = to_address(address);
        match self.settings(&[], Strangers::default()).pool_index(address) {
            Some(index) => Place::Pooled(index),
            None => Place::Unpooled(AddressKey::of(address)),
        }
    }

    /// The settings that tell the kernel about this layout, the servers and the strangers.
    ///
    /// # Panics
    /// Never: the number of pools was checked, servers beyond the room are refused by [`check_servers`].
    pub fn settings(&self, servers: &[IpNet], strangers: Strangers) -> Settings {
        let mut settings = Settings::empty();
        let (mut fours, mut sixes) = (settings.pools4.iter_mut(), settings.pools6.iter_mut());
        for pool in &self.pools {
            match pool.prefix {
                IpNet::V4(prefix) => {
                    let (base, mask) = (u32::from(prefix.network()), u32::from(prefix.netmask()));
                    *fours.next().expect("Layout::new counted the pools") =
                        Pool4 { base, mask, first: pool.first, padding: 0 };
                }
                IpNet::V6(prefix) => {
                    let base = (u128::from(prefix.network()) >> 64) as u64;
                    let mask = (u128::from(prefix.netmask()) >> 64) as u64;
                    *sixes.next().expect("Layout::new counted the pools") =
                        Pool6 { base, mask, first: pool.first, padding: 0 };
                }
            }
        }
        for (place, server) in settings.servers.iter_mut().zip(servers) {
            *place = to_prefix(server);
        }
        settings.drop_unknown = strangers.drop_unknown.into();
        settings.drop_unparsable = strangers.drop_unparsable.into();
        settings.drop_unsolicited = strangers.drop_unsolicited.into();
        if let Some(table) = &self.strangers {
            settings.strangers = table.places;
            settings.strangers_first = self.devices;
            settings.pass_when_full = table.pass_when_full.into();
            settings.stranger_cost = SECOND_NS / table.new_per_second;
            settings.strangers_seed = table.seed;
        }
        settings
    }
}

/// Whether the kernel has room for these application servers.
///
/// # Errors
/// [`Error::Layout`] if there are more than it holds.
pub fn check_servers(servers: &[IpNet]) -> Result<(), Error> {
    if servers.len() <= SERVERS {
        return Ok(());
    }
    Err(Error::Layout(format!("{} application-server prefixes; a node holds {SERVERS}", servers.len())))
}

/// An address as the kernel compares it.
pub fn to_address(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => Address::v4(address.into()),
        IpAddr::V6(address) => Address::v6(address.into()),
    }
}

/// An address for people.
pub fn to_ip(address: Address) -> IpAddr {
    match address.as_v4() {
        Some(address) => IpAddr::V4(address.into()),
        None => IpAddr::V6((u128::from(address.high) << 64 | u128::from(address.low)).into()),
    }
}

fn to_prefix(prefix: &IpNet) -> Prefix {
    let network = to_address(prefix.network());
    let (high_mask, low_mask) = match prefix {
        IpNet::V4(prefix) => (u64::MAX, !u64::from(u32::MAX) | u64::from(u32::from(prefix.netmask()))),
        IpNet::V6(prefix) => {
            let mask = u128::from(prefix.netmask());
            ((mask >> 64) as u64, mask as u64)
        }
    };
    Prefix { high: network.high, low: network.low, high_mask, low_mask }
}

fn entries_of(prefix: &IpNet) -> Result<u64, Error> {
    let bits = match prefix {
        IpNet::V4(prefix) => 32 - prefix.prefix_len(),
        IpNet::V6(prefix) if prefix.prefix_len() > 64 => {
            return Err(Error::Layout(format!(
                "pool {prefix} is longer than /64; a device has a /64 of its own"
            )));
        }
        IpNet::V6(prefix) => 64 - prefix.prefix_len(),
    };
    // Far beyond MOST_ENTRIES; the cap keeps the shift within 64 bits.
    Ok(1 << bits.min(60))
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(nets: &[&str]) -> Vec<IpNet> {
        nets.iter().map(|net| net.parse().expect("a prefix")).collect()
    }

    fn place(layout: &Layout, address: &str) -> Place {
        layout.place(address.parse().expect("an address"))
    }

    #[test]
    fn pools_lie_one_behind_another_and_the_rest_behind_them() {
        let layout = Layout::new(&nets(&["10.45.0.0/16", "2001:db8:45::/48"]), 10).expect("a layout");
        assert_eq!(place(&layout, "10.45.0.7"), Place::Pooled(7));
        assert_eq!(place(&layout, "2001:db8:45:7::1"), Place::Pooled(65536 + 7));
        assert_eq!(place(&layout, "2001:db8:45:7:ffff::"), Place::Pooled(65536 + 7));
        assert_eq!(layout.unpooled(), 131_072..131_082);
        assert!(matches!(place(&layout, "192.0.2.1"), Place::Unpooled(_)));
    }

    fn table(places: u32) -> StrangerTable {
        StrangerTable { places, new_per_second: 1000, pass_when_full: true, seed: 7 }
    }

    #[test]
    fn strangers_have_places_behind_all_devices() {
        let layout = Layout::new(&nets(&["10.45.0.0/24"]), 10).expect("a layout");
        assert!(layout.strangers().is_empty(), "unless they are asked for");
        let layout = layout.with_strangers(table(64)).expect("a layout");
        assert_eq!((layout.unpooled(), layout.strangers(), layout.entries()), (256..266, 266..330, 330));
        let settings = layout.settings(&[], Strangers::default());
        assert_eq!((settings.strangers, settings.strangers_first), (64, 266));
        assert_eq!((settings.stranger_cost, settings.pass_when_full), (1_000_000, 1));
        assert_eq!(settings.strangers_seed, 7);
    }

    #[test]
    fn a_table_of_strangers_that_the_kernel_cannot_work_with_is_refused() {
        let refused = |pool: &str, table| {
            let layout = Layout::new(&nets(&[pool]), 0).expect("a layout");
            layout.with_strangers(table).expect_err("refused").to_string()
        };
        for places in [0, 3, MOST_STRANGERS * 2] {
            assert!(refused("10.45.0.0/24", table(places)).contains("power of two"), "{places}");
        }
        let none = StrangerTable { new_per_second: 0, ..table(1) };
        assert!(refused("10.45.0.0/24", none).contains("at least one"));
        assert!(refused("10.0.0.0/8", table(1)).contains("more than"));
    }

    #[test]
    fn two_addresses_of_an_unpooled_64_are_one_place() {
        let layout = Layout::new(&[], 1).expect("a layout");
        assert_eq!(place(&layout, "2001:db8::1"), place(&layout, "2001:db8::2"));
        assert_ne!(place(&layout, "2001:db8::1"), place(&layout, "2001:db8:0:1::1"));
        assert_ne!(place(&layout, "192.0.2.1"), place(&layout, "192.0.2.2"));
    }

    #[test]
    fn what_cannot_be_laid_out_is_refused_with_the_reason() {
        for (pools, word) in [
            (vec!["10.0.0.0/8", "10.45.0.0/16"], "overlap"),
            (vec!["2001:db8::/65"], "longer than /64"),
            (vec!["10.0.0.0/8", "11.0.0.0/8"], "more than"),
            (vec!["2001:db8::/8"], "more than"),
            (vec!["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24", "10.0.4.0/24"], "holds 4"),
        ] {
            let error = Layout::new(&nets(&pools), 0).expect_err("refused").to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn servers_are_matched_by_their_prefix() {
        let layout = Layout::new(&[], 1).expect("a layout");
        let settings =
            layout.settings(&nets(&["192.0.2.0/24", "2001:db8:ffff::10/128"]), Strangers::default());
        let is_server = |address: &str| settings.is_server(to_address(address.parse().expect("an address")));
        assert!(is_server("192.0.2.200") && is_server("2001:db8:ffff::10"));
        assert!(!is_server("192.0.3.1") && !is_server("2001:db8:ffff::11"));
    }

    #[test]
    fn more_servers_than_a_node_holds_are_refused() {
        assert!(check_servers(&[nets(&["192.0.2.0/24"])[0]; SERVERS]).is_ok());
        let error = check_servers(&[nets(&["192.0.2.0/24"])[0]; SERVERS + 1]).expect_err("refused");
        assert!(error.to_string().contains("holds 8"), "{error}");
    }

    #[test]
    fn addresses_survive_the_way_to_the_kernel_and_back() {
        for text in ["10.45.0.7", "2001:db8:45:7::1", "::", "255.255.255.255"] {
            let address: IpAddr = text.parse().expect("an address");
            assert_eq!(to_ip(to_address(address)), address);
        }
    }
}
