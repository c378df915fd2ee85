//! The agent is killed and the next one takes over its maps: entries go on, alarms are raised anew, nothing that was
//! shut opens.

use weir_agent::{
    core::Inherited,
    devices::{Adopted, is_blank},
    known_good::Record,
};
use weir_dataplane_common::{
    abi::{ALARM_SEEN, ALIAS, Control, HELD, STATUS_REJECT, VALID},
    reason::Reason,
};

use crate::{
    control::{Amended, REJECT, alarm_id, entry, example_policies, forbids},
    world::{DEVICES, MINUTE, SECOND, World, address, sequence},
};

/// The records of these updates.
fn records(updates: &[weir_proto::v1::CacheUpdate]) -> Vec<Record> {
    updates.iter().map(|update| Record::of(update, 0)).collect()
}

#[test]
fn entries_of_devices_that_are_where_they_were_stay_as_they_are() {
    let mut world = World::new();
    let update = entry(0, 1, example_policies());
    world.apply(update.clone());
    world.accesses(0, 3);
    let (control, profile) = (world.control(0), world.profile(0));
    let (mut world, adopted, inherited) = world.taken_over(1, &records(&[update]), |_| {});
    assert_eq!(adopted, Adopted { kept: 3, begun: 0, cleared: 0 });
    assert_eq!(inherited, Inherited { enforced: 1, refused: 0, alarms: 0 });
    assert_eq!((world.control(0), world.profile(0)), (control, profile));
    assert_eq!(world.requests_and_admissions(0), (3, 3));
    // The window goes on too: three are in it, so two more get through the throttle.
    assert_eq!(world.accesses(0, 3), [Reason::Admitted, Reason::Admitted, Reason::Throttled]);
}

#[test]
fn counters_go_on_and_are_said_under_the_same_boot() {
    let mut world = World::new();
    world.accesses(0, 3);
    let (mut world, ..) = world.taken_over(1, &[], |_| {});
    world.accesses(1, 1);
    let greeting = world.greeting();
    assert_eq!(greeting.hello.expect("first").boot, crate::world::BOOT);
    let said: Vec<_> = greeting.counts.iter().map(|counts| (counts.requests, counts.admitted)).collect();
    assert_eq!(said, [(3, 3), (1, 1)]);
}

#[test]
fn an_active_alarm_is_raised_anew_under_a_number_that_no_other_agent_gave() {
    let mut world = World::new();
    let before = world.raise_count_alarm(0);
    let (mut world, _, inherited) = world.taken_over(1, &[], |_| {});
    assert_eq!(inherited.alarms, 1);
    let greeted = world.greeting().alarms;
    assert_eq!(greeted.len(), 1);
    assert_eq!((&greeted[0].condition, greeted[0].access_held), (&before.condition, true));
    assert_eq!((sequence(&before), sequence(&greeted[0])), (1, (1 << 32) + 1));
    // The answer to the agent before is for its alarm, the answer to this one for this one's.
    let late = entry(0, 1, example_policies()).cancels().answering(sequence(&before));
    world.apply(late);
    assert!(world.control(0).has(ALARM_SEEN));
    let answer = entry(0, 2, example_policies()).cancels();
    world.apply(weir_proto::v1::CacheUpdate { answers: Some(alarm_id(sequence(&greeted[0]))), ..answer });
    assert!(!world.control(0).has(ALARM_SEEN));
    world.wait(2 * SECOND);
    assert_eq!(world.uplink(0), Reason::Redeemed, "its frame went with the agent that held it");
}

#[test]
fn an_alarm_whose_record_waits_in_the_ring_is_taken_up_once_and_gets_its_frame() {
    let mut world = World::new();
    assert_eq!(world.accesses(0, 4)[3], Reason::Held);
    let (mut world, _, inherited) = world.taken_over(3, &[], |_| {});
    assert_eq!(inherited.alarms, 1);
    assert_eq!(world.alarms(), [], "it is known");
    let sequence = world.greeted_alarms()[0];
    assert_eq!(sequence, (3 << 32) + 1);
    world.apply(entry(0, 1, example_policies()).cancels().answering(sequence));
    assert_eq!(world.injected(), [Reason::Redeemed]);
}

#[test]
fn a_place_that_another_device_has_now_is_emptied_and_the_others_stay() {
    let mut world = World::new();
    let update = entry(1, 7, vec![forbids(2, &["esp"], REJECT)]).rejected_until(i64::MAX);
    world.apply(update.clone());
    world.accesses(0, 2);
    assert_eq!(world.accesses(1, 1), [Reason::StatusReject]);
    // The first two change places.
    let (mut world, adopted, _) = world.taken_over(1, &records(&[update]), |config| {
        config.bindings[0].addresses = vec![address(1).into()];
        config.bindings[1].addresses = vec![address(0).into()];
    });
    assert_eq!(adopted, Adopted { kept: 1, begun: 2, cleared: 0 });
    // By address: what was the free device's is the rejected one's.
    assert_eq!(world.requests_and_admissions(0), (0, 0));
    assert_eq!(world.accesses(0, 1), [Reason::StatusReject]);
    assert_eq!(world.accesses(1, 1), [Reason::Admitted]);
}

#[test]
fn entries_of_bindings_that_are_no_more_are_cleared() {
    let mut world = World::new();
    world.accesses(2, 1);
    let (mut world, adopted, _) = world.taken_over(1, &[], |config| {
        config.bindings.pop();
    });
    assert_eq!(adopted, Adopted { kept: 2, begun: 0, cleared: 1 });
    assert_eq!(world.entry(2).control.load(), 0);
    assert_eq!(world.uplink(2), Reason::UnknownDropped);
}

#[test]
fn a_further_address_leads_to_its_device_wherever_that_is_now() {
    let world = World::new();
    let (mut world, adopted, _) = world.taken_over(1, &[], |config| {
        let moved = config.bindings.remove(2).addresses;
        config.bindings[0].addresses.extend(moved);
    });
    assert_eq!(adopted, Adopted { kept: 2, begun: 0, cleared: 0 });
    assert_eq!(world.control(2), Control(VALID | ALIAS));
    let owner = world.entry(2).owner.load();
    assert_eq!(owner, 1, "the first device's entry");
    let (mut world, adopted, _) = world.taken_over(2, &[], |_| {});
    assert_eq!(adopted, Adopted { kept: 2, begun: 1, cleared: 0 });
    assert_eq!(world.accesses(2, 1), [Reason::Admitted]);
}

#[test]
fn an_entry_that_is_newer_than_the_journal_stands() {
    let mut world = World::new();
    let old = entry(0, 1, example_policies());
    world.apply(old.clone());
    // Written into the entry, and the agent dies before it is on the disk.
    world.apply(entry(0, 2, example_policies()).rejected_until(world.unix_ms() + MINUTE as i64));
    let (mut world, _, inherited) = world.taken_over(1, &records(&[old]), |_| {});
    assert_eq!(inherited.enforced, 0);
    assert!(world.control(0).has(STATUS_REJECT));
}

#[test]
fn a_number_in_use_is_not_given_to_other_policies() {
    let mut world = World::new();
    world.apply(entry(0, 1, example_policies()));
    world.apply(entry(1, 1, vec![forbids(3, &["ah"], REJECT)]));
    let numbers = [world.control(0).profile(), world.control(1).profile()];
    let (mut world, ..) = world.taken_over(1, &[], |_| {});
    // The kernel in memory panics where a profile changes while an entry names it.
    world.apply(entry(2, 2, vec![forbids(4, &["esp", "ah"], REJECT)]));
    assert!(!numbers.contains(&world.control(2).profile()));
    world.apply(entry(2, 3, example_policies()));
    assert_eq!(world.control(2).profile(), numbers[0], "equal policies share a number");
}

#[test]
fn an_agent_killed_before_anything_was_said_leaves_blank_entries() {
    let (mut world, adopted, inherited) = World::new().taken_over(1, &[], |_| {});
    assert_eq!((adopted.kept, inherited), (3, Inherited::default()));
    assert!((0..DEVICES.len()).all(|device| is_blank(world.entry(device))));
    assert!(!world.control(0).has(HELD | STATUS_REJECT));
    assert_eq!(world.uplink(0), Reason::Admitted);
}
