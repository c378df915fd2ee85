//! "Limit", "policy", "throttle", "reject": what the cache says about an access, and about a protocol (R-D2 to
//! R-D4).

use weir_dataplane_common::{
    abi::AccessKind,
    inspect::Class,
    reason::Reason::{self, *},
};

use super::{
    bench::{Bench, MINUTE, SECOND, at_most, forbid, limit, node},
    policy::{Action, Node, Operation, Policy, Status, Until, Way},
};

#[test]
fn a_sixth_access_within_the_minute_is_rejected() {
    let mut bench = Bench::with(node(), &[at_most(1, 5, MINUTE, Action::Reject)]);
    let first = bench.now + SECOND;
    assert_eq!(bench.accesses(6), [Admitted, Admitted, Admitted, Admitted, Admitted, LimitExceeded]);
    bench.now = first + MINUTE - 1;
    assert_eq!(bench.up(), LimitExceeded, "until the first of them is a minute ago");
    assert_eq!(bench.after(1).up(), Admitted);
}

#[test]
fn the_largest_limit_is_exact_too() {
    let mut bench = Bench::with(node(), &[at_most(1, 14, MINUTE, Action::Reject)]);
    let first = bench.now + SECOND;
    assert!(bench.accesses(14).iter().all(|reason| *reason == Admitted));
    bench.now = first + MINUTE - 1;
    assert_eq!(bench.up(), LimitExceeded);
    assert_eq!(bench.after(1).up(), Admitted);
    assert_eq!(bench.after(SECOND - 1).up(), InSession);
}

#[test]
fn a_limit_of_zero_admits_nothing() {
    let mut bench = Bench::with(node(), &[at_most(1, 0, MINUTE, Action::Reject)]);
    assert_eq!([bench.up(), bench.trigger(), bench.after(100 * MINUTE).up()], [LimitExceeded; 3]);
    assert_eq!(bench.counts(), [2, 0, 2, 0]);
}

#[test]
fn greater_or_equal_permits_one_access_less() {
    // "No more than 3" permits 3; "fewer than 3", the comparison "greater or equal", is compiled to 2.
    for (permitted, expected) in
        [(3, [Admitted, Admitted, Admitted]), (2, [Admitted, Admitted, LimitExceeded])]
    {
        let mut bench = Bench::with(node(), &[at_most(1, permitted, MINUTE, Action::Reject)]);
        assert_eq!(bench.accesses(3), expected);
    }
}

#[test]
fn limits_count_admitted_accesses_and_not_attempts() {
    let mut bench = Bench::with(node(), &[at_most(1, 1, 10 * SECOND, Action::Reject)]);
    let reasons = bench.accesses(21);
    let admitted: Vec<usize> = (0..21).filter(|n| reasons[*n] == Admitted).collect();
    assert_eq!(admitted, [0, 10, 20], "an offender that goes on trying still gets its limit");
}

#[test]
fn kinds_that_do_not_count_are_neither_limited_nor_charged() {
    let packets_only = Node { kinds: vec![AccessKind::Packet], ..node() };
    let mut bench = Bench::with(packets_only, &[at_most(1, 1, MINUTE, Action::Reject)]);
    for _ in 0..3 {
        assert_eq!(bench.after(SECOND).trigger(), Admitted);
    }
    assert_eq!(bench.accesses(2), [Admitted, LimitExceeded]);
    assert_eq!(bench.after(SECOND).trigger(), Admitted);
    assert_eq!(bench.counts(), [6, 5, 1, 0]);
}

#[test]
fn a_looser_throttle_admits_the_violating_access_and_stops_at_its_own_limit() {
    let policy = at_most(1, 2, MINUTE, Action::Throttle(limit(4, MINUTE)));
    let mut bench = Bench::with(node(), &[policy]);
    assert_eq!(bench.accesses(5), [Admitted, Admitted, Admitted, Admitted, Throttled]);
}

#[test]
fn a_tighter_throttle_binds_from_the_violating_access_on() {
    let policy = at_most(1, 3, 10 * SECOND, Action::Throttle(limit(1, MINUTE)));
    let mut bench = Bench::with(node(), &[policy]);
    assert_eq!(bench.accesses(4), [Admitted, Admitted, Admitted, Throttled]);
    assert_eq!(bench.after(20 * SECOND).up(), Throttled, "the rule alone would have room");
}

#[test]
fn a_throttle_ends_after_a_throttle_window_in_which_the_rule_held() {
    let policy = at_most(1, 2, 10 * SECOND, Action::Throttle(limit(3, 30 * SECOND)));
    let mut bench = Bench::with(node(), &[policy]);
    assert_eq!(bench.accesses(3), [Admitted, Admitted, Admitted]);
    let violated = bench.now;
    bench.now = violated + 28 * SECOND - 1;
    assert_eq!(bench.up(), Throttled, "three in thirty seconds");
    bench.now = violated + 28 * SECOND;
    assert_eq!(bench.up(), Admitted, "the first is thirty seconds ago");
    bench.now = violated + 30 * SECOND;
    // It is over; the third of these breaks the rule again, and the throttle begins anew.
    assert_eq!(bench.accesses(3), [Admitted, Admitted, Throttled]);
}

#[test]
fn without_a_violation_the_throttle_is_over_and_only_the_rule_counts() {
    let policy = at_most(1, 1, 2 * SECOND, Action::Throttle(limit(1, 30 * SECOND)));
    let mut bench = Bench::with(node(), &[policy]);
    assert_eq!(bench.accesses(2), [Admitted, Throttled]);
    let violated = bench.now;
    bench.now = violated + 29 * SECOND;
    assert_eq!(bench.up(), Admitted);
    assert_eq!(bench.after(SECOND - 1).up(), InSession);
    bench.now = violated + 31 * SECOND;
    assert_eq!(bench.up(), Admitted, "one in two seconds, and no throttle any more");
}

#[test]
fn each_violation_begins_the_throttle_anew() {
    let policy = at_most(1, 1, 5 * SECOND, Action::Throttle(limit(1, 10 * SECOND)));
    let mut bench = Bench::with(node(), &[policy]);
    // Admitted at 1 s; attempts at 2 to 5 s break the rule, the last prolongs the throttle to 15 s.
    assert_eq!(bench.accesses(5), [Admitted, Throttled, Throttled, Throttled, Throttled]);
    assert_eq!(bench.after(6 * SECOND).up(), Admitted, "at 11 s");
    assert_eq!(bench.after(SECOND).up(), Throttled);
}

#[test]
fn a_throttled_status_binds_though_the_rule_was_never_broken_here() {
    let policies = vec![at_most(1, 3, MINUTE, Action::Throttle(limit(1, MINUTE)))];
    let mut bench = Bench::with(node(), &policies);
    let status = Status { throttled_for: Some(20 * SECOND), rejected: None };
    bench.operate(&Operation::Push { policies: Some(policies), status });
    assert_eq!(bench.accesses(2), [Admitted, Throttled]);
    assert_eq!(bench.after(18 * SECOND).up(), Admitted, "and it ends when it says");
}

#[test]
fn a_rejecting_status_lapses_with_its_window() {
    let mut bench = Bench::with(node(), &[]);
    bench.up();
    let status = Status { throttled_for: None, rejected: Some(Until::Lapses(MINUTE)) };
    bench.operate(&Operation::Push { policies: Some(vec![]), status });
    assert_eq!(bench.up(), InSession, "no new access; the open session goes on");
    assert_eq!(bench.after(MINUTE - 1).up(), StatusReject);
    assert_eq!(bench.trigger(), StatusReject);
    assert_eq!(bench.after(1).up(), Admitted);
}

#[test]
fn a_rejecting_status_without_an_end_stands_until_further_notice() {
    let mut bench = Bench::with(node(), &[]);
    let status = Status { throttled_for: None, rejected: Some(Until::FurtherNotice) };
    bench.operate(&Operation::Push { policies: Some(vec![]), status });
    assert_eq!(bench.after(1 << 31).up(), StatusReject);
    bench.operate(&Operation::Push { policies: Some(vec![]), status: Status::default() });
    assert_eq!(bench.up(), Admitted);
}

#[test]
fn a_policy_without_action_is_known_and_never_enforced() {
    let policies = [at_most(1, 0, MINUTE, Action::None), forbid(2, Class::Esp, Action::None)];
    let mut bench = Bench::with(node(), &policies);
    assert_eq!(bench.up_with(Class::Esp), Admitted);
    assert_eq!(bench.up_with(Class::Esp), InSession);
    assert_eq!(bench.counts(), [1, 1, 0, 0]);
}

#[test]
fn withholding_resources_is_a_rejection_on_the_packet_path() {
    let mut bench = Bench::with(node(), &[at_most(1, 0, MINUTE, Action::Withhold)]);
    assert_eq!(bench.up(), LimitExceeded);
    let mut bench = Bench::with(node(), &[forbid(1, Class::Ah, Action::Withhold)]);
    assert_eq!(bench.up_with(Class::Ah), ForbiddenProtocol);
}

#[test]
fn a_protocol_violates_also_inside_an_open_session() {
    let mut bench = Bench::with(node(), &[forbid(1, Class::Esp, Action::Reject)]);
    bench.up();
    assert_eq!(bench.up_with(Class::Esp), ForbiddenProtocol);
    assert_eq!(bench.packet(Way::Down, Some(Class::Esp)).reason, ForbiddenProtocol, "in both directions");
    assert_eq!(
        [bench.up(), bench.up_with(Class::Ah)],
        [InSession; 2],
        "nothing else of the session is stopped"
    );
    assert_eq!(bench.counts(), [1, 1, 0, 0]);
}

#[test]
fn a_protocol_whose_policy_releases_ends_the_open_session() {
    let mut bench = Bench::with(node(), &[forbid(1, Class::Esp, Action::Release)]);
    bench.up();
    assert_eq!(bench.up_with(Class::Esp), Released);
    assert!(!bench.session_is_open());
    assert_eq!(bench.up(), Admitted, "the next packet is a new access");
}

#[test]
fn a_forbidden_protocol_has_no_limit_to_throttle_to_so_it_is_stopped() {
    let mut bench = Bench::with(node(), &[forbid(1, Class::Esp, Action::Throttle(limit(5, MINUTE)))]);
    assert_eq!(bench.up_with(Class::Esp), ForbiddenProtocol);
    assert_eq!(bench.up(), Admitted);
}

/// The reason and the policy (by its place, from 1) of an ESP access under these policies.
fn judged(policies: &[Policy]) -> (Reason, u32) {
    let mut bench = Bench::with(node(), policies);
    let reason = bench.up_with(Class::Esp);
    let noted = bench.law.entry.last_rejection.load();
    assert_eq!(noted as u8, reason as u8, "what is reported is why it was refused");
    (reason, noted >> 8)
}

#[test]
fn the_most_severe_verdict_wins() {
    let throttle = at_most(1, 0, MINUTE, Action::Throttle(limit(0, MINUTE)));
    let withhold = at_most(2, 0, MINUTE, Action::Withhold);
    let reject = forbid(3, Class::Esp, Action::Reject);
    let release = forbid(4, Class::Esp, Action::Release);
    let all = [throttle, withhold, reject, release];
    assert_eq!(judged(&all[..1]), (Throttled, 1));
    assert_eq!(judged(&all[..2]), (LimitExceeded, 2));
    assert_eq!(judged(&all[..3]), (ForbiddenProtocol, 3));
    assert_eq!(judged(&all), (Released, 4));
}

#[test]
fn of_equally_severe_verdicts_the_lowest_policy_is_named() {
    let limits = at_most(1, 0, MINUTE, Action::Reject);
    let forbids = forbid(2, Class::Esp, Action::Reject);
    assert_eq!(judged(&[limits.clone(), forbids.clone()]), (LimitExceeded, 1));
    assert_eq!(judged(&[forbids, limits]), (ForbiddenProtocol, 1));
}

#[test]
fn a_policy_that_lets_an_access_through_never_outweighs_one_that_does_not() {
    let known = forbid(1, Class::Esp, Action::None);
    let roomy = at_most(2, 0, MINUTE, Action::Throttle(limit(9, MINUTE)));
    let withhold = at_most(3, 0, MINUTE, Action::Withhold);
    assert_eq!(judged(&[known, roomy, withhold]), (LimitExceeded, 3));
}
