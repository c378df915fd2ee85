//! More alarms than the ring holds: none is lost in silence.

use weir_dataplane::gate::{Options, SMALLEST_RING};
use weir_dataplane_common::{
    abi::{ALARM_UNSEEN, Control, HELD, Profile, Side, VALID},
    reason::{Reason, Verdict},
};

use weir_dataplane::replay::PrivateCopy;

use super::{frames, rights, worlds::World};

const DEVICES: u8 = 20;

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_alarm_that_finds_the_ring_full_is_counted_and_its_bit_stays() {
    if !rights::at_hand("the ring's overrun") {
        return;
    }
    let options = Options { ring_bytes: SMALLEST_RING, ..World::full().options() };
    let mut copy = PrivateCopy::load(&options).expect("the private copy loads");
    // Every first request is one too many.
    let alarming = Profile {
        inactivity: 1000,
        max_age: 1000,
        retry: 1,
        alarm_counts: 1,
        alarm_window: 1000,
        ..Profile::default()
    };
    copy.write_profile(0, &alarming).expect("room for the profile");
    let entries = copy.entries();
    for device in 0..DEVICES {
        entries[usize::from(device)].control.store(VALID);
        let source = [10, 45, 0, device].into();
        let frame = &frames::one_of_each(source, [192, 0, 2, 5].into())[0];
        let (verdict, trace) = copy.judge(frame, Side::Access, 1 << 40).expect("the kernel runs the frame");
        assert_eq!((verdict, trace.reason), (Verdict::Drop, Reason::Held as u8));
    }
    let mut alarms = copy.take_alarms().expect("taken once");
    let arrived = std::iter::from_fn(|| alarms.next_alarm()).map(|alarm| alarm.entry).collect::<Vec<u32>>();
    let lost = copy.lost_alarms().expect("a counter");
    assert!(!arrived.is_empty() && lost > 0, "{} arrived, {lost} lost", arrived.len());
    assert_eq!(arrived.len() as u64 + lost, u64::from(DEVICES));
    let unseen = |entry: usize| {
        Control(entries[entry].control.load()).0 & (ALARM_UNSEEN | HELD) == ALARM_UNSEEN | HELD
    };
    assert!((0..usize::from(DEVICES)).all(unseen), "the agent's sweep finds every one");
}
