//! Limits above fourteen over several nodes: nodes report sums by sub-windows, and control adds those up so that
//! together they never knowingly go beyond (R-D2, R-D11).

mod network;

use std::time::Duration;

use network::{Network, START, at_most, device, limit, too_many};
use proptest::prelude::*;
use weir_service_control::{Action, DeviceCounts, Policy, PolicyId, Status, SubWindows, UnixMillis, Until};

const NODES: [&str; 3] = ["a", "b", "c"];
/// A third of the minute that the limits are for.
const LENGTH: i64 = 20_000;

/// Three nodes that have this policy cached; no access so far.
fn cached(policy: &Policy) -> Network {
    let mut network = Network::of(&NODES);
    network.alarm("a", too_many(1));
    network.decide(std::slice::from_ref(policy));
    network.wait(100);
    network.take();
    network
}

/// Sums as a node would report them now.
fn windows(now: i64, admissions: &[i64]) -> SubWindows {
    let number = now.div_euclid(LENGTH);
    let count = |back: i64| {
        let within = admissions.iter().filter(|at| at.div_euclid(LENGTH) == number - back);
        u32::try_from(within.count()).unwrap()
    };
    SubWindows {
        policy: PolicyId(1),
        throttle: false,
        newest_start: UnixMillis(number * LENGTH),
        length: Duration::from_millis(LENGTH as u64),
        counts: [count(0), count(1), count(2), count(3)],
    }
}

fn counts(now: i64, admissions: &[i64]) -> DeviceCounts {
    let number = admissions.len() as u64;
    DeviceCounts {
        requests: number,
        admitted: number,
        admissions: admissions.iter().rev().take(14).rev().map(|at| UnixMillis(*at)).collect(),
        windows: vec![windows(now, admissions)],
        ..DeviceCounts::default()
    }
}

fn report(network: &mut Network, node: &str, admissions: &[i64]) {
    network.counts.insert(node.into(), counts(network.now, admissions));
    network.report(node);
}

fn until(network: &mut Network, node: &str) -> Option<Until> {
    network.take_updates().0.get(node).and_then(|update| update.status.rejected)
}

#[test]
fn a_hundred_accesses_over_three_nodes_are_seen_though_no_node_sees_them() {
    let mut network = cached(&at_most(1, 100, Action::Reject));
    let start = network.now;
    for (node, number) in [("a", 40), ("b", 40)] {
        report(&mut network, node, &vec![start; number]);
    }
    assert_eq!(network.take(), [], "eighty of a hundred: there is room");
    let at = network.now;
    report(&mut network, "c", &[at; 20]);
    let stretch_ends = (start.div_euclid(LENGTH) + 1) * LENGTH;
    let (updates, _) = network.take_updates();
    assert_eq!(updates.len(), 3);
    let all_leave = Some(Until::Instant(UnixMillis(stretch_ends + 60_000)));
    assert!(updates.values().all(|update| update.status.rejected == all_leave), "{updates:?}");
    network.wait(85);
    assert_eq!(network.control.device(&device()).unwrap().status, Status::default());
}

#[test]
fn a_large_limit_says_how_much_was_counted() {
    let mut network = cached(&at_most(1, 99, Action::Reject));
    let now = network.now;
    network.counts.insert("b".into(), counts(now, &vec![now; 99]));
    network.report("b");
    network.take();
    network.alarm("a", too_many(2));
    let (_, records) = {
        network.decide(&[at_most(1, 99, Action::Reject)]);
        network.take_updates()
    };
    let explanation = &records[0].entry.explanation;
    assert!(
        explanation.contains("permits 99 accesses in 60 s, and the count is 100; it rejects"),
        "{explanation}"
    );
}

#[test]
fn a_large_throttle_is_counted_by_its_own_sums() {
    let policy = at_most(1, 20, Action::Throttle(limit(40, 60)));
    let mut network = cached(&policy);
    let now = network.now;
    let mut of_rule = counts(now, &[now; 21]);
    network.counts.insert("a".into(), of_rule.clone());
    network.report("a");
    let (updates, _) = network.take_updates();
    assert!(updates.values().all(|update| update.status.throttled_until.is_some()), "{updates:?}");
    assert!(updates.values().all(|update| update.status.rejected.is_none()));
    let of_throttle = SubWindows { throttle: true, counts: [40, 0, 0, 0], ..of_rule.windows[0] };
    of_rule.windows.push(of_throttle);
    network.counts.insert("a".into(), of_rule);
    network.report("a");
    assert!(until(&mut network, "b").is_some());
}

#[test]
fn what_a_node_admitted_before_it_had_the_limit_is_not_forgotten() {
    let mut network = cached(&at_most(1, 20, Action::Reject));
    let now = network.now;
    for node in ["a", "b"] {
        let mut counts = counts(now, &[now; 12]);
        counts.windows[0].counts = [1, 0, 0, 0];
        network.counts.insert(node.into(), counts);
        network.report(node);
    }
    assert!(until(&mut network, "c").is_some());
}

#[test]
fn sums_that_are_repeated_with_a_trembling_clock_cause_nothing() {
    let mut network = cached(&at_most(1, 20, Action::Reject));
    let now = network.now;
    report(&mut network, "a", &[now; 20]);
    assert!(until(&mut network, "b").is_some());
    for tremble in [5, -7, 12, 0] {
        network.wait(1);
        let counts = network.counts.get_mut("a").unwrap();
        counts.windows[0].newest_start.0 += tremble;
        network.report("a");
        assert_eq!(network.take(), [], "{tremble}");
    }
    network.wait(20);
    report(&mut network, "a", &[now; 20]);
    assert_eq!(network.take(), [], "the same admissions, one stretch later");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 100 } else { 5_000 }))]

    /// Nodes judge by their own sums and by what they were told; at no admission did control know of so many that
    /// there was no room, and room comes at most one sub-window late.
    #[test]
    fn nodes_together_never_knowingly_go_beyond_a_large_limit(
        permitted in 15_u32..60,
        steps in proptest::collection::vec((0_usize..3, 0_i64..2_500, any::<bool>()), 50..400),
    ) {
        let mut network = cached(&at_most(1, permitted, Action::Reject));
        let mut admitted: [Vec<i64>; 3] = Default::default();
        let mut known: [usize; 3] = [0; 3];
        let mut told = [START; 3];
        for (node, pause, reports) in steps {
            network.now += pause;
            let now = network.now;
            let own: u32 = windows(now, &admitted[node]).counts.iter().sum();
            let in_last = |span: i64| -> usize {
                let of = |node: usize| admitted[node][..known[node]].iter().filter(|at| **at > now - span).count();
                (0..3).map(of).sum()
            };
            if own < permitted && told[node] <= now {
                prop_assert!(in_last(60_000) < permitted as usize, "{} known", in_last(60_000));
                admitted[node].push(now);
            } else {
                let recent = in_last(60_000 + LENGTH) + admitted[node].len() - known[node];
                prop_assert!(recent >= permitted as usize, "rejected though only {recent} were admitted of late");
            }
            if reports {
                known[node] = admitted[node].len();
                report(&mut network, NODES[node], &admitted[node]);
                for (name, update) in network.take_updates().0 {
                    let place = NODES.iter().position(|node| *node == name).unwrap();
                    told[place] = match update.status.rejected {
                        Some(Until::Instant(at)) => at.0,
                        _ => START,
                    };
                }
            }
        }
    }
}
