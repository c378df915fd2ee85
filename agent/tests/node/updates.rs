//! Entries written by control: what fits is applied whole, what does not changes nothing and says why.

use weir_dataplane_common::{
    abi::{ALARM_ACTIVE, HELD, STATUS_REJECT, STATUS_THROTTLED},
    reason::Reason::{Admitted, InSession, LimitExceeded, StatusReject, Throttled},
};
use weir_proto::v1::{self, action::Action};

use crate::{
    control::{Amended, NOTHING, REJECT, entry, forbids, limit, no_entry, throttling},
    world::{DEVICES, MINUTE, SECOND, World},
};

#[test]
fn what_a_node_cannot_hold_is_refused_with_the_reason_and_changes_nothing() {
    let too_long = v1::AccessLimit { permitted: 1, window_ms: 25 * 60 * MINUTE };
    let no_action = v1::Policy { action: None, ..limit(1, 1, REJECT) };
    let no_rule = v1::Policy { rule: None, ..limit(1, 1, REJECT) };
    let odd_kind = v1::Policy { kinds: vec!["telegram".to_owned()], ..limit(1, 1, REJECT) };
    let cases = [
        (vec![forbids(2, &["esp", "wireguard"], REJECT)], "\"wireguard\", a class this node does not know"),
        (vec![limit(7, 1024, REJECT)], "policy 7: 1024 accesses"),
        (vec![throttling(7, 3, 1024)], "policy 7: 1024 accesses"),
        (vec![throttling(1, 3, 5), throttling(2, 4, 6)], "policies 1 and 2 both throttle"),
        ((1..=5).map(|id| limit(id, 1, REJECT)).collect(), "5 policies"),
        (vec![limit(3, 1, Action::Throttle(too_long))], "policy 3: a window"),
        (vec![no_action], "policy 1 has no action"),
        (vec![no_rule], "policy 1 has no rule"),
        (vec![odd_kind], "unknown kind \"telegram\""),
    ];
    let mut world = World::new();
    world.apply(entry(0, 1, vec![limit(1, 9, REJECT)]));
    for (policies, reason) in cases {
        let before = (world.control(0), world.profile(0), world.core.device_figures());
        let refused = world.update(entry(0, 2, policies).rejected_until(-1));
        assert!(refused.contains(reason), "{refused:?} does not say {reason:?}");
        assert!(!refused.contains(DEVICES[0]), "no identifier in {refused:?}");
        assert_eq!((world.control(0), world.profile(0), world.core.device_figures()), before);
    }
    assert_eq!((world.core.figures().updates_applied, world.core.figures().updates_refused), (1, 9));
    world.apply(entry(0, 2, vec![limit(2, 9, REJECT)]));
    assert_eq!(world.profile(0).rules[0].policy, 2, "a refused revision may come again, corrected");
}

#[test]
fn an_answer_that_is_refused_leaves_the_alarm_unanswered() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    assert_ne!(world.update(entry(0, 1, vec![limit(1, 1024, REJECT)]).cancels().answering(1)), "");
    assert!(world.control(0).has(ALARM_ACTIVE) && world.control(0).has(HELD));
    assert_eq!((world.greeted_alarms(), world.injected().len()), (vec![1], 0));
}

#[test]
fn a_profile_that_the_kernel_refuses_is_a_refused_update() {
    let mut world = World::new();
    world.core.kernel().refuses_profiles = Some("no memory".to_owned());
    assert_eq!(world.update(entry(0, 1, vec![])), "no memory");
    assert_eq!((world.control(0).profile(), world.core.device_figures()), (0, (3, 0)));
    world.core.kernel().refuses_profiles = None;
    world.apply(entry(0, 1, vec![]));
    assert_eq!(world.core.device_figures(), (3, 1));
}

#[test]
fn an_older_revision_is_acknowledged_and_ignored() {
    let mut world = World::new();
    world.apply(entry(0, 5, vec![limit(5, 2, REJECT)]));
    world.apply(entry(0, 4, vec![limit(4, 2, REJECT)]));
    world.apply(no_entry(0, 3));
    assert_eq!(world.profile(0).rules[0].policy, 5);
}

#[test]
fn the_same_revision_may_come_again_and_changes_nothing_more() {
    let mut world = World::new();
    let until = world.unix_ms() + MINUTE as i64;
    let update = entry(0, 5, vec![throttling(1, 2, 4)]).throttled_until(until);
    world.apply(update.clone());
    let (before, deadline) = (world.control(0), world.ledger(0).throttled_until.load());
    world.accesses(0, 1);
    world.apply(update);
    assert_eq!((world.control(0), world.ledger(0).throttled_until.load()), (before, deadline));
    assert_eq!(world.core.device_figures(), (3, 1));
}

#[test]
fn a_cancellation_without_a_name_that_comes_twice_does_not_cancel_the_next_alarm() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    world.apply(no_entry(0, 1).cancels());
    world.wait(MINUTE);
    world.raise_count_alarm(0);
    world.apply(no_entry(0, 1).cancels());
    assert!(world.control(0).has(ALARM_ACTIVE));
    assert_eq!(world.greeted_alarms(), [2]);
}

#[test]
fn an_update_for_a_device_that_is_not_bound_here_is_acknowledged() {
    let mut world = World::new();
    let elsewhere = v1::CacheUpdate { device: "001019999999999".to_owned(), ..entry(0, 1, vec![]) };
    world.apply(elsewhere);
    assert_eq!(world.core.device_figures(), (3, 0));
}

#[test]
fn a_released_session_ends_now_and_the_next_packet_is_a_new_access() {
    let mut world = World::new();
    assert_eq!((world.uplink(0), world.uplink(0)), (Admitted, InSession));
    world.apply(entry(0, 1, vec![limit(1, 1, REJECT)]).releasing());
    assert_eq!(world.entry(0).session.load(), 0);
    assert_eq!(world.uplink(0), LimitExceeded);
    world.wait(MINUTE + 10);
    assert_eq!(world.uplink(0), Admitted);
}

#[test]
fn a_rejecting_status_lapses_at_its_instant_and_not_before() {
    let mut world = World::new();
    let until = world.unix_ms() + 30 * SECOND as i64;
    world.apply(entry(0, 1, vec![]).rejected_until(until));
    world.wait(30 * SECOND - 1);
    assert_eq!(world.uplink(0), StatusReject);
    world.wait(4);
    assert_eq!(world.uplink(0), Admitted);
}

#[test]
fn a_status_never_lapses_early_wherever_in_a_tick_it_was_told() {
    for offset in 0..40 {
        let mut world = World::new();
        world.wait(offset);
        let until = world.unix_ms() + 7;
        world.apply(entry(0, 1, vec![]).rejected_until(until));
        world.wait(6);
        assert_eq!(world.uplink(0), StatusReject, "told at {offset} ms");
    }
}

#[test]
fn a_status_until_further_notice_stands_until_it_is_taken_back() {
    let mut world = World::new();
    world.apply(entry(0, 1, vec![]).rejected_until(-1));
    world.wait(40 * 60 * MINUTE);
    assert_eq!(world.accesses(0, 1), [StatusReject]);
    world.apply(entry(0, 2, vec![]));
    assert!(!world.control(0).has(STATUS_REJECT));
    assert_eq!(world.accesses(0, 1), [Admitted]);
}

#[test]
fn a_status_that_is_past_when_it_comes_is_none() {
    let mut world = World::new();
    let past = world.unix_ms() - 1;
    world.apply(entry(0, 1, vec![throttling(1, 1, 1)]).rejected_until(past).throttled_until(past));
    assert!(!world.control(0).has(STATUS_REJECT | STATUS_THROTTLED));
    for absurd in [i64::MIN, i64::MIN + 1, i64::MAX] {
        world.apply(entry(0, 2, vec![throttling(1, 1, 1)]).throttled_until(absurd));
    }
}

#[test]
fn a_lapsed_status_does_not_come_back_when_the_nodes_clock_wraps() {
    let mut world = World::new();
    let until = world.unix_ms() + 10 * SECOND as i64;
    world.apply(entry(0, 1, vec![]).rejected_until(until));
    // The clock wraps after 52 days and a bit; the agent looks in every six hours.
    for _ in 0..4 * 53 {
        world.wait(6 * 60 * MINUTE);
        let now = world.now();
        world.core.keep_histories_old(now);
        assert_eq!(world.uplink(0), Admitted);
    }
}

#[test]
fn a_throttle_is_told_anew_though_the_last_one_ended_a_month_ago() {
    let mut world = World::new();
    let update = |world: &World, revision| {
        let until = world.unix_ms() + MINUTE as i64;
        entry(0, revision, vec![throttling(1, 9, 1)]).throttled_until(until)
    };
    let first = update(&world, 1);
    world.apply(first);
    world.wait(30 * 24 * 60 * MINUTE);
    let second = update(&world, 2);
    world.apply(second);
    assert_eq!(world.accesses(0, 2), [Admitted, Throttled]);
}

#[test]
fn a_throttle_of_the_nodes_own_is_not_shortened_by_one_that_control_told() {
    let mut world = World::new();
    world.apply(entry(0, 1, vec![throttling(1, 2, 2)]));
    assert_eq!(world.accesses(0, 3), [Admitted, Admitted, Throttled]);
    let own = world.ledger(0).throttled_until.load();
    let sooner = world.unix_ms() + 10 * SECOND as i64;
    world.apply(entry(0, 2, vec![throttling(1, 2, 2)]).throttled_until(sooner));
    assert_eq!(world.ledger(0).throttled_until.load(), own);
    world.apply(entry(0, 3, vec![throttling(1, 2, 3)]).throttled_until(sooner));
    assert_ne!(world.ledger(0).throttled_until.load(), own, "under other policies it is");
}

#[test]
fn policies_that_are_taken_away_leave_no_status_behind() {
    let mut world = World::new();
    world.apply(entry(0, 1, vec![throttling(1, 1, 1), limit(2, 2, NOTHING)]).rejected_until(-1));
    world.apply(no_entry(0, 2));
    assert!(!world.control(0).has(STATUS_REJECT | STATUS_THROTTLED));
    assert_eq!((world.control(0).profile(), world.core.device_figures()), (0, (3, 0)));
}
