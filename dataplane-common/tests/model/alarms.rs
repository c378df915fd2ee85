//! "Alarm", "held", "not M2M": what raises an alarm, what it stops, and how it ends (R-D7 to R-D9, R-D12, R-D13).

use weir_dataplane_common::{
    abi::{AccessKind, LAST_ALARM_CLASS, LAST_ALARM_HELD, condition},
    admit::{Outcome, Raised},
    inspect::{Class, Classes},
    reason::Reason::{self, *},
};

use super::{
    bench::{Bench, MINUTE, SECOND, alarming_node, at_most, cancel, forbid, limit, node, reject},
    policy::{Action, AlarmCondition, Node, Operation, Order, Way, When},
};

const COUNT: Raised = Raised { condition: condition::COUNT, classes: Classes::NONE, access_held: true };
const ESP: Raised =
    Raised { condition: condition::PROTOCOL, classes: Classes::of(Class::Esp), access_held: true };

/// A device of which nothing is cached, with an alarm active and its access held.
fn held() -> Bench {
    let mut bench = Bench::stranger(alarming_node(3));
    assert_eq!(bench.accesses(4), [Admitted, Admitted, Admitted, Held]);
    bench
}

#[test]
fn one_request_too_many_raises_the_alarm_once_and_is_held() {
    let mut bench = Bench::stranger(alarming_node(3));
    bench.accesses(3);
    let fourth = bench.after(SECOND).packet(Way::Up, None);
    assert_eq!((fourth.reason, fourth.access, fourth.raised), (Held, Some(AccessKind::Packet), Some(COUNT)));
    for _ in 0..5 {
        let next = bench.after(SECOND).packet(Way::Up, None);
        assert_eq!((next.reason, next.raised), (AlarmActive, None));
    }
    assert_eq!(bench.counts(), [9, 3, 5, 0]);
}

#[test]
fn an_alarm_of_zero_is_raised_by_the_first_request() {
    assert_eq!(Bench::stranger(alarming_node(0)).up(), Held);
}

#[test]
fn an_alarm_counts_its_own_window_only() {
    let mut bench = Bench::stranger(alarming_node(3));
    bench.accesses(3);
    let newest = bench.now;
    bench.now = newest + MINUTE - 2 * SECOND;
    assert_eq!(bench.up(), Admitted, "the first is a minute ago");
}

#[test]
fn alarm_conditions_count_requests_and_not_admissions() {
    let alarm = AlarmCondition { when: When::NotRejected, ..alarming_node(3).alarm };
    let mut bench = Bench::with(Node { alarm, ..node() }, &[at_most(1, 1, 10 * SECOND, Action::Reject)]);
    bench.accesses(4);
    assert_eq!(bench.counts(), [4, 1, 3, 0]);
    assert_eq!(bench.after(7 * SECOND).up(), Held, "the second admission, but the fifth request");
}

#[test]
fn an_active_alarm_stops_accesses_triggers_and_the_alarmed_protocol() {
    let mut bench = held();
    assert_eq!([bench.up(), bench.trigger(), bench.up_with(Class::Ah)], [AlarmActive; 3]);

    let mut in_session = Bench::stranger(alarming_node(3));
    in_session.up();
    assert_eq!(in_session.up_with(Class::Esp), Held);
    assert_eq!(in_session.up_with(Class::Esp), AlarmActive);
    assert_eq!(in_session.packet(Way::Down, Some(Class::Esp)).reason, AlarmActive);
    let others = [in_session.up(), in_session.up_with(Class::Ah), in_session.down()];
    assert_eq!(others, [InSession; 3], "other packets of the open session pass");
}

#[test]
fn a_protocol_raises_its_alarm_at_any_packet() {
    let mut idle = Bench::stranger(alarming_node(3));
    let access = idle.packet(Way::FromServer, Some(Class::Esp));
    assert_eq!((access.reason, access.access, access.raised), (Held, Some(AccessKind::Trigger), Some(ESP)));

    let mut in_session = Bench::stranger(alarming_node(3));
    in_session.up();
    let packet = in_session.packet(Way::Down, Some(Class::Esp));
    let no_access_held = Raised { access_held: false, ..ESP };
    assert_eq!((packet.reason, packet.access, packet.raised), (Held, None, Some(no_access_held)));
    assert!(in_session.session_is_open());
    in_session.operate(&cancel(vec![]));
    assert_eq!(in_session.after(SECOND).up(), Admitted, "there was no access to redeem");
}

#[test]
fn a_device_that_is_not_a_machine_never_alarms() {
    let mut bench = held();
    bench.operate(&Operation::NotAMachine);
    assert_eq!(bench.up(), Redeemed);
    assert_eq!(bench.up_with(Class::Esp), InSession);
    assert!(bench.accesses(20).iter().all(|reason| *reason == Admitted));
    assert_eq!(bench.after(SECOND).up_with(Class::Esp), Admitted);
}

#[test]
fn a_cancelled_access_is_redeemed_once_as_an_admission_and_no_new_request() {
    let mut bench = held();
    bench.operate(&cancel(vec![]));
    let injected = bench.packet(Way::Up, None);
    let redeemed = Outcome { access: Some(AccessKind::Packet), ..Outcome::of(Redeemed) };
    assert_eq!(injected, redeemed);
    assert!(bench.session_is_open());
    assert_eq!(bench.counts(), [4, 4, 0, 0]);
    assert_eq!(bench.after(SECOND).up(), Admitted);
    assert_eq!(bench.counts(), [5, 5, 0, 0]);
}

#[test]
fn a_redeemed_access_is_part_of_the_history_that_limits_count() {
    let mut bench = held();
    bench.operate(&cancel(vec![at_most(1, 4, MINUTE, Action::Reject)]));
    assert_eq!([bench.up(), bench.after(SECOND).up()], [Redeemed, LimitExceeded]);
}

#[test]
fn if_the_copy_is_gone_the_devices_next_packet_redeems() {
    let mut bench = held();
    bench.operate(&cancel(vec![]));
    assert_eq!(bench.after(MINUTE).trigger(), Redeemed);
    assert_eq!(bench.counts(), [4, 4, 0, 0]);
}

#[test]
fn a_redeemed_access_is_not_asked_for_its_limit_but_for_its_protocol() {
    let policies = vec![at_most(1, 0, MINUTE, Action::Reject), forbid(2, Class::Esp, Action::Reject)];
    let mut bench = held();
    bench.operate(&cancel(policies));
    assert_eq!(bench.up_with(Class::Esp), ForbiddenProtocol);
    assert_eq!(bench.up(), Redeemed, "control judged the count of the access that was held");
    assert_eq!(bench.after(SECOND).up(), LimitExceeded);
}

#[test]
fn a_rejected_access_is_discarded_and_its_alarm_stays() {
    let mut bench = held();
    bench.operate(&reject(vec![]));
    assert_eq!([bench.after(SECOND).up(), bench.after(MINUTE).trigger()], [AlarmActive; 2]);
    // When its window has room again, service control cancels: nothing is left to redeem.
    bench.operate(&cancel(vec![]));
    assert_eq!(bench.after(SECOND).up(), Admitted);
}

#[test]
fn a_cancel_ends_the_alarm_and_stores_the_policies_at_once() {
    let mut bench = held();
    bench.operate(&cancel(vec![]));
    bench.up();
    // More than three requests in the minute, but a policy is cached: an empty list is a policy too.
    assert_eq!(bench.accesses(3), [Admitted, Admitted, Admitted]);
}

#[test]
fn an_alarm_that_the_agent_has_seen_is_as_active_as_before() {
    let mut bench = held();
    bench.operate(&Operation::Seen);
    assert_eq!(bench.after(SECOND).up(), AlarmActive);
}

/// The second access of a device whose first used up its limit, on a node that alarms on it too.
fn both_hold(when: When, order: Order) -> (Reason, Option<Raised>) {
    let alarm = AlarmCondition { when, order, requests: Some(limit(1, MINUTE)), classes: vec![] };
    let mut bench = Bench::with(Node { alarm, ..node() }, &[at_most(1, 1, MINUTE, Action::Reject)]);
    bench.up();
    let second = bench.after(SECOND).packet(Way::Up, None);
    (second.reason, second.raised)
}

#[test]
fn an_alarm_is_evaluated_before_with_or_after_the_cache_check() {
    assert_eq!(both_hold(When::Always, Order::Before), (Held, Some(COUNT)));
    let beside = Raised { access_held: false, ..COUNT };
    assert_eq!(both_hold(When::Always, Order::With), (LimitExceeded, Some(beside)));
    assert_eq!(both_hold(When::Always, Order::After), (LimitExceeded, None));
}

#[test]
fn an_alarm_is_evaluated_for_all_or_where_no_policy_is_cached_or_where_the_cache_did_not_reject() {
    for order in [Order::Before, Order::With, Order::After] {
        assert_eq!(both_hold(When::NoPolicyCached, order), (LimitExceeded, None));
        assert_eq!(both_hold(When::NotRejected, order), (LimitExceeded, None));
    }
    for when in [When::Always, When::NotRejected] {
        let alarm = AlarmCondition { when, ..alarming_node(1).alarm };
        let mut bench = Bench::with(Node { alarm, ..node() }, &[]);
        assert_eq!(bench.accesses(2), [Admitted, Held], "{when:?}: a cached policy that permits it");
    }
}

#[test]
fn an_access_that_breaks_its_rule_and_raises_the_alarm_begins_the_throttle_too() {
    let alarm = AlarmCondition { when: When::Always, ..alarming_node(1).alarm };
    let policy = at_most(1, 1, 2 * SECOND, Action::Throttle(limit(2, 30 * SECOND)));
    let mut bench = Bench::with(Node { alarm, ..node() }, &[policy]);
    assert_eq!(bench.accesses(2), [Admitted, Held]);
    assert_eq!(bench.operate(&Operation::NotAMachine).up(), Redeemed);
    assert_eq!(bench.after(10 * SECOND).up(), Throttled, "the rule alone would have room");
}

#[test]
fn what_a_sweep_needs_to_report_an_alarm_stands_in_the_entry() {
    let entry = &held().law.entry;
    let held_packet = u32::from(condition::COUNT) | LAST_ALARM_HELD;
    assert_eq!(entry.last_alarm.load(), held_packet);

    let mut node = alarming_node(3);
    node.alarm.classes.push(Class::Ah);
    let mut bench = Bench::stranger(node);
    bench.packet(Way::FromServer, Some(Class::Ah));
    let entry = &bench.law.entry;
    let class = (Class::Ah as u32) << LAST_ALARM_CLASS;
    let held_trigger = u32::from(condition::PROTOCOL) | (AccessKind::Trigger as u32) << 8 | LAST_ALARM_HELD;
    assert_eq!(entry.last_alarm.load(), held_trigger | class);
}
