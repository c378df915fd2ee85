//! Random worlds: whatever nodes, HSS, PCRF and operators say in whatever order, what must always hold does.

mod network;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use network::{START, config};
use weir_service_control::{
    AccessKind, AccessLimit, Action, Alarm, AlarmFate, AlarmId, AlarmProgress, Condition, Counted,
    DeviceCounts, DeviceId, DeviceSnapshot, Direction, Input, NodeName, Output, Policy, PolicyId, Rate, Rule,
    Scope, ServiceControl, SubWindows, Subscription, UnixMillis,
};

fn any_limit() -> impl Strategy<Value = AccessLimit> {
    (prop_oneof![4 => 0_u32..5, 1 => 15_u32..60], prop_oneof![Just(0_u64), 1..120_000_u64, Just(u64::MAX)])
        .prop_map(|(permitted, ms)| AccessLimit { permitted, window: Duration::from_millis(ms) })
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::None),
        any_limit().prop_map(Action::Throttle),
        Just(Action::Reject),
        Just(Action::WithholdResources),
        Just(Action::Release),
    ]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let rule = prop_oneof![
        3 => any_limit().prop_map(Rule::AccessLimit),
        1 => Just(Rule::ForbiddenProtocols(vec!["esp".into()])),
        1 => Just(Rule::Rate(Rate {
            bytes_per_second: Some(1000),
            packets_per_second: None,
            burst: Duration::from_millis(100),
            direction: Direction::Both,
        })),
    ];
    let kinds = prop_oneof![Just(vec![]), Just(vec![AccessKind::Trigger])];
    let scope = prop_oneof![Just(Scope::Node), Just(Scope::Network)];
    let counts = prop_oneof![5 => Just(Counted::Admitted), 1 => Just(Counted::Requests)];
    let policy = (0_u32..4, rule, any_action()).prop_map(|(id, rule, action)| Policy::new(id, rule, action));
    (policy, kinds, scope, counts, proptest::bool::weighted(0.2))
        .prop_map(|(policy, kinds, scope, counts, shadow)| Policy { kinds, scope, counts, shadow, ..policy })
}

fn any_windows() -> impl Strategy<Value = SubWindows> {
    let counts = proptest::array::uniform4(prop_oneof![0_u32..30, Just(u32::MAX)]);
    let start = (-200_000_i64..200_000).prop_map(|offset| UnixMillis(START + offset));
    let length = prop_oneof![
        Just(Duration::ZERO),
        (1_u64..40_000).prop_map(Duration::from_millis),
        Just(Duration::MAX)
    ];
    (0_u32..4, any::<bool>(), start, length, counts).prop_map(
        |(policy, throttle, newest_start, length, counts)| SubWindows {
            policy: PolicyId(policy),
            throttle,
            newest_start,
            length,
            counts,
        },
    )
}

fn any_counts() -> impl Strategy<Value = DeviceCounts> {
    let time = (-200_000_i64..200_000).prop_map(|offset| UnixMillis(START + offset));
    let admissions = proptest::collection::vec(time, 0..16);
    let windows = proptest::collection::vec(any_windows(), 0..7);
    (0_u64..9, 0_u64..9, 0_u64..9, admissions, windows).prop_map(
        |(requests, admitted, rejected, admissions, windows)| DeviceCounts {
            requests,
            admitted,
            rejected,
            unsolicited: 0,
            last_rejection: None,
            admissions,
            windows,
        },
    )
}

fn any_device() -> impl Strategy<Value = DeviceId> {
    (0_u8..2).prop_map(|number| DeviceId(format!("00101000000000{number}")))
}

fn any_node() -> impl Strategy<Value = NodeName> {
    (0_u8..3).prop_map(|number| NodeName(format!("node{number}")))
}

fn any_boot() -> impl Strategy<Value = String> {
    (0_u8..2).prop_map(|number| number.to_string())
}

fn any_alarm() -> impl Strategy<Value = Alarm> {
    let condition = prop_oneof![
        Just(Condition::Count { requests: 4, window: Duration::from_secs(60) }),
        Just(Condition::Protocol("esp".into())),
    ];
    let kind = prop_oneof![Just(AccessKind::Packet), Just(AccessKind::Trigger)];
    let id = (any_node(), any_boot(), 0_u64..4);
    (id, any_device(), condition, kind, any::<bool>(), any_counts()).prop_map(
        |((node, boot, sequence), device, condition, kind, access_held, counts)| Alarm {
            id: AlarmId { node, boot, sequence },
            device,
            condition,
            kind,
            access_held,
            counts,
        },
    )
}

fn any_subscription() -> impl Strategy<Value = Result<Subscription, String>> {
    let known = |kind: &str| Ok(Subscription::Known { device_type: kind.into() });
    prop_oneof![
        4 => Just(known("meter")),
        1 => Just(known("phone")),
        1 => Just(Ok(Subscription::Unknown)),
        1 => Just(Err("no connection".to_owned())),
    ]
}

fn any_policies() -> impl Strategy<Value = Result<Vec<Policy>, String>> {
    prop_oneof![
        5 => proptest::collection::vec(any_policy(), 0..4).prop_map(Ok),
        1 => Just(Err("no connection".to_owned())),
    ]
}

fn any_input() -> impl Strategy<Value = Input> {
    let report = (any_node(), any_boot(), any_device(), any_counts());
    prop_oneof![
        2 => (any_node(), any_boot()).prop_map(|(node, boot)| Input::NodeConnected { node, boot }),
        1 => any_node().prop_map(|node| Input::NodeDisconnected { node }),
        5 => any_alarm().prop_map(Input::AlarmRaised),
        4 => report.prop_map(|(node, boot, device, counts)| {
            Input::CountsReported { node, boot, devices: vec![(device, counts)] }
        }),
        4 => (any_device(), any_subscription())
            .prop_map(|(device, answer)| Input::SubscriptionAnswered { device, answer }),
        4 => (any_device(), any_policies()).prop_map(|(device, answer)| Input::PoliciesAnswered { device, answer }),
        1 => any_device().prop_map(|device| Input::SubscriberChanged { device }),
        1 => any_device().prop_map(|device| Input::OperatorCancels { device }),
        2 => Just(Input::TimePassed),
    ]
}

/// Watches the outputs.
#[derive(Default)]
struct Witness {
    recorded: BTreeMap<DeviceId, u64>,
    sent: BTreeMap<(NodeName, DeviceId), u64>,
    latest: BTreeMap<DeviceId, weir_service_control::CacheUpdate>,
}

impl Witness {
    fn watch(&mut self, outputs: &[Output]) {
        for output in outputs {
            match output {
                Output::Record(decision) => {
                    let last = self.recorded.entry(decision.device.clone()).or_default();
                    assert!(decision.entry.revision >= *last, "revisions never fall");
                    *last = decision.entry.revision;
                    self.latest.insert(decision.device.clone(), decision.entry.clone());
                }
                Output::Update { node, update } => self.sent(node, update),
                Output::Snapshot { node, entries } => entries.iter().for_each(|entry| self.sent(node, entry)),
                _ => {}
            }
        }
    }

    fn sent(&mut self, node: &NodeName, update: &weir_service_control::CacheUpdate) {
        let recorded = self.recorded.get(&update.device).copied().unwrap_or_default();
        assert!(update.revision <= recorded, "what is sent has been recorded");
        let last = self.sent.entry((node.clone(), update.device.clone())).or_default();
        assert!(update.revision >= *last, "revisions never fall");
        *last = update.revision;
        assert!(!update.explanation.contains(&update.device.0), "no identifier in words");
        assert!(update.answers.is_none() || update.alarm != AlarmFate::Unchanged, "an answer decides");
    }
}

/// Counted as things change, and counted over all devices.
fn check_numbers(control: &ServiceControl) {
    let number = |holds: fn(&DeviceSnapshot) -> bool| control.devices().filter(holds).count();
    assert_eq!(control.cached_devices(), number(|device| device.cached));
    assert_eq!(control.alarmed_devices(), number(|device| device.alarm_active));
    for device in control.devices() {
        let alarms = control.alarms().filter(|alarm| alarm.device == device.device);
        assert_eq!(control.alarms_of(&device.device), alarms.collect::<Vec<_>>());
    }
}

fn check_timers(control: &ServiceControl, now: i64) {
    if let Some(due) = control.next_timeout() {
        assert!(due.0 > now, "a timer must lie ahead");
    }
    for alarm in control.alarms() {
        let timeout = control.next_timeout().expect("an active alarm has a way to its end");
        if let AlarmProgress::RejectedUntil(at) | AlarmProgress::RetryAt(at) = alarm.progress {
            assert!(timeout <= at);
        }
    }
}

/// HSS and PCRF answer everything from now on; time passes from timer to timer until no alarm is active.
fn run_to_the_end(control: &mut ServiceControl, witness: &mut Witness, mut now: i64, policies: &[Policy]) {
    for _ in 0..400 {
        if control.alarms().next().is_none() {
            return;
        }
        now = control.next_timeout().expect("an active alarm has a way to its end").0.max(now);
        let mut outputs = control.handle(Input::TimePassed, UnixMillis(now));
        while !outputs.is_empty() {
            witness.watch(&outputs);
            let answers: Vec<_> = outputs.iter().filter_map(|output| answer(output, policies)).collect();
            outputs = answers.into_iter().flat_map(|it| control.handle(it, UnixMillis(now))).collect();
        }
        check_timers(control, now);
    }
    panic!("still active: {:?}", control.alarms().collect::<Vec<_>>());
}

fn answer(output: &Output, policies: &[Policy]) -> Option<Input> {
    match output {
        Output::QuerySubscription { device } => {
            let answer = Ok(Subscription::Known { device_type: "meter".into() });
            Some(Input::SubscriptionAnswered { device: device.clone(), answer })
        }
        Output::QueryPolicies { device, .. } => {
            Some(Input::PoliciesAnswered { device: device.clone(), answer: Ok(policies.to_vec()) })
        }
        _ => None,
    }
}

/// Policies that are only watched, of identifiers that no other has; and one without action in both worlds, so that
/// admissions are remembered equally long.
const FIRST_WATCHED: u32 = 50;

fn any_watched() -> impl Strategy<Value = Vec<Policy>> {
    proptest::collection::vec(any_policy(), 1..4).prop_map(|policies| {
        let numbered = (FIRST_WATCHED..).zip(policies);
        numbered.map(|(id, policy)| Policy { id: PolicyId(id), shadow: true, ..policy }).collect()
    })
}

fn remembered_for_ever() -> Policy {
    let limit = AccessLimit { permitted: u32::MAX, window: Duration::MAX };
    Policy::new(FIRST_WATCHED - 1, Rule::AccessLimit(limit), Action::None)
}

fn also(input: &Input, more: &[Policy]) -> Input {
    match input.clone() {
        Input::PoliciesAnswered { device, answer: Ok(mut policies) } => {
            policies.push(remembered_for_ever());
            policies.extend_from_slice(more);
            Input::PoliciesAnswered { device, answer: Ok(policies) }
        }
        other => other,
    }
}

/// Without the words and without the policies in shadow.
fn bare(outputs: Vec<Output>) -> Vec<Output> {
    let strip = |update: &mut weir_service_control::CacheUpdate| {
        update.policies.retain(|policy| policy.id.0 < FIRST_WATCHED);
        update.explanation.clear();
    };
    let bare = |mut output: Output| {
        match &mut output {
            Output::Update { update, .. } => strip(update),
            Output::Snapshot { entries, .. } => entries.iter_mut().for_each(strip),
            Output::Record(decision) => strip(&mut decision.entry),
            _ => {}
        }
        output
    };
    outputs.into_iter().map(bare).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 20_000 }))]

    #[test]
    fn random_worlds_never_panic_and_every_alarm_comes_to_its_end(
        inputs in proptest::collection::vec((any_input(), 0_i64..20_000), 1..60),
        restart_after in 0_usize..60,
        at_last in proptest::collection::vec(any_policy(), 0..3),
    ) {
        let mut control = ServiceControl::new(config());
        let mut witness = Witness::default();
        let mut now = START;
        for (step, (input, pause)) in inputs.into_iter().enumerate() {
            now += pause;
            if step == restart_after {
                control = ServiceControl::new(config());
                control.restore(witness.latest.values().cloned(), UnixMillis(now));
            }
            let outputs = control.handle(input, UnixMillis(now));
            witness.watch(&outputs);
            check_timers(&control, now);
            check_numbers(&control);
        }
        // An endless window never has room again; such a policy is not part of coming to an end.
        let sane = |policy: &Policy| match policy.rule {
            Rule::AccessLimit(limit) => limit.window < Duration::from_secs(3600),
            Rule::ForbiddenProtocols(_) | Rule::Rate(_) => true,
        };
        let throttle_sane = |policy: &Policy| policy.throttle().is_none_or(|it| it.window < Duration::from_secs(3600));
        let at_last: Vec<_> = at_last.into_iter().filter(|it| sane(it) && throttle_sane(it)).collect();
        for device in ["001010000000000", "001010000000001"] {
            let changed = Input::SubscriberChanged { device: DeviceId(device.into()) };
            let outputs = control.handle(changed, UnixMillis(now));
            witness.watch(&outputs);
        }
        run_to_the_end(&mut control, &mut witness, now, &at_last);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 150 } else { 10_000 }))]

    #[test]
    fn a_policy_in_shadow_changes_nothing_but_words(
        inputs in proptest::collection::vec((any_input(), 0_i64..20_000), 1..60),
        watched in any_watched(),
    ) {
        let (mut with, mut without) = (ServiceControl::new(config()), ServiceControl::new(config()));
        let mut now = START;
        for (input, pause) in inputs {
            now += pause;
            let said = with.handle(also(&input, &watched), UnixMillis(now));
            let expected = without.handle(also(&input, &[]), UnixMillis(now));
            prop_assert_eq!(bare(said), bare(expected));
            prop_assert_eq!(with.next_timeout(), without.next_timeout());
        }
    }
}
