//! Address pools: each pooled address is the number of an entry.
//!
//! What this is: prefixes read and checked one by one, then against each other. What it must not do: number
//! the entries; that is the dataplane's pool index.

use ipnet::IpNet;
use weir_dataplane_common::abi::{Entry, Ledger, POOLS};

use super::document::Item;
use super::fault::{Faults, Place};

/// Entries a node can have, pooled and unpooled ones together: 3 GiB of them.
pub const MOST_ENTRIES: u64 = 16 * 1024 * 1024;

/// Bytes of memory an entry takes, its ledger included.
pub const ENTRY_BYTES: u64 = (size_of::<Entry>() + size_of::<Ledger>()) as u64;

/// A pool and where it stands in the file.
pub struct PlacedPool {
    /// The prefix, without host bits.
    pub prefix: IpNet,
    place: Place,
}

/// Reads the list of pools. Returns the sound ones, so that bindings can be checked against them, and
/// whether all were sound.
pub fn read_all(list: &Item<'_>) -> (Vec<PlacedPool>, bool) {
    let Some(items) = list.items() else { return (Vec::new(), false) };
    if items.is_empty() {
        list.fault::<()>("the list is empty", "write at least one prefix of device addresses");
    }
    let count = items.len();
    let pools: Vec<_> = items.into_iter().filter_map(read).collect();
    let sound = count != 0 && pools.len() == count;
    (pools, sound)
}

fn read(item: Item<'_>) -> Option<PlacedPool> {
    let prefix = prefix(&item)?;
    if let IpNet::V6(prefix) = prefix
        && prefix.prefix_len() > 64
    {
        let what = format!("{prefix} is longer than /64, which is what one device gets");
        return item.fault(what, "write a prefix from /40 to /64");
    }
    if entries(prefix) > u128::from(MOST_ENTRIES) {
        let what =
            format!("{prefix} has more than {MOST_ENTRIES} addresses, all that a node can have entries for");
        return item.fault(what, "write a longer prefix: IPv4 from /8, IPv6 from /40");
    }
    Some(PlacedPool { prefix, place: item.place })
}

/// An address prefix without host bits.
pub fn prefix(item: &Item<'_>) -> Option<IpNet> {
    let text = item.text()?;
    let Ok(prefix) = text.parse::<IpNet>() else {
        let what = format!("{text:?} is not an address prefix");
        return item.fault(what, r#"write one such as "10.45.0.0/16" or "2001:db8::/48""#);
    };
    if prefix.trunc() != prefix {
        let what = format!("{prefix} has host bits set");
        return item.fault(what, format!("write \"{}\"", prefix.trunc()));
    }
    Some(prefix)
}

/// Entries a pool takes: one for each IPv4 address or IPv6 /64.
pub fn entries(prefix: IpNet) -> u128 {
    match prefix {
        IpNet::V4(prefix) => 1 << (32 - prefix.prefix_len()),
        IpNet::V6(prefix) => 1 << (64 - prefix.prefix_len().min(64)),
    }
}

/// Notes pools that overlap, are too many or too large together.
pub fn check_together(faults: &Faults<'_>, pools: &[PlacedPool], unpooled: u32) {
    refuse_overlaps(faults, pools);
    refuse_too_many(faults, pools);
    refuse_too_large(faults, pools, unpooled);
}

/// Prefixes overlap only where one contains the other, so that in sorted order each needs to be compared
/// with the widest before it.
fn refuse_overlaps(faults: &Faults<'_>, pools: &[PlacedPool]) {
    let mut sorted: Vec<_> = pools.iter().collect();
    sorted.sort_by_key(|pool| (pool.prefix.network(), pool.prefix.prefix_len(), pool.place.offset));
    let mut widest: Option<&PlacedPool> = None;
    for pool in sorted {
        let Some(wide) = widest.filter(|wide| wide.prefix.contains(&pool.prefix)) else {
            widest = Some(pool);
            continue;
        };
        let (first, second) = if wide.place.offset < pool.place.offset { (wide, pool) } else { (pool, wide) };
        let line = faults.line_of(&first.place);
        let what = format!("{} overlaps {} in line {line}", second.prefix, first.prefix);
        faults.add(&second.place, what, "an address belongs to one pool: remove or narrow one of them");
    }
}

fn refuse_too_many(faults: &Faults<'_>, pools: &[PlacedPool]) {
    for (family, is_ipv4) in [("IPv4", true), ("IPv6", false)] {
        let of_family = pools.iter().filter(|pool| matches!(pool.prefix, IpNet::V4(_)) == is_ipv4);
        if let Some(pool) = of_family.clone().nth(POOLS) {
            let what = format!("there are {} {family} pools", of_family.count());
            faults.add(&pool.place, what, format!("write at most {POOLS}, shorter ones if they adjoin"));
        }
    }
}

fn refuse_too_large(faults: &Faults<'_>, pools: &[PlacedPool], unpooled: u32) {
    let mut total = u128::from(unpooled);
    for pool in pools {
        let before = total;
        total += entries(pool.prefix);
        if total > u128::from(MOST_ENTRIES) && before <= u128::from(MOST_ENTRIES) {
            let what = format!(
                "with this pool and unpooled_devices the node needs {total} entries or more; {MOST_ENTRIES} is the most"
            );
            faults.add(&pool.place, what, "write longer prefixes or share the pools among nodes");
        }
    }
}
