//! "More than N in W": limits and windows as the configuration writes them.
//!
//! What this is: one reader for the alarm's limit, a policy's and a throttle's, and the one check that needs
//! the node: whether the inactivity time lets a limit be reached at all. What it must not do: repeat what an
//! entry can hold; `weir_server::api` checks that for every way in. Read first: requirements, "limit".

use std::time::Duration;

use weir_server::api::duration;
use weir_service_control::AccessLimit;

use super::document::Table;
use super::fault::{Faults, Place};

/// Reads `limit` and `window` of a table, both required.
pub fn read(table: &Table<'_>) -> Option<(u32, Duration)> {
    let limit =
        table.require("limit", "write how many accesses, e.g. limit = 3").and_then(|item| item.number());
    let window = table
        .require("window", "write in how much time, e.g. window = \"1m\"")
        .and_then(|item| item.duration());
    Some((limit?, window?))
}

/// Notes a limit that no device can break: each access lasts at least one inactivity time.
pub fn refuse_unreachable(
    faults: &Faults<'_>,
    place: &Place,
    limit: AccessLimit,
    inactivity: Option<Duration>,
) {
    let Some(inactivity) = inactivity else { return };
    let AccessLimit { permitted, window } = limit;
    if inactivity.saturating_mul(permitted) < window {
        return;
    }
    let (inactivity, window) = (duration::format(inactivity), duration::format(window));
    let what = format!(
        "more than {permitted} accesses in {window} cannot happen: each lasts at least {inactivity} \
         (node.inactivity), and {permitted} × {inactivity} is not below {window}"
    );
    faults.add(place, what, "lower the limit or node.inactivity, or lengthen the window");
}
