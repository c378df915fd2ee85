//! Streams that come and go: the greeting, the snapshot, and what control has to say again.

use weir_agent::config::OnOutage;
use weir_dataplane_common::{
    abi::{ABI_VERSION, ALARM_ACTIVE, HELD, NOT_M2M, STATUS_REJECT},
    reason::Reason::{Admitted, AlarmActive, Held, StatusReject, Throttled},
};

use crate::{
    control::{Amended, REJECT, entry, example_policies, forbids, limit, no_entry},
    world::{BOOT, DEVICES, MINUTE, NODE, SECOND, World, sequence},
};

#[test]
fn the_greeting_says_who_speaks_before_anything_else() {
    let mut world = World::new();
    let greeting = world.greeting();
    let hello = greeting.hello.expect("a greeting has a Hello");
    assert_eq!((hello.node.as_str(), hello.boot.as_str(), hello.abi_version), (NODE, BOOT, ABI_VERSION));
    assert_eq!(hello.kinds, ["packet", "trigger"]);
    assert!(greeting.counts.is_empty() && greeting.alarms.is_empty());
}

#[test]
fn the_greeting_repeats_every_count_that_is_not_zero() {
    let mut world = World::new();
    world.accesses(0, 2);
    world.unsolicited(2);
    assert_eq!(world.report().len(), 2);
    let greeted = world.greeting().counts;
    assert_eq!(
        greeted.iter().map(|counts| counts.device.as_str()).collect::<Vec<_>>(),
        [DEVICES[0], DEVICES[2]]
    );
    assert_eq!((greeted[0].admitted, greeted[1].unsolicited), (2, 1));
}

#[test]
fn an_alarm_is_in_every_greeting_until_it_is_answered_and_in_none_after() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    for _ in 0..3 {
        assert_eq!(world.greeted_alarms(), [1]);
        world.welcome(0);
    }
    world.apply(world.example_answer(0, 1));
    assert!(world.greeted_alarms().is_empty());
    let mut world = World::new();
    world.raise_count_alarm(0);
    world.apply(entry(0, 1, vec![limit(1, 3, REJECT)]).rejects().answering(1));
    assert!(world.control(0).has(ALARM_ACTIVE));
    assert!(world.greeted_alarms().is_empty(), "a rejection is an answer too");
}

#[test]
fn an_alarm_said_again_tells_the_condition_as_it_was_and_the_counts_as_they_are() {
    let mut world = World::new();
    let first = world.raise_count_alarm(0);
    world.wait(MINUTE);
    assert_eq!(world.accesses(0, 1), [AlarmActive]);
    let again = world.greeting().alarms.remove(0);
    assert_eq!((again.id, again.condition), (first.id, first.condition));
    let counts = again.counts.expect("an alarm has counts");
    assert_eq!((counts.requests, counts.rejected), (5, 1));
}

#[test]
fn an_alarm_raised_while_no_stream_is_open_is_in_the_next_greeting() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    world.raise_count_alarm(1);
    assert_eq!(world.greeted_alarms(), [1, 2]);
}

#[test]
fn a_node_is_synced_when_the_whole_snapshot_is_there() {
    let mut world = World::new();
    world.greeting();
    assert!(!world.core.is_synced());
    world.welcome(2);
    world.apply(entry(0, 5, example_policies()));
    assert!(!world.core.is_synced());
    assert_ne!(world.update(entry(1, 5, vec![limit(1, 1024, REJECT)])), "", "a refused entry counts too");
    assert!(world.core.is_synced());
    world.greeting();
    assert!(!world.core.is_synced(), "a new stream starts anew");
    world.welcome(0);
    assert!(world.core.is_synced());
}

#[test]
fn what_a_snapshot_does_not_name_is_forgotten_when_it_is_complete_and_not_before() {
    let mut world = World::new();
    let status = world.unix_ms() + MINUTE as i64;
    world.apply(entry(0, 1, vec![limit(1, 0, REJECT)]));
    world.apply(entry(1, 1, vec![]).rejected_until(status).not_m2m());
    world.apply(entry(2, 1, example_policies()));
    world.greeting();
    world.welcome(2);
    world.apply(entry(2, 1, example_policies()));
    assert_eq!(world.control(0).profile(), 1, "the snapshot is not complete");
    assert_eq!(world.accesses(1, 1), [StatusReject]);
    world.apply(entry(2, 1, example_policies()));
    assert_eq!((world.control(0).profile(), world.control(1).profile()), (0, 0));
    assert!(!world.control(1).has(STATUS_REJECT | NOT_M2M));
    assert_eq!(world.profile(2).cached, 1);
    assert_eq!((world.accesses(0, 1), world.accesses(1, 1)), (vec![Admitted], vec![Admitted]));
}

#[test]
fn an_unanswered_alarm_survives_a_snapshot_that_does_not_know_it() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    assert_eq!(world.greeted_alarms(), [1]);
    assert!(world.welcome(0).is_empty(), "the greeting has said it");
    assert!(world.control(0).has(ALARM_ACTIVE) && world.control(0).has(HELD));
    assert_eq!(world.core.outstanding_alarms(), 1);
}

#[test]
fn a_rejected_alarm_that_control_does_not_know_any_more_is_raised_again() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    world.apply(entry(0, 1, vec![limit(1, 3, REJECT)]).rejects().answering(1));
    assert!(world.greeted_alarms().is_empty());
    let raised = world.welcome(0);
    assert_eq!(
        raised.iter().map(sequence).collect::<Vec<_>>(),
        [1],
        "or the device were locked out for ever"
    );
    assert!(world.control(0).has(ALARM_ACTIVE));
    world.apply(no_entry(0, 1).rejects().answering(1));
    assert!(world.greeted_alarms().is_empty());
    world.welcome(1);
    world.apply(entry(0, 2, vec![limit(1, 3, REJECT)]));
    assert_eq!(world.core.outstanding_alarms(), 0, "control knows the device");
}

#[test]
fn a_rejected_alarm_that_is_raised_again_waits_its_full_time_for_an_answer() {
    let mut world = World::with(|config| config.on_outage = OnOutage::Allow);
    world.raise_count_alarm(0);
    world.apply(no_entry(0, 1).rejects().answering(1));
    world.seconds(100);
    world.greeting();
    assert_eq!(world.welcome(0).len(), 1);
    world.seconds(9);
    assert!(world.control(0).has(ALARM_ACTIVE));
}

#[test]
fn a_snapshot_that_lifts_an_old_alarm_leaves_the_new_one_that_the_greeting_brought() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    world.apply(no_entry(0, 1).rejects().answering(1));
    world.apply(no_entry(0, 2).cancels());
    world.wait(MINUTE);
    let second = world.raise_count_alarm(0);
    assert_eq!(world.greeted_alarms(), [2]);
    world.welcome(1);
    world.apply(no_entry(0, 2).cancels().answering(1));
    assert!(world.control(0).has(ALARM_ACTIVE) && world.control(0).has(HELD));
    assert_eq!(world.greeted_alarms(), [sequence(&second)]);
}

#[test]
fn a_snapshot_lifts_an_alarm_that_was_rejected_before_the_stream_was_lost() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    world.apply(entry(0, 1, vec![limit(1, 3, REJECT)]).rejects().answering(1));
    world.wait(MINUTE);
    world.greeting();
    world.welcome(1);
    world.apply(entry(0, 2, vec![limit(1, 3, REJECT)]).cancels().answering(1));
    assert!(!world.control(0).has(ALARM_ACTIVE));
    assert_eq!(world.accesses(0, 1), [Admitted]);
}

#[test]
fn a_restarted_control_may_begin_its_revisions_anew() {
    let mut world = World::new();
    world.apply(entry(0, 100, vec![limit(1, 9, REJECT)]));
    world.greeting();
    world.welcome(1);
    world.apply(entry(0, 1, vec![limit(2, 9, REJECT)]));
    assert_eq!(world.profile(0).rules[0].policy, 2);
}

#[test]
fn a_stream_lost_in_the_middle_of_a_snapshot_prunes_nothing() {
    let mut world = World::new();
    world.apply(entry(0, 1, vec![limit(1, 0, REJECT)]));
    world.greeting();
    world.welcome(2);
    world.apply(entry(1, 1, vec![]));
    world.greeting();
    world.apply(entry(2, 1, vec![]));
    assert!(!world.core.is_synced());
    assert_eq!(world.control(0).profile(), 1);
}

#[test]
fn without_control_the_node_goes_on_by_what_it_holds() {
    let mut world = World::new();
    world.apply(entry(0, 1, vec![limit(1, 2, REJECT), forbids(2, &["esp"], REJECT)]));
    world.seconds(3600);
    let reasons = world.accesses(0, 3);
    assert_eq!(reasons[..2], [Admitted; 2]);
    assert_ne!(reasons[2], Admitted);
    world.wait(2 * SECOND);
    assert_ne!(world.trigger_esp(0), Held, "a policy is cached: no alarm");
}

#[test]
fn a_throttle_holds_even_if_controls_clock_is_a_minute_ahead_of_the_nodes() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    let ahead = world.unix_ms() + 2 * MINUTE as i64;
    let policies = vec![crate::control::throttling(1, 5, 4)];
    world.apply(entry(0, 1, policies).throttled_until(ahead).cancels().answering(1));
    assert_eq!(world.accesses(0, 1), [Throttled]);
}
