//! Random lives of a node: packets, time, updates right and wrong, streams lost in the middle, a ring too small.
//!
//! After every step the node is compared with [`crate::model`]: no access beyond what the acknowledged policies
//! permit, an active alarm for every alarm told and no other, profiles that mean what they should.

use std::time::Duration;

use proptest::prelude::*;
use weir_agent::{config::Config, profile};
use weir_dataplane_common::{
    abi::{ALARM_ACTIVE, ALARM_SEEN, ALARM_UNSEEN, HELD, NOT_M2M, Profile, Side},
    inspect::Class,
    reason::Reason,
};
use weir_proto::v1::{self, AlarmFate, action::Action, policy};

use crate::{
    control::{Amended, NOTHING, REJECT, entry, forbids},
    life::{Drawn, Life, Step, TIMEOUT, life},
    model::{Alarm, Model, Rule, Update},
    world::{DEVICES, SECOND, World, address, sequence},
};

const SERVER: [u8; 4] = [203, 0, 113, 10];

fn on_the_wire(id: u32, rule: Rule) -> v1::Policy {
    let limit = |(permitted, window_ms)| v1::AccessLimit { permitted, window_ms };
    let (rule, action) = match rule {
        Rule::NoEsp => return forbids(id, &["esp"], REJECT),
        Rule::Reject(permitted, window) => (limit((permitted, window)), REJECT),
        Rule::Watched(permitted, window) => (limit((permitted, window)), NOTHING),
        Rule::Throttle(rule, throttle) => (limit(rule), Action::Throttle(limit(throttle))),
    };
    let action = Some(v1::Action { action: Some(action) });
    v1::Policy { id, rule: Some(policy::Rule::AccessLimit(rule)), action, ..v1::Policy::default() }
}

/// The profile that these policies should compile to, by the compiler's own tests.
fn compiled(rules: &[Rule], config: &Config) -> Profile {
    let limit = |(permitted, window)| {
        let window = Duration::from_millis(window);
        profile::Limit { permitted, window }
    };
    let policy = |(id, rule): (u32, &Rule)| {
        let (restriction, action) = match *rule {
            Rule::NoEsp => (profile::Restriction::Protocols(vec![Class::Esp]), profile::Action::Reject),
            Rule::Reject(permitted, window) => {
                (profile::Restriction::Accesses(limit((permitted, window))), profile::Action::Reject)
            }
            Rule::Watched(permitted, window) => {
                (profile::Restriction::Accesses(limit((permitted, window))), profile::Action::None)
            }
            Rule::Throttle(rule, throttle) => {
                let action = profile::Action::Throttle(limit(throttle));
                (profile::Restriction::Accesses(limit(rule)), action)
            }
        };
        profile::Policy::new(id, restriction, action)
    };
    let policies: Vec<_> = (1..).zip(rules).map(policy).collect();
    let compiled = profile::compile(Some(&policies), &config.kinds, &config.timings, config.alarm.as_ref());
    compiled.expect("three policies fit")
}

/// A node beside its model.
struct Pair<'l> {
    life: &'l Life,
    config: Config,
    world: World,
    model: Model,
    now: u64,
    /// Since the last second that the agent was told of.
    fraction: u64,
    revision: u64,
    last: Option<(Update, v1::CacheUpdate)>,
}

impl<'l> Pair<'l> {
    fn new(life: &'l Life) -> Self {
        let mut config = crate::world::config();
        life.configure(&mut config);
        let mut world = World::with(|config| life.configure(config));
        world.core.kernel().room = life.room;
        let model = Model::default();
        Self { life, config, world, model, now: 0, fraction: 0, revision: 0, last: None }
    }

    fn wait(&mut self, mut millis: u64) {
        while millis > 0 {
            let piece = millis.min(SECOND - self.fraction);
            self.world.wait(piece);
            self.now += piece;
            (self.fraction, millis) = (self.fraction + piece, millis - piece);
            if self.fraction == SECOND {
                self.fraction = 0;
                self.second();
            }
        }
    }

    /// As `run` does: what the ring holds is read before the sweep.
    fn second(&mut self) {
        self.read_ring();
        let swept = self.world.each_second();
        let active: Vec<bool> =
            (0..DEVICES.len()).map(|device| self.world.control(device).has(ALARM_ACTIVE)).collect();
        self.model.second(self.now, TIMEOUT, self.life.allows, |device| active[device]);
        swept.iter().for_each(|alarm| self.model.raised(alarm, self.now));
        self.deliveries();
    }

    fn read_ring(&mut self) {
        for alarm in self.world.alarms() {
            self.model.raised(&alarm, self.now);
        }
    }

    fn packet(&mut self, device: usize, downlink: bool, esp: bool) {
        let (own, server) = (address(device), SERVER.into());
        let (side, from, to) =
            if downlink { (Side::Network, server, own) } else { (Side::Access, own, server) };
        let frame = self.world.frame(from, to, esp);
        let was_alarmed = self.world.control(device).has(ALARM_ACTIVE);
        let reason = self.world.receive(side, &frame).reason;
        let held = &mut self.model.devices[device];
        if reason == Reason::Admitted {
            assert!(!was_alarmed, "admitted in spite of an alarm");
            assert_eq!(held.may_enter(self.now, esp), Ok(()), "device {device} at {}", self.now);
        }
        self.entered(device, reason);
    }

    fn entered(&mut self, device: usize, reason: Reason) {
        let held = &mut self.model.devices[device];
        if matches!(reason, Reason::Admitted | Reason::Redeemed) {
            held.admissions.push(self.now);
        }
        held.redeemed += usize::from(reason == Reason::Redeemed);
    }

    /// Frames that the agent has injected. The addresses say whose they are.
    fn deliveries(&mut self) {
        let kernel = self.world.core.kernel();
        for (outcome, frame) in std::mem::take(&mut kernel.injected) {
            let device = (0..DEVICES.len()).find(|device| {
                let own = address(*device).octets();
                frame[26..30] == own || frame[30..34] == own
            });
            let reason = outcome.reason;
            assert_ne!(reason, Reason::Admitted, "an injected frame is no new access");
            self.entered(device.expect("a device of this test"), reason);
        }
    }

    fn update(&mut self, drawn: &Drawn) {
        self.revision += 1;
        let window = |rule: &Rule| match rule {
            Rule::Throttle(_, (_, window)) => Some(*window),
            _ => None,
        };
        let throttle = drawn.policies.iter().flatten().find_map(window).filter(|_| drawn.throttled);
        let update = Update {
            device: drawn.device,
            revision: self.revision.saturating_sub(drawn.stale),
            policies: drawn.policies.clone(),
            not_m2m: drawn.not_m2m,
            throttled_for: throttle.unwrap_or(0),
            rejected_for: drawn.rejected_for,
            fate: drawn.fate,
            answers: drawn.answers.map(|before| self.answered(drawn.device).saturating_sub(before)),
        };
        let message = self.message(&update);
        self.say(&update, message);
    }

    /// The latest alarm of a device that control knows of, or of anybody if it has none.
    fn answered(&self, device: usize) -> u64 {
        self.model.devices[device].alarm.map_or(self.model.last_sequence, |alarm| alarm.sequence)
    }

    fn message(&self, update: &Update) -> v1::CacheUpdate {
        let rules = update.policies.iter().flatten();
        let policies = (1..).zip(rules).map(|(id, rule)| on_the_wire(id, *rule)).collect();
        let mut message = entry(update.device, update.revision, policies);
        (message.cached, message.not_m2m) = (update.policies.is_some(), update.not_m2m);
        message.set_alarm(update.fate);
        let ahead = |length: u64| if length == 0 { 0 } else { self.world.unix_ms() + length as i64 };
        let (throttled, rejected) = (ahead(update.throttled_for), ahead(update.rejected_for));
        let message = message.throttled_until(throttled).rejected_until(rejected);
        match update.answers {
            Some(sequence) => message.answering(sequence),
            None => message,
        }
    }

    fn say(&mut self, update: &Update, message: v1::CacheUpdate) {
        self.last = Some((update.clone(), message.clone()));
        let (refused, raised) = self.world.update_and_alarms(message);
        assert_eq!(refused, "");
        let expected = self.model.updated(update, false, self.now);
        assert_eq!(raised.iter().map(sequence).collect::<Vec<_>>(), expected);
        self.deliveries();
    }

    fn refused(&mut self, device: usize) {
        self.revision += 1;
        let message =
            entry(device, self.revision, vec![on_the_wire(1, Rule::Reject(1024, SECOND))]).cancels();
        let (refused, raised) = self.world.update_and_alarms(message);
        assert_ne!(refused, "");
        let nothing = Update {
            device,
            revision: self.revision,
            policies: None,
            not_m2m: false,
            throttled_for: 0,
            rejected_for: 0,
            fate: AlarmFate::Unspecified,
            answers: None,
        };
        let expected = self.model.updated(&nothing, true, self.now);
        assert_eq!(raised.iter().map(sequence).collect::<Vec<_>>(), expected);
    }

    fn reconnect(&mut self, named: &[Drawn], missing: usize) {
        self.greet();
        let entries = named.len() + missing;
        let raised = self.world.welcome(entries as u32);
        let expected = self.model.welcomed(entries, self.now);
        assert_eq!(raised.iter().map(sequence).collect::<Vec<_>>(), expected);
        self.last = None;
        named.iter().for_each(|drawn| self.update(drawn));
    }

    fn greet(&mut self) {
        let mut said = self.world.greeted_alarms();
        let mut expected = self.model.unanswered();
        said.sort_unstable();
        expected.sort_unstable();
        assert_eq!(said, expected);
        self.model.greeted();
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Wait(millis) => self.wait(*millis),
            Step::Days(days) => {
                for _ in 0..4 * days {
                    self.world.wait(6 * 3600 * SECOND);
                    self.now += 6 * 3600 * SECOND;
                    let now = self.world.now();
                    self.world.core.keep_histories_old(now);
                    self.second();
                }
            }
            Step::Packet { device, downlink, esp } => self.packet(*device, *downlink, *esp),
            Step::ReadRing => self.read_ring(),
            Step::Update(drawn) => self.update(drawn),
            Step::Repeat => {
                if let Some((mut update, message)) = self.last.clone() {
                    // It says until when, not for how long.
                    (update.throttled_for, update.rejected_for) = self.left(&message);
                    self.say(&update, message);
                }
            }
            Step::Refused(device) => self.refused(*device),
            Step::Reconnect { named, missing } => self.reconnect(named, *missing),
        }
    }

    fn left(&self, message: &v1::CacheUpdate) -> (u64, u64) {
        let status = message.status.unwrap_or_default();
        let left = |until: i64| until.saturating_sub(self.world.unix_ms()).max(0) as u64;
        (left(status.throttled_until_ms), left(status.rejected_until_ms))
    }

    fn compare(&mut self) {
        let mut profiles = Vec::new();
        for device in 0..DEVICES.len() {
            let (control, profile) = (self.world.control(device), self.world.profile(device));
            let held = &self.model.devices[device];
            let told = held.alarm.is_some_and(Alarm::is_active);
            assert_eq!(control.has(ALARM_SEEN), told, "an alarm told is active: {:?}", held.alarm);
            assert!(!(control.has(ALARM_SEEN) && control.has(ALARM_UNSEEN)));
            assert!(!control.has(HELD) || control.has(ALARM_ACTIVE), "what is held is held by an alarm");
            let quiet = held.alarm.is_some_and(|alarm| !alarm.is_active());
            assert_eq!(control.has(NOT_M2M), held.not_m2m || quiet);
            match &held.policies {
                Some(rules) => assert_eq!(profile, compiled(rules, &self.config)),
                None => assert_eq!(control.profile(), 0),
            }
            assert!(held.redeemed <= held.accepted, "{} of {} redeemed", held.redeemed, held.accepted);
            profiles.push(control.profile());
        }
        profiles.retain(|number| *number != 0);
        profiles.sort_unstable();
        profiles.dedup();
        assert_eq!(self.world.core.device_figures(), (DEVICES.len(), profiles.len()));
        assert_eq!(self.world.core.outstanding_alarms(), self.model.unanswered().len());
        assert_eq!(self.world.core.is_synced(), self.model.synced);
    }

    /// Nothing is lost in the end: every alarm bit is found, every count is told, no frame got through twice.
    fn finish(&mut self) {
        self.wait(2 * SECOND);
        for device in 0..DEVICES.len() {
            assert!(!self.world.control(device).has(ALARM_UNSEEN), "the sweep finds what the ring lost");
        }
        let told = self.world.greeting().counts;
        self.model.greeted();
        for (device, id) in DEVICES.iter().enumerate() {
            let (requests, admitted) = self.world.requests_and_admissions(device);
            let counts = told.iter().find(|counts| counts.device == *id);
            let counts = counts.map_or((0, 0), |counts| (counts.requests, counts.admitted));
            assert_eq!(counts, (requests.into(), admitted.into()));
            assert_eq!(admitted as usize, self.model.devices[device].admissions.len());
        }
        let mut delivered = self.world.core.kernel().delivered.clone();
        let frames = delivered.len();
        delivered.sort_unstable();
        delivered.dedup();
        assert_eq!(delivered.len(), frames);
    }
}

fn cases() -> ProptestConfig {
    let cases = ProptestConfig::default().cases.max(400);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn whatever_happens_the_node_believes_what_it_was_told_and_enforces_it(life in life()) {
        let mut pair = Pair::new(&life);
        for step in &life.steps {
            pair.step(step);
            pair.compare();
        }
        pair.finish();
        pair.compare();
    }
}
