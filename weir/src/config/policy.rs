//! The `[[policy]]` list: rules, what they count, and what a violation leads to (R-D2, R-D3).
//!
//! What this is: the admin API's policies, read with their places so that its checks can point at a line. Their
//! ranges, and what does not go together, are checked there.
//! What it must not do: decide which devices have them; that is `subscriber`.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_server::api::{
    Action, Comparison, Counted, DEFAULT_BURST, Direction, Kind, Limit, Policy, Rate, Scope, Throttle,
};
use weir_service_control as sc;

use super::document::{Item, Table};
use super::fault::Place;
use super::limit;
use super::words;

/// A policy that at least has an identifier.
pub struct ReadPolicy {
    /// As written and as service control judges by it; `None` if something in it is at fault.
    pub checked: Option<(Policy, sc::Policy)>,
    place: Place,
}

/// Policies by their identifiers.
pub type Policies = BTreeMap<u32, ReadPolicy>;

const ACTIONS: [(&str, Action); 4] = [
    ("none", Action::None),
    ("reject", Action::Reject),
    ("withhold-resources", Action::WithholdResources),
    ("release", Action::Release),
];
const COMPARISONS: [(&str, Comparison); 2] =
    [("greater", Comparison::Greater), ("greater-or-equal", Comparison::GreaterOrEqual)];
const KINDS: [(&str, Kind); 3] =
    [("packet", Kind::Packet), ("trigger", Kind::Trigger), ("signalling", Kind::Signalling)];
const SCOPES: [(&str, Scope); 2] = [("network", Scope::Network), ("node", Scope::Node)];

const COUNTED: [(&str, Counted); 2] = [("admitted", Counted::Admitted), ("requests", Counted::Requests)];
const DIRECTIONS: [(&str, Direction); 3] =
    [("both", Direction::Both), ("up", Direction::Up), ("down", Direction::Down)];

const ACTION_REMEDY: &str = "write \"none\", \"reject\", \"withhold-resources\", \"release\" or \
                             { throttle = { limit = 5, window = \"1m\" } }";

/// Reads all policies; those whose identifier is missing or taken are noted and left out.
pub fn read_all(tables: &[Table<'_>], inactivity: Option<Duration>) -> Policies {
    let mut policies = Policies::new();
    for table in tables {
        read(table, inactivity, &mut policies);
    }
    policies
}

fn read(table: &Table<'_>, inactivity: Option<Duration>, policies: &mut Policies) -> Option<()> {
    let item = table.require("id", "number the policy, from 1");
    let id = item.as_ref().and_then(Item::number);
    let policy = read_body(table, id);
    let checked = policy.and_then(|policy| check(table, policy, inactivity));
    let (id, item) = (id?, item?);
    if let Some(first) = policies.get(&id) {
        let what = format!("policy {id} stands already in line {}", table.faults().line_of(&first.place));
        return item.fault(what, "give each policy its own id");
    }
    policies.insert(id, ReadPolicy { checked, place: item.place });
    Some(())
}

fn read_body(table: &Table<'_>, id: Option<u32>) -> Option<Policy> {
    let scope = table.or("scope", Scope::Network, |item| item.choice(&SCOPES));
    let kinds = table.or("kinds", Vec::new(), |item| {
        words::distinct(&item, "kind of access, or remove the key to count all", |item| item.choice(&KINDS))
    });
    let access_limit = table.optional("access_limit", read_access_limit);
    let forbidden_protocols =
        table.optional("forbidden_protocols", |item| item.list(|item| item.text().map(str::to_owned)));
    let rate = table.optional("rate", read_rate);
    let counts = table.or("counts", Counted::Admitted, |item| item.choice(&COUNTED));
    let shadow = table.or("shadow", false, |item| item.boolean());
    let action = table.require("action", ACTION_REMEDY).and_then(read_action);
    Some(Policy {
        id: id?,
        scope: scope?,
        kinds: kinds?,
        access_limit: access_limit?,
        forbidden_protocols: forbidden_protocols?,
        rate: rate?,
        counts: counts?,
        shadow: shadow?,
        action: action?,
    })
}

fn read_rate(item: Item<'_>) -> Option<Rate> {
    let table = item.table()?;
    let bytes_per_second = table.optional("bytes_per_second", |item| item.large_number());
    let packets_per_second = table.optional("packets_per_second", |item| item.number());
    let burst = table.or("burst", DEFAULT_BURST, |item| item.duration());
    let direction = table.or("direction", Direction::Both, |item| item.choice(&DIRECTIONS));
    Some(Rate {
        bytes_per_second: bytes_per_second?,
        packets_per_second: packets_per_second?,
        burst: burst?,
        direction: direction?,
    })
}

fn read_access_limit(item: Item<'_>) -> Option<Limit> {
    let table = item.table()?;
    let comparison = table.or("comparison", Comparison::Greater, |item| item.choice(&COMPARISONS));
    let (limit, window) = limit::read(&table)?;
    Some(Limit { limit, window, comparison: comparison? })
}

fn read_action(item: Item<'_>) -> Option<Action> {
    if !item.is_table() {
        return item.choice_or(&ACTIONS, ACTION_REMEDY);
    }
    let table = item.table()?;
    // Another key in its place is noted as unknown.
    let throttle =
        if table.is_empty() { table.require("throttle", ACTION_REMEDY) } else { table.get("throttle") };
    let throttle = throttle?;
    let (limit, window) = limit::read(&throttle.table()?)?;
    Some(Action::Throttle(Throttle { limit, window }))
}

fn check(table: &Table<'_>, policy: Policy, inactivity: Option<Duration>) -> Option<(Policy, sc::Policy)> {
    let checked = match policy.check() {
        Ok(checked) => checked,
        Err(invalid) => {
            table.refuse(&invalid);
            return None;
        }
    };
    let reachable = |key, limit| {
        limit::refuse_unreachable(table.faults(), &table.place_of(key), limit, inactivity);
    };
    // Requests may come faster: a refused one opens no session.
    if let (sc::Rule::AccessLimit(limit), Counted::Admitted) = (&checked.rule, policy.counts) {
        reachable("access_limit.limit", *limit);
    }
    if let sc::Action::Throttle(limit) = checked.action {
        reachable("action.throttle.limit", limit);
    }
    Some((policy, checked))
}
