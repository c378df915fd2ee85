//! What control said is kept, and enforced after a start from nothing; and statuses that follow the world's clock.

use tempfile::TempDir;
use weir_agent::{core::Inherited, known_good::Keep};
use weir_dataplane_common::{
    abi::{ALARM_SEEN, HELD, NOT_M2M, STATUS_REJECT, STATUS_THROTTLED},
    reason::Reason,
};
use weir_proto::v1;

use crate::{
    control::{Amended, REJECT, entry, example_policies, forbids, limit, no_entry},
    world::{DEVICES, MINUTE, SECOND, World, sequence},
};

fn disk() -> TempDir {
    TempDir::new().expect("a directory")
}

#[test]
fn what_control_said_last_is_enforced_after_a_reboot() {
    let (mut world, disk) = (World::new(), disk());
    let until = world.unix_ms() + 2 * MINUTE as i64;
    world.apply(entry(0, 1, example_policies()).throttled_until(until));
    world.apply(entry(0, 2, example_policies()).throttled_until(until).rejected_until(until));
    world.apply(no_entry(1, 1).not_m2m());
    world.apply(entry(2, 1, example_policies()));
    world.apply(no_entry(2, 2));
    let kept = world.known_good(&disk);
    world.wait(MINUTE);
    let (mut world, inherited) = world.rebooted(&kept);
    assert_eq!(inherited, Inherited { enforced: 2, refused: 0, alarms: 0 });
    assert!(world.control(0).has(STATUS_REJECT) && world.control(0).has(STATUS_THROTTLED));
    assert_eq!(world.accesses(0, 1), [Reason::StatusReject]);
    assert!(world.control(1).has(NOT_M2M) && world.control(1).profile() == 0);
    assert_eq!(world.control(2).profile(), 0);
    // The rejection ends when control said, on the world's clock.
    world.wait(MINUTE);
    assert_eq!(world.accesses(0, 1), [Reason::Admitted]);
}

#[test]
fn a_rejected_alarm_stands_after_a_reboot_and_is_raised_anew() {
    let (mut world, disk) = (World::new(), disk());
    world.wait(2 * SECOND);
    assert_eq!(world.uplink_esp(0), Reason::Held);
    let alarm = world.one_alarm();
    world.apply(entry(0, 1, vec![forbids(2, &["esp"], REJECT)]).rejects().answering(sequence(&alarm)));
    let kept = world.known_good(&disk);
    let (mut world, inherited) = world.rebooted(&kept);
    assert_eq!((inherited.enforced, inherited.alarms), (1, 1));
    assert_eq!(world.accesses(0, 1), [Reason::AlarmActive], "other packets too");
    let greeted = world.greeting().alarms;
    assert_eq!(greeted.len(), 1);
    assert_eq!((&greeted[0].condition, greeted[0].access_held), (&alarm.condition, false));
    // Control decides once more.
    world.apply(entry(0, 2, example_policies()).cancels().answering(sequence(&greeted[0])));
    assert!(!world.control(0).has(ALARM_SEEN | HELD));
    assert_eq!(world.accesses(0, 1), [Reason::Admitted]);
}

#[test]
fn an_alarm_that_was_cancelled_later_is_not_raised_after_a_reboot() {
    let (mut world, disk) = (World::new(), disk());
    let sequence = sequence(&world.raise_count_alarm(0));
    world.apply(entry(0, 1, example_policies()).rejects().answering(sequence));
    world.apply(entry(0, 2, example_policies()));
    world.apply(entry(0, 3, example_policies()).cancels());
    let kept = world.known_good(&disk);
    let (mut world, inherited) = world.rebooted(&kept);
    assert_eq!((inherited.alarms, world.greeted_alarms()), (0, vec![]));
}

#[test]
fn an_update_between_a_rejection_and_its_end_does_not_lose_the_alarm() {
    let (mut world, disk) = (World::new(), disk());
    let sequence = sequence(&world.raise_count_alarm(0));
    world.apply(entry(0, 1, example_policies()).rejects().answering(sequence));
    world.apply(entry(0, 2, vec![limit(1, 9, REJECT)]));
    let kept = world.known_good(&disk);
    let (mut world, inherited) = world.rebooted(&kept);
    assert_eq!(inherited.alarms, 1);
    assert_eq!(world.accesses(0, 1), [Reason::AlarmActive]);
}

#[test]
fn a_complete_snapshot_is_all_that_is_kept() {
    let (mut world, disk) = (World::new(), disk());
    (0..3).for_each(|device| world.apply(entry(device, 1, example_policies())));
    assert_eq!(world.known_good(&disk).len(), 3);
    world.greeting();
    world.welcome(2);
    world.apply(entry(0, 1, example_policies()));
    // Named and refused: what stood goes on standing.
    assert_ne!(world.update(entry(1, 2, vec![limit(1, 5000, REJECT)])), "");
    let mut devices: Vec<_> = world.known_good(&disk).into_iter().map(|it| it.update.device).collect();
    devices.sort();
    assert_eq!(devices, DEVICES[..2]);
}

#[test]
fn what_an_older_update_says_is_not_kept() {
    let mut world = World::new();
    world.apply(entry(0, 5, example_policies()));
    world.apply(no_entry(0, 4));
    let kept = world.core.take_kept();
    assert!(matches!(&kept[..], [Keep::Record(record)] if record.update.revision == 5), "{kept:?}");
}

#[test]
fn what_is_said_of_a_device_that_is_bound_later_is_kept_for_then() {
    let (mut world, disk) = (World::new(), disk());
    let stranger =
        v1::CacheUpdate { device: "001010000000099".to_owned(), ..entry(0, 1, example_policies()) };
    world.apply(stranger);
    assert_eq!(world.known_good(&disk).len(), 1);
}

#[test]
fn of_policies_that_no_longer_fit_the_status_is_enforced() {
    let (mut world, disk) = (World::new(), disk());
    world.apply(entry(0, 1, example_policies()).rejected_until(-1));
    let mut kept = world.known_good(&disk);
    // As a weir that could do more has written it.
    kept[0].update.policies[0].rule = None;
    let (mut world, inherited) = world.rebooted(&kept);
    assert_eq!(inherited, Inherited { enforced: 0, refused: 1, alarms: 0 });
    assert_eq!(world.accesses(0, 1), [Reason::StatusReject]);
}

#[test]
fn a_rejection_ends_on_the_worlds_clock_though_the_machine_slept() {
    let mut world = World::new();
    let until = world.unix_ms() + 600 * SECOND as i64;
    world.apply(entry(0, 1, example_policies()).rejected_until(until));
    world.seconds(2);
    assert_eq!(world.accesses(0, 1), [Reason::StatusReject]);
    // The node's own clock stood still for most of it.
    world.set_clock(590 * SECOND as i64);
    world.seconds(1);
    assert_eq!(world.accesses(0, 1), [Reason::StatusReject]);
    world.seconds(9);
    assert_eq!(world.accesses(0, 1), [Reason::Admitted]);
}

#[test]
fn a_rejection_that_passed_while_the_machine_slept_is_over_within_a_second() {
    let mut world = World::new();
    world.apply(entry(0, 1, example_policies()).rejected_until(world.unix_ms() + 60 * SECOND as i64));
    world.seconds(1);
    world.set_clock(3600 * SECOND as i64);
    world.seconds(1);
    assert!(!world.control(0).has(STATUS_REJECT));
    assert_eq!(world.accesses(0, 1), [Reason::Admitted]);
}

#[test]
fn a_clock_that_is_set_back_prolongs_what_ends_on_it() {
    let mut world = World::new();
    let until = world.unix_ms() + 60 * SECOND as i64;
    world.apply(entry(0, 1, example_policies()).rejected_until(until).throttled_until(until));
    world.seconds(1);
    world.set_clock(-300 * SECOND as i64);
    world.seconds(100);
    assert_eq!(world.accesses(0, 1), [Reason::StatusReject]);
    world.seconds(300);
    assert_eq!(world.accesses(0, 1), [Reason::Admitted]);
}

#[test]
fn clocks_that_drift_apart_slowly_are_followed_too() {
    let mut world = World::new();
    let until = world.unix_ms() + 600 * SECOND as i64;
    world.apply(entry(0, 1, example_policies()).rejected_until(until));
    // A twentieth too slow: after 570 s of the node's time 598.5 s have passed.
    for _ in 0..570 {
        world.set_clock(50);
        world.seconds(1);
    }
    assert_eq!(world.accesses(0, 1), [Reason::Admitted]);
}

#[test]
fn a_rejection_that_is_longer_than_an_entry_can_tell_goes_on() {
    const DAY: u64 = 24 * 3600 * SECOND;
    let mut world = World::new();
    let until = world.unix_ms() + 10 * DAY as i64;
    world.apply(entry(0, 1, example_policies()).rejected_until(until));
    for _ in 0..38 {
        world.wait(DAY / 4);
        let now = world.now();
        world.core.keep_histories_old(now);
        assert_eq!(world.accesses(0, 1), [Reason::StatusReject]);
    }
    world.wait(DAY);
    assert_eq!(world.accesses(0, 1), [Reason::Admitted]);
}
