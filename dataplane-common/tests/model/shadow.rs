//! Shadow (R-X5): a policy in shadow and a node that only watches say what they would do, and do nothing.

use proptest::prelude::*;
use weir_dataplane_common::{
    abi::{ALARM_ACTIVE, STATUS_THROTTLED},
    admit::{Outcome, Shadow},
    atomic::Word32,
    inspect::Class,
    reason::Reason::{self, *},
};

use super::{
    bench::{Bench, MINUTE, SECOND, alarming_node, at_most, forbid, limit, node},
    device::Device,
    draw::{self, Event},
    law::LawSide,
    policy::{Action, Node, Operation, Policy, Rule, Way},
    random::{Clock, past_of},
};

fn would(reason: Reason, policy: u32) -> Shadow {
    Shadow(reason as u32 | policy << 8)
}

#[test]
fn a_limit_in_shadow_says_what_it_would_refuse_and_refuses_nothing() {
    let mut bench = Bench::with(node(), &[at_most(1, 2, MINUTE, Action::Reject).in_shadow()]);
    let said: Vec<_> = (0..4)
        .map(|_| {
            let outcome = bench.after(SECOND).packet(Way::Up, None);
            (outcome.reason, outcome.shadow)
        })
        .collect();
    let refused = (Admitted, would(LimitExceeded, 1));
    assert_eq!(said, [(Admitted, Shadow::NONE), (Admitted, Shadow::NONE), refused, refused]);
    assert_eq!(bench.counts(), [4, 4, 0, 0]);
    assert_eq!(bench.law.entry.last_rejection.load(), 0);
}

#[test]
fn a_protocol_forbidden_in_shadow_passes_at_any_packet_and_is_said() {
    let passing = Node { drop_unsolicited: false, ..node() };
    for (action, reason) in [(Action::Reject, ForbiddenProtocol), (Action::Release, Released)] {
        let mut bench = Bench::with(passing.clone(), &[forbid(1, Class::Esp, action).in_shadow()]);
        for way in [Way::Down, Way::Up, Way::Up, Way::Down] {
            assert_eq!(bench.packet(way, Some(Class::Esp)).shadow, would(reason, 1));
        }
        assert!(bench.session_is_open(), "nor does it end the session");
        assert_eq!(bench.packet(Way::Up, Some(Class::Ah)).shadow, Shadow::NONE);
    }
}

#[test]
fn a_throttle_in_shadow_runs_and_ends_without_a_status() {
    let policy = at_most(1, 1, 2 * SECOND, Action::Throttle(limit(1, 30 * SECOND))).in_shadow();
    let mut bench = Bench::with(node(), &[policy]);
    let shadow = |bench: &mut Bench| bench.packet(Way::Up, None).shadow;
    assert_eq!(shadow(bench.after(SECOND)), Shadow::NONE);
    assert_eq!(shadow(bench.after(SECOND)), would(Throttled, 1), "it breaks the rule");
    assert_eq!(shadow(bench.after(10 * SECOND)), would(Throttled, 1), "the rule alone would have room");
    assert_eq!(shadow(bench.after(40 * SECOND)), Shadow::NONE);
    assert!(!bench.law.control().has(STATUS_THROTTLED));
}

/// The throttle's word is counted and must not bind.
#[test]
fn a_large_throttle_in_shadow_refuses_nothing() {
    let policy = at_most(1, 1, MINUTE, Action::Throttle(limit(15, MINUTE))).in_shadow();
    let mut bench = Bench::with(node(), &[policy]);
    assert!(bench.accesses(20).iter().all(|reason| *reason == Admitted));
}

#[test]
fn what_is_enforced_is_said_as_a_refusal_and_never_as_a_shadow() {
    let policies =
        [at_most(1, 0, MINUTE, Action::Release).in_shadow(), at_most(2, 0, MINUTE, Action::Withhold)];
    let mut bench = Bench::with(node(), &policies);
    let outcome = bench.packet(Way::Up, None);
    assert_eq!((outcome.reason, outcome.shadow), (LimitExceeded, Shadow::NONE));
    assert_eq!(bench.law.entry.last_rejection.load() >> 8, 2);
}

#[test]
fn of_several_policies_in_shadow_the_most_severe_is_said() {
    let policies = [
        at_most(1, 0, MINUTE, Action::Withhold).in_shadow(),
        forbid(2, Class::Esp, Action::Release).in_shadow(),
        at_most(3, 0, MINUTE, Action::Reject).in_shadow(),
    ];
    let mut bench = Bench::with(node(), &policies);
    assert_eq!(bench.packet(Way::Up, Some(Class::Esp)).shadow, would(Released, 2));
    assert_eq!(bench.after(SECOND).packet(Way::Up, None).shadow, would(LimitExceeded, 3));
}

#[test]
fn a_node_that_only_watches_passes_what_it_would_drop_and_says_why() {
    let watching = |node: Node| Node { shadow: true, ..node };
    let mut bench = Bench::with(watching(node()), &[at_most(1, 1, MINUTE, Action::Reject)]);
    assert_eq!(bench.accesses(2), [Admitted, ShadowPassed]);
    let packet = super::policy::Packet { way: Way::Up, class: None, length: 40 };
    assert_eq!(bench.law.judged(bench.now, packet).1, Some(LimitExceeded));
    assert_eq!(bench.counts(), [2, 1, 1, 0], "counted as if it were enforced");

    let mut alarmed = Bench::stranger(watching(alarming_node(0)));
    let outcome = alarmed.packet(Way::Up, None);
    assert_eq!((outcome.reason, outcome.raised.is_some()), (ShadowPassed, true));
    assert!(alarmed.law.control().has(ALARM_ACTIVE));
}

/// The same policies, those in shadow without effect or report.
fn without_shadows(policies: &Option<Vec<Policy>>) -> Option<Vec<Policy>> {
    let without = |policy: &Policy| match policy.rule {
        _ if !policy.shadow => policy.clone(),
        Rule::Rate(_) => Policy { rule: Rule::Forbidden(vec![]), action: Action::None, ..policy.clone() },
        _ => Policy { action: Action::None, shadow: false, ..policy.clone() },
    };
    policies.as_ref().map(|policies| policies.iter().map(without).collect())
}

fn operation_without_shadows(operation: &Operation) -> Operation {
    let mut operation = operation.clone();
    if let Operation::Cancel { policies, .. }
    | Operation::Reject { policies, .. }
    | Operation::Push { policies, .. } = &mut operation
    {
        *policies = without_shadows(policies);
    }
    operation
}

/// What an agent reads in an entry, and the admissions.
fn state(law: &LawSide, now: u64) -> (Vec<u64>, Vec<u32>) {
    let entry = &law.entry;
    let words = [&entry.retry_until, &entry.requests, &entry.admitted, &entry.rejected, &entry.unsolicited];
    let words = words.into_iter().chain([&entry.last_rejection, &entry.last_alarm]).map(Word32::load);
    // When a sweep takes back what control said of a throttle is no effect: it binds nobody while in shadow.
    let control = law.control().without(STATUS_THROTTLED).0;
    let words = words.map(u64::from).chain([control, entry.session.load()]);
    (words.collect(), law.ledger.admissions.ages(super::law::tick(now)).collect())
}

fn run(world: &draw::World) -> Result<(), TestCaseError> {
    let mut clock = Clock::new(world);
    let mut device = Device::new(&world.node, world.lists[0].clone());
    let mut with = LawSide::new(world.node.clone(), world.lists[0].as_ref());
    let mut without = LawSide::new(world.node.clone(), without_shadows(&world.lists[0]).as_ref());
    for step in &world.steps {
        clock.advance(step.gap);
        let now = clock.now;
        with.sweep(now);
        without.sweep(now);
        match &step.event {
            Event::Packet(packet) => {
                device.packet(now, *packet);
                let silent = |(outcome, watched)| (Outcome { shadow: Shadow::NONE, ..outcome }, watched);
                let (one, other) = (with.judged(now, *packet), without.judged(now, *packet));
                prop_assert_eq!(silent(one), silent(other), "at {}: {:?}", now, step);
            }
            Event::Operation(operation) => {
                let past = past_of(&device);
                device.operate(now, operation);
                with.operate(now, operation, &past);
                without.operate(now, &operation_without_shadows(operation), &past);
            }
        }
        prop_assert_eq!(state(&with, now), state(&without, now), "at {}: {:?}", now, step);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn a_device_fares_as_if_its_policies_in_shadow_were_not_there(world in draw::world()) {
        run(&world)?;
    }
}
