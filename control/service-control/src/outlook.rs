//! What the counts of all nodes together demand, without an alarm: looked at on every counter report and after
//! every decision (R-D11 last sentence, R-D15). Pure functions over policies and admissions.
//!
//! Policies of scope *node* are left to the nodes: each enforces them by its own count. A rate is enforced by each
//! node, and a policy in shadow by nobody.

use crate::gauge::{Gauge, Room};
use crate::history::History;
use crate::judge::{Throttle, standing};
use crate::nodes::NodeIndex;
use crate::{AccessKind, AccessLimit, Action, Policy, PolicyId, Scope, UnixMillis};

/// A throttle is prolonged on all nodes only when that gains this part of its window: a device that keeps knocking
/// must not cause an update per knock. A node that sees the breach itself prolongs exactly.
const PROLONGING_STEP: u32 = 8;

/// What is looked at.
#[derive(Debug)]
pub(crate) struct Survey<'a> {
    pub(crate) policies: &'a [Policy],
    pub(crate) history: &'a History,
    pub(crate) throttles: &'a [Throttle],
    /// A node has refused an attempt since it last reported.
    pub(crate) refused: bool,
    pub(crate) now: UnixMillis,
}

/// What all nodes shall do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outlook {
    /// Throttles to begin or to prolong.
    pub(crate) throttles: Vec<Throttle>,
    /// No limit leaves room before then.
    pub(crate) rejected: Option<UnixMillis>,
    /// A limit whose violation ends the session is exceeded.
    pub(crate) release: bool,
    /// Which policy it is that throttles or rejects, the lowest id first.
    pub(crate) governing: Option<PolicyId>,
}

/// Whether the counts of a device with these policies are worth looking at.
pub(crate) fn concerns_network(policies: &[Policy]) -> bool {
    network_limits(policies).next().is_some()
}

fn network_limits(policies: &[Policy]) -> impl Iterator<Item = (&Policy, AccessLimit)> {
    let concerned = policies.iter().filter(|policy| policy.scope == Scope::Network && policy.is_enforced());
    concerned.filter_map(|policy| Some((policy, policy.known_limit()?)))
}

/// Adds up all nodes.
pub(crate) fn survey(survey: &Survey<'_>) -> Outlook {
    let mut outlook = Outlook::default();
    for (policy, limit) in network_limits(survey.policies) {
        let before = standing(survey.throttles, policy.id, None);
        let mut gauge = Gauge::new(policy, limit, survey.history, None, survey.now).throttled(before);
        let throttled = throttled_until(&gauge, survey).filter(|until| *until > survey.now);
        if let (Some(until), Action::Throttle(throttle)) = (throttled, policy.action)
            && worth_telling(before, until, throttle, survey.now)
        {
            outlook.throttles.push(Throttle { policy: policy.id, node: None, until });
            outlook.governing.get_or_insert(policy.id);
        }
        gauge.throttled_until = throttled;
        if let Room::At(at) = gauge.room(survey.now) {
            outlook.rejected = outlook.rejected.max(Some(at));
            outlook.governing.get_or_insert(policy.id);
        }
        outlook.release |= policy.action == Action::Release && !gauge.rule.keeps(0, survey.now);
    }
    outlook
}

fn throttled_until(gauge: &Gauge, survey: &Survey<'_>) -> Option<UnixMillis> {
    let throttle = gauge.throttle.as_ref()?;
    // A refused attempt breaks the rule like an admitted one, but leaves no time behind: it happened about now.
    let knocked = (survey.refused && !gauge.rule.keeps(1, survey.now)).then_some(survey.now);
    let breach = gauge.last_breach(survey.now).max(knocked);
    breach.map(|at| at.plus(throttle.limit.window)).max(gauge.throttled_until)
}

fn worth_telling(
    before: Option<UnixMillis>,
    until: UnixMillis,
    throttle: AccessLimit,
    now: UnixMillis,
) -> bool {
    match before.filter(|before| *before > now) {
        None => true,
        Some(before) => until > before && until >= before.plus(throttle.window / PROLONGING_STEP),
    }
}

/// Looks at one node's room for one more access.
#[derive(Debug)]
pub(crate) struct Prospect<'a> {
    pub(crate) policies: &'a [Policy],
    pub(crate) history: &'a History,
    pub(crate) throttles: &'a [Throttle],
    /// `None`: some node that is not known any more.
    pub(crate) node: Option<NodeIndex>,
    pub(crate) now: UnixMillis,
}

impl Prospect<'_> {
    /// When the node's own admissions leave room again under the network's limits, if they leave none now: until
    /// then the node needs no telling.
    pub(crate) fn by_itself(&self) -> Option<UnixMillis> {
        network_limits(self.policies)
            .filter_map(|(policy, limit)| self.room_at(policy, limit, Scope::Node))
            .max()
    }

    /// When all access limits leave room again for an access of this kind, if they leave none now. A limit that
    /// never leaves room is left out: waiting would not end.
    pub(crate) fn no_room_until(&self, kind: Option<AccessKind>) -> Option<UnixMillis> {
        self.policies
            .iter()
            .filter(|policy| policy.is_enforced() && kind.is_none_or(|kind| policy.concerns(kind)))
            .filter_map(|policy| self.room_at(policy, policy.known_limit()?, policy.scope))
            .max()
    }

    /// When a limit leaves room by what was admitted on the node, or on all of them.
    fn room_at(&self, policy: &Policy, limit: AccessLimit, scope: Scope) -> Option<UnixMillis> {
        let nobody = History::default();
        let (history, node) = match (scope, self.node) {
            (Scope::Network, _) => (self.history, None),
            (Scope::Node, Some(node)) => (self.history, Some(node)),
            (Scope::Node, None) => (&nobody, None),
        };
        let gauge = Gauge::new(policy, limit, history, node, self.now);
        match gauge.throttled(standing(self.throttles, policy.id, self.node)).room(self.now) {
            Room::At(at) => Some(at),
            Room::Now | Room::Never => None,
        }
    }
}

#[cfg(test)]
mod tests;
