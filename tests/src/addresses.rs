//! Who has which address in a world. Documentation and benchmarking ranges only (RFC 5737, RFC 2544, RFC 3849).
//!
//! One list for worlds, stories and the demo; a configuration written for a world takes its addresses from here.

use std::net::{Ipv4Addr, Ipv6Addr};

/// All devices' IPv4 addresses.
pub const DEVICE_POOL: &str = "10.45.0.0/16";
/// All devices' IPv6 addresses, one /64 each.
pub const DEVICE_POOL_V6: &str = "2001:db8:45::/48";
/// The application server, whose packets may wake a device.
pub const APPLICATION_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// A host of the internet without privileges.
pub const INTERNET_HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
/// The application server in a dual-stack world.
pub const APPLICATION_SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x10);
/// The host of the internet in a dual-stack world.
pub const INTERNET_HOST_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xfffe, 0, 0, 0, 0, 5);

/// The part of the pool that belongs to devices; the upper half is for nodes and gateways.
pub(crate) const DEVICE_HALF: &str = "10.45.0.0/17";
/// The devices' side of an access cable, as a node's next hop.
pub(crate) const DEVICE_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 45, 255, 254);
/// The far side of either cable, as a node's IPv6 next hop.
pub(crate) const FAR_SIDE_V6: &str = "fe80::fe";

/// The IPv4 address of device `number`.
///
/// # Panics
/// If `number` is 0 or above 32767, which would leave the devices' half of the pool.
pub fn device(number: u16) -> Ipv4Addr {
    assert!((1..0x8000).contains(&number), "device numbers are 1 to 32767, not {number}");
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 45, high, low)
}

/// The IPv6 address of device `number`: the first in its /64.
pub fn device_v6(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x45, number, 0, 0, 0, 1)
}

/// The /64 of device `number`, as a binding names it.
pub(crate) fn device_prefix_v6(number: u16) -> String {
    format!("2001:db8:45:{number:x}::/64")
}

/// A node's address on its `access0`.
pub(crate) fn node_access(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 45, 255, node)
}

/// A node's address on its `network0`.
pub(crate) fn node_network(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, node, 1)
}

/// The internet's address on the cable to a node.
pub(crate) fn internet_side(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, node, 2)
}
