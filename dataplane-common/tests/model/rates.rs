//! Rates (R-D2): what passes is paid for, and what cannot be paid for has no effect but a counted drop.

use weir_dataplane_common::{
    abi::UNSETTLED,
    admit::{Outcome, Shadow},
    inspect::Class,
    reason::Reason::*,
};

use super::{
    bench::{Bench, MINUTE, SECOND, at_most, cancel, forbid, node},
    policy::{Action, Policy, Rate, Rule, Way},
};

const TICK_NS: u64 = 1 << 20;

/// One packet of 40 bytes a tick each way, or as many packets; nothing at once but the one.
fn rate(byte: bool, packet: bool) -> Rate {
    let cost = |wanted: bool, cost: u64| wanted.then_some(cost);
    Rate { byte: cost(byte, TICK_NS / 40), packet: cost(packet, TICK_NS), burst: 0, up: true, down: true }
}

fn metered(rate: Rate) -> Policy {
    Policy::new(1, Rule::Rate(rate), Action::Reject)
}

#[test]
fn bytes_and_packets_are_paid_for_at_their_rates() {
    for (kind, long) in [(rate(true, false), 3), (rate(false, true), 1), (rate(true, true), 3)] {
        let mut bench = Bench::with(node(), &[metered(kind)]);
        assert_eq!([bench.up(), bench.up(), bench.after(1).up()], [Admitted, RateExceeded, InSession]);
        // Three times as long: three ticks at a rate of bytes, one at a rate of packets.
        assert_eq!(bench.after(1).sized(Way::Up, None, 120).reason, InSession);
        assert_eq!(bench.after(long - 1).up(), RateExceeded);
        assert_eq!(bench.after(1).up(), InSession);
    }
}

#[test]
fn a_burst_may_come_at_once_and_silence_saves_no_more_than_it() {
    let burst = Rate { burst: 4 * TICK_NS / 1000 + 1, ..rate(false, true) };
    let mut bench = Bench::with(node(), &[metered(burst)]);
    for _ in 0..2 {
        let passed = (0..9).filter(|_| bench.up() != RateExceeded).count();
        assert_eq!(passed, 5, "four ahead and the one that is due");
        bench.after(MINUTE);
    }
}

#[test]
fn each_direction_is_metered_as_the_policy_says() {
    for (up, down) in [(true, false), (false, true)] {
        let mut bench = Bench::with(node(), &[metered(Rate { up, down, ..rate(false, true) })]);
        bench.up();
        bench.after(1);
        let fresh = (0..3).map(|_| bench.packet(Way::Down, None).reason).collect::<Vec<_>>();
        assert_eq!(fresh, if down { [InSession, RateExceeded, RateExceeded] } else { [InSession; 3] });
        let fresh = (0..3).map(|_| bench.up()).collect::<Vec<_>>();
        assert_eq!(fresh, if up { [InSession, RateExceeded, RateExceeded] } else { [InSession; 3] });
    }
}

#[test]
fn a_packet_beyond_the_rate_opens_nothing_counts_nothing_and_keeps_nothing_open() {
    let slow = Rate { packet: Some(2 * SECOND * TICK_NS), ..rate(false, true) };
    let mut bench = Bench::with(node(), &[metered(slow)]);
    assert_eq!(bench.up(), Admitted);
    assert_eq!(bench.after(SECOND - 1).up(), RateExceeded);
    assert!(!bench.after(1).session_is_open(), "it refreshed nothing");
    let dropped = bench.packet(Way::Up, None);
    assert_eq!(dropped, Outcome::of(RateExceeded));
    assert_eq!(bench.counts(), [1, 1, 0, 0], "neither a request nor a rejection");
    assert_eq!(bench.law.entry.last_rejection.load(), RateExceeded as u32 | 1 << 8);
    assert!(bench.after(SECOND).packet(Way::Up, None).counted);
}

#[test]
fn a_held_access_stays_to_be_redeemed_if_its_packet_cannot_be_paid_for() {
    let mut bench = Bench::stranger(super::bench::alarming_node(0));
    bench.up();
    bench.operate(&cancel(vec![metered(rate(false, true))]));
    bench.law.entry.bucket.store(u64::from(u32::MAX) << 30);
    assert_eq!(bench.up(), RateExceeded);
    bench.law.entry.bucket.store(0);
    assert_eq!(bench.up(), Redeemed);
}

#[test]
fn a_packet_that_one_of_two_rates_refuses_is_charged_to_neither() {
    let two = Rate { byte: Some(1), packet: Some(10 * TICK_NS), ..rate(true, true) };
    let mut bench = Bench::with(node(), &[metered(two)]);
    assert_eq!(bench.up(), Admitted);
    for _ in 0..9 {
        assert_eq!(bench.after(1).up(), RateExceeded);
    }
    assert_eq!(bench.after(1).up(), InSession);
}

#[test]
fn unsolicited_packets_are_charged_to_nobody() {
    let passing = super::policy::Node { drop_unsolicited: false, ..node() };
    let mut bench = Bench::with(passing, &[metered(rate(false, true))]);
    assert_eq!([bench.down(), bench.down()], [UnsolicitedPassed; 2]);
    assert_eq!(bench.up(), Admitted);
}

/// A rate in shadow that charged what it would have dropped would seem exceeded for as long as it was.
#[test]
fn a_rate_in_shadow_refuses_nothing_and_forgives_as_one_in_force() {
    let mut bench = Bench::with(node(), &[metered(rate(false, true)).in_shadow()]);
    let would_drop = Shadow(RateExceeded as u32 | 1 << 8);
    bench.up();
    for _ in 0..500 {
        let outcome = bench.packet(Way::Up, None);
        assert_eq!((outcome.reason, outcome.shadow), (InSession, would_drop));
    }
    assert_eq!(bench.after(1).packet(Way::Up, None).shadow, Shadow::NONE);
}

#[test]
fn a_refusal_by_limit_or_protocol_comes_before_the_rate_and_costs_nothing() {
    let policies = [
        metered(rate(false, true)),
        at_most(2, 1, MINUTE, Action::Reject),
        forbid(3, Class::Esp, Action::Reject),
    ];
    let mut bench = Bench::with(node(), &policies);
    bench.up();
    assert_eq!(bench.up_with(Class::Esp), ForbiddenProtocol);
    assert_eq!(bench.after(SECOND).up(), LimitExceeded);
    assert_eq!(
        bench.law.entry.bucket.load() >> 4,
        (bench.now - SECOND + 1) * TICK_NS,
        "one packet was paid for"
    );
}

/// User space is writing the ledger's words, of which the second bucket is one.
#[test]
fn while_words_are_rewritten_the_second_rate_does_not_bind() {
    let two = Rate { byte: Some(1), packet: Some(10 * TICK_NS), ..rate(true, true) };
    let mut bench = Bench::with(node(), &[metered(two)]);
    bench.up();
    bench.law.entry.control.set_bits(UNSETTLED);
    let before = bench.law.ledger.words()[5].load();
    assert_eq!(bench.after(1).up(), InSession);
    assert_eq!(bench.law.ledger.words()[5].load(), before, "nor is it written");
    bench.law.entry.control.clear_bits(UNSETTLED);
    assert_eq!(bench.up(), RateExceeded);
}

#[test]
fn of_a_rate_and_a_limit_in_shadow_the_limit_is_said() {
    let limited = at_most(2, 0, MINUTE, Action::Reject).in_shadow();
    let mut bench = Bench::with(node(), &[metered(rate(false, true)).in_shadow(), limited]);
    bench.law.entry.bucket.store(u64::from(u32::MAX) << 30);
    assert_eq!(bench.packet(Way::Up, None).shadow, Shadow(LimitExceeded as u32 | 2 << 8));
    assert_eq!(bench.packet(Way::Up, None).shadow, Shadow(RateExceeded as u32 | 1 << 8));
}
