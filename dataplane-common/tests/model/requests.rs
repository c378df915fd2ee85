//! "Request / admitted": every attempt is a request, a dropped packet's repeats are the same one.

use weir_dataplane_common::reason::Reason::*;

use super::{
    bench::{Bench, MINUTE, SECOND, alarming_node, at_most, cancel, limit, node, reject},
    policy::{Action, Node, Operation, Status, Until, Way},
};

const RETRY: u64 = SECOND / 2;

#[test]
fn every_attempt_is_a_request_and_those_let_through_are_admitted() {
    let mut bench = Bench::with(node(), &[at_most(1, 2, MINUTE, Action::Reject)]);
    bench.accesses(5);
    assert_eq!(bench.counts(), [5, 2, 3, 0]);
}

#[test]
fn repeats_within_the_retry_interval_are_the_same_request() {
    let mut bench = Bench::with(node(), &[at_most(1, 0, MINUTE, Action::Reject)]);
    assert!(bench.packet(Way::Up, None).counted);
    for _ in 0..RETRY - 1 {
        let repeat = bench.after(1).packet(Way::Up, None);
        assert_eq!((repeat.reason, repeat.counted), (LimitExceeded, false));
    }
    assert_eq!(bench.counts(), [1, 0, 1, 0]);
}

#[test]
fn the_retry_interval_runs_from_the_first_drop_and_is_not_extended_by_repeats() {
    let mut bench = Bench::with(node(), &[at_most(1, 0, MINUTE, Action::Reject)]);
    bench.up();
    assert!(!bench.after(RETRY - 1).packet(Way::Up, None).counted);
    assert!(bench.after(1).packet(Way::Up, None).counted);
    assert_eq!(bench.counts(), [2, 0, 2, 0]);
}

#[test]
fn a_repeat_that_is_let_through_is_admitted_and_no_new_request() {
    let mut bench = Bench::with(node(), &[at_most(1, 1, MINUTE, Action::Reject)]);
    bench.up();
    assert_eq!(bench.after(MINUTE - 1).up(), LimitExceeded);
    let repeat = bench.after(1).packet(Way::Up, None);
    assert_eq!((repeat.reason, repeat.counted), (Admitted, false));
    assert_eq!(bench.counts(), [2, 2, 1, 0]);
}

#[test]
fn an_admission_clears_the_retry_interval() {
    let patient = Node { retry: MINUTE, ..node() };
    let mut bench = Bench::with(patient, &[at_most(1, 1, 10 * SECOND, Action::Reject)]);
    bench.up();
    assert_eq!(bench.after(9 * SECOND).up(), LimitExceeded);
    assert_eq!(bench.after(SECOND).up(), Admitted);
    let next = bench.after(SECOND).packet(Way::Up, None);
    assert_eq!((next.reason, next.counted), (LimitExceeded, true));
}

#[test]
fn a_held_access_is_a_request_that_was_neither_admitted_nor_rejected() {
    let mut bench = Bench::stranger(alarming_node(0));
    assert_eq!(bench.up(), Held);
    assert_eq!(bench.counts(), [1, 0, 0, 0]);
}

#[test]
fn repeats_of_a_held_access_are_the_same_request() {
    let mut bench = Bench::stranger(alarming_node(0));
    bench.up();
    let repeat = bench.after(1).packet(Way::Up, None);
    assert_eq!((repeat.reason, repeat.counted), (AlarmActive, false));
    assert_eq!(bench.counts(), [1, 0, 0, 0]);
}

#[test]
fn a_repeat_let_through_against_the_limit_begins_the_throttle_as_a_new_request_would() {
    let throttle = Action::Throttle(limit(2, MINUTE));
    let policies = || vec![at_most(1, 1, 2 * SECOND, throttle)];
    let mut bench = Bench::stranger(Node { retry: 10 * SECOND, ..alarming_node(1) });
    assert_eq!(bench.up(), Admitted);
    assert_eq!(bench.after(SECOND).up(), Held);
    // Rejected, then cancelled: nothing is left to redeem, and the device's repeat is judged by its new policy.
    bench.operate(&reject(policies())).operate(&cancel(policies()));
    assert_eq!(bench.up(), Admitted, "more than one in two seconds, but no more than two in a minute");
    assert_eq!(bench.after(10 * SECOND).up(), Throttled, "the limit alone would have room");
}

#[test]
fn a_repeat_that_is_dropped_again_does_not_prolong_a_throttle() {
    let rejecting = Status { throttled_for: None, rejected: Some(Until::Lapses(SECOND)) };
    let policies = vec![at_most(1, 1, 3 * SECOND, Action::Throttle(limit(1, 4 * SECOND)))];
    let mut bench = Bench::with(node(), &policies);
    bench.up();
    bench.after(SECOND).operate(&Operation::Push { policies: Some(policies), status: rejecting });
    assert_eq!(bench.up(), StatusReject);
    assert_eq!(bench.after(RETRY - 1).up(), StatusReject);
    // Four seconds after the violation, not after its repeat.
    assert_eq!(bench.after(4 * SECOND - RETRY + 1).up(), Admitted);
}

#[test]
fn a_policy_may_count_requests_so_that_an_offender_who_goes_on_trying_stays_out() {
    let policy = at_most(1, 3, 10 * SECOND, Action::Reject).counting_requests();
    let mut bench = Bench::with(node(), &[policy]);
    let reasons = bench.accesses(30);
    assert_eq!(reasons[..4], [Admitted, Admitted, Admitted, LimitExceeded]);
    assert!(reasons[4..].iter().all(|reason| *reason == LimitExceeded), "each try is one more request");
    assert_eq!(bench.after(10 * SECOND).up(), Admitted);
}

#[test]
fn a_policy_that_counts_requests_does_not_count_a_repeat_twice() {
    let policies = [
        at_most(1, 1, 10 * SECOND, Action::Reject).counting_requests(),
        at_most(2, 1, 5 * SECOND, Action::Reject),
    ];
    let patient = Node { retry: MINUTE, ..node() };
    let mut bench = Bench::with(patient, &policies);
    bench.up();
    assert_eq!(bench.after(4 * SECOND).up(), LimitExceeded, "the second request");
    assert_eq!(bench.after(6 * SECOND).up(), Admitted, "the same request: the first alone is too long ago");
    assert_eq!(bench.counts(), [2, 2, 1, 0]);
}

#[test]
fn a_throttle_of_a_policy_that_counts_requests_has_admissions_for_its_limit() {
    let policy = at_most(1, 1, 2 * SECOND, Action::Throttle(limit(2, 10 * SECOND))).counting_requests();
    let mut bench = Bench::with(node(), &[policy]);
    let admitted = bench.accesses(40).iter().filter(|reason| **reason == Admitted).count();
    assert_eq!(admitted, 8, "two in ten seconds");
}

#[test]
fn a_chatty_rejected_device_is_charged_one_request_a_retry_interval() {
    let mut bench = Bench::with(node(), &[at_most(1, 0, MINUTE, Action::Reject)]);
    for _ in 0..1000 {
        bench.up();
        if bench.now.is_multiple_of(4) {
            assert_eq!(bench.trigger(), LimitExceeded, "a trigger to it is the same request");
        }
    }
    assert_eq!(bench.counts(), [1, 0, 1, 0]);
    for _ in 0..1000 {
        bench.after(1).up();
    }
    assert_eq!(bench.counts(), [3, 0, 3, 0], "and one for each interval that it goes on");
}
