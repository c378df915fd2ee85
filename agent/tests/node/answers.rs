//! What becomes of an alarm when control answers: at once, late, twice, or about another alarm.

use weir_dataplane_common::{
    abi::{ALARM_ACTIVE, ALARM_UNSEEN, HELD, REDEEM, alarm_when},
    reason::Reason::{Admitted, AlarmActive, Held, InSession, Redeemed},
};
use weir_proto::v1::AlarmId;

use crate::{
    control::{Amended, NOTHING, REJECT, alarm_id, entry, example_policies, forbids, limit, no_entry},
    world::{BOOT, MINUTE, NODE, SECOND, World, sequence},
};

#[test]
fn a_rejected_alarm_stays_active_and_its_frame_is_discarded() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    world.apply(entry(0, 1, vec![limit(1, 3, REJECT)]).rejects().answering(1));
    assert!(world.control(0).has(ALARM_ACTIVE) && !world.control(0).has(HELD | REDEEM));
    assert_eq!(world.accesses(0, 2), [AlarmActive; 2]);
    assert!(world.injected().is_empty());
    assert_eq!(world.core.outstanding_alarms(), 0, "it is answered");
}

#[test]
fn a_rejected_alarm_is_cancelled_later_and_nothing_is_redeemed() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    world.apply(entry(0, 1, vec![limit(1, 3, REJECT)]).rejects().answering(1));
    world.wait(MINUTE);
    world.apply(entry(0, 2, vec![limit(1, 3, REJECT)]).cancels());
    assert!(!world.control(0).has(ALARM_ACTIVE | HELD | REDEEM));
    assert_eq!(world.requests_and_admissions(0), (4, 3));
    assert_eq!(world.accesses(0, 1), [Admitted]);
    assert_eq!(world.requests_and_admissions(0), (5, 4));
}

#[test]
fn a_frame_of_more_than_two_seconds_is_not_delivered_and_the_next_packet_redeems() {
    for age in [2100, 2900] {
        let mut world = World::new();
        world.raise_count_alarm(0);
        world.wait(age);
        world.apply(world.example_answer(0, 1));
        assert!(world.injected().is_empty(), "after {age} ms");
        assert!(world.control(0).has(REDEEM));
        world.wait(MINUTE);
        assert_eq!(world.uplink(0), Redeemed);
        assert_eq!(world.requests_and_admissions(0), (4, 4));
        assert_eq!(world.uplink(0), InSession);
        assert_eq!(world.accesses(0, 1), [Admitted]);
    }
}

#[test]
fn a_frame_that_cannot_be_injected_leaves_the_access_to_the_next_packet() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    world.core.kernel().refuses_frames = Some("no interface".to_owned());
    world.apply(world.example_answer(0, 1));
    assert_eq!(world.core.figures().injections_failed, 1);
    assert_eq!(world.uplink(0), Redeemed);
}

#[test]
fn an_answer_that_comes_twice_delivers_and_redeems_once() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    for _ in 0..2 {
        world.apply(world.example_answer(0, 1));
    }
    assert_eq!(world.injected(), [Redeemed]);
    assert_eq!(world.requests_and_admissions(0), (4, 4));
    assert!(!world.control(0).has(REDEEM));
}

#[test]
fn the_repeated_answer_to_an_old_alarm_does_not_touch_a_new_one() {
    let mut world = World::with(|config| config.alarm.as_mut().expect("an alarm").when = alarm_when::ALWAYS);
    let first = world.raise_count_alarm(0);
    let unlimited = || entry(0, 1, vec![forbids(2, &["ah"], REJECT)]).cancels();
    world.apply(unlimited().answering(sequence(&first)));
    world.wait(MINUTE);
    let second = world.raise_count_alarm(0);
    assert_eq!(sequence(&second), 2);
    world.apply(unlimited().answering(sequence(&first)));
    assert!(world.control(0).has(ALARM_ACTIVE) && world.control(0).has(HELD));
    assert_eq!((world.core.outstanding_alarms(), world.injected().len()), (1, 1));
    world.apply(entry(0, 2, vec![]).cancels().answering(sequence(&second)));
    assert_eq!((world.core.outstanding_alarms(), world.injected().len()), (0, 2));
}

#[test]
fn an_alarm_that_the_agent_has_not_seen_yet_is_not_cancelled_by_an_answer_to_another() {
    let mut world = World::with(|config| config.alarm.as_mut().expect("an alarm").when = alarm_when::ALWAYS);
    world.raise_count_alarm(0);
    let answer = entry(0, 1, vec![]).cancels();
    world.apply(answer.clone().answering(1));
    world.wait(MINUTE);
    world.accesses(0, 4);
    assert!(world.control(0).has(ALARM_UNSEEN), "its record is still in the ring");
    world.apply(answer.clone().answering(1));
    world.apply(Amended::cancels(entry(0, 2, vec![])));
    assert!(world.control(0).has(ALARM_UNSEEN) && world.control(0).has(HELD));
    assert_eq!(sequence(&world.one_alarm()), 2);
}

#[test]
fn an_answer_to_the_alarm_of_another_boot_or_node_changes_the_entry_only() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    let others = [
        AlarmId { boot: "boot-0".to_owned(), ..alarm_id(1) },
        AlarmId { node: "pgw-2".to_owned(), ..alarm_id(1) },
        alarm_id(2),
        AlarmId { node: NODE.to_owned(), boot: BOOT.to_owned(), sequence: 0 },
    ];
    for (revision, other) in (1..).zip(others) {
        let mut answer = entry(0, revision, example_policies()).cancels();
        answer.answers = Some(other.clone());
        world.apply(answer.clone());
        answer.set_alarm(weir_proto::v1::AlarmFate::Reject);
        world.apply(answer);
        assert!(world.control(0).has(ALARM_ACTIVE) && world.control(0).has(HELD), "{other:?}");
        assert_eq!(world.core.outstanding_alarms(), 1);
        assert_eq!(world.profile(0).cached, 1);
    }
}

#[test]
fn a_rejection_that_names_no_alarm_raises_none() {
    let mut world = World::new();
    world.apply(entry(0, 1, example_policies()).rejects());
    assert!(!world.control(0).has(ALARM_ACTIVE));
    assert_eq!(world.accesses(0, 1), [Admitted]);
}

#[test]
fn an_operators_cancellation_names_no_alarm_and_ends_whichever_is_active() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    world.apply(no_entry(0, 1).cancels());
    assert_eq!((world.core.outstanding_alarms(), world.injected()), (0, vec![Redeemed]));
    assert!(!world.control(0).has(ALARM_ACTIVE));
    world.apply(entry(0, 2, example_policies()).cancels().answering(1));
    assert_eq!(world.requests_and_admissions(0), (4, 4), "control's own answer crossed it on the way");
}

#[test]
fn a_device_that_is_no_machine_raises_no_alarm_again() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    world.apply(entry(0, 1, vec![]).not_m2m().cancels().answering(1));
    assert_eq!(world.injected(), [Redeemed]);
    assert_eq!(world.accesses(0, 20), [Admitted; 20]);
    world.wait(2 * SECOND);
    assert_eq!(world.uplink_esp(0), Admitted);
    assert!(world.alarms().is_empty());
    world.apply(no_entry(0, 2));
    assert_eq!(world.accesses(0, 1), [Held], "until control forgets that");
}

#[test]
fn a_protocol_seen_inside_a_session_holds_no_access_and_its_frame_is_not_charged_later() {
    let mut world = World::new();
    assert_eq!((world.uplink(0), world.uplink_esp(0)), (Admitted, Held));
    assert_eq!((world.uplink(0), world.uplink_esp(0)), (InSession, AlarmActive));
    let alarm = world.one_alarm();
    assert!(!alarm.access_held);
    world.wait(1500);
    world.apply(entry(0, 1, vec![limit(1, 1, REJECT), forbids(2, &["esp"], NOTHING)]).cancels().answering(1));
    assert_eq!(world.requests_and_admissions(0), (1, 1));
    assert!(!world.control(0).has(REDEEM | ALARM_ACTIVE));
}

#[test]
fn an_update_of_other_things_leaves_an_unanswered_alarm_alone() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    world.apply(entry(0, 1, example_policies()));
    assert!(world.control(0).has(HELD) && world.control(0).has(ALARM_ACTIVE));
    world.wait(1500);
    assert_eq!((world.uplink(0), world.injected()), (AlarmActive, vec![]));
    world.apply(entry(0, 2, example_policies()).cancels().answering(1));
    assert_eq!(world.injected(), [Redeemed], "one and a half seconds later");
}
