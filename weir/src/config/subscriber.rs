//! The `[[subscriber]]` list: devices as the HSS knows them, with their policies.
//!
//! What this is: each subscriber checked for what its device's entry can hold: so many policies, one
//! throttle, one history, and beside them what the node's alarm condition counts. What it must not do: name a device in a fault (R-X7).

use std::collections::{BTreeSet, HashSet};

use weir_dataplane_common::abi::AccessKind;
use weir_server::api::{self, Subscriber};
use weir_service_control as sc;

use super::alarm::When;
use super::document::{Item, Table};
use super::node::Frame;
use super::policy::Policies;
use super::words;

/// Reads all subscribers; `None` if something in one of them is at fault.
pub fn read_all(tables: &[Table<'_>], policies: &Policies, frame: &Frame) -> Option<Vec<Subscriber>> {
    let mut devices = HashSet::new();
    let read: Vec<_> = tables.iter().map(|table| read(table, policies, frame, &mut devices)).collect();
    read.into_iter().collect()
}

fn read(
    table: &Table<'_>,
    policies: &Policies,
    frame: &Frame,
    devices: &mut HashSet<sc::DeviceId>,
) -> Option<Subscriber> {
    let device = table.require("device", "write the device's IMSI").and_then(|item| {
        let device = words::device(&item)?;
        if !devices.insert(device.clone()) {
            return item.fault("this device is a subscriber already", "keep one entry for it");
        }
        Some(device)
    });
    let device_type = table
        .require("device_type", "write the type by which the HSS knows it, e.g. \"meter\"")
        .and_then(|item| words::text(&item));
    let ids = table.or("policies", Vec::new(), |item| item.list(|item| read_id(&item, policies)));
    let subscriber = Subscriber { device: device?, device_type: device_type?, policies: ids? };
    let mut invalid = subscriber.check();
    let meant = meant_by(&subscriber, policies);
    invalid.extend(api::check_device_policies(&meant));
    invalid.extend(check_one_history(&meant, frame));
    invalid.extend(check_beside_alarm(&meant, frame));
    table.refuse(&invalid);
    invalid.is_empty().then_some(subscriber)
}

fn read_id(item: &Item<'_>, policies: &Policies) -> Option<u32> {
    let id = item.number()?;
    if policies.contains_key(&id) {
        return Some(id);
    }
    item.fault(format!("there is no policy {id}"), "write its [[policy]] or remove it here")
}

/// The sound ones among a subscriber's policies, each once.
fn meant_by(subscriber: &Subscriber, policies: &Policies) -> Vec<sc::Policy> {
    let ids: BTreeSet<_> = subscriber.policies.iter().collect();
    let listed = ids.into_iter().filter_map(|id| policies.get(id));
    listed.filter_map(|policy| policy.checked.as_ref()).map(|(_, checked)| checked.clone()).collect()
}

/// An entry keeps one history of admissions, over which all its policies are judged.
fn check_one_history(policies: &[sc::Policy], frame: &Frame) -> Option<api::Invalid> {
    let limits = policies.iter().filter(|policy| matches!(policy.rule, sc::Rule::AccessLimit(_)));
    let mut counting = limits
        .map(|policy| (policy.id.0, counted_kinds(policy, frame)))
        .filter(|(_, kinds)| !kinds.is_empty());
    let (first, kinds) = counting.next()?;
    let (second, _) = counting.find(|(_, others)| *others != kinds)?;
    let reason = format!(
        "policies {first} and {second} count different kinds of access, but a device's entry keeps one history; \
         give both the same kinds"
    );
    Some(api::Invalid::new("policies", reason))
}

/// An entry has one room for what counts requests and for limits too large for slots: the node's alarm condition and
/// the policies share it.
fn check_beside_alarm(policies: &[sc::Policy], frame: &Frame) -> Option<api::Invalid> {
    let alarm = frame.alarm.as_ref()?;
    let limit = alarm.limit?;
    let exact = api::EXACT_PERMITTED;
    if limit.permitted > exact {
        let counting = policies.iter().find(|policy| policy.counts == sc::Counted::Requests)?;
        let reason = format!(
            "policy {} counts requests, and node.alarm.limit is above {exact}, which takes the room that an entry has \
             for them; count admitted accesses, or lower node.alarm.limit",
            counting.id.0
        );
        return Some(api::Invalid::new("policies", reason));
    }
    if alarm.when == When::NoPolicyCached {
        return None;
    }
    let taken = api::request_room_taken(policies)?;
    let reason = format!(
        "{taken}, which takes the room in which node.alarm counts requests of devices with policies; set \
         node.alarm.when to \"no-policy-cached\", or node.alarm.limit above {exact}"
    );
    Some(api::Invalid::new("policies", reason))
}

/// The kinds a policy counts among those that reach the node; among all where no node is configured.
fn counted_kinds(policy: &sc::Policy, frame: &Frame) -> Vec<AccessKind> {
    let reaching = |kind: &AccessKind| frame.kinds.as_ref().is_none_or(|kinds| kinds.contains(kind));
    let counted = |kind: &AccessKind| policy.kinds.is_empty() || policy.kinds.contains(&kind_of(*kind));
    AccessKind::ALL.into_iter().filter(|kind| reaching(kind) && counted(kind)).collect()
}

fn kind_of(kind: AccessKind) -> sc::AccessKind {
    match kind {
        AccessKind::Packet => sc::AccessKind::Packet,
        AccessKind::Trigger => sc::AccessKind::Trigger,
        AccessKind::Signalling => sc::AccessKind::Signalling,
    }
}
