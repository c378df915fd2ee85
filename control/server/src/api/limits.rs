//! What a device's entry on a node can hold. Refused here, at configuration, rather than cut short there.
//!
//! The numbers are the packet path's own, so that there is one place to change them.

use std::time::Duration;

use weir_dataplane_common::abi::{self, AccessKind};
use weir_dataplane_common::{inspect::Class, subwindow, tick, window};
use weir_service_control as sc;

use super::{Invalid, duration};

/// The largest limit: what an entry can count in a window.
pub const MAX_PERMITTED: u32 = subwindow::LARGEST;
/// The largest limit that is exact both ways: an entry keeps the times of so many admissions. Above it they are
/// counted by sub-windows, and room comes up to a third of the window late.
pub const EXACT_PERMITTED: u32 = window::SLOTS as u32;
/// The largest limit of a policy that counts requests: an entry keeps the times of one more.
pub const MAX_REQUESTS_PERMITTED: u32 = EXACT_PERMITTED - 1;
/// Policies one entry can name.
pub const MAX_POLICIES_PER_DEVICE: usize = abi::RULES;
/// The shortest window.
pub const MIN_WINDOW: Duration = Duration::from_millis(1);
/// The shortest window of a limit above [`EXACT_PERMITTED`].
pub const MIN_WINDOW_ABOVE_EXACT: Duration = Duration::from_secs(1);
/// The longest window.
pub const MAX_WINDOW: Duration = Duration::from_nanos(tick::LONGEST_WINDOW_NS);

/// Checks one limit; `key` is where it was written, `permitted` and `window` what it comes to.
pub fn check_limit(key: &str, permitted: u32, window: Duration) -> Vec<Invalid> {
    let mut invalid = Vec::new();
    if permitted > MAX_PERMITTED {
        let reason =
            format!("permits {permitted} accesses in a window; an entry can count at most {MAX_PERMITTED}");
        invalid.push(Invalid::new(format!("{key}.limit"), reason));
    }
    if !(MIN_WINDOW..=MAX_WINDOW).contains(&window) {
        let (min, max) = (duration::format(MIN_WINDOW), duration::format(MAX_WINDOW));
        let reason = format!("is {}; a window lasts from {min} to {max}", duration::format(window));
        invalid.push(Invalid::new(format!("{key}.window"), reason));
    } else if permitted > EXACT_PERMITTED && window < MIN_WINDOW_ABOVE_EXACT {
        let (written, min) = (duration::format(window), duration::format(MIN_WINDOW_ABOVE_EXACT));
        let reason =
            format!("is {written}; limits above {EXACT_PERMITTED} are counted in windows from {min} on");
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
    let mut reasons = Vec::new();
    if policies.len() > MAX_POLICIES_PER_DEVICE {
        let number = policies.len();
        reasons
            .push(format!("are {number}; an entry can hold at most {MAX_POLICIES_PER_DEVICE} for a device"));
    }
    let throttles = numbers(policies, |policy| matches!(policy.action, sc::Action::Throttle(_)));
    if throttles.len() > 1 {
        reasons.push(format!("{} all throttle; a device can have one such policy", throttles.join(" and ")));
    }
    reasons.extend(check_meters(policies));
    reasons.extend(check_request_room(policies));
    reasons.into_iter().map(|reason| Invalid::new("policies", reason)).collect()
}

fn numbers(policies: &[sc::Policy], wanted: impl Fn(&sc::Policy) -> bool) -> Vec<String> {
    policies.iter().filter(|policy| wanted(policy)).map(|policy| policy.id.0.to_string()).collect()
}

fn rate_of(policy: &sc::Policy) -> Option<sc::Rate> {
    match policy.rule {
        sc::Rule::Rate(rate) => Some(rate),
        _ => None,
    }
}

fn meters_bytes(policy: &sc::Policy) -> bool {
    rate_of(policy).is_some_and(|rate| rate.bytes_per_second.is_some())
}

fn meters_packets(policy: &sc::Policy) -> bool {
    rate_of(policy).is_some_and(|rate| rate.packets_per_second.is_some())
}

/// An entry has a meter for bytes and one for packets. The second is asked only where the first is.
fn check_meters(policies: &[sc::Policy]) -> Vec<String> {
    let (bytes, packets) = (numbers(policies, meters_bytes), numbers(policies, meters_packets));
    let one_each = [(bytes, "bytes"), (packets, "packets")].into_iter().filter(|(ids, _)| ids.len() > 1);
    let mut reasons: Vec<_> = one_each
        .map(|(ids, unit)| {
            format!("{} all limit {unit}; a device can have one such policy", ids.join(" and "))
        })
        .collect();
    let one_way =
        |direction| numbers(policies, |it| rate_of(it).is_some_and(|rate| rate.direction == direction));
    let (up, down) = (one_way(sc::Direction::Up), one_way(sc::Direction::Down));
    if let (Some(up), Some(down)) = (up.first(), down.first()) {
        reasons.push(format!(
            "{up} limits a rate up and {down} one down, which an entry cannot meter apart; give one of them the \
             direction \"both\""
        ));
    }
    reasons
}

/// The same for one policy's limits.
pub(super) fn takes_request_room(policy: &sc::Policy) -> Option<String> {
    let above = |limit: sc::AccessLimit| limit.permitted > EXACT_PERMITTED;
    let id = policy.id.0;
    let rule = match policy.rule {
        sc::Rule::AccessLimit(limit) => above(limit),
        _ => false,
    };
    if rule {
        return Some(format!("policy {id} permits more than {EXACT_PERMITTED} accesses"));
    }
    policy
        .throttle()
        .is_some_and(above)
        .then(|| format!("policy {id} throttles to more than {EXACT_PERMITTED} accesses"))
}

/// Why a device's policies need the room in which an entry would keep its last requests, if they do.
pub fn request_room_taken(policies: &[sc::Policy]) -> Option<String> {
    let both = || {
        let bytes = policies.iter().find(|policy| meters_bytes(policy))?;
        let packets = policies.iter().find(|policy| meters_packets(policy))?;
        let ids = if bytes.id == packets.id {
            format!("policy {} limits", bytes.id.0)
        } else {
            format!("policies {} and {} limit", bytes.id.0, packets.id.0)
        };
        Some(format!("{ids} bytes as well as packets"))
    };
    policies.iter().find_map(takes_request_room).or_else(both)
}

fn check_request_room(policies: &[sc::Policy]) -> Option<String> {
    let counting = policies.iter().find(|policy| policy.counts == sc::Counted::Requests)?;
    let taken = request_room_taken(policies)?;
    Some(format!(
        "cannot be held together: policy {} counts requests, and {taken}, which takes the room that an entry has for \
         them; count admitted accesses instead",
        counting.id.0
    ))
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
