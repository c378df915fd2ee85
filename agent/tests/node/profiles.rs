//! Profile numbers: shared by equals, never changed while an entry names them, given back when none does.
//! (That none is written while it is named is asserted by the kernel of these tests at each write.)

use std::time::Duration;

use weir_agent::profile::{self, Action, Limit, Policy, Restriction};
use weir_dataplane_common::{abi::Profile, inspect::Class};
use weir_proto::v1;

use crate::{
    control::{Amended, REJECT, entry, forbids, limit, no_entry, throttling},
    world::{DEVICES, World, config},
};

/// A policy of this test: so many accesses per minute, or no ESP at all.
#[derive(Clone, Copy)]
enum Drawn {
    Accesses(u32),
    NoEsp,
}

/// At most three policies, few enough distinct ones that devices often agree.
fn draw(random: &mut fastrand::Rng) -> Vec<Drawn> {
    let policy = |random: &mut fastrand::Rng| match random.u32(0..8) {
        6.. => Drawn::NoEsp,
        permitted => Drawn::Accesses(permitted),
    };
    (0..random.usize(0..=3)).map(|_| policy(random)).collect()
}

fn on_the_wire(policies: &[Drawn]) -> Vec<v1::Policy> {
    let policy = |(id, policy): (u32, &Drawn)| match *policy {
        Drawn::NoEsp => forbids(id, &["esp"], REJECT),
        Drawn::Accesses(permitted) => limit(id, permitted, REJECT),
    };
    (1..).zip(policies).map(policy).collect()
}

fn compiled(policies: &[Drawn]) -> Profile {
    let policy = |(id, policy): (u32, &Drawn)| {
        let restriction = match *policy {
            Drawn::NoEsp => Restriction::Protocols(vec![Class::Esp]),
            Drawn::Accesses(permitted) => {
                Restriction::Accesses(Limit { permitted, window: Duration::from_secs(60) })
            }
        };
        Policy::new(id, restriction, Action::Reject)
    };
    let policies: Vec<Policy> = (1..).zip(policies).map(policy).collect();
    let config = config();
    let compiled = profile::compile(Some(&policies), &config.kinds, &config.timings, config.alarm.as_ref());
    compiled.expect("the policies fit")
}

#[test]
fn after_thousands_of_updates_every_entry_names_its_own_profile() {
    let (mut random, mut world) = (fastrand::Rng::with_seed(17), World::new());
    let mut held: [Option<Vec<Drawn>>; DEVICES.len()] = Default::default();
    for revision in 1..5000 {
        let device = random.usize(0..DEVICES.len());
        match random.u32(0..20) {
            0 => assert_ne!(world.update(entry(device, revision, vec![limit(1, 1024, REJECT)])), ""),
            1 | 2 => {
                world.apply(no_entry(device, revision));
                held[device] = None;
            }
            _ => {
                let policies = draw(&mut random);
                world.apply(entry(device, revision, on_the_wire(&policies)));
                held[device] = Some(policies);
            }
        }
        for (device, held) in held.iter().enumerate() {
            match held {
                Some(policies) => assert_eq!(world.profile(device), compiled(policies)),
                None => assert_eq!(world.control(device).profile(), 0),
            }
        }
        let mut distinct: Vec<u32> = (0..DEVICES.len()).map(|it| world.control(it).profile()).collect();
        distinct.retain(|number| *number != 0);
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(world.core.device_figures(), (DEVICES.len(), distinct.len()));
    }
}

#[test]
fn devices_with_equal_policies_share_a_profile() {
    let mut world = World::new();
    for device in 0..3 {
        world.apply(entry(device, 1, vec![throttling(1, 3, 5)]));
    }
    assert_eq!(world.core.device_figures(), (3, 1));
    assert_eq!(world.control(0).profile(), world.control(2).profile());
}

#[test]
fn a_number_rests_as_long_as_others_are_free() {
    let mut world = World::new();
    let mut last = 0;
    for revision in 1..100 {
        // Each window is another profile, and the one before is free again.
        let mut policy = limit(1, 1, REJECT);
        let rule = v1::AccessLimit { permitted: 1, window_ms: 1000 + 10 * revision };
        policy.rule = Some(v1::policy::Rule::AccessLimit(rule));
        world.apply(entry(0, revision, vec![policy]));
        let number = world.control(0).profile();
        assert_ne!(number, last, "a packet just being judged may still read profile {last}");
        assert!(number > last, "there were fresh ones");
        last = number;
    }
    assert_eq!(world.core.device_figures(), (3, 1));
}

#[test]
fn a_profile_named_by_an_alarmed_entry_is_given_back_with_it() {
    let mut world = World::new();
    world.raise_count_alarm(0);
    world.apply(world.example_answer(0, 1));
    assert_eq!(world.core.device_figures(), (3, 1));
    world.apply(no_entry(0, 2).cancels());
    assert_eq!(world.core.device_figures(), (3, 0));
}
