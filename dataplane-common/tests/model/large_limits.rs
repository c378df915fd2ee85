//! Limits above fourteen, counted by sub-windows in one word each (R-D2): never early, at most a sub-window late.

use weir_dataplane_common::{
    abi::{ALARM_WORD, REDEEM, STATUS_THROTTLED, UNSETTLED},
    atomic::Word64,
    inspect::Class,
    reason::Reason::*,
};

use super::{
    bench::{Bench, MINUTE, SECOND, alarming_node, at_most, cancel, limit, node},
    policy::{Action, Node, Operation, Status, Way},
};

fn all_admitted(bench: &mut Bench, count: usize) {
    assert!(bench.accesses(count).iter().all(|reason| *reason == Admitted));
}

#[test]
fn the_twenty_first_of_twenty_is_rejected_until_the_first_sub_window_has_left_the_window() {
    let mut bench = Bench::with(node(), &[at_most(1, 20, MINUTE, Action::Reject)]);
    bench.now = 1_200_000;
    let first = bench.now + SECOND;
    all_admitted(&mut bench, 20);
    bench.now = first + MINUTE - 1;
    assert_eq!(bench.up(), LimitExceeded, "never early");
    bench.now = 1_200_000 + MINUTE + MINUTE / 3 - 1;
    assert_eq!(bench.up(), LimitExceeded);
    assert_eq!(bench.after(1).up(), Admitted, "four thirds of a window after the sub-window's begin");
}

#[test]
fn the_largest_limit_is_a_thousand_and_twenty_three() {
    let hasty = Node { inactivity: 1, ..node() };
    let mut bench = Bench::with(hasty, &[at_most(1, 1023, MINUTE, Action::Reject)]);
    let admitted = (0..1100).filter(|_| bench.after(1).up() == Admitted).count();
    assert_eq!(admitted, 1023);
}

#[test]
fn small_and_large_limits_stand_beside_each_other() {
    let policies = [at_most(1, 16, MINUTE, Action::Reject), at_most(2, 3, 10 * SECOND, Action::Reject)];
    let mut bench = Bench::with(node(), &policies);
    let admitted = bench.accesses(54).iter().filter(|reason| **reason == Admitted).count();
    assert_eq!(admitted, 16, "three in ten seconds, until sixteen in the minute");
    assert_eq!(bench.law.entry.last_rejection.load() >> 8, 1, "of equally severe ones the lowest");
}

#[test]
fn large_throttles_stand_in_for_small_limits_and_small_ones_for_large() {
    let mut looser = Bench::with(node(), &[at_most(1, 2, MINUTE, Action::Throttle(limit(16, MINUTE)))]);
    all_admitted(&mut looser, 16);
    assert_eq!(looser.after(SECOND).up(), Throttled);
    let mut tighter = Bench::with(node(), &[at_most(1, 16, MINUTE, Action::Throttle(limit(2, MINUTE)))]);
    all_admitted(&mut tighter, 16);
    assert_eq!(tighter.after(SECOND).up(), Throttled);
    assert!(tighter.law.control().has(STATUS_THROTTLED));
}

#[test]
fn a_large_limit_without_action_is_known_and_never_enforced() {
    let mut bench = Bench::with(node(), &[at_most(1, 15, MINUTE, Action::None)]);
    all_admitted(&mut bench, 30);
    bench.law.entry.control.set_bits(UNSETTLED);
    assert_eq!(bench.after(SECOND).up(), Admitted, "nor while its word is rewritten");
}

#[test]
fn while_words_are_rewritten_large_limits_refuse_and_small_ones_judge() {
    let mut bench = Bench::with(node(), &[at_most(1, 15, MINUTE, Action::Reject)]);
    bench.law.entry.control.set_bits(UNSETTLED);
    let before = bench.law.ledger.words().each_ref().map(Word64::load);
    assert_eq!(bench.up(), Contended);
    assert_eq!(bench.law.ledger.words().each_ref().map(Word64::load), before);
    bench.law.entry.control.clear_bits(UNSETTLED);
    assert_eq!(bench.up(), Admitted);

    let mut small = Bench::with(node(), &[at_most(1, 1, MINUTE, Action::Reject)]);
    small.law.entry.control.set_bits(UNSETTLED);
    assert_eq!(small.accesses(2), [Admitted, LimitExceeded]);
}

/// The room of the requests holds anything while it is rewritten: no alarm follows from that.
#[test]
fn while_words_are_rewritten_no_count_raises_an_alarm_and_none_is_written() {
    for permitted in [0, 20] {
        let mut bench = Bench::stranger(alarming_node(permitted));
        bench.law.ledger.words()[ALARM_WORD].store(u64::MAX);
        bench.law.entry.control.set_bits(UNSETTLED);
        assert_eq!(bench.up(), Admitted);
        assert_eq!(bench.law.ledger.words()[ALARM_WORD].load(), u64::MAX);
        assert_eq!(bench.packet(Way::Up, Some(Class::Esp)).reason, Held, "a protocol does all the same");
    }
}

/// Control has judged the count of the access that was held.
#[test]
fn a_held_access_is_redeemed_though_its_large_limit_is_full() {
    let mut bench = Bench::with(node(), &[at_most(1, 15, MINUTE, Action::Reject)]);
    all_admitted(&mut bench, 15);
    assert_eq!(bench.after(SECOND).up(), LimitExceeded);
    // As a cancel leaves it.
    bench.law.entry.control.set_bits(REDEEM);
    assert_eq!(bench.up(), Redeemed);
    assert_eq!(bench.after(SECOND).up(), LimitExceeded);
}

#[test]
fn an_alarm_above_fourteen_requests_counts_them_in_its_word() {
    let mut bench = Bench::stranger(alarming_node(20));
    all_admitted(&mut bench, 20);
    assert_eq!(bench.after(SECOND).up(), Held);
    bench.operate(&cancel(vec![])).up();
    all_admitted(&mut bench, 3);
    let status = Status::default();
    bench.operate(&Operation::Push { policies: None, status });
    assert_eq!(bench.after(SECOND).up(), Held, "counted while a policy was cached, too");
}
