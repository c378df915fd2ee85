//! The two worked examples at the level of the law, step by step, and the first with every number drawn at random.

use proptest::prelude::*;
use weir_dataplane_common::{
    abi::{ALARM_ACTIVE, AccessKind, HELD, REDEEM, STATUS_THROTTLED, condition},
    inspect::Class,
    reason::Reason::{self, *},
};

use super::{
    bench::{Bench, MINUTE, SECOND, alarming_node, at_most, cancel, cancel_throttled, forbid, limit, reject},
    policy::{Action, Policy, Way},
};

const POLICIES: fn() -> Vec<Policy> =
    || vec![at_most(1, 3, MINUTE, Action::Throttle(limit(5, MINUTE))), forbid(2, Class::Esp, Action::Reject)];

/// Whether the control word says alarm, held, redeem, throttled.
fn control(bench: &Bench) -> [bool; 4] {
    [ALARM_ACTIVE, HELD, REDEEM, STATUS_THROTTLED].map(|bit| bench.law.control().has(bit))
}

#[test]
fn the_state_trace_of_the_worked_example() {
    let mut bench = Bench::stranger(alarming_node(3));
    // Packets 1, 2, 3.
    for n in 1..=3 {
        assert_eq!(bench.after(2 * SECOND).up(), Admitted);
        assert_eq!((bench.counts(), control(&bench)), ([n, n, 0, 0], [false; 4]));
    }
    // Packet 4.
    let fourth = bench.after(2 * SECOND).packet(Way::Up, None);
    assert_eq!(
        fourth.raised.map(|raised| (raised.condition, raised.access_held)),
        Some((condition::COUNT, true))
    );
    assert_eq!(fourth.reason, Held);
    assert_eq!((bench.counts(), control(&bench)), ([4, 3, 0, 0], [true, true, false, false]));
    // Cancel: 3 admitted + 1 held = 4 ≤ 5.
    bench.operate(&cancel_throttled(POLICIES(), MINUTE));
    assert_eq!((bench.counts(), control(&bench)), ([4, 3, 0, 0], [false, false, true, true]));
    // The frame injected.
    assert_eq!(bench.up(), Redeemed);
    assert!(bench.session_is_open());
    assert_eq!((bench.counts(), control(&bench)), ([4, 4, 0, 0], [false, false, false, true]));
    // Packet 5, nobody asked.
    let fifth = bench.after(2 * SECOND).packet(Way::Up, None);
    assert_eq!((fifth.reason, fifth.raised), (Admitted, None));
    assert_eq!((bench.counts(), control(&bench)), ([5, 5, 0, 0], [false, false, false, true]));
    // Packet 6.
    let sixth = bench.after(2 * SECOND).packet(Way::Up, None);
    assert_eq!((sixth.reason, sixth.raised), (Throttled, None));
    assert_eq!((bench.counts(), control(&bench)), ([6, 5, 1, 0], [false, false, false, true]));
    assert_eq!(bench.law.entry.last_rejection.load() >> 8, 1, "reported with policy 1");
}

#[test]
fn the_worked_example_with_a_trigger_that_carries_esp() {
    let policies = vec![at_most(1, 3, MINUTE, Action::None), forbid(2, Class::Esp, Action::None)];
    let mut bench = Bench::stranger(alarming_node(3));
    let trigger = bench.packet(Way::FromServer, Some(Class::Esp));
    assert_eq!((trigger.reason, trigger.access), (Held, Some(AccessKind::Trigger)));
    assert_eq!(trigger.raised.map(|raised| raised.condition), Some(condition::PROTOCOL));
    bench.operate(&cancel(policies));
    assert_eq!(bench.packet(Way::FromServer, Some(Class::Esp)).reason, Redeemed, "delivered");
    let next = bench.after(2 * SECOND).packet(Way::FromServer, Some(Class::Esp));
    assert_eq!((next.reason, next.raised), (Admitted, None), "the next without asking");
    assert_eq!(bench.counts(), [2, 2, 0, 0]);
}

#[test]
fn the_variant_in_which_the_second_policy_rejects() {
    let mut bench = Bench::stranger(alarming_node(3));
    assert_eq!(bench.packet(Way::FromServer, Some(Class::Esp)).reason, Held);
    // A rejected trigger is answered and need not stay active: the cancel may follow at once.
    bench.operate(&reject(POLICIES())).operate(&cancel(POLICIES()));
    assert_eq!(bench.after(2 * SECOND).packet(Way::FromServer, Some(Class::Esp)).reason, ForbiddenProtocol);
    assert_eq!(bench.law.entry.last_rejection.load() >> 8, 2, "with the policy it violates");
    assert_eq!(bench.trigger(), Admitted);
}

/// What becomes of accesses a second apart: an alarm above `alarm`, then, where control cancels, at most
/// `throttle` in `window` seconds while the rule is broken again and again.
fn expected(alarm: usize, rule: usize, throttle: usize, window: u64, accesses: u64) -> Vec<Reason> {
    let (mut admitted, mut throttled_until, mut reasons): (Vec<u64>, u64, _) = (Vec::new(), 0, Vec::new());
    for second in 1..=accesses {
        let count = |length: u64| admitted.iter().filter(|at| second - **at < length).count() + 1;
        let broken = count(60) > rule;
        if second == alarm as u64 + 1 {
            // Held, then redeemed in the same instant.
            reasons.extend([Held, Redeemed]);
            admitted.push(second);
            throttled_until = second + window;
            continue;
        }
        let cached = second > alarm as u64;
        if cached && (broken || second < throttled_until) && count(window) > throttle {
            reasons.push(Throttled);
        } else {
            reasons.push(Admitted);
            admitted.push(second);
        }
        if cached && broken {
            throttled_until = second + window;
        }
    }
    reasons
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn the_worked_example_with_limits_throttles_and_windows_drawn_at_random(
        alarm in 0usize..6, rule in 0usize..6, more in 1usize..6, window in 2u64..100,
    ) {
        let throttle = alarm + more;
        let policies = vec![at_most(1, rule, MINUTE, Action::Throttle(limit(throttle, window * SECOND)))];
        let mut bench = Bench::stranger(alarming_node(alarm));
        let mut reasons = Vec::new();
        for _ in 0..120 {
            let reason = bench.after(SECOND).up();
            reasons.push(reason);
            if reason == Held {
                bench.operate(&cancel_throttled(policies.clone(), window * SECOND));
                reasons.push(bench.up());
            }
        }
        prop_assert_eq!(reasons, expected(alarm, rule, throttle, window, 120));
    }
}
