//! Idle for longer than any number that an entry keeps: slots wrap after 2³⁰ ticks, instants after 2³², the numbers
//! of sub-windows after 2²⁴. With the agent's sweeps between, nothing of it is seen.

use weir_dataplane_common::{
    reason::Reason::{self, *},
    subwindow,
};

use super::{
    bench::{Bench, MINUTE, SECOND, alarming_node, at_most, limit, node},
    policy::{Action, Node, Operation, Policy, Status, Until},
};

/// Three days, between two sweeps.
const SWEEP: u64 = 1 << 28;

fn sleep(bench: &mut Bench, ticks: u64) {
    let wakes = bench.now + ticks;
    while bench.now < wakes {
        bench.now = wakes.min(bench.now + SWEEP);
        bench.law.sweep(bench.now);
    }
}

/// Sleeps that end where something wraps, and shortly before and behind.
fn sleeps(window: u64) -> impl Iterator<Item = u64> {
    let sub_window = u64::from(subwindow::length(window as u32));
    let wraps = [1 << 30, 1 << 32, sub_window << 24, 3 * (1 << 32), sub_window << 25];
    wraps.into_iter().flat_map(move |wrap| {
        [wrap - window, wrap - SECOND, wrap - 1, wrap, wrap + 1, wrap + SECOND, wrap + window]
    })
}

fn fare_alike(node: &Node, policies: &[Policy], accesses: usize) {
    let expected: Vec<Reason> = Bench::with(node.clone(), policies).accesses(accesses);
    assert_ne!(expected[0], expected[accesses - 1], "the limit is reached");
    for idle in sleeps(MINUTE) {
        let mut bench = Bench::with(node.clone(), policies);
        for round in 0..3 {
            assert_eq!(bench.accesses(accesses), expected, "round {round} after {idle} ticks");
            sleep(&mut bench, idle);
        }
    }
}

#[test]
fn a_device_that_was_idle_beyond_every_wrap_is_judged_like_a_new_one() {
    let small = at_most(1, 5, MINUTE, Action::Reject);
    let large = at_most(1, 20, MINUTE, Action::Reject);
    let throttle = at_most(1, 3, MINUTE, Action::Throttle(limit(5, MINUTE)));
    let large_throttle = at_most(1, 16, MINUTE, Action::Throttle(limit(18, MINUTE)));
    fare_alike(&node(), std::slice::from_ref(&small), 7);
    fare_alike(&node(), &[small.counting_requests()], 7);
    fare_alike(&node(), &[large], 22);
    fare_alike(&node(), &[throttle], 7);
    fare_alike(&node(), &[large_throttle], 22);
}

#[test]
fn an_alarm_counts_no_request_of_another_epoch() {
    for permitted in [3, 20] {
        for idle in sleeps(MINUTE) {
            let mut bench = Bench::stranger(alarming_node(permitted));
            for round in 0..3 {
                let reasons = bench.accesses(permitted);
                assert!(reasons.iter().all(|reason| *reason == Admitted), "round {round} after {idle} ticks");
                sleep(&mut bench, idle);
            }
        }
    }
}

#[test]
fn a_session_a_retry_interval_and_a_status_of_another_epoch_are_over() {
    for idle in sleeps(MINUTE) {
        let mut bench = Bench::with(node(), &[]);
        bench.up();
        let status = Status { throttled_for: None, rejected: Some(Until::Lapses(MINUTE)) };
        bench.operate(&Operation::Push { policies: Some(vec![]), status });
        assert_eq!(bench.after(SECOND).up(), StatusReject);
        sleep(&mut bench, idle.max(2 * MINUTE));
        assert!(!bench.session_is_open(), "after {idle} ticks");
        assert_eq!(bench.up(), Admitted, "after {idle} ticks");
    }
}
