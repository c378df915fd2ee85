//! The devices of the differential test: bound in every way that an address can be, and in some that are mistakes.

use std::net::IpAddr;

use weir_dataplane::{Layout, layout::Place};
use weir_dataplane_common::abi::{ALIAS, Entry, PROFILES, VALID};

use super::{random::Random, twins::Twins};

/// An address that packets come from and go to, and the entry that judges them, if there is one.
#[derive(Clone, Copy)]
pub struct Device {
    pub address: IpAddr,
    pub primary: Option<u32>,
}

const POOLED: [&str; 14] = [
    "10.45.0.0",
    "10.45.0.1",
    "10.45.0.255",
    "10.46.0.7",
    "10.46.0.8",
    "10.47.0.127",
    "100.64.0.63",
    "100.64.0.1",
    "2001:db8:45::1",
    "2001:db8:45:ff::1",
    "2001:db8:46:1::1",
    "2001:db8:47:f::1",
    "2001:db8:48::1",
    "2001:db8:48::ffff",
];
const UNPOOLED: [&str; 6] =
    ["203.0.113.1", "203.0.113.2", "10.47.0.128", "2001:db8:49::1", "fd00::1", "2001:db8:46:100::1"];
/// The second address of a device that is bound already.
const ALIASES: [(&str, usize); 4] =
    [("10.45.0.9", 0), ("2001:db8:45:9::1", 0), ("203.0.113.9", 8), ("2001:db8:4a::9", 16)];
const NOT_BOUND: [&str; 5] = ["10.45.0.77", "2001:db8:47:7::1", "198.18.0.1", "198.18.0.2", "2001:db8:99::1"];

/// Binds them all, on both sides.
pub fn bind(twins: &mut Twins, layout: &Layout) -> Vec<Device> {
    let mut unpooled = layout.unpooled();
    let mut devices: Vec<Device> = Vec::new();
    for address in POOLED.iter().chain(&UNPOOLED) {
        let entry = entry_of(twins, layout, address, &mut unpooled);
        twins.change(entry, |entry, _| entry.control.store(VALID));
        devices.push(device(address, Some(entry)));
    }
    for (address, primary) in ALIASES {
        let entry = entry_of(twins, layout, address, &mut unpooled);
        let primary = devices[primary].primary;
        twins.change(entry, |entry, _| point_to(entry, primary.expect("bound above")));
        devices.push(device(address, primary));
    }
    bind_mistakes(twins, layout, &mut unpooled, &mut devices);
    devices.extend(NOT_BOUND.map(|address| device(address, None)));
    devices
}

/// An alias of an alias, of nobody, of an entry that does not exist; a profile that does not exist.
fn bind_mistakes(
    twins: &mut Twins,
    layout: &Layout,
    unpooled: &mut std::ops::Range<u32>,
    devices: &mut Vec<Device>,
) {
    let alias = entry_of(twins, layout, ALIASES[0].0, unpooled);
    let nobody = entry_of(twins, layout, NOT_BOUND[0], unpooled);
    for (address, leads_to) in [("10.45.0.20", alias), ("10.45.0.21", nobody), ("10.45.0.22", u32::MAX - 1)] {
        let entry = entry_of(twins, layout, address, unpooled);
        twins.change(entry, |entry, _| point_to(entry, leads_to));
        devices.push(device(address, None));
    }
    let broken = entry_of(twins, layout, "10.45.0.30", unpooled);
    // Behind the strangers' own.
    twins.change(broken, |entry, _| entry.control.store(VALID | u64::from(PROFILES + 1)));
    devices.push(device("10.45.0.30", None));
}

fn point_to(entry: &Entry, primary: u32) {
    entry.control.store(VALID | ALIAS);
    entry.owner.store(primary);
}

fn device(address: &str, primary: Option<u32>) -> Device {
    Device { address: address.parse().expect("an address"), primary }
}

/// The entry that an address leads to; an unpooled one is given the next free entry.
fn entry_of(twins: &mut Twins, layout: &Layout, address: &str, unpooled: &mut std::ops::Range<u32>) -> u32 {
    match layout.place(address.parse().expect("an address")) {
        Place::Pooled(entry) => entry,
        Place::Unpooled(key) => {
            let entry = unpooled.next().expect("room for the unpooled");
            twins.put_unpooled(key, entry);
            entry
        }
    }
}

/// Another address of the same place: any host part in an IPv6 /64. Or one of many strangers.
pub fn somewhere_in(random: &mut Random, address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6((network | u128::from(random.next())).into())
        }
        IpAddr::V4(address) if address.octets()[..2] == [198, 18] => {
            let [first, second, ..] = address.octets();
            [first, second, 0, random.next() as u8].into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The other end: an application server as often as not.
pub fn remote(random: &mut Random, of: IpAddr) -> IpAddr {
    let servers4 = ["192.0.2.5", "192.0.2.16", "192.0.2.33", "198.51.100.200"];
    let others4 = ["192.0.2.17", "192.0.2.34", "8.8.8.8", "10.45.0.1"];
    let servers6 = ["2001:db8:ffff:1::1", "2001:db8:fffe::10", "2001:db8:fffe:1:2::3"];
    let others6 = ["2001:db8:fffe::11", "2001:db8:1::1", "2001:db8:45::1"];
    let server = random.once_in(2);
    let text = match (of, server) {
        (IpAddr::V4(_), true) => random.pick(&servers4),
        (IpAddr::V4(_), false) => random.pick(&others4),
        (IpAddr::V6(_), true) => random.pick(&servers6),
        (IpAddr::V6(_), false) => random.pick(&others6),
    };
    text.parse().expect("an address")
}
