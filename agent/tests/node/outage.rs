//! Alarms that nobody answers: `on_outage` decides, once, and a late answer still counts, once.

use weir_agent::config::OnOutage;
use weir_dataplane_common::{
    abi::{ALARM_ACTIVE, HELD, REDEEM, STATUS_THROTTLED, alarm_when},
    reason::Reason::{Admitted, AlarmActive, LimitExceeded, Redeemed},
};

use crate::{
    control::{Amended, REJECT, entry, example_policies, limit, throttling},
    world::{MINUTE, SECOND, World, sequence},
};

fn allowing() -> World {
    World::with(|config| config.on_outage = OnOutage::Allow)
}

/// A node whose devices alarm even where policies are cached.
fn allowing_and_always_alarming() -> World {
    World::with(|config| {
        config.on_outage = OnOutage::Allow;
        config.alarm.as_mut().expect("an alarm").when = alarm_when::ALWAYS;
    })
}

#[test]
fn deny_leaves_the_alarm_active() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    assert!(world.seconds(30).is_empty());
    assert!(world.control(0).has(ALARM_ACTIVE) && world.control(0).has(HELD));
    assert_eq!(world.accesses(0, 1), [AlarmActive]);
    assert_eq!((world.core.figures().outages_decided, world.core.outstanding_alarms()), (1, 1));
    world.apply(world.example_answer(0, 1));
    assert_eq!(world.accesses(0, 1), [Redeemed], "a late answer counts");
}

#[test]
fn allow_waits_for_the_whole_time_and_accepts_the_held_access() {
    let mut world = allowing();
    world.raise_count_alarm(0);
    world.seconds(10);
    assert!(world.control(0).has(ALARM_ACTIVE), "ten seconds are not more than ten seconds");
    world.seconds(1);
    assert!(!world.control(0).has(ALARM_ACTIVE | HELD));
    assert_eq!(world.uplink(0), Redeemed);
    assert_eq!(world.requests_and_admissions(0), (4, 4));
    assert_eq!(world.accesses(0, 9), [Admitted; 9], "no alarm again until control answers");
    assert!(world.alarms().is_empty());
    assert_eq!(world.core.outstanding_alarms(), 1, "it is still to be answered");
}

#[test]
fn allow_delivers_a_frame_that_is_still_fresh() {
    let mut world = World::with(|config| {
        config.on_outage = OnOutage::Allow;
        config.alarm_timeout = std::time::Duration::from_millis(500);
    });
    world.raise_count_alarm(0);
    world.seconds(1);
    assert_eq!(world.injected(), [Redeemed]);
    world.apply(world.example_answer(0, 1));
    assert_eq!(world.injected(), [Redeemed], "once");
    assert_eq!(world.requests_and_admissions(0), (4, 4));
}

#[test]
fn a_late_cancel_sets_the_entry_and_redeems_nothing_more() {
    let mut world = allowing();
    world.raise_count_alarm(0);
    world.seconds(11);
    assert_eq!(world.uplink(0), Redeemed);
    world.apply(world.example_answer(0, 1));
    assert!(world.control(0).has(STATUS_THROTTLED) && !world.control(0).has(REDEEM | ALARM_ACTIVE));
    assert_eq!(world.requests_and_admissions(0), (4, 4));
    assert_eq!((world.core.outstanding_alarms(), world.greeted_alarms().len()), (0, 0));
}

#[test]
fn a_late_rejection_makes_the_alarm_active_again() {
    let mut world = allowing();
    world.raise_count_alarm(0);
    world.seconds(11);
    world.apply(entry(0, 1, vec![limit(1, 3, REJECT)]).rejects().answering(1));
    assert!(world.control(0).has(ALARM_ACTIVE) && !world.control(0).has(REDEEM), "not redeemed, discarded");
    assert_eq!(world.accesses(0, 1), [AlarmActive]);
    assert_eq!(world.core.outstanding_alarms(), 0);
    world.apply(entry(0, 2, vec![limit(1, 3, REJECT)]).cancels());
    assert!(!world.control(0).has(ALARM_ACTIVE));
}

#[test]
fn allow_opens_nothing_that_the_cached_policies_forbid() {
    let mut world = allowing_and_always_alarming();
    world.apply(entry(0, 1, vec![limit(1, 5, REJECT)]));
    world.raise_count_alarm(0);
    world.seconds(11);
    assert_eq!(world.uplink(0), Redeemed);
    assert_eq!(world.accesses(0, 3), [Admitted, LimitExceeded, LimitExceeded]);
    assert!(world.alarms().is_empty());
}

#[test]
fn allow_leaves_the_nodes_own_throttle_running() {
    let mut world = allowing_and_always_alarming();
    world.apply(entry(0, 1, vec![throttling(1, 2, 2)]));
    // The third request breaks the rule, the fourth is an alarm.
    world.accesses(0, 4);
    assert!(world.control(0).has(STATUS_THROTTLED));
    world.one_alarm();
    world.seconds(11);
    assert!(world.control(0).has(STATUS_THROTTLED) && !world.control(0).has(ALARM_ACTIVE));
}

#[test]
fn while_an_alarm_is_allowed_an_update_of_other_things_does_not_let_the_device_alarm_again() {
    let mut world = allowing_and_always_alarming();
    world.raise_count_alarm(0);
    world.seconds(11);
    world.apply(entry(0, 1, vec![]));
    world.accesses(0, 6);
    assert!(world.alarms().is_empty() && !world.control(0).has(ALARM_ACTIVE));
    world.apply(entry(0, 2, vec![]).cancels().answering(1));
    world.wait(MINUTE);
    assert_eq!(sequence(&world.raise_count_alarm(0)), 2, "answered, it does");
}

#[test]
fn each_alarm_is_decided_by_outage_once() {
    let mut world = allowing();
    world.raise_count_alarm(0);
    world.raise_count_alarm(1);
    world.seconds(40);
    assert_eq!(world.core.figures().outages_decided, 2);
    world.apply(entry(0, 1, example_policies()));
    world.seconds(40);
    assert_eq!(world.core.figures().outages_decided, 2);
}

#[test]
fn the_worlds_clock_may_jump_without_deciding_anything() {
    let mut world = allowing();
    world.raise_count_alarm(0);
    for jump in [-86_400_000, 86_400_000] {
        let mut now = world.now();
        now.unix_ms += jump;
        world.core.time_passes(now);
        assert!(world.control(0).has(ALARM_ACTIVE), "{jump} ms");
    }
    world.wait(SECOND);
    world.apply(world.example_answer(0, 1));
    assert_eq!(world.injected(), [Redeemed], "the held frame is one second old");
}
