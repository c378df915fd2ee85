//! Random worlds: nodes, policies, and sequences of gaps, packets and operations.
//!
//! Times are small so that sessions end, limits fill and throttles lapse within a short sequence, and gaps are
//! often exactly one of the configured lengths, since that is where a comparison is wrong if it is.

use proptest::{collection::vec, option, prelude::*, sample::subsequence};
use weir_dataplane_common::{abi::AccessKind, inspect::Class};

use super::policy::{
    Action, AlarmCondition, Limit, Node, Operation, Order, Packet, Policy, Rule, Status, Until, Way, When,
    throttle_of,
};

/// What happens next.
#[derive(Clone, Debug)]
pub enum Event {
    Packet(Packet),
    Operation(Operation),
}

/// How long after the step before.
#[derive(Clone, Copy, Debug)]
pub enum Gap {
    Ticks(u64),
    /// The n-th of the configured lengths, and so many ticks more or less.
    Length(usize, i64),
    /// Days, over which the agent sweeps.
    Days,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub gap: Gap,
    pub event: Event,
}

#[derive(Clone, Debug)]
pub struct World {
    pub node: Node,
    pub start: u64,
    pub policies: Option<Vec<Policy>>,
    pub steps: Vec<Step>,
}

const CLASSES: [Class; 2] = [Class::Esp, Class::Ah];
const KINDS: [AccessKind; 2] = [AccessKind::Packet, AccessKind::Trigger];

fn limit() -> impl Strategy<Value = Limit> {
    let permitted = prop_oneof![12 => 0usize..=4, 1 => 5usize..=14];
    (permitted, 1u64..120).prop_map(|(permitted, window)| Limit { permitted, window })
}

fn some_classes() -> impl Strategy<Value = Vec<Class>> {
    subsequence(CLASSES.to_vec(), 1..=2)
}

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![2 => limit().prop_map(Rule::AccessLimit), 1 => some_classes().prop_map(Rule::Forbidden)]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => Just(Action::None),
        5 => limit().prop_map(Action::Throttle),
        1 => Just(Action::Withhold),
        3 => Just(Action::Reject),
        2 => Just(Action::Release),
    ]
}

/// At most four, of which at most one throttles: more is refused at configuration.
fn policies() -> impl Strategy<Value = Option<Vec<Policy>>> {
    let list = vec((rule(), action()), 0..=4).prop_map(|list| {
        let mut policies: Vec<Policy> = Vec::new();
        for (id, (rule, action)) in (1..).zip(list) {
            let limits = matches!(rule, Rule::AccessLimit(_));
            let second = limits && action.throttle().is_some() && throttle_of(Some(&policies)).is_some();
            let action = if second { Action::Reject } else { action };
            policies.push(Policy { id, rule, action });
        }
        policies
    });
    option::weighted(0.8, list)
}

fn status() -> impl Strategy<Value = Status> {
    let until = prop_oneof![4 => (1u64..100).prop_map(Until::Lapses), 1 => Just(Until::FurtherNotice)];
    (option::weighted(0.3, 1u64..100), option::weighted(0.25, until))
        .prop_map(|(throttled_for, rejected)| Status { throttled_for, rejected })
}

/// Control never says throttled for longer than the throttle's window, nor without a throttle.
fn stored() -> impl Strategy<Value = (Option<Vec<Policy>>, Status)> {
    (policies(), status()).prop_map(|(policies, mut status)| {
        let window = throttle_of(policies.as_ref()).map(|limit| limit.window);
        status.throttled_for =
            status.throttled_for.and_then(|length| window.map(|window| length.min(window)));
        (policies, status)
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => stored().prop_map(|(policies, status)| Operation::Cancel { policies, status }),
        1 => Just(Operation::NotAMachine),
        3 => stored().prop_map(|(policies, status)| Operation::Reject { policies, status }),
        3 => stored().prop_map(|(policies, status)| Operation::Push { policies, status }),
        2 => Just(Operation::Release),
        1 => Just(Operation::Seen),
    ]
}

fn packet() -> impl Strategy<Value = Packet> {
    let way = prop_oneof![6 => Just(Way::Up), 3 => Just(Way::FromServer), 1 => Just(Way::Down)];
    let class = prop_oneof![7 => Just(None), 2 => Just(Some(Class::Esp)), 1 => Just(Some(Class::Ah))];
    (way, class).prop_map(|(way, class)| Packet { way, class })
}

fn step() -> impl Strategy<Value = Step> {
    let gap = prop_oneof![
        20 => (0u64..4).prop_map(Gap::Ticks),
        20 => (0u64..40).prop_map(Gap::Ticks),
        10 => (0u64..200).prop_map(Gap::Ticks),
        30 => (0usize..16, -1i64..=1).prop_map(|(which, more)| Gap::Length(which, more)),
        1 => Just(Gap::Days),
    ];
    let event = prop_oneof![5 => packet().prop_map(Event::Packet), 1 => operation().prop_map(Event::Operation)];
    (gap, event).prop_map(|(gap, event)| Step { gap, event })
}

fn node() -> impl Strategy<Value = Node> {
    let alarm = (
        prop_oneof![Just(When::NoPolicyCached), Just(When::Always), Just(When::NotRejected)],
        prop_oneof![Just(Order::Before), Just(Order::With), Just(Order::After)],
        option::weighted(0.7, limit()),
        subsequence(CLASSES.to_vec(), 0..=2),
    )
        .prop_map(|(when, order, requests, classes)| AlarmCondition { when, order, requests, classes });
    let kinds = subsequence(KINDS.to_vec(), 0..=2);
    (1u64..20, 0u64..60, 1u64..30, kinds, alarm, any::<bool>()).prop_map(
        |(inactivity, more, retry, kinds, alarm, drop_unsolicited)| Node {
            inactivity,
            max_age: inactivity + more,
            retry,
            kinds,
            alarm,
            drop_unsolicited,
        },
    )
}

pub fn world() -> impl Strategy<Value = World> {
    // An ordinary instant, or one shortly before a slot's or a tick's number wraps.
    let start = prop_oneof![6 => Just(1u64 << 20), 1 => Just((1 << 30) - 500), 1 => Just((1 << 32) - 500)];
    (node(), start, policies(), vec(step(), 1..150))
        .prop_map(|(node, start, policies, steps)| World { node, start, policies, steps })
}

impl World {
    /// The lengths that decide something here.
    pub fn lengths(&self) -> Vec<u64> {
        let node = &self.node;
        let mut lengths = vec![node.inactivity, node.max_age, node.retry];
        lengths.extend(node.alarm.requests.map(|limit| limit.window));
        lengths_of_policies(self.policies.as_ref(), &mut lengths);
        for step in &self.steps {
            if let Event::Operation(operation) = &step.event {
                lengths_of_operation(operation, &mut lengths);
            }
        }
        lengths
    }
}

fn lengths_of_operation(operation: &Operation, lengths: &mut Vec<u64>) {
    let (Operation::Cancel { policies, status }
    | Operation::Reject { policies, status }
    | Operation::Push { policies, status }) = operation
    else {
        return;
    };
    lengths.extend(status.throttled_for);
    if let Some(Until::Lapses(length)) = status.rejected {
        lengths.push(length);
    }
    lengths_of_policies(policies.as_ref(), lengths);
}

fn lengths_of_policies(policies: Option<&Vec<Policy>>, lengths: &mut Vec<u64>) {
    for policy in policies.into_iter().flatten() {
        if let Rule::AccessLimit(limit) = policy.rule {
            lengths.push(limit.window);
        }
        lengths.extend(policy.action.throttle().map(|limit| limit.window));
    }
}
