//! One device as the requirements describe it: slow, every instant kept, nothing shared, nothing packed.
//!
//! Written from the ledger's terms. Where they leave a choice, the comment beside it says which was taken. What the
//! policies find is in `findings`, what rates say in `meters`.

use weir_dataplane_common::{
    abi::{AccessKind, condition},
    admit::{Outcome, Raised, Shadow},
    inspect::{Class, Classes},
    reason::{Reason, Verdict},
};

use super::{
    findings::{Finding, most_severe},
    meters::Meters,
    policy::{Action, Node, Operation, Order, Packet, Policy, Status, Until, Way, When, meters_of},
};

#[derive(Debug)]
struct Session {
    opened: u64,
    /// The opening, or the latest uplink packet that was let through.
    heard: u64,
}

pub struct Device<'n> {
    pub(super) node: &'n Node,
    /// `None`: nothing is cached for the device.
    pub(super) policies: Option<Vec<Policy>>,
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
    /// Whether the status says throttled; a throttle in shadow has none.
    pub(super) throttled: bool,
    pub(super) throttled_until: u64,
    pub(super) rejected: Option<Until>,
    meters: Meters,
    exempt_until: u64,
    bypass_until: u64,
}

/// An access being judged.
#[derive(Clone, Copy)]
pub(super) struct Attempt {
    pub(super) now: u64,
    pub(super) kind: AccessKind,
    /// Of a request that was dropped before.
    pub(super) repeat: bool,
}

impl<'n> Device<'n> {
    pub fn new(node: &'n Node, policies: Option<Vec<Policy>>) -> Self {
        Self {
            node,
            meters: Meters::new(meters_of(policies.as_ref())),
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
            throttled: false,
            throttled_until: 0,
            rejected: None,
            exempt_until: 0,
            bypass_until: 0,
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

    /// What becomes of a packet; and on a node that only watches, why it would have been dropped.
    pub fn packet(&mut self, now: u64, packet: Packet) -> (Outcome, Option<Reason>) {
        if now < self.bypass_until {
            return (Outcome::of(Reason::Bypassed), None);
        }
        let outcome =
            if now < self.exempt_until { Outcome::of(Reason::Exempt) } else { self.judge(now, packet) };
        if self.node.shadow && outcome.reason.verdict() == Verdict::Drop {
            return (Outcome { reason: Reason::ShadowPassed, ..outcome }, Some(outcome.reason));
        }
        (outcome, None)
    }

    fn judge(&mut self, now: u64, packet: Packet) -> Outcome {
        if self.session_is_open(now) {
            return self.in_session(now, packet);
        }
        match packet.way {
            Way::Up => self.access(now, AccessKind::Packet, packet),
            Way::FromServer => self.access(now, AccessKind::Trigger, packet),
            Way::Down => self.unsolicited(packet.class),
        }
    }

    /// Packets inside a session are no new access; a forbidden or an alarmed protocol stops them all the same.
    fn in_session(&mut self, now: u64, packet: Packet) -> Outcome {
        let verdict = most_severe(self.protocol_findings(packet.class, false));
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
        if reason != Reason::InSession {
            return Outcome { raised, ..Outcome::of(reason) };
        }
        let would_stop = most_severe(self.protocol_findings(packet.class, true));
        self.pay_for(now, packet, Outcome { shadow: reported(would_stop), ..Outcome::of(reason) }, |device| {
            if packet.way == Way::Up
                && let Some(session) = &mut device.session
            {
                session.heard = now;
            }
        })
    }

    /// A packet that would pass is paid for; then it has its effects. One that cannot be paid for has none.
    fn pay_for(
        &mut self,
        now: u64,
        packet: Packet,
        outcome: Outcome,
        enter: impl FnOnce(&mut Self),
    ) -> Outcome {
        match self.meters.pay(now, packet) {
            Err(policy) => {
                self.last_rejection = Some((Reason::RateExceeded, policy));
                Outcome::of(Reason::RateExceeded)
            }
            Ok(beyond) => {
                enter(self);
                let beyond =
                    beyond.map(|policy| Finding { severity: 1, policy, reason: Reason::RateExceeded });
                let shadow = if outcome.shadow == Shadow::NONE { reported(beyond) } else { outcome.shadow };
                Outcome { shadow, ..outcome }
            }
        }
    }

    /// Counted apart, charged to nobody, opens nothing. A node that passes such packets still stops a forbidden
    /// protocol, which violates at any packet, and an alarmed one while the alarm is active.
    fn unsolicited(&mut self, class: Option<Class>) -> Outcome {
        self.unsolicited += 1;
        let verdict = most_severe(self.protocol_findings(class, false));
        let reason = if self.node.drop_unsolicited {
            Reason::UnsolicitedDropped
        } else if self.alarm && self.is_alarmed(class) {
            Reason::AlarmActive
        } else {
            verdict.map_or(Reason::UnsolicitedPassed, |finding| finding.reason)
        };
        let would_stop = most_severe(self.protocol_findings(class, true));
        let passes = reason == Reason::UnsolicitedPassed;
        Outcome { shadow: reported(would_stop.filter(|_| passes)), ..Outcome::of(reason) }
    }

    fn access(&mut self, now: u64, kind: AccessKind, packet: Packet) -> Outcome {
        let repeat = self.first_drop.is_some_and(|drop| now < drop + self.node.retry);
        let (attempt, redeems) = (Attempt { now, kind, repeat }, self.redeem);
        let verdict = most_severe(self.findings(attempt, packet.class, !redeems, false));
        let would_stop = most_severe(self.findings(attempt, packet.class, !redeems, true));
        let raised =
            if redeems { None } else { self.alarm_on_access(attempt, packet.class, verdict.is_some()) };
        let reason = if self.alarm && !redeems {
            Reason::AlarmActive
        } else {
            let passes = if redeems { Reason::Redeemed } else { Reason::Admitted };
            self.weigh(raised.is_some(), verdict.as_ref()).unwrap_or(passes)
        };
        let outcome = Outcome { access: Some(kind), ..Outcome::of(reason) };
        if reason.verdict() == Verdict::Pass {
            let counted = !repeat && !redeems;
            let outcome = Outcome { counted, shadow: reported(would_stop), ..outcome };
            return self.pay_for(now, packet, outcome, |device| device.enact(attempt, reason));
        }
        let held = reason == Reason::Held;
        if raised.is_some() {
            (self.alarm, self.held) = (true, held);
        }
        let raised = raised.map(|raised| Raised { access_held: held, ..raised });
        self.enact(attempt, reason);
        if !repeat && !held {
            // Under an active alarm: the policy that would have rejected it as well.
            self.last_rejection = Some((reason, verdict.map_or(0, |finding| finding.policy)));
        }
        Outcome { counted: !repeat, raised, ..outcome }
    }

    /// What the policies (in shadow or not) and the status say about an access.
    fn findings(
        &self,
        attempt: Attempt,
        class: Option<Class>,
        ask_limits: bool,
        shadow: bool,
    ) -> Vec<Finding> {
        let mut findings = self.protocol_findings(class, shadow);
        if !shadow {
            findings.extend(self.status_finding(attempt.now));
        }
        if ask_limits {
            // Control has judged the count of an access that was held and accepted.
            findings.extend(self.limit_findings(attempt, shadow));
        }
        findings
    }

    /// What follows from the verdict.
    fn enact(&mut self, attempt: Attempt, reason: Reason) {
        let Attempt { now, kind, repeat } = attempt;
        let counted = !repeat && reason != Reason::Redeemed;
        let admitted = matches!(reason, Reason::Admitted | Reason::Redeemed);
        // A held access that was accepted is no violation: control has judged its count.
        if !self.redeem && (counted || reason == Reason::Admitted) {
            self.start_throttle(attempt);
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
    }

    /// An alarm holds what the cache lets through, and everything if it is evaluated before the cache.
    fn weigh(&self, raised: bool, verdict: Option<&Finding>) -> Option<Reason> {
        match verdict {
            _ if raised && self.node.alarm.order == Order::Before => Some(Reason::Held),
            Some(finding) => Some(finding.reason),
            None => raised.then_some(Reason::Held),
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
    fn alarm_on_access(&self, attempt: Attempt, class: Option<Class>, cache_rejects: bool) -> Option<Raised> {
        if let Some(class) = self.protocol_alarm(class, cache_rejects) {
            return Some(protocol_raised(class));
        }
        let evaluated = !attempt.repeat && self.alarm_is_evaluated(cache_rejects);
        let limit = self.node.alarm.requests.filter(|_| evaluated)?;
        let before = limit.count(attempt.now, self.requests.iter().copied());
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
            Operation::Exempt(length) => self.exempt_until = now + length,
            Operation::Bypass(length) => self.bypass_until = now + length,
            Operation::Seen => {}
        }
    }

    fn end_alarm(&mut self) {
        self.redeem |= self.held;
        (self.alarm, self.held) = (false, false);
    }

    fn store(&mut self, now: u64, policies: &Option<Vec<Policy>>, status: Status) {
        self.policies.clone_from(policies);
        self.meters.replace(meters_of(policies.as_ref()));
        self.throttled = status.throttled_for.is_some();
        if let Some(length) = status.throttled_for {
            self.throttled_until = now + length;
        }
        self.rejected = status.rejected.map(|until| match until {
            Until::Lapses(length) => Until::Lapses(now + length),
            Until::FurtherNotice => Until::FurtherNotice,
        });
    }
}

fn protocol_raised(class: Class) -> Raised {
    Raised { condition: condition::PROTOCOL, classes: Classes::of(class), access_held: true }
}

/// As the law says it: the reason, and the policy above. Policies are numbered from 1, in their places.
fn reported(finding: Option<Finding>) -> Shadow {
    finding.map_or(Shadow::NONE, |finding| Shadow(finding.reason as u32 | finding.policy << 8))
}
