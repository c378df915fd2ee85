//! The law's side: a real entry and real profiles, driven as a node drives them.
//!
//! [`LawSide::operate`] does what an agent does: instants first, then everything that must change together in
//! one swap of the control word. [`LawSide::sweep`] is the agent's housekeeping, without which instants of an
//! entry left alone for days look new again.

use std::ptr;

use weir_dataplane_common::{
    abi::{
        self, ALARM_ACTIVE, ALARM_SEEN, ALARM_UNSEEN, Control, Entry, HELD, NOT_M2M, Profile, REDEEM,
        STATUS_REJECT, STATUS_THROTTLED, VALID, alarm_order, alarm_when,
    },
    admit::{Case, Outcome, admit},
    atomic::Word64,
    inspect::{Class, Classes},
    reason::Reason,
    tick::{LONGEST_AHEAD, Tick},
};

use super::policy::{Action, Node, Operation, Order, Packet, Policy, Rule, Status, Until, Way, When};

/// An instant of the model as an entry keeps it.
pub fn tick(at: u64) -> Tick {
    Tick::from_nanos(at << 20)
}

pub struct LawSide {
    node: Node,
    pub entry: Entry,
    profiles: Vec<Profile>,
}

impl LawSide {
    pub fn new(node: Node, policies: Option<&Vec<Policy>>) -> Self {
        let entry = Entry { control: Word64::new(VALID), ..Entry::default() };
        Self { entry, profiles: vec![profile(&node, policies)], node }
    }

    pub fn control(&self) -> Control {
        Control(self.entry.control.load())
    }

    pub fn packet(&self, now: u64, packet: Packet) -> Outcome {
        self.judge(&self.entry, self.control(), now, packet)
    }

    /// The same with a control word read earlier, or on a copy of the entry.
    pub fn judge(&self, entry: &Entry, control: Control, now: u64, packet: Packet) -> Outcome {
        admit(&Case {
            entry,
            profile: &self.profiles[control.profile() as usize],
            control,
            classes: classes(packet.class.as_slice()),
            uplink: packet.way == Way::Up,
            from_server: packet.way == Way::FromServer,
            drop_unsolicited: self.node.drop_unsolicited,
            now: tick(now),
        })
    }

    /// Whether a session is open, asked of a copy, so that the question changes nothing.
    pub fn session_is_open(&self, now: u64) -> bool {
        // SAFETY: an entry is plain words and frees nothing; nobody else writes this one.
        let copy = unsafe { ptr::read(&raw const self.entry) };
        let question = Packet { way: Way::Down, class: None };
        self.judge(&copy, self.control(), now, question).reason == Reason::InSession
    }

    pub fn operate(&mut self, now: u64, operation: &Operation) {
        match operation {
            Operation::Cancel { policies, status } => {
                let store = self.store(now, policies.as_ref(), *status);
                self.change(|control| end_alarm(store(control)));
            }
            Operation::NotAMachine => self.change(|control| end_alarm(control.with(NOT_M2M))),
            Operation::Reject { policies, status } => {
                let store = self.store(now, policies.as_ref(), *status);
                self.change(|control| store(control).without(HELD));
            }
            Operation::Push { policies, status } => {
                let store = self.store(now, policies.as_ref(), *status);
                self.change(store);
            }
            Operation::Release => {
                self.entry.session.store(0);
                // A packet that another CPU had already found in the session refreshes it late: that opens nothing.
                self.entry.session.store_low(tick(now).after(1000).0);
            }
            Operation::Seen => self.change(|control| {
                let seen = control.without(ALARM_UNSEEN).with(ALARM_SEEN);
                if control.has(ALARM_UNSEEN) { seen } else { control }
            }),
        }
    }

    /// Writes a profile and the status's instants; gives back the change of the control word that makes them count.
    fn store(
        &mut self,
        now: u64,
        policies: Option<&Vec<Policy>>,
        status: Status,
    ) -> impl Fn(Control) -> Control + use<> {
        let number = self.profiles.len() as u32;
        self.profiles.push(profile(&self.node, policies));
        let mut bits = 0;
        if let Some(length) = status.throttled_for {
            self.entry.throttled_until.store(tick(now).after(length as u32).0);
            bits |= STATUS_THROTTLED;
        }
        if let Some(until) = status.rejected {
            self.entry.rejected_until.store(match until {
                Until::Lapses(length) => tick(now).after(length as u32).0,
                Until::FurtherNotice => 0,
            });
            bits |= STATUS_REJECT;
        }
        move |control| control.with_profile(number).without(STATUS_THROTTLED | STATUS_REJECT).with(bits)
    }

    fn change(&self, change: impl Fn(Control) -> Control) {
        let control = self.control();
        assert!(self.entry.control.replace(control.0, change(control).0), "nobody else writes this entry");
    }

    /// Every few days: keeps old what is old, and takes back a status that has lapsed.
    pub fn sweep(&self, now: u64) {
        let now = tick(now);
        let old = 1 << 28;
        self.entry.request_history.keep_old(now, old);
        self.entry.admission_history.keep_old(now, old);
        let (throttled, rejected) = (self.entry.throttled_until.load(), self.entry.rejected_until.load());
        self.change(|mut control| {
            if !now.before(throttled, LONGEST_AHEAD) {
                control = control.without(STATUS_THROTTLED);
            }
            if rejected != 0 && !now.before(rejected, LONGEST_AHEAD) {
                control = control.without(STATUS_REJECT);
            }
            control
        });
    }
}

/// The alarm is off; what it held may be redeemed. One change, or the next request alarms again.
fn end_alarm(control: Control) -> Control {
    let redeem = if control.has(HELD) { REDEEM } else { 0 };
    control.without(ALARM_ACTIVE | HELD).with(redeem)
}

fn classes(classes: &[Class]) -> Classes {
    classes.iter().fold(Classes::NONE, |all, class| all.with(Classes::of(*class)))
}

/// Compiles a node's configuration and a device's policies into what the law reads.
fn profile(node: &Node, policies: Option<&Vec<Policy>>) -> Profile {
    let mut rules = [abi::Rule::default(); abi::RULES];
    for (place, policy) in rules.iter_mut().zip(policies.into_iter().flatten()) {
        *place = rule(policy);
    }
    let alarm = &node.alarm;
    let enforced = |rule: &&abi::Rule| rule.action > abi::action::NONE;
    let limit = alarm.requests;
    Profile {
        inactivity: node.inactivity as u32,
        max_age: node.max_age as u32,
        retry: node.retry as u32,
        kinds: node.kinds.iter().map(|kind| kind.bit()).sum(),
        cached: policies.is_some().into(),
        alarm_when: match alarm.when {
            When::NoPolicyCached => alarm_when::NO_POLICY_CACHED,
            When::Always => alarm_when::ALWAYS,
            When::NotRejected => alarm_when::NOT_REJECTED,
        },
        alarm_order: match alarm.order {
            Order::Before => alarm_order::BEFORE,
            Order::With => alarm_order::WITH,
            Order::After => alarm_order::AFTER,
        },
        alarm_counts: limit.is_some().into(),
        alarm_permitted: limit.map_or(0, |limit| limit.permitted as u32),
        alarm_window: limit.map_or(0, |limit| limit.window as u32),
        alarm_classes: classes(&alarm.classes).0,
        forbidden: rules.iter().filter(enforced).fold(0, |all, rule| all | rule.classes),
        rules,
        ..Profile::default()
    }
}

fn rule(policy: &Policy) -> abi::Rule {
    let throttle = policy.action.throttle();
    let mut rule = abi::Rule {
        policy: policy.id,
        action: match policy.action {
            Action::None => abi::action::NONE,
            Action::Throttle(_) => abi::action::THROTTLE,
            Action::Withhold => abi::action::WITHHOLD,
            Action::Reject => abi::action::REJECT,
            Action::Release => abi::action::RELEASE,
        },
        throttle_permitted: throttle.map_or(0, |limit| limit.permitted as u32),
        throttle_window: throttle.map_or(0, |limit| limit.window as u32),
        ..abi::Rule::default()
    };
    match &policy.rule {
        Rule::AccessLimit(limit) => {
            rule.restricts = abi::rule::ACCESS_LIMIT;
            (rule.permitted, rule.window) = (limit.permitted as u32, limit.window as u32);
        }
        Rule::Forbidden(forbidden) => {
            rule.restricts = abi::rule::FORBIDDEN_PROTOCOLS;
            rule.classes = classes(forbidden).0;
        }
    }
    rule
}
