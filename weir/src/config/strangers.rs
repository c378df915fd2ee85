//! `unknown_devices` and the `[node.strangers]` section: what becomes of addresses that no device is bound to.
//!
//! What this is: the node-wide policy for strangers, and, where each of them is judged by itself, the limit and the
//! size of the table. What it must not do: know devices; a stranger has no policy of its own.

use std::time::Duration;

use weir_dataplane::layout::MOST_STRANGERS;
use weir_server::api;
use weir_service_control::AccessLimit;

use super::document::{Item, Table};
use super::limit;
use super::pool;

const LIMIT: AccessLimit = AccessLimit { permitted: 5, window: Duration::from_secs(60) };
const PLACES: u32 = 65_536;
const NEW_PER_SECOND: u32 = 1000;
/// Above this the time between two new strangers is no longer told exactly enough.
const MOST_NEW_PER_SECOND: u32 = 1_000_000;
const SHORTEST_INACTIVITY: Duration = Duration::from_millis(100);

/// What becomes of packets of addresses that no device is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownDevices {
    /// They go on.
    Pass,
    /// They end here.
    Drop,
    /// Each address is judged by itself.
    Limit(StrangersSection),
}

/// How strangers are judged one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrangersSection {
    /// Strangers at once: a power of two.
    pub places: u32,
    /// Accesses that each may have.
    pub limit: AccessLimit,
    /// Silence of a stranger that ends its session.
    pub inactivity: Duration,
    /// New strangers that an interface may bring in a second.
    pub new_per_second: u32,
    /// Whether a stranger for whom there is no place passes.
    pub pass_when_full: bool,
}

/// What the section is checked against; each is absent where it could not be read.
#[derive(Clone, Copy)]
pub struct Beside {
    /// The node's inactivity time, which is the strangers' too unless written.
    pub inactivity: Option<Duration>,
    /// No session lasts longer.
    pub max_session_age: Option<Duration>,
    /// Entries that devices take.
    pub devices: Option<u128>,
}

/// Reads `unknown_devices` of the `[node]` table and the section that belongs to it; `None` if something is at fault.
pub fn read(node: &Table<'_>, beside: Beside) -> Option<UnknownDevices> {
    let words = [("pass", UnknownDevices::Pass), ("drop", UnknownDevices::Drop)];
    let words = words.map(|(word, treatment)| (word, Some(treatment))).into_iter().chain([("limit", None)]);
    let words: Vec<_> = words.collect();
    // Strangers pass: weir stands in a path that others use too.
    let written = node.or("unknown_devices", Some(UnknownDevices::Pass), |item| item.choice(&words));
    let section = node.get("strangers");
    match (written?, section) {
        (None, section) => read_section(node, section, beside).map(UnknownDevices::Limit),
        (Some(treatment), None) => Some(treatment),
        (Some(_), Some(item)) => item.fault(
            "this section is for unknown_devices = \"limit\", which is not written",
            "write that in [node], or remove the section",
        ),
    }
}

fn read_section(node: &Table<'_>, item: Option<Item<'_>>, beside: Beside) -> Option<StrangersSection> {
    let section = match item {
        Some(item) => Some(item.table()?),
        None => None,
    };
    let section = section.as_ref();
    let places = or(section, "places", PLACES, |item| read_places(&item));
    let inactivity =
        or(section, "inactivity", beside.inactivity, |item| read_inactivity(&item, beside).map(Some))
            .flatten();
    let limit = read_limit(node, section, inactivity);
    let new_per_second = or(section, "new_per_second", NEW_PER_SECOND, |item| read_rate(&item));
    let pass_when_full =
        or(section, "when_full", false, |item| item.choice(&[("drop", false), ("pass", true)]));
    let places = places.filter(|places| fits(node, *places, beside.devices))?;
    Some(StrangersSection {
        places,
        limit: limit?,
        inactivity: inactivity?,
        new_per_second: new_per_second?,
        pass_when_full: pass_when_full?,
    })
}

/// As [`Table::or`], of a section that may be left out as a whole.
fn or<'d, T>(
    section: Option<&Table<'d>>,
    name: &str,
    default: T,
    read: impl FnOnce(Item<'d>) -> Option<T>,
) -> Option<T> {
    match section {
        Some(table) => table.or(name, default, read),
        None => Some(default),
    }
}

fn read_limit(
    node: &Table<'_>,
    section: Option<&Table<'_>>,
    inactivity: Option<Duration>,
) -> Option<AccessLimit> {
    let permitted = or(section, "limit", LIMIT.permitted, |item| match item.number()? {
        0 => {
            item.fault("no stranger would ever pass", "write unknown_devices = \"drop\", or at least 1 here")
        }
        permitted => Some(permitted),
    });
    let window = or(section, "window", LIMIT.window, |item| item.duration());
    let limit = AccessLimit { permitted: permitted?, window: window? };
    let invalid = api::check_limit("strangers", limit.permitted, limit.window);
    node.refuse(&invalid);
    if invalid.is_empty() {
        limit::refuse_unreachable(node.faults(), &node.place_of("strangers.limit"), limit, inactivity);
    }
    Some(limit)
}

fn read_rate(item: &Item<'_>) -> Option<u32> {
    match item.number()? {
        number @ 1..=MOST_NEW_PER_SECOND => Some(number),
        number => {
            let what = format!("{number} new strangers a second cannot be kept to");
            item.fault(what, format!("write 1 to {MOST_NEW_PER_SECOND}"))
        }
    }
}

fn read_places(item: &Item<'_>) -> Option<u32> {
    let places = item.number()?;
    if places > MOST_STRANGERS {
        let what = format!("{places} are more places than the {MOST_STRANGERS} that strangers can have");
        return item.fault(what, format!("write {MOST_STRANGERS}"));
    }
    if !places.is_power_of_two() {
        return item.fault(
            format!("{places} is no power of two"),
            format!("write {}", nearest_power_of_two(places)),
        );
    }
    Some(places)
}

/// The power of two that is nearest to a number of places; the larger one of two.
fn nearest_power_of_two(places: u32) -> u32 {
    let above = places.next_power_of_two();
    let below = above / 2;
    if places <= 1 || above - places <= places - below { above } else { below }
}

fn read_inactivity(item: &Item<'_>, beside: Beside) -> Option<Duration> {
    let longest = beside.max_session_age.unwrap_or(api::MAX_WINDOW);
    item.duration_within(SHORTEST_INACTIVITY, longest)
}

/// Notes a table that has no room behind the devices.
fn fits(node: &Table<'_>, places: u32, devices: Option<u128>) -> bool {
    let total = u128::from(places) + devices.unwrap_or(0);
    if total <= u128::from(pool::MOST_ENTRIES) {
        return true;
    }
    let what =
        format!("with these places the node needs {total} entries; {} is the most", pool::MOST_ENTRIES);
    let remedy = "write fewer places, or longer prefixes in node.pools";
    node.faults().add(&node.place_of("strangers.places"), what, remedy);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_power_of_two_is_found() {
        for (number, nearest) in [(0, 1), (3, 4), (5, 4), (60_000, 65_536), (40_000, 32_768)] {
            assert_eq!(nearest_power_of_two(number), nearest, "{number}");
        }
    }
}
