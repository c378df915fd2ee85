//! What the program is loaded with in these tests: from nothing at all to everything a node can hold.

use weir_dataplane::{
    Layout,
    gate::Options,
    layout::{StrangerTable, Strangers},
};

/// Pools, servers and strangers of a node.
pub struct World {
    pub layout: Layout,
    pub servers: Vec<&'static str>,
    pub strangers: Strangers,
}

pub const DROP_ALL: Strangers =
    Strangers { drop_unknown: true, drop_unparsable: true, drop_unsolicited: true };

impl World {
    pub fn new(pools: &[&str], unpooled: u32, servers: Vec<&'static str>, strangers: Strangers) -> Self {
        let pools: Vec<_> = pools.iter().map(|pool| pool.parse().expect("a prefix")).collect();
        Self { layout: Layout::new(&pools, unpooled).expect("a layout"), servers, strangers }
    }

    /// No pool, no server, nothing dropped.
    pub fn empty() -> Self {
        Self::new(&[], 1, vec![], Strangers::default())
    }

    /// As many pools and servers as a node holds, and every stranger dropped.
    pub fn full() -> Self {
        let pools = [
            "10.45.0.0/24",
            "10.46.0.0/24",
            "10.47.0.0/25",
            "100.64.0.0/26",
            "2001:db8:45::/56",
            "2001:db8:46::/56",
            "2001:db8:47::/60",
            "2001:db8:48::/64",
        ];
        let servers = vec![
            "192.0.2.0/28",
            "192.0.2.16/32",
            "192.0.2.32/31",
            "198.51.100.0/24",
            "2001:db8:ffff::/48",
            "2001:db8:fffe::10/128",
            "2001:db8:fffe:1::/64",
            "2001:db8:fffd::/32",
        ];
        Self::new(&pools, 64, servers, DROP_ALL)
    }

    /// The same, with so many places for strangers, each judged by itself.
    pub fn with_strangers(mut self, places: u32, pass_when_full: bool) -> Self {
        let table = StrangerTable { places, new_per_second: 1, pass_when_full, seed: 0x5eed };
        self.layout = self.layout.with_strangers(table).expect("a layout");
        self
    }

    pub fn options(&self) -> Options {
        let servers: Vec<_> = self.servers.iter().map(|server| server.parse().expect("a prefix")).collect();
        Options {
            entries: self.layout.entries(),
            unpooled: self.layout.unpooled().len() as u32,
            ring_bytes: 1 << 16,
            settings: self.layout.settings(&servers, self.strangers),
        }
    }
}
