//! Random worlds: nodes, policies, and sequences of gaps, packets and operations.
//!
//! Times are small so that sessions end, limits fill and throttles lapse within a short sequence, and gaps are
//! often exactly one of the configured lengths, since that is where a comparison is wrong if it is.

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, subsequence},
};
use weir_dataplane_common::{abi::AccessKind, inspect::Class};

use super::{
    compile::needs_words,
    policy::{
        Action, AlarmCondition, Counts, Limit, Node, Operation, Order, Packet, Policy, Rate, Rule, SMALL,
        Status, Until, Way, When, meters_of, throttle_of,
    },
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
    /// Lists of policies that the device may have; it begins with the first.
    pub lists: Vec<Option<Vec<Policy>>>,
    pub steps: Vec<Step>,
}

const CLASSES: [Class; 2] = [Class::Esp, Class::Ah];
const KINDS: [AccessKind; 2] = [AccessKind::Packet, AccessKind::Trigger];

fn limit() -> impl Strategy<Value = Limit> {
    let permitted = prop_oneof![12 => 0usize..=4, 1 => 5usize..=14];
    let small = (permitted, 1u64..120).prop_map(|(permitted, window)| Limit { permitted, window });
    // Windows that can hold so many within a sequence, and whose sub-windows' numbers outlast the days.
    let large = (15usize..24, 100u64..900).prop_map(|(permitted, window)| Limit { permitted, window });
    prop_oneof![3 => small, 1 => large]
}

/// A byte costs up to the time of a tick, a packet up to four; bursts of a few packets.
fn rate() -> impl Strategy<Value = Rate> {
    let sides = prop_oneof![3 => Just((true, true)), 2 => Just((true, false)), 1 => Just((false, true))];
    let cost = (option::of(100u64..30_000), option::of(10_000u64..4_000_000));
    (cost, 0u64..20_000, sides).prop_map(|((byte, packet), burst, (up, down))| Rate {
        byte: byte.or(packet.is_none().then_some(5_000)),
        packet,
        burst,
        up,
        down,
    })
}

fn some_classes() -> impl Strategy<Value = Vec<Class>> {
    subsequence(CLASSES.to_vec(), 1..=2)
}

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        6 => limit().prop_map(Rule::AccessLimit),
        2 => some_classes().prop_map(Rule::Forbidden),
        1 => rate().prop_map(Rule::Rate),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => Just(Action::None),
        8 => limit().prop_map(Action::Throttle),
        1 => Just(Action::Withhold),
        3 => Just(Action::Reject),
        2 => Just(Action::Release),
    ]
}

/// At most four, of which at most one throttles and as many meter bytes, or packets: more is refused at
/// configuration.
fn policies() -> impl Strategy<Value = Option<Vec<Policy>>> {
    let flags = (prop::bool::weighted(0.25), prop::bool::weighted(0.2));
    let list = vec((rule(), action(), flags), 0..=4).prop_map(|list| {
        let mut policies: Vec<Policy> = Vec::new();
        for (id, (rule, action, (shadow, requests))) in (1..).zip(list) {
            let counts = if requests { Counts::Requests } else { Counts::Admitted };
            add(&mut policies, Policy { id, rule, action, counts, shadow });
        }
        policies
    });
    option::weighted(0.8, list)
}

fn add(policies: &mut Vec<Policy>, mut policy: Policy) {
    let limits = matches!(policy.rule, Rule::AccessLimit(_));
    if limits && policy.action.throttle().is_some() && throttle_of(Some(policies)).is_some() {
        policy.action = Action::Reject;
    }
    if matches!(policy.rule, Rule::Rate(_)) {
        let metered = !meters_of(Some(policies)).is_empty();
        policy.rule = if metered { Rule::Forbidden(vec![]) } else { policy.rule };
        policy.action = if policy.action == Action::None { Action::None } else { Action::Reject };
    }
    if !limits {
        policy.counts = Counts::Admitted;
    }
    policies.push(policy);
}

/// Requests are known one by one only where nothing needs their room for words.
fn fit(node: &Node, list: Option<Vec<Policy>>) -> Option<Vec<Policy>> {
    let mut list = list;
    let asked = node.alarm.requests.is_some_and(|limit| limit.permitted <= SMALL)
        && (list.is_none() || node.alarm.when != When::NoPolicyCached);
    if asked {
        list.iter_mut().flatten().for_each(shrink);
    }
    let words = needs_words(node, list.as_ref());
    for policy in list.iter_mut().flatten().filter(|policy| policy.counts == Counts::Requests) {
        match &mut policy.rule {
            Rule::AccessLimit(limit) if !words && limit.permitted < SMALL => {}
            _ => policy.counts = Counts::Admitted,
        }
    }
    list
}

/// To what slots can count.
fn shrink(policy: &mut Policy) {
    let small = |limit: Limit| Limit { permitted: limit.permitted.min(SMALL), ..limit };
    match &mut policy.rule {
        Rule::AccessLimit(limit) => *limit = small(*limit),
        Rule::Rate(rate) if rate.byte.is_some() => rate.packet = None,
        Rule::Rate(_) | Rule::Forbidden(_) => {}
    }
    if let Action::Throttle(limit) = policy.action {
        policy.action = Action::Throttle(small(limit));
    }
}

fn status() -> impl Strategy<Value = Status> {
    let until = prop_oneof![4 => (1u64..100).prop_map(Until::Lapses), 1 => Just(Until::FurtherNotice)];
    (option::weighted(0.3, 1u64..100), option::weighted(0.25, until))
        .prop_map(|(throttled_for, rejected)| Status { throttled_for, rejected })
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Cancel,
    NotAMachine,
    Reject,
    Push,
    Release,
    Seen,
    Exempt,
    Bypass,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        8 => Just(Deed::Cancel),
        1 => Just(Deed::NotAMachine),
        3 => Just(Deed::Reject),
        3 => Just(Deed::Push),
        2 => Just(Deed::Release),
        1 => Just(Deed::Seen),
        1 => Just(Deed::Exempt),
        1 => Just(Deed::Bypass),
    ]
}

/// With one of the world's lists of policies. Control never says throttled for longer than the throttle's window,
/// nor without a throttle.
fn operation(lists: &[Option<Vec<Policy>>], deed: Deed, which: Index, mut status: Status) -> Operation {
    let policies = which.get(lists).clone();
    let window = throttle_of(policies.as_ref()).map(|limit| limit.window);
    status.throttled_for = status.throttled_for.zip(window).map(|(length, window)| length.min(window));
    match deed {
        Deed::Cancel => Operation::Cancel { policies, status },
        Deed::NotAMachine => Operation::NotAMachine,
        Deed::Reject => Operation::Reject { policies, status },
        Deed::Push => Operation::Push { policies, status },
        Deed::Release => Operation::Release,
        Deed::Seen => Operation::Seen,
        Deed::Exempt => Operation::Exempt(which.index(60) as u64),
        Deed::Bypass => Operation::Bypass(which.index(60) as u64),
    }
}

fn packet() -> impl Strategy<Value = Packet> {
    let way = prop_oneof![6 => Just(Way::Up), 3 => Just(Way::FromServer), 1 => Just(Way::Down)];
    let class = prop_oneof![7 => Just(None), 2 => Just(Some(Class::Esp)), 1 => Just(Some(Class::Ah))];
    let length = prop_oneof![2 => Just(40u16), 1 => 40u16..1500];
    (way, class, length).prop_map(|(way, class, length)| Packet { way, class, length })
}

/// In a hurry, so that large limits fill within a sequence.
fn gap(hurry: bool) -> impl Strategy<Value = Gap> {
    let slow = if hurry { 2 } else { 20 };
    prop_oneof![
        if hurry { 60 } else { 1 } => Just(Gap::Length(0, 0)),
        20 => (0u64..4).prop_map(Gap::Ticks),
        slow => (0u64..40).prop_map(Gap::Ticks),
        slow / 2 => (0u64..200).prop_map(Gap::Ticks),
        slow => (0usize..16, -1i64..=1).prop_map(|(which, more)| Gap::Length(which, more)),
        1 => Just(Gap::Days),
    ]
}

#[derive(Clone, Debug)]
enum DrawnEvent {
    Packet(Packet),
    Deed(Deed, Index, Status),
}

fn event() -> impl Strategy<Value = DrawnEvent> {
    prop_oneof![
        4 => packet().prop_map(DrawnEvent::Packet),
        1 => (deed(), any::<Index>(), status()).prop_map(|(deed, which, status)| DrawnEvent::Deed(deed, which, status)),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    let alarm = (
        prop_oneof![Just(When::NoPolicyCached), Just(When::Always), Just(When::NotRejected)],
        prop_oneof![Just(Order::Before), Just(Order::With), Just(Order::After)],
        option::weighted(0.5, limit()),
        subsequence(CLASSES.to_vec(), 0..=2),
    )
        .prop_map(|(when, order, requests, classes)| AlarmCondition { when, order, requests, classes });
    let kinds = prop_oneof![6 => Just(KINDS.to_vec()), 4 => subsequence(KINDS.to_vec(), 0..=1)];
    let shadow = prop::bool::weighted(0.1);
    (1u64..20, 0u64..60, 1u64..30, kinds, alarm, any::<bool>(), shadow).prop_map(
        |(inactivity, more, retry, kinds, alarm, drop_unsolicited, shadow)| Node {
            inactivity,
            max_age: inactivity + more,
            retry,
            kinds,
            alarm,
            drop_unsolicited,
            shadow,
        },
    )
}

pub fn world() -> impl Strategy<Value = World> {
    // An ordinary instant, or one shortly before a slot's or a tick's number wraps.
    let start = prop_oneof![6 => Just(1u64 << 20), 1 => Just((1 << 30) - 500), 1 => Just((1 << 32) - 500)];
    let drawn = |hurry| vec((gap(hurry), event()), 1..if hurry { 400 } else { 150 });
    let drawn = prop_oneof![2 => drawn(false), 1 => drawn(true)];
    (node(), start, vec(policies(), 1..4), drawn).prop_map(|(node, start, lists, drawn)| {
        let lists: Vec<_> = lists.into_iter().map(|list| fit(&node, list)).collect();
        let step = |(gap, event)| match event {
            DrawnEvent::Packet(packet) => Step { gap, event: Event::Packet(packet) },
            DrawnEvent::Deed(deed, which, status) => {
                Step { gap, event: Event::Operation(operation(&lists, deed, which, status)) }
            }
        };
        let steps = drawn.into_iter().map(step).collect();
        World { node, start, lists, steps }
    })
}

impl World {
    /// The lengths that decide something here.
    pub fn lengths(&self) -> Vec<u64> {
        let node = &self.node;
        let mut lengths = vec![node.inactivity, node.max_age, node.retry];
        lengths.extend(node.alarm.requests.map(|limit| limit.window));
        let policies = self.lists.iter().flatten().flatten();
        for policy in policies {
            if let Rule::AccessLimit(limit) = policy.rule {
                lengths.push(limit.window);
            }
            lengths.extend(policy.action.throttle().map(|limit| limit.window));
        }
        lengths.extend(self.steps.iter().flat_map(Step::lengths));
        lengths
    }
}

impl Step {
    fn lengths(&self) -> Vec<u64> {
        let Event::Operation(operation) = &self.event else { return Vec::new() };
        let Some(status) = operation.status() else { return Vec::new() };
        let lapse = match status.rejected {
            Some(Until::Lapses(length)) => Some(length),
            _ => None,
        };
        status.throttled_for.into_iter().chain(lapse).collect()
    }
}
