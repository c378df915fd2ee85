//! Alarms whose record found the ring full, or comes late.

use weir_dataplane_common::{
    abi::ALARM_UNSEEN,
    reason::Reason::{Admitted, AlarmActive, Held, Redeemed},
};
use weir_proto::v1::alarm_raised::Condition;

use crate::{
    control::{Amended, REJECT, entry, example_policies, limit},
    world::{SECOND, World, sequence},
};

/// An alarm for which the ring had no room.
fn overrun(raise: impl Fn(&mut World)) -> World {
    let mut world = World::new();
    world.core.kernel().room = 0;
    raise(&mut world);
    assert!(world.alarms().is_empty() && world.control(0).has(ALARM_UNSEEN));
    world
}

#[test]
fn an_alarm_without_record_is_found_by_the_second_sweep_and_only_by_it() {
    let mut world = overrun(|world| assert_eq!(world.accesses(0, 4).last(), Some(&Held)));
    assert!(world.seconds(1).is_empty(), "its record may still come");
    let found = world.seconds(1);
    assert_eq!(found.len(), 1);
    assert!(matches!(&found[0].condition, Some(Condition::Count(count)) if count.requests == 4));
    assert_eq!((found[0].kind.as_str(), found[0].access_held), ("packet", true));
    assert!(world.seconds(5).is_empty());
    assert_eq!((world.core.figures().alarms_raised, world.core.figures().alarms_swept), (1, 1));
}

#[test]
fn a_swept_alarm_without_frame_is_redeemed_by_the_next_packet() {
    let mut world = overrun(|world| assert_eq!(world.accesses(0, 4).last(), Some(&Held)));
    world.seconds(2);
    world.apply(world.example_answer(0, 1));
    assert!(world.injected().is_empty());
    assert_eq!(world.uplink(0), Redeemed);
    assert_eq!(world.requests_and_admissions(0), (4, 4));
}

#[test]
fn the_sweep_knows_a_protocol_alarm_with_its_class_kind_and_held_access() {
    let mut world = overrun(|world| assert_eq!(world.trigger_esp(0), Held));
    let found = world.seconds(2).remove(0);
    assert_eq!(found.condition, Some(Condition::Protocol("esp".to_owned())));
    assert_eq!((found.kind.as_str(), found.access_held), ("trigger", true));
}

#[test]
fn the_sweep_knows_that_a_protocol_inside_a_session_holds_no_access() {
    let mut world = overrun(|world| {
        assert_eq!((world.uplink(0), world.uplink_esp(0)), (Admitted, Held));
    });
    let found = world.seconds(2).remove(0);
    assert_eq!(found.condition, Some(Condition::Protocol("esp".to_owned())));
    assert_eq!((found.kind.as_str(), found.access_held), ("packet", false));
}

#[test]
fn a_record_that_comes_after_the_sweep_makes_no_second_alarm_and_brings_its_frame() {
    let mut world = World::new();
    world.accesses(0, 4);
    let swept: Vec<u64> = [500, 500]
        .into_iter()
        .flat_map(|wait| {
            world.wait(wait);
            world.each_second()
        })
        .map(|alarm| sequence(&alarm))
        .collect();
    assert_eq!(swept, [1]);
    assert!(world.alarms().is_empty());
    assert_eq!((world.core.outstanding_alarms(), world.core.figures().alarms_raised), (1, 1));
    world.apply(world.example_answer(0, 1));
    assert_eq!(world.injected(), [Redeemed]);
}

#[test]
fn a_record_that_comes_after_the_swept_alarm_was_answered_is_no_alarm() {
    let answers = [
        entry(0, 1, example_policies()).cancels().answering(1),
        entry(0, 1, vec![limit(1, 3, REJECT)]).rejects().answering(1),
    ];
    for answer in answers {
        let mut world = World::new();
        world.accesses(0, 4);
        assert_eq!(world.seconds(2).len(), 1);
        world.apply(answer);
        assert!(world.alarms().is_empty());
        assert_eq!((world.core.outstanding_alarms(), world.core.figures().alarms_raised), (0, 1));
        assert!(world.greeted_alarms().is_empty());
    }
}

#[test]
fn a_frame_that_waited_in_the_ring_for_too_long_is_not_delivered() {
    let mut world = World::new();
    world.accesses(0, 4);
    world.wait(3 * SECOND);
    world.one_alarm();
    world.apply(world.example_answer(0, 1));
    assert!(world.injected().is_empty());
    assert_eq!(world.uplink(0), Redeemed);
}

#[test]
fn a_ring_that_overran_for_one_device_loses_no_alarm_of_another() {
    let mut world = World::new();
    world.core.kernel().room = 1;
    for device in 0..3 {
        world.accesses(device, 4);
    }
    assert_eq!(world.alarms().len(), 1);
    let mut swept: Vec<String> = world.seconds(2).into_iter().map(|alarm| alarm.device).collect();
    swept.sort_unstable();
    assert_eq!(swept, crate::world::DEVICES[1..]);
    assert_eq!(world.accesses(1, 1), [AlarmActive]);
}

#[test]
fn an_alarm_of_an_entry_that_is_nobodys_is_passed_over() {
    let mut world = World::new();
    world.accesses(0, 4);
    world.core.kernel().ring[0].entry = 15;
    assert!(world.alarms().is_empty());
    assert_eq!(world.seconds(2).len(), 1, "the sweep finds the true one");
}
