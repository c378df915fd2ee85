//! Exact on several CPUs: each effect has one owner, and a clock reading may be older than what another CPU wrote.

use std::{
    hint,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
};

use weir_dataplane_common::{
    admit::Outcome,
    inspect::Class,
    reason::Reason::{self, *},
};

use super::{
    bench::{Bench, MINUTE, SECOND, alarming_node, at_most, cancel, forbid, node},
    law::tick,
    policy::{Action, Node, Operation, Packet, Status, Way},
};

const UP: Packet = Packet { way: Way::Up, class: None, length: 40 };
const ROUNDS: usize = 10_000;

/// Two threads meet before each device and send it one packet each, in the same moment.
fn together(benches: &[Bench], packets: [Packet; 2]) -> Vec<[Outcome; 2]> {
    let arrived: Vec<AtomicU64> = benches.iter().map(|_| AtomicU64::new(0)).collect();
    let send = |cpu: usize| {
        let judged = benches.iter().zip(&arrived).zip(0..).map(|((bench, arrived), round)| {
            meet(arrived);
            // Each time a little apart, so that every step of the one meets every step of the other.
            (0..round * [7, 13][cpu] % 61).for_each(|_| hint::spin_loop());
            bench.law.packet(bench.now - older(cpu, round), packets[cpu])
        });
        judged.collect::<Vec<Outcome>>()
    };
    let [one, other] = thread::scope(|scope| {
        let threads = [0, 1].map(|cpu| scope.spawn(move || send(cpu)));
        threads.map(|thread| thread.join().expect("a packet's thread"))
    });
    one.into_iter().zip(other).map(|(one, other)| [one, other]).collect()
}

/// Waits for the other thread, without sleeping as long as it runs too.
fn meet(arrived: &AtomicU64) {
    arrived.fetch_add(1, SeqCst);
    let mut spins = 0u32;
    while arrived.load(SeqCst) < 2 {
        spins += 1;
        if spins.is_multiple_of(1000) { thread::yield_now() } else { hint::spin_loop() }
    }
}

/// Readings of one coarse clock by two CPUs: the same, or one just before the clock's step.
fn older(cpu: usize, round: usize) -> u64 {
    if cpu == 1 && !round.is_multiple_of(2) { 4 } else { 0 }
}

/// As many devices as rounds.
fn devices(make: impl Fn() -> Bench) -> Vec<Bench> {
    (0..ROUNDS).map(|_| make()).collect()
}

fn count(outcomes: [Outcome; 2], reason: Reason) -> usize {
    outcomes.iter().filter(|outcome| outcome.reason == reason).count()
}

#[test]
fn two_threads_first_packets_are_one_access() {
    let devices = devices(|| Bench::with(node(), &[at_most(1, 1, MINUTE, Action::Reject)]));
    for (outcomes, bench) in together(&devices, [UP; 2]).into_iter().zip(&devices) {
        assert_eq!([count(outcomes, Admitted), count(outcomes, InSession)], [1, 1], "{outcomes:?}");
        assert_eq!(bench.counts(), [1, 1, 0, 0]);
    }
}

#[test]
fn two_threads_third_access_is_not_a_fourth_request() {
    let devices = devices(|| {
        let mut bench = Bench::stranger(alarming_node(3));
        bench.accesses(2);
        bench.after(2 * SECOND);
        bench
    });
    for (outcomes, bench) in together(&devices, [UP; 2]).into_iter().zip(&devices) {
        assert_eq!([count(outcomes, Admitted), count(outcomes, InSession)], [1, 1], "{outcomes:?}");
        assert_eq!(bench.counts(), [3, 3, 0, 0]);
        assert_eq!(outcomes.map(|outcome| outcome.raised), [None; 2]);
    }
}

#[test]
fn a_forbidden_protocol_does_not_slip_in_beside_a_first_packet() {
    let policies = [at_most(1, 1, MINUTE, Action::Reject), forbid(2, Class::Esp, Action::Reject)];
    let devices = devices(|| Bench::with(node(), &policies));
    let esp = Packet { way: Way::Up, class: Some(Class::Esp), length: 40 };
    for outcomes in together(&devices, [UP, esp]) {
        assert_eq!(outcomes[0].reason, Admitted);
        assert!(matches!(outcomes[1].reason, ForbiddenProtocol | LimitExceeded), "{outcomes:?}");
    }
}

#[test]
fn two_threads_dropped_packets_are_one_request() {
    let devices = devices(|| Bench::with(node(), &[at_most(1, 0, MINUTE, Action::Reject)]));
    for (outcomes, bench) in together(&devices, [UP; 2]).into_iter().zip(&devices) {
        assert_eq!(count(outcomes, LimitExceeded), 2, "{outcomes:?}");
        assert_eq!(bench.counts(), [1, 0, 1, 0]);
    }
}

#[test]
fn two_threads_raise_one_alarm() {
    let devices = devices(|| Bench::stranger(alarming_node(0)));
    for (outcomes, bench) in together(&devices, [UP; 2]).into_iter().zip(&devices) {
        assert_eq!([count(outcomes, Held), count(outcomes, AlarmActive)], [1, 1], "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| outcome.raised.is_some()).count(), 1);
        // One request; if the other CPU came between its alarm and its retry time, it is that one's, rejected.
        assert_eq!(bench.counts()[..2], [1, 0]);
    }
}

#[test]
fn two_threads_redeem_a_held_access_once() {
    let devices = devices(|| {
        let mut bench = Bench::stranger(alarming_node(0));
        bench.up();
        bench.operate(&cancel(vec![])).after(SECOND);
        bench
    });
    for (outcomes, bench) in together(&devices, [UP; 2]).into_iter().zip(&devices) {
        assert_eq!([count(outcomes, Redeemed), count(outcomes, InSession)], [1, 1], "{outcomes:?}");
        assert_eq!(bench.counts(), [1, 1, 0, 0]);
    }
}

#[test]
fn a_cpu_that_read_the_clock_earlier_finds_the_session_that_another_opened() {
    let mut bench = Bench::stranger(node());
    bench.up();
    for earlier in [1, 4, 1000] {
        assert_eq!(bench.law.packet(bench.now - earlier, UP).reason, InSession, "{earlier} ticks earlier");
        let down = Packet { way: Way::Down, class: None, length: 40 };
        assert_eq!(bench.law.packet(bench.now - earlier, down).reason, InSession, "{earlier} ticks earlier");
    }
}

#[test]
fn a_cpu_that_read_the_clock_earlier_finds_the_session_that_another_refreshed() {
    let mut bench = Bench::stranger(node());
    bench.up();
    bench.after(SECOND / 2).up();
    assert_eq!(bench.law.packet(bench.now - 4, UP).reason, InSession);
    assert_eq!(bench.after(SECOND - 1).up(), InSession, "nor does it move the end back");
}

#[test]
fn a_cpu_that_read_the_clock_earlier_repeats_the_same_request() {
    let bench = &mut Bench::with(node(), &[at_most(1, 0, MINUTE, Action::Reject)]);
    bench.up();
    assert!(!bench.law.packet(bench.now - 4, UP).counted);
}

#[test]
fn a_cpu_that_read_the_entry_before_the_alarm_does_not_let_a_repeat_slip_past_it() {
    let mut bench = Bench::stranger(alarming_node(0));
    let before = bench.law.control();
    assert_eq!(bench.up(), Held);
    let late = bench.law.judge(&bench.law.entry, &bench.law.ledger, before, bench.now, UP);
    assert_eq!((late.reason, late.counted, late.raised), (AlarmActive, false, None));
}

#[test]
fn an_alarm_that_met_an_update_is_left_to_the_next_packet() {
    let mut bench = Bench::stranger(alarming_node(0));
    let before = bench.law.control();
    bench
        .operate(&Operation::NotAMachine)
        .operate(&Operation::Push { policies: None, status: Status::default() });
    let met = bench.law.judge(&bench.law.entry, &bench.law.ledger, before, bench.now, UP);
    assert_eq!((met.reason, met.counted, met.raised), (AlarmActive, false, None), "nothing passes unjudged");
    assert_eq!(bench.counts(), [0, 0, 0, 0]);
    assert_eq!(bench.up(), Admitted, "it is not a machine, as the update said");
}

#[test]
fn a_held_access_is_redeemed_once_though_an_update_came_between() {
    let mut bench = Bench::stranger(alarming_node(0));
    bench.up();
    let before = bench.operate(&cancel(vec![])).law.control();
    let policies = Some(vec![at_most(1, 0, MINUTE, Action::Reject)]);
    bench.operate(&Operation::Push { policies, status: Status::default() });
    assert_eq!(bench.law.judge(&bench.law.entry, &bench.law.ledger, before, bench.now, UP).reason, Redeemed);
    assert_eq!(bench.after(SECOND).up(), LimitExceeded);
}

#[test]
fn several_threads_never_admit_more_than_the_limit_in_any_window() {
    const WINDOW: u64 = 50;
    for permitted in [1, 3, 14, 15, 40] {
        let short = Node { inactivity: 1, retry: 1, ..node() };
        let bench = Bench::with(short, &[at_most(1, permitted, WINDOW, Action::Reject)]);
        let clock = AtomicU64::new(bench.now);
        let judge = || {
            let admitted = |_| {
                let now = clock.fetch_add(1, SeqCst);
                (bench.law.packet(now, UP).reason == Admitted).then_some(now)
            };
            (0..2000).filter_map(admitted).collect::<Vec<u64>>()
        };
        let mut admissions: Vec<u64> = thread::scope(|scope| {
            let threads = [(); 3].map(|()| scope.spawn(judge));
            threads.into_iter().flat_map(|thread| thread.join().expect("a judging thread")).collect()
        });
        admissions.sort_unstable();
        // An instant read before another CPU's newer one is entered as that one: up to a few ticks late.
        let too_many = admissions.windows(permitted + 1).find(|some| some[permitted] - some[0] < WINDOW - 6);
        assert_eq!(too_many, None, "more than {permitted} in {WINDOW}");
        assert_eq!(bench.counts()[1] as usize, admissions.len());
        let [requests, admitted, rejected, _] = bench.counts();
        assert_eq!(requests, admitted + rejected, "each request is one or the other");
    }
}

/// Sessions that end at once: then two that open in one instant are the same word, and the swap that opens them tells
/// nobody that another came between. The slots and the words must.
#[test]
fn in_one_instant_several_threads_admit_the_limit_and_no_more() {
    for permitted in [1, 5, 14, 15, 40] {
        for round in 0..100 {
            let at_once = Node { inactivity: 0, retry: 0, ..node() };
            let bench = Bench::with(at_once, &[at_most(1, permitted, MINUTE, Action::Reject)]);
            let arrived = AtomicU64::new(0);
            let judge = || {
                meet(&arrived);
                (0..100).filter(|_| bench.law.packet(bench.now, UP).reason == Admitted).count()
            };
            let admitted: usize = thread::scope(|scope| {
                let threads = [(); 2].map(|()| scope.spawn(judge));
                threads.into_iter().map(|thread| thread.join().expect("a judging thread")).sum()
            });
            assert!(admitted <= permitted, "{admitted} of {permitted} in round {round}");
            let words = bench.law.profile().by_words != 0;
            let kept = bench.law.ledger.admissions.count_within(tick(bench.now), MINUTE as u32) as usize;
            assert!(words || kept == admitted, "what was admitted is kept");
        }
    }
}
