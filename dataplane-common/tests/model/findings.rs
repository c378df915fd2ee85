//! What each policy of the model's device finds, and which finding wins.
//!
//! Every limit is counted over lists of all instants: a small one over its window, a large one over the third of a
//! window that now lies in and the three before it (R-D2: never early, at most one sub-window late).

use weir_dataplane_common::{abi::AccessKind, inspect::Class, reason::Reason};

use super::{
    device::{Attempt, Device},
    policy::{Action, Counts, Limit, Policy, Rule, SMALL, Until},
};

/// A verdict of one policy, or of the status.
pub(super) struct Finding {
    pub(super) severity: u32,
    pub(super) policy: u32,
    pub(super) reason: Reason,
}

/// The most severe verdict wins, ties go to the lowest policy.
pub(super) fn most_severe(findings: Vec<Finding>) -> Option<Finding> {
    findings.into_iter().min_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.policy))
}

impl Limit {
    /// How many of these instants count.
    pub(super) fn count(self, now: u64, instants: impl Iterator<Item = u64>) -> usize {
        if self.permitted <= SMALL {
            return instants.filter(|at| now - at < self.window).count();
        }
        let number = |at: u64| at / self.sub_window();
        instants.filter(|at| number(now) - number(*at) < 4).count()
    }
}

impl Device<'_> {
    fn each_policy(&self, shadow: bool) -> impl Iterator<Item = &Policy> {
        self.policies.iter().flatten().filter(move |policy| policy.shadow == shadow)
    }

    /// A throttle replaces a limit; where a protocol is forbidden there is none, so the packet is stopped.
    pub(super) fn protocol_findings(&self, class: Option<Class>, shadow: bool) -> Vec<Finding> {
        let broken = self.each_policy(shadow).filter(|policy| policy.forbids(class));
        let finding = |policy: &Policy| {
            let reason = match policy.action {
                Action::None => return None,
                Action::Throttle(_) | Action::Withhold | Action::Reject => Reason::ForbiddenProtocol,
                Action::Release => Reason::Released,
            };
            Some(Finding { severity: policy.action.severity(), policy: policy.id, reason })
        };
        broken.filter_map(finding).collect()
    }

    pub(super) fn status_finding(&self, now: u64) -> Option<Finding> {
        let stands = match self.rejected? {
            Until::Lapses(at) => now < at,
            Until::FurtherNotice => true,
        };
        // Policies are numbered from 1: the status comes first among equally severe verdicts.
        stands.then_some(Finding {
            severity: Action::Reject.severity(),
            policy: 0,
            reason: Reason::StatusReject,
        })
    }

    pub(super) fn limit_findings(&self, attempt: Attempt, shadow: bool) -> Vec<Finding> {
        let finding = |(policy, limit): (&Policy, Limit)| {
            let broken = self.exceeds(policy, limit, attempt);
            let reason = match policy.action {
                Action::None => return None,
                Action::Throttle(throttle) if broken || self.is_throttled(policy, attempt.now) => {
                    // A throttle's limit counts admissions, whatever its rule counts.
                    self.admits_too_many(throttle, attempt.now).then_some(Reason::Throttled)?
                }
                Action::Throttle(_) => return None,
                _ => broken.then_some(Reason::LimitExceeded)?,
            };
            Some(Finding { severity: policy.action.severity(), policy: policy.id, reason })
        };
        self.limits(attempt.kind).filter(|(policy, _)| policy.shadow == shadow).filter_map(finding).collect()
    }

    /// The limits that are asked about accesses of this kind.
    fn limits(&self, kind: AccessKind) -> impl Iterator<Item = (&Policy, Limit)> {
        let counts = self.node.kinds.contains(&kind);
        self.policies.iter().flatten().filter(move |_| counts).filter_map(|policy| match policy.rule {
            Rule::AccessLimit(limit) => Some((policy, limit)),
            Rule::Forbidden(_) | Rule::Rate(_) => None,
        })
    }

    /// A throttle in shadow runs too, but no status says so.
    fn is_throttled(&self, policy: &Policy, now: u64) -> bool {
        (policy.shadow || self.throttled) && now < self.throttled_until
    }

    /// The count includes the access being judged. A repeat is among the requests already, from its first instant
    /// on.
    fn exceeds(&self, policy: &Policy, limit: Limit, attempt: Attempt) -> bool {
        if policy.counts == Counts::Admitted {
            return self.admits_too_many(limit, attempt.now);
        }
        let requests = limit.count(attempt.now, self.requests.iter().copied());
        requests + usize::from(!attempt.repeat) > limit.permitted
    }

    fn admits_too_many(&self, limit: Limit, now: u64) -> bool {
        limit.count(now, self.counted_admissions()) + 1 > limit.permitted
    }

    /// From the violating access on, until a throttle's window has passed in which the rule held. To be called
    /// before the access is entered.
    pub(super) fn start_throttle(&mut self, attempt: Attempt) {
        let broken =
            self.limits(attempt.kind).filter(|(policy, limit)| self.exceeds(policy, *limit, attempt));
        let begun = broken.filter_map(|(policy, _)| Some((policy.shadow, policy.action.throttle()?))).last();
        if let Some((shadow, throttle)) = begun {
            self.throttled_until = attempt.now + throttle.window;
            self.throttled |= !shadow;
        }
    }
}
