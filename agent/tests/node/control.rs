//! What control says: policies, entries, answers.

use weir_proto::v1::{self, AlarmFate, action::Action, policy::Rule};

use crate::world::{BOOT, DEVICES, MINUTE, NODE, World};

fn access_limit(permitted: u32) -> v1::AccessLimit {
    v1::AccessLimit { permitted, window_ms: MINUTE }
}

fn policy(id: u32, rule: Rule, action: Action) -> v1::Policy {
    v1::Policy {
        id,
        rule: Some(rule),
        action: Some(v1::Action { action: Some(action) }),
        ..v1::Policy::default()
    }
}

pub const REJECT: Action = Action::Reject(v1::Nothing {});
pub const NOTHING: Action = Action::Nothing(v1::Nothing {});

/// At most so many accesses per minute, or else.
pub fn limit(id: u32, permitted: u32, action: Action) -> v1::Policy {
    policy(id, Rule::AccessLimit(access_limit(permitted)), action)
}

/// At most so many accesses per minute, beyond that so many.
pub fn throttling(id: u32, permitted: u32, throttled: u32) -> v1::Policy {
    limit(id, permitted, Action::Throttle(access_limit(throttled)))
}

/// No such protocols, or else.
pub fn forbids(id: u32, classes: &[&str], action: Action) -> v1::Policy {
    let classes = classes.iter().map(|class| (*class).to_owned()).collect();
    policy(id, Rule::ForbiddenProtocols(v1::ForbiddenProtocols { classes }), action)
}

/// Policies 1 and 2 of the first worked example.
pub fn example_policies() -> Vec<v1::Policy> {
    vec![throttling(1, 3, 5), forbids(2, &["esp"], REJECT)]
}

/// An entry with these policies and no action.
pub fn entry(device: usize, revision: u64, policies: Vec<v1::Policy>) -> v1::CacheUpdate {
    v1::CacheUpdate {
        nonce: 1000 + revision,
        revision,
        device: DEVICES[device].to_owned(),
        cached: true,
        policies,
        status: Some(v1::Status::default()),
        explanation: "As the test says.".to_owned(),
        ..v1::CacheUpdate::default()
    }
}

/// No entry any more.
pub fn no_entry(device: usize, revision: u64) -> v1::CacheUpdate {
    v1::CacheUpdate { cached: false, ..entry(device, revision, vec![]) }
}

/// The alarm's name on this boot of this node.
pub fn alarm_id(sequence: u64) -> v1::AlarmId {
    v1::AlarmId { node: NODE.to_owned(), boot: BOOT.to_owned(), sequence }
}

/// Says what an update does and how long for.
pub trait Amended {
    fn cancels(self) -> Self;
    fn rejects(self) -> Self;
    fn answering(self, sequence: u64) -> Self;
    fn throttled_until(self, unix_ms: i64) -> Self;
    fn rejected_until(self, unix_ms: i64) -> Self;
    fn not_m2m(self) -> Self;
    fn releasing(self) -> Self;
}

impl Amended for v1::CacheUpdate {
    fn cancels(mut self) -> Self {
        self.set_alarm(AlarmFate::Cancel);
        self
    }

    fn rejects(mut self) -> Self {
        self.set_alarm(AlarmFate::Reject);
        self
    }

    fn answering(self, sequence: u64) -> Self {
        Self { answers: Some(alarm_id(sequence)), ..self }
    }

    fn throttled_until(mut self, unix_ms: i64) -> Self {
        self.status.get_or_insert_default().throttled_until_ms = unix_ms;
        self
    }

    fn rejected_until(mut self, unix_ms: i64) -> Self {
        self.status.get_or_insert_default().rejected_until_ms = unix_ms;
        self
    }

    fn not_m2m(self) -> Self {
        Self { not_m2m: true, ..self }
    }

    fn releasing(mut self) -> Self {
        self.status.get_or_insert_default().release_session = true;
        self
    }
}

impl World {
    /// The answer of the first worked example: throttled for a minute, the alarm cancelled.
    pub fn example_answer(&self, device: usize, sequence: u64) -> v1::CacheUpdate {
        let until = self.unix_ms() + MINUTE as i64;
        entry(device, 1, example_policies()).throttled_until(until).cancels().answering(sequence)
    }
}
