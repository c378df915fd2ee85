//! One device as the requirements describe it: slow, every instant kept, nothing shared, nothing packed.
//!
//! Written from the ledger's terms. Where they leave a choice, the comment beside it says which was taken.

use weir_dataplane_common::{
    abi::{AccessKind, condition},
    admit::{Outcome, Raised},
    inspect::{Class, Classes},
    reason::Reason,
};

use super::policy::{Action, Limit, Node, Operation, Order, Packet, Policy, Rule, Status, Until, Way, When};

#[derive(Debug)]
struct Session {
    opened: u64,
    /// The opening, or the latest uplink packet that was let through.
    heard: u64,
}

/// A verdict of one policy, or of the status.
struct Finding {
    severity: u32,
    policy: u32,
    reason: Reason,
}

pub struct Device<'n> {
    node: &'n Node,
    /// `None`: nothing is cached for the device.
    policies: Option<Vec<Policy>>,
    pub requests: Vec<u64>,
    pub admissions: Vec<(u64, AccessKind)>,
    pub rejections: usize,
    pub unsolicited: usize,
    /// Reason and policy (0: the status, or none) of the latest refusal; policies are numbered from 1.
    pub last_rejection: Option<(Reason, u32)>,
    session: Option<Session>,
    /// The drop whose repeats are the same request.
    first_drop: Option<u64>,
    alarm: bool,
    held: bool,
    redeem: bool,
    not_a_machine: bool,
    throttled_until: u64,
    rejected: Option<Until>,
}

impl<'n> Device<'n> {
    pub fn new(node: &'n Node, policies: Option<Vec<Policy>>) -> Self {
        Self {
            node,
            policies,
            requests: Vec::new(),
            admissions: Vec::new(),
            rejections: 0,
            unsolicited: 0,
            last_rejection: None,
            session: None,
            first_drop: None,
            alarm: false,
            held: false,
            redeem: false,
            not_a_machine: false,
            throttled_until: 0,
            rejected: None,
        }
    }

    pub fn session_is_open(&self, now: u64) -> bool {
        self.session.as_ref().is_some_and(|session| {
            now < session.heard + self.node.inactivity && now < session.opened + self.node.max_age
        })
    }

    /// Instants of the admissions that the policies count.
    pub fn counted_admissions(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.admissions.iter().filter(|(_, kind)| self.node.kinds.contains(kind)).map(|(at, _)| *at)
    }

    pub fn packet(&mut self, now: u64, packet: Packet) -> Outcome {
        if self.session_is_open(now) {
            return self.in_session(now, packet);
        }
        match packet.way {
            Way::Up => self.access(now, AccessKind::Packet, packet.class),
            Way::FromServer => self.access(now, AccessKind::Trigger, packet.class),
            Way::Down => self.unsolicited(packet.class),
        }
    }

    /// Packets inside a session are no new access; a forbidden or an alarmed protocol stops them all the same.
    fn in_session(&mut self, now: u64, packet: Packet) -> Outcome {
        let verdict = most_severe(self.protocol_findings(packet.class));
        if verdict.as_ref().is_some_and(|finding| finding.severity == Action::Release.severity()) {
            self.session = None;
        }
        let alarm = self.protocol_alarm(packet.class, verdict.is_some());
        let raised = alarm.map(|class| Raised { access_held: false, ..protocol_raised(class) });
        let reason = if self.alarm && self.is_alarmed(packet.class) {
            Reason::AlarmActive
        } else {
            self.weigh(raised.is_some(), verdict.as_ref()).unwrap_or(Reason::InSession)
        };
        self.alarm |= raised.is_some();
        if let Some(finding) = verdict.filter(|finding| finding.reason == reason) {
            self.last_rejection = Some((reason, finding.policy));
        }
        if reason == Reason::InSession
            && packet.way == Way::Up
            && let Some(session) = &mut self.session
        {
            session.heard = now;
        }
        Outcome { raised, ..Outcome::of(reason) }
    }

    /// Counted apart, charged to nobody, opens nothing. A node that passes such packets still stops a forbidden
    /// protocol, which violates at any packet, and an alarmed one while the alarm is active.
    fn unsolicited(&mut self, class: Option<Class>) -> Outcome {
        self.unsolicited += 1;
        let verdict = most_severe(self.protocol_findings(class));
        Outcome::of(if self.node.drop_unsolicited {
            Reason::UnsolicitedDropped
        } else if self.alarm && self.is_alarmed(class) {
            Reason::AlarmActive
        } else {
            verdict.map_or(Reason::UnsolicitedPassed, |finding| finding.reason)
        })
    }

    fn access(&mut self, now: u64, kind: AccessKind, class: Option<Class>) -> Outcome {
        let repeat = self.first_drop.is_some_and(|drop| now < drop + self.node.retry);
        let redeems = self.redeem;
        let mut findings = self.protocol_findings(class);
        findings.extend(self.status_finding(now));
        if !redeems {
            // Control has judged the count of an access that was held and accepted.
            findings.extend(self.limit_findings(now, kind));
        }
        let verdict = most_severe(findings);
        let raised = if redeems { None } else { self.alarm_on_access(now, class, repeat, verdict.is_some()) };
        let reason = if self.alarm {
            Reason::AlarmActive
        } else {
            let passes = if redeems { Reason::Redeemed } else { Reason::Admitted };
            self.weigh(raised.is_some(), verdict.as_ref()).unwrap_or(passes)
        };
        let held = reason == Reason::Held;
        if raised.is_some() {
            (self.alarm, self.held) = (true, held);
        }
        let raised = raised.map(|raised| Raised { access_held: held, ..raised });
        let counted = self.enact(now, kind, reason, repeat);
        if counted && !matches!(reason, Reason::Held | Reason::Admitted) {
            // Under an active alarm: the policy that would have rejected it as well.
            self.last_rejection = Some((reason, verdict.map_or(0, |finding| finding.policy)));
        }
        Outcome { reason, access: Some(kind), counted, raised }
    }

    /// What follows from the verdict; says whether this was a new request.
    fn enact(&mut self, now: u64, kind: AccessKind, reason: Reason, repeat: bool) -> bool {
        let counted = !repeat && reason != Reason::Redeemed;
        let admitted = matches!(reason, Reason::Admitted | Reason::Redeemed);
        if counted || reason == Reason::Admitted {
            self.start_throttle(now, kind);
        }
        if counted {
            self.requests.push(now);
        }
        if admitted {
            self.admissions.push((now, kind));
            self.session = Some(Session { opened: now, heard: now });
            (self.first_drop, self.redeem) = (None, false);
        } else if counted {
            self.first_drop = Some(now);
            self.rejections += usize::from(reason != Reason::Held);
        }
        counted
    }

    /// An alarm holds what the cache lets through, and everything if it is evaluated before the cache.
    fn weigh(&self, raised: bool, verdict: Option<&Finding>) -> Option<Reason> {
        match verdict {
            _ if raised && self.node.alarm.order == Order::Before => Some(Reason::Held),
            Some(finding) => Some(finding.reason),
            None => raised.then_some(Reason::Held),
        }
    }

    fn each_policy(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter().flatten()
    }

    /// A throttle replaces a limit; where a protocol is forbidden there is none, so the packet is stopped.
    fn protocol_findings(&self, class: Option<Class>) -> Vec<Finding> {
        let broken = self.each_policy().filter(|policy| policy.forbids(class));
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

    fn status_finding(&self, now: u64) -> Option<Finding> {
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

    fn limit_findings(&self, now: u64, kind: AccessKind) -> Vec<Finding> {
        let finding = |(policy, limit): (&Policy, Limit)| {
            let broken = self.exceeds(limit, now);
            let reason = match policy.action {
                Action::None => return None,
                Action::Throttle(throttle) if broken || now < self.throttled_until => {
                    self.exceeds(throttle, now).then_some(Reason::Throttled)?
                }
                Action::Throttle(_) => return None,
                _ => broken.then_some(Reason::LimitExceeded)?,
            };
            Some(Finding { severity: policy.action.severity(), policy: policy.id, reason })
        };
        self.limits(kind).filter_map(finding).collect()
    }

    /// The limits that count accesses of this kind.
    fn limits(&self, kind: AccessKind) -> impl Iterator<Item = (&Policy, Limit)> {
        let counts = self.node.kinds.contains(&kind);
        self.each_policy().filter(move |_| counts).filter_map(|policy| match policy.rule {
            Rule::AccessLimit(limit) => Some((policy, limit)),
            Rule::Forbidden(_) => None,
        })
    }

    /// The count includes the access being judged.
    fn exceeds(&self, limit: Limit, now: u64) -> bool {
        self.counted_admissions().filter(|at| now - at < limit.window).count() + 1 > limit.permitted
    }

    /// From the violating access on, until a throttle's window has passed in which the rule held. To be called
    /// before the access is entered.
    fn start_throttle(&mut self, now: u64, kind: AccessKind) {
        let broken = self.limits(kind).filter(|(_, limit)| self.exceeds(*limit, now));
        if let Some(throttle) = broken.filter_map(|(policy, _)| policy.action.throttle()).last() {
            self.throttled_until = now + throttle.window;
        }
    }

    fn is_alarmed(&self, class: Option<Class>) -> bool {
        class.is_some_and(|class| self.node.alarm.classes.contains(&class))
    }

    fn alarm_is_evaluated(&self, cache_rejects: bool) -> bool {
        let alarm = &self.node.alarm;
        let when = match alarm.when {
            When::NoPolicyCached => self.policies.is_none(),
            When::Always => true,
            When::NotRejected => !cache_rejects,
        };
        let in_turn = alarm.order != Order::After || !cache_rejects;
        when && in_turn && !self.alarm && !self.not_a_machine
    }

    fn protocol_alarm(&self, class: Option<Class>, cache_rejects: bool) -> Option<Class> {
        class.filter(|_| self.is_alarmed(class) && self.alarm_is_evaluated(cache_rejects))
    }

    /// The alarm condition at an access: an alarmed protocol, or one request too many, this one included.
    fn alarm_on_access(
        &self,
        now: u64,
        class: Option<Class>,
        repeat: bool,
        cache_rejects: bool,
    ) -> Option<Raised> {
        if let Some(class) = self.protocol_alarm(class, cache_rejects) {
            return Some(protocol_raised(class));
        }
        let limit = self.node.alarm.requests.filter(|_| !repeat && self.alarm_is_evaluated(cache_rejects))?;
        let before = self.requests.iter().filter(|at| now - **at < limit.window).count();
        (before + 1 > limit.permitted).then_some(Raised {
            condition: condition::COUNT,
            classes: Classes::NONE,
            access_held: true,
        })
    }

    /// What the agent does; instants in a status are relative to now.
    pub fn operate(&mut self, now: u64, operation: &Operation) {
        match operation {
            Operation::Cancel { policies, status } => {
                self.store(now, policies, *status);
                self.end_alarm();
            }
            Operation::NotAMachine => {
                self.not_a_machine = true;
                self.end_alarm();
            }
            Operation::Reject { policies, status } => {
                self.store(now, policies, *status);
                self.held = false;
            }
            Operation::Push { policies, status } => self.store(now, policies, *status),
            Operation::Release => self.session = None,
            Operation::Seen => {}
        }
    }

    fn end_alarm(&mut self) {
        self.redeem |= self.held;
        (self.alarm, self.held) = (false, false);
    }

    fn store(&mut self, now: u64, policies: &Option<Vec<Policy>>, status: Status) {
        self.policies.clone_from(policies);
        self.throttled_until = status.throttled_for.map_or(0, |length| now + length);
        self.rejected = status.rejected.map(|until| match until {
            Until::Lapses(length) => Until::Lapses(now + length),
            Until::FurtherNotice => Until::FurtherNotice,
        });
    }
}

/// The most severe verdict wins, ties go to the lowest policy.
fn most_severe(findings: Vec<Finding>) -> Option<Finding> {
    findings.into_iter().min_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.policy))
}

fn protocol_raised(class: Class) -> Raised {
    Raised { condition: condition::PROTOCOL, classes: Classes::of(class), access_held: true }
}
