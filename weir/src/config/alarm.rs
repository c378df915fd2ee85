//! The `[node.alarm]` section: when a node asks service control (R-D7).
//!
//! What this is: a limit, a set of protocols, and when they are looked at. What it must not do: mix with
//! policies; an alarm condition counts requests and belongs to a node, a policy belongs to a device.

use std::time::Duration;

use weir_dataplane_common::inspect::Class;
use weir_server::api;
use weir_service_control::AccessLimit;

use super::document::Table;
use super::limit;
use super::words;

/// When a node raises an alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmCondition {
    /// More requests than this; `None`: requests are not counted for alarms.
    pub limit: Option<AccessLimit>,
    /// A packet of one of these.
    pub protocols: Vec<Class>,
    /// For which accesses the condition is evaluated.
    pub when: When,
    /// Where it stands relative to the cache check.
    pub order: Order,
}

/// For which accesses an alarm condition is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Only where no policy is cached for the device.
    NoPolicyCached,
    /// For all.
    Always,
    /// Only where the cache did not reject.
    NotRejected,
}

impl When {
    /// The words for it.
    pub const WORDS: [(&str, Self); 3] = [
        ("no-policy-cached", Self::NoPolicyCached),
        ("always", Self::Always),
        ("not-rejected", Self::NotRejected),
    ];
}

/// Where an alarm condition stands relative to the cache check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// An alarm holds the access whatever the cache would say.
    Before,
    /// The cache's verdict stands and the alarm is raised beside it.
    With,
    /// Only what the cache let through is looked at.
    After,
}

impl Order {
    /// The words for it.
    pub const WORDS: [(&str, Self); 3] =
        [("before", Self::Before), ("with", Self::With), ("after", Self::After)];
}

/// Reads the section of a `[node]` table. `Some(None)`: there is none; `None`: something in it is at fault.
pub fn read(node: &Table<'_>, inactivity: Option<Duration>) -> Option<Option<AlarmCondition>> {
    let Some(item) = node.get("alarm") else { return Some(None) };
    let table = item.table()?;
    let limit = read_limit(node, &table, inactivity);
    let protocols = table.or("protocols", Vec::new(), |item| words::protocols(&item));
    let when = table.or("when", When::NoPolicyCached, |item| item.choice(&When::WORDS));
    let order = table.or("order", Order::With, |item| item.choice(&Order::WORDS));
    let condition = AlarmCondition { limit: limit?, protocols: protocols?, when: when?, order: order? };
    if condition.limit.is_none() && condition.protocols.is_empty() {
        let remedy = "write a limit with its window, protocols, or both; or remove the section";
        table.faults().add(&table.place, "this alarm can never be raised", remedy);
    }
    Some(Some(condition))
}

/// `Some(None)`: the alarm does not count.
fn read_limit(
    node: &Table<'_>,
    alarm: &Table<'_>,
    inactivity: Option<Duration>,
) -> Option<Option<AccessLimit>> {
    // Both are asked for, so that both are known keys even where neither is written.
    if [alarm.get("limit"), alarm.get("window")].iter().all(Option::is_none) {
        return Some(None);
    }
    let (permitted, window) = limit::read(alarm)?;
    let invalid = api::check_limit("alarm", permitted, window);
    node.refuse(&invalid);
    let limit = AccessLimit { permitted, window };
    if invalid.is_empty() {
        limit::refuse_unreachable(alarm.faults(), &alarm.place_of("limit"), limit, inactivity);
    }
    Some(Some(limit))
}
