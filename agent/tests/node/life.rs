//! Random lives of a node: a configuration, and steps with lengths and limits small enough to be met often.

use std::time::Duration;

use proptest::{collection::vec, prelude::*, sample::subsequence};
use weir_agent::config::{Config, OnOutage, Timings};
use weir_dataplane_common::abi::{alarm_order, alarm_when};
use weir_proto::v1::AlarmFate;

use crate::{
    model::Rule,
    world::{DEVICES, SECOND},
};

/// The windows and limits drawn, in milliseconds; the fewer, the oftener they are met.
const WINDOWS: [u64; 3] = [3 * SECOND, 8 * SECOND, 20 * SECOND];
/// How long an alarm may stay unanswered.
pub const TIMEOUT: u64 = 4 * SECOND;
/// What happens next.
#[derive(Clone, Debug)]
pub enum Step {
    Wait(u64),
    /// Of which the agent's clock housekeeping is part.
    Days(u64),
    Packet {
        device: usize,
        downlink: bool,
        esp: bool,
    },
    ReadRing,
    Update(Drawn),
    /// The last update comes twice.
    Repeat,
    Refused(usize),
    /// A new stream, whose snapshot names these, and lacks so many.
    Reconnect {
        named: Vec<Drawn>,
        missing: usize,
    },
}

/// An update before it is known what can be answered.
#[derive(Clone, Debug)]
pub struct Drawn {
    pub device: usize,
    pub policies: Option<Vec<Rule>>,
    pub not_m2m: bool,
    pub throttled: bool,
    pub rejected_for: u64,
    pub fate: AlarmFate,
    /// The alarm answered: none, or this many before the latest of all.
    pub answers: Option<u64>,
    /// How much older than the newest revision.
    pub stale: u64,
}

/// A node's configuration and all that happens to it.
#[derive(Clone, Debug)]
pub struct Life {
    pub when: u8,
    pub order: u8,
    pub permitted: u32,
    pub window: u64,
    pub inactivity: u64,
    pub allows: bool,
    pub room: usize,
    pub steps: Vec<Step>,
}

fn limit() -> impl Strategy<Value = (u32, u64)> {
    (0u32..=4, prop::sample::select(&WINDOWS[..]))
}

fn policies() -> impl Strategy<Value = Option<Vec<Rule>>> {
    let rule = prop_oneof![
        4 => limit().prop_map(|(permitted, window)| Rule::Reject(permitted, window)),
        2 => Just(Rule::NoEsp),
        1 => limit().prop_map(|(permitted, window)| Rule::Watched(permitted, window)),
    ];
    let throttle =
        prop::option::of((limit(), limit()).prop_map(|(limit, other)| Rule::Throttle(limit, other)));
    let list = (throttle, vec(rule, 0..=2)).prop_map(|(throttle, mut rules)| {
        rules.extend(throttle);
        rules
    });
    prop::option::weighted(0.8, list)
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let fate = prop_oneof![
        3 => Just(AlarmFate::Unspecified),
        5 => Just(AlarmFate::Cancel),
        2 => Just(AlarmFate::Reject)
    ];
    let answers = prop_oneof![2 => Just(None), 6 => Just(Some(0)), 2 => (1u64..4).prop_map(Some)];
    let rejected_for = prop_oneof![8 => Just(0), 1 => 1..10 * SECOND];
    let stale = prop_oneof![12 => Just(0), 1 => 1u64..3];
    let small = (0..DEVICES.len(), policies(), prop::bool::weighted(0.1), any::<bool>());
    (small, rejected_for, fate, answers, stale).prop_map(
        |((device, policies, not_m2m, throttled), rejected_for, fate, answers, stale)| Drawn {
            device,
            policies,
            not_m2m,
            throttled,
            rejected_for,
            fate,
            answers,
            stale,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let device = 0..DEVICES.len();
    let packet = (device.clone(), prop::bool::weighted(0.3), prop::bool::weighted(0.15));
    prop_oneof![
        30 => packet.prop_map(|(device, downlink, esp)| Step::Packet { device, downlink, esp }),
        10 => (1..300u64).prop_map(Step::Wait),
        15 => (300..3 * SECOND).prop_map(Step::Wait),
        1 => (1u64..60).prop_map(Step::Days),
        12 => Just(Step::ReadRing),
        14 => drawn().prop_map(Step::Update),
        2 => Just(Step::Repeat),
        2 => device.prop_map(Step::Refused),
        3 => (vec(drawn(), 0..4), 0usize..2).prop_map(|(named, missing)| Step::Reconnect { named, missing }),
    ]
}

pub fn life() -> impl Strategy<Value = Life> {
    let when =
        subsequence(vec![alarm_when::NO_POLICY_CACHED, alarm_when::ALWAYS, alarm_when::NOT_REJECTED], 1);
    let order = subsequence(vec![alarm_order::WITH, alarm_order::BEFORE, alarm_order::AFTER], 1);
    let room = prop_oneof![3 => Just(usize::MAX), 1 => 0usize..2];
    (when, order, limit(), 200..2 * SECOND, any::<bool>(), room, vec(step(), 1..120)).prop_map(
        |(when, order, (permitted, window), inactivity, allows, room, steps)| Life {
            when: when[0],
            order: order[0],
            permitted,
            window,
            inactivity,
            allows,
            room,
            steps,
        },
    )
}

impl Life {
    pub fn configure(&self, config: &mut Config) {
        let millis = Duration::from_millis;
        let alarm = config.alarm.as_mut().expect("an alarm");
        (alarm.when, alarm.order) = (self.when, self.order);
        alarm.count = Some((self.permitted, millis(self.window)));
        config.timings = Timings { inactivity: millis(self.inactivity), ..config.timings };
        config.alarm_timeout = millis(TIMEOUT);
        config.on_outage = if self.allows { OnOutage::Allow } else { OnOutage::Deny };
    }
}
