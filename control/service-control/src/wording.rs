//! Decisions in words: which policy, how many, how many are permitted. No identifier of a device or user.

use std::time::Duration;

use crate::outlook::Outlook;
use crate::{AccessLimit, Action, AlarmFate, Condition, Policy};

/// A count policy's finding.
pub(crate) struct Counted<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) limit: AccessLimit,
    /// Accesses in the window, the held one included.
    pub(crate) count: u32,
    /// The throttle's limit, and the accesses in its window, if it is in force.
    pub(crate) throttle: Option<(AccessLimit, u32)>,
}

impl Counted<'_> {
    /// For example `policy 1 permits 3 accesses in 60 s and this is number 4; throttled to 5 in 60 s, of which
    /// this is number 4`.
    pub(crate) fn text(&self) -> String {
        let Self { policy, limit, count, throttle } = self;
        let mut text = format!(
            "policy {} permits {} in {}, and the count is {count}",
            policy.id.0,
            accesses(limit.permitted),
            span(limit.window),
        );
        if let Some((throttle, count)) = throttle {
            text += &format!(
                "; it throttles to {} in {}, of which the count is {count}",
                throttle.permitted,
                span(throttle.window),
            );
        }
        text + consequence(&policy.action, *count > limit.permitted)
    }
}

fn consequence(action: &Action, broken: bool) -> &'static str {
    match (action, broken) {
        (_, false) | (Action::Throttle(_), _) => "",
        (Action::None, true) => ", without consequence",
        (Action::Reject, true) => "; it rejects",
        (Action::WithholdResources, true) => "; it withholds resources",
        (Action::Release, true) => "; it releases the session",
    }
}

/// A forbidden protocol's finding.
pub(crate) fn forbidden(policy: &Policy, class: &str) -> String {
    let consequence = if policy.action == Action::None { ", without consequence" } else { "" };
    format!("policy {} forbids {class}{consequence}", policy.id.0)
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
