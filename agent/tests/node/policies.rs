//! What a policy can say, from the wire to the packet: large limits, rates, requests, shadow; and what a node cannot
//! hold together, refused with the reason.

use weir_dataplane_common::{
    abi::{Side, alarm_when},
    reason::{
        Reason::{self, Admitted, Held, InSession, LimitExceeded, RateExceeded},
        Verdict,
    },
};
use weir_proto::v1::{self, policy::Rule};

use crate::{
    control::{NOTHING, REJECT, entry, forbids, limit, throttling},
    world::{SECOND, World, address},
};

fn in_shadow(policy: v1::Policy) -> v1::Policy {
    v1::Policy { shadow: true, ..policy }
}

fn counting_requests(policy: v1::Policy) -> v1::Policy {
    v1::Policy { counts: v1::Counted::Requests.into(), ..policy }
}

fn rate(id: u32, bytes_per_second: u64, packets_per_second: u32, direction: v1::Direction) -> v1::Policy {
    let direction = direction.into();
    let rate = v1::Rate { bytes_per_second, packets_per_second, burst_ms: 100, direction };
    v1::Policy { rule: Some(Rule::Rate(rate)), ..limit(id, 0, REJECT) }
}

fn holding(policies: Vec<v1::Policy>) -> World {
    let mut world = World::new();
    world.apply(entry(0, 1, policies));
    world
}

#[test]
fn a_limit_of_twenty_admits_twenty_and_the_report_says_in_which_sub_windows() {
    let mut world = holding(vec![limit(7, 20, REJECT)]);
    assert_eq!(world.accesses(0, 20), [Admitted; 20]);
    assert_eq!(world.accesses(0, 3), [LimitExceeded; 3]);
    let report = world.report();
    let [windows] = &report[0].windows[..] else { panic!("one large limit: {report:?}") };
    assert_eq!((windows.policy, windows.throttle), (7, false));
    assert_eq!((windows.counts.len(), windows.counts.iter().sum::<u32>()), (4, 20));
    assert!((20_000_000..20_100_000).contains(&windows.length_us), "a third of a minute: {windows:?}");
    let age = world.unix_ms() - windows.newest_start_ms;
    assert!((0..20_100).contains(&age), "it is not over: {windows:?}");
    assert_eq!(report[0].admissions_ms.len(), 14);
    world.wait(80 * SECOND);
    assert_eq!(world.accesses(0, 1), [Admitted], "a window and a sub-window later there is room");
}

#[test]
fn a_throttle_to_more_than_fourteen_is_kept_to() {
    let mut world = holding(vec![throttling(7, 3, 20)]);
    assert_eq!(world.accesses(0, 20), [Admitted; 20]);
    assert_eq!(world.accesses(0, 2), [Reason::Throttled; 2]);
    let windows = world.report().remove(0).windows;
    assert_eq!((windows.len(), windows[0].throttle), (1, true));
    assert_eq!(windows[0].counts.iter().sum::<u32>(), 20);
}

#[test]
fn an_alarm_may_permit_more_than_fourteen_requests() {
    let mut world = World::with(|config| {
        config.alarm.as_mut().expect("an alarm").count = Some((20, std::time::Duration::from_secs(60)));
    });
    assert_eq!(world.accesses(0, 20), [Admitted; 20]);
    assert_eq!(world.accesses(0, 1), [Held]);
    let alarm = world.one_alarm();
    let Some(v1::alarm_raised::Condition::Count(count)) = alarm.condition else { panic!("{alarm:?}") };
    assert_eq!(count.requests, 21);
}

/// What became of a packet every twenty milliseconds for ten seconds.
fn flood(world: &mut World) -> Vec<Reason> {
    let packet = |_| {
        world.wait(20);
        world.uplink(0)
    };
    (0..500).map(packet).collect()
}

#[test]
fn ten_packets_a_second_are_ten_packets_a_second() {
    let mut world = holding(vec![rate(7, 0, 10, v1::Direction::Up)]);
    let reasons = flood(&mut world);
    assert_eq!(reasons[0], Admitted);
    assert!(reasons[1..].iter().all(|reason| matches!(reason, InSession | RateExceeded)), "{reasons:?}");
    let passed = reasons.iter().filter(|reason| reason.verdict() == Verdict::Pass).count();
    assert!((100..=102).contains(&passed), "{passed} in ten seconds");
    assert_eq!(world.report()[0].last_rejection, "rate-exceeded");
}

#[test]
fn a_rate_down_leaves_what_the_device_sends_alone() {
    let mut world = holding(vec![rate(7, 0, 10, v1::Direction::Down)]);
    let reasons = flood(&mut world);
    assert!(reasons.iter().all(|reason| reason.verdict() == Verdict::Pass));
    let downlink: Vec<_> = (0..10).map(|_| world.trigger(0)).collect();
    assert_eq!((downlink[0], downlink[9]), (InSession, RateExceeded));
}

#[test]
fn the_tighter_of_bytes_and_packets_governs() {
    let small = 32;
    for (bytes, packets, expected) in [(small * 10, 1000, 10), (1_000_000, 10, 10)] {
        let mut world = holding(vec![rate(7, bytes, packets, v1::Direction::Both)]);
        let passed = flood(&mut world).iter().filter(|reason| reason.verdict() == Verdict::Pass).count();
        let expected = expected * 10;
        assert!((expected..=expected + 2).contains(&passed), "{bytes} bytes, {packets} packets: {passed}");
    }
}

#[test]
fn requests_that_were_refused_count_where_a_policy_counts_requests() {
    let mut admitted = holding(vec![limit(7, 3, REJECT)]);
    let mut requests = holding(vec![counting_requests(limit(7, 3, REJECT))]);
    for world in [&mut admitted, &mut requests] {
        assert_eq!(world.accesses(0, 4), [Admitted, Admitted, Admitted, LimitExceeded]);
    }
    // A device that knocks every two seconds: after a minute the admissions have left the window, its requests not.
    assert!(admitted.accesses(0, 40).contains(&Admitted));
    assert!(!requests.accesses(0, 40).contains(&Admitted));
    requests.wait(61 * SECOND);
    assert_eq!(requests.accesses(0, 1), [Admitted]);
}

#[test]
fn a_policy_in_shadow_stops_nothing_and_says_what_it_would_have_stopped() {
    let policies = vec![
        in_shadow(limit(1, 2, REJECT)),
        in_shadow(throttling(2, 15, 16)),
        in_shadow(forbids(3, &["esp"], REJECT)),
        in_shadow(rate(4, 0, 1, v1::Direction::Both)),
    ];
    let mut world = holding(policies);
    let reasons = world.accesses(0, 40);
    assert!(reasons.iter().all(|reason| *reason == Admitted), "{reasons:?}");
    assert_eq!(world.uplink_esp(0), InSession);
    let frame = world.frame(address(0), address(1), false);
    let outcome = world.receive(Side::Access, &frame);
    assert_eq!(outcome.shadow.reason(), RateExceeded as u32, "two packets in an instant, at one a second");
    world.wait(2 * SECOND);
    let frame = world.frame(address(0), address(1), false);
    let outcome = world.receive(Side::Access, &frame);
    assert_eq!((outcome.shadow.reason(), outcome.shadow.place()), (LimitExceeded as u32, 0));
}

#[test]
fn what_an_entry_cannot_hold_together_is_refused_with_the_reason() {
    let cases = [
        (
            vec![counting_requests(limit(1, 14, REJECT))],
            "policy 1: 14 requests per window; an entry judges at most 13",
        ),
        (
            vec![counting_requests(limit(1, 3, REJECT)), limit(2, 15, NOTHING)],
            "policy 1 counts requests, and policy 2 has a limit above 14",
        ),
        (
            vec![rate(1, 1000, 0, v1::Direction::Up), rate(2, 2000, 0, v1::Direction::Up)],
            "policies 1 and 2 both limit bytes per second",
        ),
        (
            vec![rate(1, 1000, 0, v1::Direction::Up), rate(2, 0, 10, v1::Direction::Down)],
            "policies 1 and 2 limit rates of opposite directions",
        ),
        (vec![rate(1, 99, 0, v1::Direction::Up)], "policy 1: a rate that a node cannot meter"),
        (
            vec![v1::Policy { counts: 7, ..limit(1, 3, REJECT) }],
            "policy 1 counts something that this node does not know",
        ),
    ];
    let mut world = World::new();
    for (policies, reason) in cases {
        let refused = world.update(entry(0, 1, policies));
        assert!(refused.starts_with(reason), "{refused}");
    }
    assert_eq!(world.control(0).profile(), 0);
}

#[test]
fn a_large_limit_is_refused_by_a_node_whose_alarm_counts_requests_of_every_device() {
    let mut world = World::with(|config| config.alarm.as_mut().expect("an alarm").when = alarm_when::ALWAYS);
    let refused = world.update(entry(0, 1, vec![limit(7, 20, REJECT)]));
    assert!(
        refused.starts_with("policy 7 has a limit above 14, which takes the room in which this node's alarm")
    );
    let refused = world.update(entry(0, 1, vec![rate(8, 1000, 10, v1::Direction::Up)]));
    assert!(
        refused.starts_with("policy 8 limits bytes as well as packets, which takes the room"),
        "{refused}"
    );
    world.apply(entry(0, 1, vec![limit(7, 14, REJECT)]));
}
