//! What a device's entry on a node can hold. Refused here, at configuration, rather than cut short there.
//!
//! The numbers are the packet path's own, so that there is one place to change them.

use std::time::Duration;

use weir_dataplane_common::abi::{self, AccessKind};
use weir_dataplane_common::{inspect::Class, tick, window};
use weir_service_control as sc;

use super::{Invalid, duration};

/// Admissions whose times an entry keeps: no rule or throttle may permit more in its window.
pub const MAX_PERMITTED: u32 = window::SLOTS as u32;
/// Policies one entry can name.
pub const MAX_POLICIES_PER_DEVICE: usize = abi::RULES;
/// The shortest window.
pub const MIN_WINDOW: Duration = Duration::from_millis(1);
/// The longest window.
pub const MAX_WINDOW: Duration = Duration::from_nanos(tick::LONGEST_WINDOW_NS);

/// Checks one limit; `key` is where it was written, `permitted` and `window` what it comes to.
pub fn check_limit(key: &str, permitted: u32, window: Duration) -> Vec<Invalid> {
    let mut invalid = Vec::new();
    if permitted > MAX_PERMITTED {
        let reason =
            format!("permits {permitted} accesses in a window; an entry can hold at most {MAX_PERMITTED}");
        invalid.push(Invalid::new(format!("{key}.limit"), reason));
    }
    if !(MIN_WINDOW..=MAX_WINDOW).contains(&window) {
        let (min, max) = (duration::format(MIN_WINDOW), duration::format(MAX_WINDOW));
        let reason = format!("is {}; a window lasts from {min} to {max}", duration::format(window));
        invalid.push(Invalid::new(format!("{key}.window"), reason));
    }
    invalid
}

/// Checks a list of security protocols.
pub fn check_protocols(key: &str, protocols: &[String]) -> Vec<Invalid> {
    if protocols.is_empty() {
        return vec![Invalid::new(key, "is empty; name at least one protocol")];
    }
    let known: Vec<&str> = Class::ALL.iter().map(|class| class.name()).collect();
    let known = known.join(", ");
    let unknown = protocols.iter().filter(|name| Class::from_name(name).is_none());
    unknown
        .map(|name| {
            Invalid::new(key, format!("\"{name}\" is no protocol that nodes recognise; they know {known}"))
        })
        .collect()
}

/// Checks whether one entry can hold all policies of a device.
pub fn check_device_policies(policies: &[sc::Policy]) -> Vec<Invalid> {
    let mut invalid = Vec::new();
    if policies.len() > MAX_POLICIES_PER_DEVICE {
        let reason = format!(
            "are {}; an entry can hold at most {MAX_POLICIES_PER_DEVICE} for a device",
            policies.len()
        );
        invalid.push(Invalid::new("policies", reason));
    }
    let throttles: Vec<String> = policies
        .iter()
        .filter(|policy| matches!(policy.action, sc::Action::Throttle(_)))
        .map(|policy| policy.id.0.to_string())
        .collect();
    if throttles.len() > 1 {
        let reason = format!("{} all throttle; a device can have one such policy", throttles.join(" and "));
        invalid.push(Invalid::new("policies", reason));
    }
    invalid
}

/// Checks whether an entry on a node that reports `node_kinds` (`packet` …) can judge all policies of a device:
/// it keeps one history of admissions, so all access limits must count the same of these kinds.
pub fn check_one_history(policies: &[sc::Policy], node_kinds: &[String]) -> Vec<Invalid> {
    let counted = |policy: &sc::Policy| -> Vec<AccessKind> {
        let counts =
            |kind: AccessKind| policy.kinds.is_empty() || policy.kinds.iter().any(|it| same(*it, kind));
        let reported =
            AccessKind::ALL.into_iter().filter(|kind| node_kinds.iter().any(|it| it == kind.name()));
        reported.filter(|kind| counts(*kind)).collect()
    };
    let limits = policies.iter().filter(|policy| matches!(policy.rule, sc::Rule::AccessLimit(_)));
    let mut counting =
        limits.map(|policy| (policy.id.0, counted(policy))).filter(|(_, kinds)| !kinds.is_empty());
    let Some((first, kinds)) = counting.next() else { return Vec::new() };
    let other = counting.find(|(_, others)| *others != kinds);
    let refusal = other.map(|(second, _)| {
        let reason = format!(
            "{first} and {second} count different kinds of access, but a device's entry keeps one history; \
             give both the same kinds"
        );
        Invalid::new("policies", reason)
    });
    refusal.into_iter().collect()
}

fn same(kind: sc::AccessKind, other: AccessKind) -> bool {
    match kind {
        sc::AccessKind::Packet => other == AccessKind::Packet,
        sc::AccessKind::Trigger => other == AccessKind::Trigger,
        sc::AccessKind::Signalling => other == AccessKind::Signalling,
    }
}
