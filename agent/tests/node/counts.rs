//! Counts on their way up.

use weir_dataplane_common::reason::Reason::{Admitted, Held};

use weir_agent::config::Binding;
use weir_proto::v1::{alarm_raised::Condition, from_node::Message};

use crate::{
    control::{Amended, REJECT, entry, limit},
    world::{MINUTE, World},
};

/// Many devices, which have all been counted once.
fn many(devices: u32) -> World {
    let mut world = World::with(|config| {
        config.pools = vec!["10.45.0.0/16".parse().expect("a prefix")];
        let address = |number: u32| std::net::Ipv4Addr::from(0x0a2d_0001 + number).into();
        let binding = |number| Binding { device: format!("{number:015}"), addresses: vec![address(number)] };
        config.bindings = (0..devices).map(binding).collect();
    });
    (0..devices as usize).for_each(|device| world.entry(device).requests.add(1));
    world
}

#[test]
fn a_report_on_many_devices_is_several_messages_that_a_receiver_takes() {
    let mut world = many(10_000);
    let now = world.now();
    let sizes = |said: Vec<Message>| -> Vec<usize> {
        let reports = said.into_iter().filter_map(|message| match message {
            Message::Counts(report) => Some(report.devices.len()),
            _ => None,
        });
        reports.collect()
    };
    assert_eq!(sizes(world.core.report(now)), [4096, 4096, 1808]);
    assert_eq!(sizes(world.core.greet(now)), [4096, 4096, 1808]);
    assert!(world.core.report(now).is_empty());
}

#[test]
fn counters_go_on_when_the_kernels_wrap() {
    let mut world = World::new();
    let nearly = u32::MAX - 1;
    world.entry(0).requests.store(nearly);
    world.entry(0).admitted.store(nearly);
    world.report();
    world.accesses(0, 3);
    let report = world.report().remove(0);
    assert_eq!(world.requests_and_admissions(0), (1, 1), "the kernel's have wrapped");
    assert_eq!((report.requests, report.admitted), (u64::from(nearly) + 3, u64::from(nearly) + 3));
    assert_eq!(world.greeting().counts.remove(0).requests, u64::from(nearly) + 3);
}

#[test]
fn admissions_are_told_in_the_worlds_time_oldest_first() {
    let mut world = World::new();
    let begin = world.unix_ms();
    world.accesses(0, 3);
    let told = world.report().remove(0).admissions_ms;
    for (place, told) in told.iter().enumerate() {
        let exact = begin + 2_000 * (place as i64 + 1);
        assert!((exact - 3..=exact + 3).contains(told), "{told} is not {exact}");
    }
    world.wait(MINUTE);
    world.accesses(0, 1);
    assert_eq!(world.report().remove(0).admissions_ms.len(), 4, "control decides which still matter");
}

#[test]
fn a_rejection_is_told_with_its_latest_reason() {
    let mut world = World::new();
    world.apply(entry(0, 1, vec![limit(1, 1, REJECT)]));
    world.accesses(0, 2);
    assert_eq!(world.report().remove(0).last_rejection, "limit-exceeded");
    world.apply(entry(0, 2, vec![]).rejected_until(-1));
    world.accesses(0, 1);
    let report = world.report().remove(0);
    assert_eq!((report.rejected, report.last_rejection.as_str()), (2, "status-reject"));
}

#[test]
fn an_alarm_that_fills_the_history_tells_more_than_the_history_holds() {
    let mut world = World::with(|config| {
        let count = &mut config.alarm.as_mut().expect("an alarm").count;
        *count = Some((14, std::time::Duration::from_secs(60)));
    });
    let reasons = world.accesses(0, 15);
    assert_eq!((reasons[13], reasons[14]), (Admitted, Held));
    let condition = world.one_alarm().condition;
    let Some(Condition::Count(count)) = condition else { panic!("it counted") };
    assert_eq!(count.requests, 15);
}
