//! The decision on an alarm: policies and admissions in, fate and status out. A pure function.
//!
//! It must not know how the policies were got or to whom the answer goes. Read first: R-D11 to R-D13, the terms
//! *limit*, *policy* and *throttle*.
//!
//! Every policy is judged; the most severe finding decides, ties by lowest id. A *count* alarm is decided by the
//! access limits, a *protocol* alarm by the forbidden protocols alone, but the status tells what the counts demand
//! in either case. A policy in shadow decides nothing: the explanation says what it would have done. A rate and a
//! policy that counts requests are the nodes' own business. Which kinds of access a reported admission was is not known here: a policy's `kinds` say only
//! whether it concerns the held access, and the node reports the admissions that its policies count.

use crate::gauge::{Gauge, Measure, Room};
use crate::history::History;
use crate::lifecycle::at_least_a_moment;
use crate::nodes::NodeIndex;
use crate::wording::{Counting, forbidden, in_shadow, sentence};
use crate::{
    AccessKind, Action, AlarmFate, Condition, Policy, PolicyId, Rule, Scope, Status, UnixMillis, Until,
};

/// Everything a decision depends on.
#[derive(Debug)]
pub(crate) struct Situation<'a> {
    pub(crate) policies: &'a [Policy],
    pub(crate) condition: &'a Condition,
    /// The kind of the held access, if one is held.
    pub(crate) held: Option<AccessKind>,
    /// Where it is held.
    pub(crate) node: NodeIndex,
    /// Admissions on all nodes.
    pub(crate) history: &'a History,
    /// Throttles in force.
    pub(crate) throttles: &'a [Throttle],
    pub(crate) now: UnixMillis,
}

/// A policy whose throttle is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Throttle {
    pub(crate) policy: PolicyId,
    /// `None`: on every node.
    pub(crate) node: Option<NodeIndex>,
    pub(crate) until: UnixMillis,
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Cancel or reject.
    pub(crate) fate: AlarmFate,
    /// What the counts demand of the alarming node.
    pub(crate) status: Status,
    /// Throttles that are in force from now on.
    pub(crate) throttles: Vec<Throttle>,
    /// The open session ends now.
    pub(crate) release_session: bool,
    /// One sentence for people.
    pub(crate) explanation: String,
}

/// How bad it is; the order in which nodes judge, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    Fine,
    /// Violated, but the action is none.
    Noted,
    Throttled,
    /// Beyond the throttle's limit as well: from here on, rejected.
    BeyondThrottle,
    Withheld,
    Rejected,
    Released,
}

/// One policy's opinion.
#[derive(Debug)]
struct Finding {
    policy: PolicyId,
    severity: Severity,
    throttle: Option<Throttle>,
    rejected: Option<UnixMillis>,
    text: String,
}

/// Decides an alarm.
pub(crate) fn judge(situation: &Situation<'_>) -> Verdict {
    let (shadows, enforced): (Vec<&Policy>, Vec<&Policy>) =
        situation.policies.iter().partition(|policy| policy.shadow);
    let counted: Vec<_> = enforced.iter().filter_map(|policy| count_finding(policy, situation)).collect();
    let governing = match situation.condition {
        Condition::Count { .. } => most_severe(&counted),
        Condition::Protocol(class) => {
            let forbidding: Vec<_> =
                enforced.iter().filter_map(|policy| protocol_finding(policy, class)).collect();
            most_severe(&forbidding)
        }
    };
    let severity = governing.as_ref().map_or(Severity::Fine, |(severity, _)| *severity);
    let fate = if severity > Severity::Throttled { AlarmFate::Reject } else { AlarmFate::Cancel };
    let explanation =
        sentence(fate, situation.policies, situation.condition, governing.map(|(_, text)| text));
    Verdict {
        fate,
        status: Status {
            throttled_until: counted.iter().filter_map(|found| found.throttle).map(|it| it.until).max(),
            rejected: counted.iter().filter_map(|found| found.rejected).max().map(Until::Instant),
        },
        throttles: counted.iter().filter_map(|found| found.throttle).collect(),
        release_session: severity == Severity::Released,
        explanation: explanation + &in_shadow(&would_have_done(&shadows, situation)),
    }
}

/// What the policies in shadow find, in words.
fn would_have_done(shadows: &[&Policy], situation: &Situation<'_>) -> Vec<String> {
    let finding = |policy: &&Policy| match situation.condition {
        Condition::Count { .. } => count_finding(policy, situation),
        Condition::Protocol(class) => protocol_finding(policy, class),
    };
    let found = shadows.iter().filter_map(finding).filter(|found| found.severity > Severity::Noted);
    found.map(|found| found.text).collect()
}

fn most_severe(findings: &[Finding]) -> Option<(Severity, String)> {
    findings
        .iter()
        .min_by_key(|found| (std::cmp::Reverse(found.severity), found.policy))
        .map(|found| (found.severity, found.text.clone()))
}

/// Whether a protocol is forbidden to the device, with consequences.
pub(crate) fn forbids(policies: &[Policy], class: &str) -> bool {
    policies
        .iter()
        .filter(|policy| !policy.shadow)
        .filter_map(|policy| protocol_finding(policy, class))
        .any(|found| found.severity > Severity::Throttled)
}

fn protocol_finding(policy: &Policy, class: &str) -> Option<Finding> {
    let Rule::ForbiddenProtocols(classes) = &policy.rule else { return None };
    classes.iter().any(|forbidden| forbidden == class).then(|| {
        let severity = match policy.action {
            Action::None => Severity::Noted,
            Action::Throttle(_) => Severity::BeyondThrottle,
            Action::WithholdResources => Severity::Withheld,
            Action::Reject => Severity::Rejected,
            Action::Release => Severity::Released,
        };
        let text = forbidden(policy, class);
        Finding { policy: policy.id, severity, throttle: None, rejected: None, text }
    })
}

/// `None`: the policy has nothing to say about such an access.
fn count_finding(policy: &Policy, situation: &Situation<'_>) -> Option<Finding> {
    let limit = policy.known_limit()?;
    if !situation.held.is_none_or(|kind| policy.concerns(kind)) {
        return None;
    }
    let node = match policy.scope {
        Scope::Network => None,
        Scope::Node => Some(situation.node),
    };
    let gauge = Gauge::new(policy, limit, situation.history, node, situation.now).throttled(standing(
        situation.throttles,
        policy.id,
        Some(situation.node),
    ));
    let counting =
        Held { policy, gauge, node, more: u32::from(situation.held.is_some()), now: situation.now };
    Some(counting.finding())
}

/// The instant until which this policy's throttle stands on a node; `None` for the node: on every node.
pub(crate) fn standing(
    throttles: &[Throttle],
    policy: PolicyId,
    node: Option<NodeIndex>,
) -> Option<UnixMillis> {
    throttles
        .iter()
        .filter(|it| it.policy == policy && (it.node.is_none() || it.node == node))
        .map(|it| it.until)
        .max()
}

/// One access limit, held against what it counts.
struct Held<'a> {
    policy: &'a Policy,
    gauge: Gauge,
    node: Option<NodeIndex>,
    /// 1 if an access is held.
    more: u32,
    now: UnixMillis,
}

impl Held<'_> {
    fn finding(mut self) -> Finding {
        let broken = !self.gauge.rule.keeps(self.more, self.now);
        let (severity, throttled) = match (self.policy.action, broken) {
            (Action::None, true) => (Severity::Noted, None),
            (Action::WithholdResources, true) => (Severity::Withheld, None),
            (Action::Reject, true) => (Severity::Rejected, None),
            (Action::Release, true) => (Severity::Released, None),
            (Action::Throttle(_), _) => self.under_throttle(broken),
            (_, false) => (Severity::Fine, None),
        };
        self.gauge.throttled_until = throttled;
        let rejected = (severity > Severity::Throttled).then(|| self.until_room());
        let counted = |measure: &Measure| (measure.limit, measure.count(self.now).saturating_add(self.more));
        let text = Counting {
            policy: self.policy,
            rule: counted(&self.gauge.rule),
            throttle: self.gauge.throttle.as_ref().filter(|_| throttled.is_some()).map(counted),
        }
        .text();
        let throttle = throttled.map(|until| Throttle { policy: self.policy.id, node: self.node, until });
        Finding { policy: self.policy.id, severity, throttle, rejected, text }
    }

    /// The throttle is in force from the latest breach on, be it the held access or an earlier one.
    fn under_throttle(&self, broken: bool) -> (Severity, Option<UnixMillis>) {
        let Some(throttle) = &self.gauge.throttle else { return (Severity::Fine, None) };
        let breach = if broken && self.more > 0 { Some(self.now) } else { self.gauge.last_breach(self.now) };
        let until = breach
            .map(|at| at.plus(throttle.limit.window))
            .max(self.gauge.throttled_until)
            .filter(|until| *until > self.now);
        if until.is_none() && !broken {
            return (Severity::Fine, None);
        }
        if throttle.keeps(self.more, self.now) {
            (Severity::Throttled, until)
        } else {
            (Severity::BeyondThrottle, until)
        }
    }

    fn until_room(&self) -> UnixMillis {
        match self.gauge.room(self.now) {
            Room::At(at) => at,
            // A policy that permits nothing: the device is told to wait a window; its cached policy does the rest.
            Room::Now | Room::Never => self.now.plus(at_least_a_moment(self.gauge.rule.limit.window)),
        }
    }
}

#[cfg(test)]
mod tests;
