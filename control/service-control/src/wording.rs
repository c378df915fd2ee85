//! Decisions in words: which policy, how many, how many are permitted. No identifier of a device or user.

use std::time::Duration;

use crate::outlook::Outlook;
use crate::{AccessLimit, Action, AlarmFate, Condition, Policy};

/// A count policy's finding: limits, and the accesses in their windows, the held one included.
pub(crate) struct Counting<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) rule: (AccessLimit, u32),
    /// If it is in force.
    pub(crate) throttle: Option<(AccessLimit, u32)>,
}

impl Counting<'_> {
    /// For example `policy 1 permits 3 accesses in 60 s, and the count is 4; it throttles to 5 in 60 s, of which the
    /// count is 4`.
    pub(crate) fn text(&self) -> String {
        let Self { policy, rule: (limit, count), throttle } = self;
        let mut text = format!(
            "policy {} permits {} in {}, and the count is {count}",
            policy.id.0,
            accesses(limit.permitted),
            span(limit.window),
        );
        if let Some((throttle, count)) = throttle {
            let throttles = if policy.shadow { "would throttle" } else { "throttles" };
            text += &format!(
                "; it {throttles} to {} in {}, of which the count is {count}",
                throttle.permitted,
                span(throttle.window),
            );
        }
        if *count > limit.permitted { text + consequence(policy) } else { text }
    }
}

/// What follows from a violation, apart from a throttle.
fn consequence(policy: &Policy) -> &'static str {
    match (policy.action, policy.shadow) {
        (Action::Throttle(_), _) => "",
        (Action::None, _) => ", without consequence",
        (Action::Reject, false) => "; it rejects",
        (Action::Reject, true) => "; it would reject",
        (Action::WithholdResources, false) => "; it withholds resources",
        (Action::WithholdResources, true) => "; it would withhold resources",
        (Action::Release, false) => "; it releases the session",
        (Action::Release, true) => "; it would release the session",
    }
}

/// A forbidden protocol's finding.
pub(crate) fn forbidden(policy: &Policy, class: &str) -> String {
    let consequence = match policy.action {
        _ if policy.shadow => consequence(policy),
        Action::None => ", without consequence",
        _ => "",
    };
    format!("policy {} forbids {class}{consequence}", policy.id.0)
}

/// What policies in shadow found, as a sentence of its own behind the decision; empty if nothing.
pub(crate) fn in_shadow(found: &[String]) -> String {
    if found.is_empty() { String::new() } else { format!(" In shadow: {}.", found.join("; ")) }
}

/// The whole decision in one sentence.
pub(crate) fn sentence(
    fate: AlarmFate,
    policies: &[Policy],
    condition: &Condition,
    reason: Option<String>,
) -> String {
    let reason = reason.unwrap_or_else(|| match condition {
        _ if policies.is_empty() => "the device has no policies and is unrestricted".to_owned(),
        Condition::Count { .. } => "no policy limits such accesses".to_owned(),
        Condition::Protocol(class) => format!("no policy forbids {class}"),
    });
    match fate {
        AlarmFate::Reject => format!("Rejected: {reason}."),
        AlarmFate::Cancel | AlarmFate::Unchanged => format!("Cancelled: {reason}."),
    }
}

/// Why the entry changed though nobody has raised an alarm.
pub(crate) fn explained(outlook: &Outlook) -> String {
    let policy = outlook.governing.map_or_else(String::new, |policy| format!(" by policy {}", policy.0));
    match (outlook.rejected.is_some(), outlook.throttles.is_empty()) {
        (true, _) => {
            format!("Rejected until the window has room{policy}: all nodes together have used the limit.")
        }
        (false, false) => format!("Throttled{policy}: all nodes together have gone beyond the limit."),
        (false, true) => "All nodes together keep within the limits.".to_owned(),
    }
}

fn accesses(number: u32) -> String {
    match number {
        0 => "no access".to_owned(),
        1 => "1 access".to_owned(),
        more => format!("{more} accesses"),
    }
}

fn span(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}
