//! The worked examples R-D17 and R-D18 at one node: each step as the requirements state it.

use weir_dataplane_common::{
    abi::{ALARM_ACTIVE, HELD, REDEEM, STATUS_THROTTLED, Side},
    reason::Reason::{Admitted, AlarmActive, ForbiddenProtocol, Held, InSession, Redeemed, Throttled},
};
use weir_proto::v1::{CountCondition, alarm_raised::Condition};

use crate::{
    control::{Amended, NOTHING, REJECT, entry, example_policies, forbids, limit, throttling},
    world::{DEVICES, MINUTE, SECOND, World, address},
};

#[test]
fn four_accesses_a_minute_are_asked_about_once_and_the_sixth_is_rejected_from_the_cache() {
    let mut world = World::new();
    assert_eq!(world.accesses(0, 3), [Admitted; 3]);
    assert_eq!((world.control(0).profile(), world.alarms().len()), (0, 0), "nothing is cached, nobody asked");

    world.wait(2 * SECOND);
    let fourth = world.frame(address(0), [203, 0, 113, 10].into(), false);
    assert_eq!(world.receive(Side::Access, &fourth).reason, Held);
    assert!(world.control(0).has(ALARM_ACTIVE) && world.control(0).has(HELD));
    let alarm = world.one_alarm();
    assert_eq!((alarm.device.as_str(), alarm.kind.as_str()), (DEVICES[0], "packet"));
    let condition = CountCondition { requests: 4, window_ms: MINUTE };
    assert_eq!((alarm.condition, alarm.access_held), (Some(Condition::Count(condition)), true));
    let counts = alarm.counts.expect("an alarm has counts");
    assert_eq!((counts.requests, counts.admitted, counts.rejected), (4, 3, 0));
    assert_eq!(counts.admissions_ms.len(), 3, "the held access is no admission yet");

    world.wait(100);
    world.apply(world.example_answer(0, 1));
    assert_eq!(world.injected(), [Redeemed]);
    assert_eq!(world.delivered(&fourth), 1);
    assert_eq!(world.requests_and_admissions(0), (4, 4));
    let control = world.control(0);
    assert!(control.has(STATUS_THROTTLED) && !control.has(ALARM_ACTIVE | HELD | REDEEM));
    assert_eq!(world.profile(0).rules.map(|rule| rule.policy)[..2], [1, 2]);

    world.wait(500);
    assert_eq!(world.uplink(0), InSession, "the held access opened the session");
    assert_eq!(world.accesses(0, 1), [Admitted]);
    assert_eq!(world.accesses(0, 1), [Throttled]);
    assert!(world.alarms().is_empty(), "the cache was not asked about");
    let report = world.report();
    assert_eq!(report.len(), 1);
    assert_eq!((report[0].requests, report[0].admitted, report[0].rejected), (6, 5, 1));
    assert_eq!((report[0].last_rejection.as_str(), report[0].admissions_ms.len()), ("throttled", 5));
    assert!(world.report().is_empty(), "what has not changed is not said again");
}

#[test]
fn the_minute_over_a_throttled_device_gets_in_again() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    world.apply(world.example_answer(0, 1));
    assert_eq!(world.accesses(0, 2), [Admitted, Throttled]);
    world.wait(MINUTE);
    assert_eq!(world.accesses(0, 5), [Admitted; 5]);
    assert_eq!(world.accesses(0, 1), [Throttled]);
}

#[test]
fn a_tighter_throttle_counts_what_was_admitted_before_it() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    let until = world.unix_ms() + MINUTE as i64;
    let policies = vec![throttling(1, 3, 2)];
    world.apply(entry(0, 1, policies).throttled_until(until).cancels().answering(1));
    assert_eq!(world.injected(), [Redeemed], "control has judged the held access");
    assert_eq!(world.accesses(0, 1), [Throttled]);
}

/// A trigger that carries ESP, to an idle device.
fn esp_trigger(world: &mut World) -> Vec<u8> {
    world.wait(2 * SECOND);
    let frame = world.frame([203, 0, 113, 10].into(), address(0), true);
    assert_eq!(world.receive(Side::Network, &frame).reason, Held);
    frame
}

#[test]
fn a_trigger_with_esp_is_held_delivered_on_cancel_and_the_next_is_not_asked_about() {
    let mut world = World::new();
    let first = esp_trigger(&mut world);
    let alarm = world.one_alarm();
    assert_eq!((alarm.kind.as_str(), alarm.access_held), ("trigger", true));
    assert_eq!(alarm.condition, Some(Condition::Protocol("esp".to_owned())));
    let policies = vec![limit(1, 3, NOTHING), forbids(2, &["esp"], NOTHING)];
    world.apply(entry(0, 1, policies).cancels().answering(1));
    assert_eq!((world.injected(), world.delivered(&first)), (vec![Redeemed], 1));
    assert!(!world.control(0).has(STATUS_THROTTLED | ALARM_ACTIVE));
    assert_eq!(world.requests_and_admissions(0), (1, 1));
    world.wait(2 * SECOND);
    assert_eq!(world.trigger_esp(0), Admitted);
    assert!(world.alarms().is_empty());
}

#[test]
fn a_trigger_with_a_forbidden_protocol_is_rejected_and_never_delivered() {
    let mut world = World::new();
    let first = esp_trigger(&mut world);
    world.one_alarm();
    let policies = vec![limit(1, 3, NOTHING), forbids(2, &["esp"], REJECT)];
    world.apply(entry(0, 1, policies).rejects().answering(1));
    assert_eq!((world.injected(), world.delivered(&first)), (vec![], 0));
    world.wait(2 * SECOND);
    assert_eq!(world.trigger_esp(0), AlarmActive);
    let policies = example_policies();
    world.apply(entry(0, 2, policies).cancels());
    world.wait(2 * SECOND);
    assert_eq!((world.trigger_esp(0), world.trigger(0)), (ForbiddenProtocol, Admitted));
}
