//! What an idle device costs (goal P10: at most 256 bytes), by the allocations of the thread that makes it.

mod network;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use network::{START, at_most, config, meter, too_many};
use weir_service_control::{
    AccessKind, Action, Alarm, AlarmFate, AlarmId, CacheUpdate, DeviceCounts, DeviceId, Input, NodeName,
    Policy, ServiceControl, Status, Subscription, UnixMillis,
};

/// The goal.
const MOST: u64 = 256;
/// A few more than the index has room for before it doubles: its worst case.
const DEVICES: u32 = if cfg!(debug_assertions) { 14_500 } else { 115_000 };

/// The system's allocator, with what each thread holds of it.
struct Counting;

thread_local! {
    static HELD: Cell<u64> = const { Cell::new(0) };
}

/// What an allocation costs: its size, the allocator's word beside it, in steps of 16 bytes, and at least two.
fn cost(size: usize) -> u64 {
    (size as u64 + 8).next_multiple_of(16).max(32)
}

fn held(change: impl FnOnce(u64) -> u64) {
    // A thread that is ending has nothing to be counted any more.
    let _ = HELD.try_with(|held| held.set(change(held.get())));
}

// SAFETY: all of it is the system's allocator; the count beside it allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        held(|held| held.wrapping_add(cost(layout.size())));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        held(|held| held.wrapping_sub(cost(layout.size())));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn node() -> NodeName {
    NodeName("pgw-1".into())
}

fn device(number: u32) -> DeviceId {
    DeviceId(format!("00101{number:010}"))
}

/// A device that was let in three times and refused twice.
fn counts() -> DeviceCounts {
    DeviceCounts {
        requests: 5,
        admitted: 3,
        rejected: 2,
        last_rejection: Some("limit-reached".into()),
        admissions: (1..=3).map(|number| UnixMillis(START - 1_000_000 * number)).rev().collect(),
        ..DeviceCounts::default()
    }
}

fn counted(control: &mut ServiceControl, id: DeviceId) {
    let report = Input::CountsReported { node: node(), boot: "boot".into(), devices: vec![(id, counts())] };
    control.handle(report, UnixMillis(START));
}

/// It raises an alarm, which is decided on by these answers.
fn decided(control: &mut ServiceControl, id: &DeviceId, kind: Subscription, policies: Vec<Policy>) {
    let alarm = Alarm {
        id: AlarmId { node: node(), boot: "boot".into(), sequence: 1 << 40 },
        device: id.clone(),
        condition: too_many(4),
        kind: AccessKind::Packet,
        access_held: true,
        counts: counts(),
    };
    let (now, device) = (UnixMillis(START), || id.clone());
    control.handle(Input::AlarmRaised(alarm), now);
    control.handle(Input::SubscriptionAnswered { device: device(), answer: Ok(kind) }, now);
    control.handle(Input::PoliciesAnswered { device: device(), answer: Ok(policies) }, now);
}

/// Bytes that each device adds when this is done for many.
fn bytes_each(mut make: impl FnMut(&mut ServiceControl, u32)) -> u64 {
    let mut control = ServiceControl::new(config());
    control.handle(Input::NodeConnected { node: node(), boot: "boot".into() }, UnixMillis(START));
    let before = HELD.get();
    (0..DEVICES).for_each(|number| make(&mut control, number));
    let bytes = (HELD.get() - before).div_ceil(DEVICES.into());
    assert_eq!(control.devices().count(), DEVICES as usize);
    assert_eq!(control.alarmed_devices(), 0, "they are idle");
    bytes
}

fn policies() -> Vec<Policy> {
    vec![at_most(1, 9, Action::Reject)]
}

#[test]
fn a_device_that_is_only_counted_costs_at_most_256_bytes() {
    let bytes = bytes_each(|control, number| counted(control, device(number)));
    assert!(bytes <= MOST, "{bytes}");
}

#[test]
fn a_device_of_which_fourteen_admissions_are_known_costs_at_most_256_bytes() {
    let fourteen: Vec<_> = (1..=14).map(|number| UnixMillis(START - 240_000 * number)).rev().collect();
    let bytes = bytes_each(|control, number| {
        let counts = DeviceCounts { admitted: 14, admissions: fourteen.clone(), ..counts() };
        let devices = vec![(device(number), counts)];
        let report = Input::CountsReported { node: node(), boot: "boot".into(), devices };
        control.handle(report, UnixMillis(START));
    });
    assert!(bytes <= MOST, "{bytes}");
}

#[test]
fn a_device_that_was_decided_on_and_counted_costs_at_most_256_bytes() {
    let bytes = bytes_each(|control, number| {
        let Ok(kind) = meter() else { unreachable!("the subscription is known") };
        decided(control, &device(number), kind, policies());
        counted(control, device(number));
        assert_eq!(control.cached_devices(), number as usize + 1);
    });
    assert!(bytes <= MOST, "{bytes}");
}

#[test]
fn a_device_that_is_not_m2m_costs_at_most_256_bytes_its_timer_included() {
    let bytes = bytes_each(|control, number| {
        let phone = Subscription::Known { device_type: "phone".into() };
        decided(control, &device(number), phone, Vec::new());
        counted(control, device(number));
    });
    assert!(bytes <= MOST, "{bytes}");
}

#[test]
fn a_device_restored_with_its_policies_costs_at_most_256_bytes() {
    let bytes = bytes_each(|control, number| {
        let entry = CacheUpdate {
            revision: u64::from(number) + 1,
            device: device(number),
            cached: true,
            policies: policies(),
            status: Status::default(),
            not_m2m: false,
            release_session: false,
            answers: None,
            alarm: AlarmFate::Unchanged,
            explanation: "Cancelled: policy 1 permits 9 accesses in 60 s, and the count is 4.".into(),
        };
        control.restore([entry], UnixMillis(START));
    });
    assert!(bytes <= MOST, "{bytes}");
}

#[test]
fn a_device_whose_alarm_is_over_takes_no_more_than_before() {
    let (mut bytes, mut now) = (0, START);
    let mut control = ServiceControl::new(config());
    let Ok(kind) = meter() else { unreachable!("the subscription is known") };
    for round in 0..20 {
        let alarm = Input::AlarmRaised(Alarm {
            id: AlarmId { node: node(), boot: "boot".into(), sequence: round },
            device: device(1),
            condition: too_many(4),
            kind: AccessKind::Packet,
            access_held: true,
            counts: counts(),
        });
        drop(control.handle(alarm, UnixMillis(now)));
        let known = Input::SubscriptionAnswered { device: device(1), answer: Ok(kind.clone()) };
        drop(control.handle(known, UnixMillis(now)));
        let answer = Ok(vec![at_most(1, 0, Action::Reject)]);
        drop(control.handle(Input::PoliciesAnswered { device: device(1), answer }, UnixMillis(now)));
        assert_eq!(control.alarmed_devices(), 1, "it is rejected");
        drop(control.handle(Input::OperatorCancels { device: device(1) }, UnixMillis(now)));
        now += 3_600_000;
        drop(control.handle(Input::TimePassed, UnixMillis(now)));
        assert_eq!((control.alarmed_devices(), control.next_timeout()), (0, None));
        if round < 2 {
            bytes = HELD.get();
        }
    }
    assert!(HELD.get() <= bytes, "{} after {bytes}", HELD.get());
}
