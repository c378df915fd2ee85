//! Strangers judged one by one: the agent writes what they are judged by, keeps their places over a takeover, empties
//! them when they come to be judged by something else, and says how full the table is.

use std::{net::Ipv4Addr, time::Duration};

use weir_agent::{
    config::StrangerLimit,
    core::Kernel,
    tables::{Filled, Table},
};
use weir_dataplane_common::{
    abi::{STRANGER_PROFILE, Side, action, rule},
    reason::Reason,
};

use crate::world::{MINUTE, SECOND, World};

const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

fn limit() -> StrangerLimit {
    StrangerLimit {
        places: 64,
        permitted: 2,
        window: Duration::from_secs(60),
        inactivity: Duration::from_secs(1),
        new_per_second: 1000,
        pass_when_full: false,
    }
}

fn world() -> World {
    World::with(|config| config.stranger_limit = Some(limit()))
}

fn stranger(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, number)
}

/// A stranger's access, two seconds after whatever was before.
fn access(world: &mut World, number: u8) -> Reason {
    world.wait(2 * SECOND);
    let frame = world.frame(stranger(number), SERVER, false);
    world.receive(Side::Access, &frame).reason
}

fn filled(world: &mut World) -> Option<Filled> {
    (0..16).for_each(|_| drop(world.each_second()));
    world.core.tables().into_iter().find(|table| table.name == "strangers")?.filled
}

#[test]
fn a_start_writes_what_strangers_are_judged_by() {
    let mut world = world();
    let profile = world.core.kernel().read_profile(STRANGER_PROFILE).expect("written");
    let only = profile.rules[0];
    assert_eq!((only.restricts, only.action, only.permitted), (rule::ACCESS_LIMIT, action::REJECT, 2));
    assert_eq!(
        (profile.cached, profile.alarm_counts, profile.alarm_classes),
        (1, 0, 0),
        "no stranger alarms"
    );
    use Reason::{Admitted, LimitExceeded};
    let reasons: Vec<_> = (0..3).map(|_| access(&mut world, 9)).collect();
    assert_eq!(reasons, [Admitted, Admitted, LimitExceeded]);
    assert_eq!(access(&mut world, 10), Admitted, "another stranger has a limit of its own");
    assert_eq!(world.uplink(0), Admitted, "and a device its policies");
    assert!(world.report().len() == 1 && world.alarms().is_empty(), "control hears of the device alone");
}

#[test]
fn without_a_limit_there_is_no_table() {
    let mut world = World::new();
    assert_eq!(access(&mut world, 9), Reason::UnknownDropped);
    assert!(filled(&mut world).is_none());
    assert!(world.core.tables().contains(&Table::filled("held-frames", 4096, 0).with_full(0)));
}

#[test]
fn a_takeover_leaves_strangers_where_they_are() {
    let mut world = world();
    access(&mut world, 9);
    access(&mut world, 9);
    let (mut world, adopted, _) = world.taken_over(1, &[], |config| config.stranger_limit = Some(limit()));
    assert_eq!(adopted.cleared, 0);
    assert_eq!(access(&mut world, 9), Reason::LimitExceeded);
}

#[test]
fn strangers_who_are_judged_by_something_else_begin_anew() {
    for (permitted, window) in [(3, 60), (2, 30), (100, 60)] {
        let mut world = world();
        access(&mut world, 9);
        access(&mut world, 9);
        let window = Duration::from_secs(window);
        let changed = StrangerLimit { permitted, window, ..limit() };
        let (mut world, ..) = world.taken_over(1, &[], |config| config.stranger_limit = Some(changed));
        let mut admitted = 0;
        while admitted < 9 && access(&mut world, 9) == Reason::Admitted {
            admitted += 1;
        }
        assert_eq!(admitted, permitted.min(9), "{permitted} in {window:?}");
    }
}

#[test]
fn places_in_use_are_counted_until_nothing_of_their_strangers_counts() {
    let mut world = world();
    for number in 0..5 {
        access(&mut world, number);
    }
    assert_eq!(filled(&mut world), Some(Filled { places: 64, used: 5 }));
    world.wait(2 * MINUTE);
    assert_eq!(filled(&mut world), Some(Filled { places: 64, used: 0 }));
}

#[test]
fn a_stranger_who_comes_back_when_the_clock_has_wrapped_is_a_new_one() {
    // An entry's instants wrap after 52 days, those of a history after 13.
    const DAY: u64 = 24 * 60 * MINUTE;
    for days in [13, 52] {
        let mut world = world();
        access(&mut world, 9);
        access(&mut world, 9);
        for _ in 0..days * 4 {
            world.wait(DAY / 4);
            let now = world.now();
            world.core.keep_histories_old(now);
        }
        assert_eq!(access(&mut world, 9), Reason::Admitted, "after {days} days");
        assert_eq!(filled(&mut world).map(|filled| filled.used), Some(1));
    }
}
