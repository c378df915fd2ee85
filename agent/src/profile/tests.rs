//! What compiles to what, and what is refused with which words.

use super::misfit::Taker;
use super::*;
use AccessKind::{Packet, Trigger};
use weir_dataplane_common::abi::{BY_WORDS, Meter, THROTTLE_WORD, alarm_when, meter_side};

const MINUTE: Duration = Duration::from_secs(60);
const TIMINGS: Timings = Timings {
    inactivity: Duration::from_secs(10),
    max_session_age: Duration::from_secs(3600),
    retry_interval: Duration::from_secs(1),
};

fn limit(permitted: u32) -> Restriction {
    Restriction::Accesses(Limit { permitted, window: MINUTE })
}

fn policy(id: u32, restriction: Restriction, action: Action) -> Policy {
    Policy::new(id, restriction, action)
}

fn compiled(policies: &[Policy]) -> Result<Profile, Misfit> {
    compile(Some(policies), &[Packet, Trigger], &TIMINGS, None)
}

#[test]
fn the_worked_example_compiles_to_two_rules_in_the_order_of_their_ids() {
    let throttle = Action::Throttle(Limit { permitted: 5, window: MINUTE });
    let profile = compiled(&[
        policy(2, Restriction::Protocols(vec![Class::Esp]), Action::Reject),
        policy(1, limit(3), throttle),
    ])
    .expect("fits");
    let minute = window_ticks(60_000_000_000);
    assert_eq!(
        (profile.rules[0].policy, profile.rules[0].permitted, profile.rules[0].window),
        (1, 3, minute)
    );
    assert_eq!((profile.rules[0].throttle_permitted, profile.rules[0].throttle_window), (5, minute));
    assert_eq!((profile.rules[1].policy, profile.rules[1].action), (2, action::REJECT));
    assert_eq!(profile.forbidden, Classes::of(Class::Esp).0);
    assert_eq!((profile.cached, profile.kinds), (1, Packet.bit() | Trigger.bit()));
}

#[test]
fn a_protocol_that_is_only_watched_is_not_forbidden() {
    let profile = compiled(&[policy(2, Restriction::Protocols(vec![Class::Esp]), Action::None)]);
    assert_eq!(profile.expect("fits").forbidden, 0);
}

#[test]
fn no_policies_are_not_the_same_as_no_entry() {
    assert_eq!(compiled(&[]).expect("fits").cached, 1);
    assert_eq!(compile(None, &[Packet], &TIMINGS, None).expect("fits").cached, 0);
}

#[test]
fn what_an_entry_cannot_hold_is_refused_with_the_policy() {
    let throttle = Action::Throttle(Limit { permitted: 1, window: MINUTE });
    let five: Vec<Policy> = (1..=5).map(|id| policy(id, limit(1), Action::None)).collect();
    assert_eq!(compiled(&five), Err(Misfit::TooManyPolicies(5)));
    let large = compiled(&[policy(7, limit(1024), Action::Reject)]);
    assert_eq!(large, Err(Misfit::LimitTooLarge { policy: 7, permitted: 1024 }));
    let brief = Restriction::Accesses(Limit { permitted: 15, window: Duration::from_millis(999) });
    assert!(matches!(
        compiled(&[policy(7, brief, Action::Reject)]),
        Err(Misfit::WindowTooShort { policy: 7, permitted: 15, .. })
    ));
    let two = compiled(&[policy(1, limit(1), throttle), policy(2, limit(2), throttle)]);
    assert_eq!(two, Err(Misfit::TwoThrottles(1, 2)));
    let zero = Restriction::Accesses(Limit { permitted: 1, window: Duration::ZERO });
    assert!(matches!(compiled(&[policy(1, zero, Action::Reject)]), Err(Misfit::Window { policy: 1, .. })));
}

#[test]
fn limits_that_count_different_kinds_are_refused_unless_the_node_sees_no_difference() {
    let only_packets = Policy { kinds: vec![Packet], ..policy(1, limit(1), Action::Reject) };
    let everything = policy(2, limit(2), Action::Reject);
    let both = [only_packets, everything];
    assert_eq!(compiled(&both), Err(Misfit::TwoHistories(1, 2)));
    assert!(compile(Some(&both), &[Packet], &TIMINGS, None).is_ok());
}

const BOTH: u8 = meter_side::UP | meter_side::DOWN;

fn rate(bytes: Option<u64>, packets: Option<u32>, sides: u8) -> Restriction {
    let burst = Duration::from_millis(100);
    Restriction::Rate(Rate { bytes_per_second: bytes, packets_per_second: packets, burst, sides })
}

fn requests(id: u32, permitted: u32) -> Policy {
    Policy { counts: Counted::Requests, ..policy(id, limit(permitted), Action::Reject) }
}

fn alarm(permitted: u32, when: u8) -> AlarmCondition {
    AlarmCondition { count: Some((permitted, MINUTE)), protocols: vec![], when, order: 0 }
}

fn beside(policies: &[Policy], alarm: &AlarmCondition) -> Result<Profile, Misfit> {
    compile(Some(policies), &[Packet, Trigger], &TIMINGS, Some(alarm))
}

#[test]
fn only_limits_above_fourteen_are_counted_by_words() {
    let throttle = |permitted| Action::Throttle(Limit { permitted, window: 2 * MINUTE });
    let small = compiled(&[policy(1, limit(14), throttle(14))]).expect("fits");
    assert_eq!((small.by_words, counted_words(&small).count()), (0, 0));
    let policies = [policy(1, limit(14), throttle(1023)), policy(2, limit(1023), Action::Reject)];
    let profile = compiled(&policies).expect("fits");
    let (minute, two) = (window_ticks(60_000_000_000), window_ticks(120_000_000_000));
    let words: Vec<_> = counted_words(&profile).collect();
    let expected = [
        CountedWord { word: 1, policy: 2, throttle: false, window: minute },
        CountedWord { word: THROTTLE_WORD, policy: 1, throttle: true, window: two },
    ];
    assert_eq!(words, expected);
    let bits = BY_WORDS | 1 << 1 | 1 << THROTTLE_WORD;
    assert_eq!((profile.by_words, profile.bounded_words), (bits, 1 << 1));
    assert_eq!((profile.throttle_permitted, profile.throttle_window), (1023, two));
}

#[test]
fn a_large_limit_that_is_not_enforced_is_counted_without_bound() {
    let throttle = Action::Throttle(Limit { permitted: 3, window: MINUTE });
    let profile = compiled(&[
        policy(1, limit(20), Action::None),
        Policy { shadow: true, ..policy(2, limit(30), Action::Reject) },
        policy(3, limit(40), throttle),
        policy(4, limit(50), Action::Release),
    ])
    .expect("fits");
    assert_eq!((profile.by_words, profile.bounded_words), (BY_WORDS | 0b1111, 0b1000));
    assert_eq!(profile.throttle_permitted, 3, "in the slots");
}

#[test]
fn an_alarm_limit_above_fourteen_makes_every_profile_count_by_words() {
    let alarm = alarm(100, alarm_when::ALWAYS);
    let nothing = compile(None, &[Packet], &TIMINGS, Some(&alarm)).expect("fits");
    assert_eq!((nothing.by_words, nothing.alarm_permitted), (BY_WORDS, 100));
    assert_eq!(counted_words(&nothing).count(), 0, "no limit of a policy");
    assert_eq!(beside(&[], &alarm).expect("fits").by_words, BY_WORDS);
    let refused = beside(&[requests(3, 5)], &alarm);
    assert_eq!(refused, Err(Misfit::NoRoomForRequests { policy: 3, taker: Taker::Alarm }));
    let too_large = AlarmCondition { count: Some((1024, MINUTE)), ..alarm };
    assert_eq!(beside(&[], &too_large), Err(Misfit::Alarm { permitted: 1024, window: MINUTE }));
}

#[test]
fn a_large_limit_is_refused_beside_an_alarm_that_counts_requests_of_devices_with_policies() {
    let large = [policy(7, limit(15), Action::Reject)];
    for when in [alarm_when::ALWAYS, alarm_when::NOT_REJECTED] {
        let refused = beside(&large, &alarm(14, when)).expect_err("no room");
        assert_eq!(refused, Misfit::NoRoomForAlarm { taker: Taker::Limit(7) });
        let words = refused.to_string();
        assert!(words.starts_with("policy 7 has a limit above 14, which takes the room"), "{words}");
        assert_eq!(beside(&large, &alarm(15, when)).expect("fits").by_words, BY_WORDS | 1);
    }
    assert!(
        beside(&large, &alarm(14, alarm_when::NO_POLICY_CACHED)).is_ok(),
        "it never looks at this device"
    );
    let protocols = AlarmCondition { count: None, ..alarm(14, alarm_when::ALWAYS) };
    assert!(beside(&large, &protocols).is_ok());
}

#[test]
fn a_policy_that_counts_requests_is_refused_beside_what_takes_their_room() {
    let profile = compiled(&[requests(1, 13)]).expect("fits");
    assert_eq!((profile.rules[0].flags, profile.by_words), (rule_flag::REQUESTS, 0));
    assert_eq!(compiled(&[requests(1, 14)]), Err(Misfit::TooManyRequests { policy: 1, permitted: 14 }));
    let large = compiled(&[requests(1, 3), policy(2, limit(15), Action::None)]);
    assert_eq!(large, Err(Misfit::NoRoomForRequests { policy: 1, taker: Taker::Limit(2) }));
    let rates = policy(4, rate(Some(1000), Some(10), BOTH), Action::Reject);
    let refused = compiled(&[requests(1, 3), rates]).expect_err("no room");
    assert_eq!(refused, Misfit::NoRoomForRequests { policy: 1, taker: Taker::SecondMeter(4, 4) });
    assert_eq!(
        refused.to_string(),
        "policy 1 counts requests, and policy 4 limits bytes as well as packets, which takes the room that an entry \
         has for requests"
    );
}

#[test]
fn a_rate_costs_time_by_byte_or_by_packet() {
    let both = policy(9, rate(Some(125_000), Some(100), meter_side::UP), Action::Reject);
    let profile = compiled(&[policy(1, limit(3), Action::Reject), both]).expect("fits");
    let meter = Meter { burst: 100_000, sides: meter_side::UP, place: 2, ..Meter::default() };
    assert_eq!(profile.meter, Meter { byte_cost: 8_000 << 16, ..meter });
    assert_eq!(profile.second_meter, Meter { packet_cost: 10_000_000, ..meter });
    assert_eq!((profile.rules[1].restricts, profile.by_words), (rule::RATE, BY_WORDS));
    let packets = compiled(&[policy(9, rate(None, Some(100), BOTH), Action::Reject)]).expect("fits");
    assert_eq!(
        (packets.meter.packet_cost, packets.second_meter, packets.by_words),
        (10_000_000, Meter::default(), 0)
    );
}

#[test]
fn the_meter_of_more_directions_is_asked_first() {
    let bytes = |id, sides| policy(id, rate(Some(1000), None, sides), Action::Reject);
    let packets = |id, sides| policy(id, rate(None, Some(10), sides), Action::Reject);
    let profile = compiled(&[bytes(1, meter_side::UP), packets(2, BOTH)]).expect("fits");
    assert_eq!((profile.meter.place, profile.second_meter.place), (2, 1));
    let profile = compiled(&[bytes(1, BOTH), packets(2, meter_side::DOWN)]).expect("fits");
    assert_eq!((profile.meter.place, profile.second_meter.place), (1, 2));
    let opposite = compiled(&[packets(1, meter_side::UP), bytes(2, meter_side::DOWN)]);
    assert_eq!(opposite, Err(Misfit::OppositeMeters(1, 2)));
    assert_eq!(compiled(&[bytes(1, BOTH), bytes(2, BOTH)]), Err(Misfit::TwoMeters(1, 2, "bytes")));
}

#[test]
fn a_rate_is_exact_to_a_hundredth_over_its_whole_range() {
    for bytes in [100, 125_000, 7_777_777, 12_500_000_000] {
        let profile = compiled(&[policy(1, rate(Some(bytes), None, BOTH), Action::Reject)]).expect("fits");
        let cost = profile.meter.byte_cost as f64 / 65_536.0;
        assert!((1e9 / cost / bytes as f64 - 1.0).abs() < 0.01, "{bytes}");
    }
    for packets in [1, 999, 6_666_667, 14_880_952, 20_000_000] {
        let profile = compiled(&[policy(1, rate(None, Some(packets), BOTH), Action::Reject)]).expect("fits");
        let cost = f64::from(profile.meter.packet_cost);
        assert!((1e9 / cost / f64::from(packets) - 1.0).abs() < 0.01, "{packets}");
    }
}

#[test]
fn a_rate_that_cannot_be_metered_is_refused() {
    for rate in [
        rate(None, None, BOTH),
        rate(Some(99), None, BOTH),
        rate(None, Some(20_000_001), BOTH),
        rate(Some(1000), None, 0),
    ] {
        assert_eq!(compiled(&[policy(5, rate, Action::Reject)]), Err(Misfit::Rate(5)));
    }
    let throttled = policy(5, rate(Some(1000), None, BOTH), Action::Release);
    assert_eq!(compiled(&[throttled]), Err(Misfit::RateAction(5)));
}

#[test]
fn what_is_in_shadow_carries_the_mark() {
    let shadow = |policy| Policy { shadow: true, ..policy };
    let profile = compiled(&[
        shadow(policy(1, limit(3), Action::Reject)),
        shadow(policy(2, Restriction::Protocols(vec![Class::Esp]), Action::Reject)),
        shadow(policy(3, rate(Some(1000), None, BOTH), Action::Reject)),
        policy(4, rate(None, Some(10), BOTH), Action::None),
    ])
    .expect("fits");
    assert!(profile.rules[..3].iter().all(|rule| rule.flags == rule_flag::SHADOW));
    assert_eq!(profile.forbidden, Classes::of(Class::Esp).0, "it must be looked at");
    let meters = [profile.meter.flags, profile.second_meter.flags];
    assert_eq!(meters, [rule_flag::SHADOW; 2], "a rate without action is watched");
}
