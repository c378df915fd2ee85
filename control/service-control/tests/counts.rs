//! Counter reports judged without an alarm, over all nodes (R-D11 last sentence, R-D15, R-D16).

mod network;

use network::{Network, at_most, config, device, esp, fates, limit, no_esp, too_many};
use weir_service_control::{
    Action, AlarmFate, DeviceCounts, Input, NodeName, Policy, Scope, ServiceControl, Status, UnixMillis,
    Until,
};

/// Three nodes that have these policies cached; no access so far.
fn cached(policies: &[Policy]) -> Network {
    let mut network = Network::of(&["a", "b", "c"]);
    network.alarm("a", too_many(1));
    network.decide(policies);
    network.wait(100);
    network.take();
    network
}

#[test]
fn six_accesses_over_three_nodes_two_each_are_seen_though_no_node_sees_them() {
    let mut network = cached(&[at_most(1, 5, Action::Reject)]);
    let first = network.now;
    for node in ["a", "b", "c"] {
        network.admit(node);
        network.wait(5);
        network.admit(node);
        network.wait(5);
    }
    for node in ["a", "b"] {
        network.report(node);
    }
    assert_eq!(network.take(), [], "four of five: there is room");
    network.report("c");
    let (updates, records) = network.take_updates();
    assert_eq!(updates.len(), 3);
    for update in updates.values() {
        let second_leaves = UnixMillis(first + 5_000 + 60_000);
        assert_eq!(update.status.rejected, Some(Until::Instant(second_leaves)));
        assert_eq!((update.alarm, &update.answers), (AlarmFate::Unchanged, &None));
    }
    assert_eq!((records.len(), records[0].fate, &records[0].alarm), (1, AlarmFate::Unchanged, &None));
    assert!(network.control.device(&device()).unwrap().status.rejected.is_some());
    network.wait(36);
    assert_eq!(network.take(), [], "it lapses on the nodes by itself");
    assert_eq!(network.control.device(&device()).unwrap().status, Status::default());
}

#[test]
fn a_node_that_enforces_the_limit_by_its_own_count_is_left_to_judge() {
    let mut network = cached(&[at_most(1, 3, Action::Reject)]);
    for _ in 0..3 {
        network.admit("a");
        network.wait(5);
    }
    network.report("a");
    let (updates, _) = network.take_updates();
    assert_eq!(fates(&updates), [("b", AlarmFate::Unchanged), ("c", AlarmFate::Unchanged)]);
    let rejected = Some(Until::Instant(network.at(-15 + 60)));
    assert!(updates.values().all(|update| update.status.rejected == rejected));
    network.refuse("a", "limit");
    network.report("a");
    assert_eq!(network.take(), []);
}

#[test]
fn a_node_whose_own_count_frees_it_too_early_is_told() {
    let mut network = cached(&[at_most(1, 3, Action::Reject)]);
    network.admit("a");
    network.wait(10);
    for _ in 0..3 {
        network.admit("b");
        network.wait(5);
    }
    network.report("b");
    assert_eq!(network.take_updates().0.len(), 2, "b is exhausted by itself");
    network.report("a");
    let (updates, _) = network.take_updates();
    // Four of three: the second has to leave as well, which is b's first and b knows that.
    assert!(updates.is_empty(), "{updates:?}");
    network.admit("a");
    network.report("a");
    let (updates, _) = network.take_updates();
    assert_eq!(updates.len(), 3, "now b's second has to leave, and b alone would open after its first");
}

#[test]
fn going_beyond_a_throttle_rule_together_throttles_everywhere() {
    let mut network = cached(&[at_most(1, 3, Action::Throttle(limit(5, 60)))]);
    for node in ["a", "b", "c", "a"] {
        network.admit(node);
        network.wait(5);
        network.report(node);
    }
    let (updates, _) = network.take_updates();
    assert_eq!(updates.len(), 3);
    for update in updates.values() {
        assert_eq!(update.status.throttled_until, Some(network.at(-5 + 60)));
        assert_eq!(update.status.rejected, None);
    }
    network.admit("b");
    network.report("b");
    let (updates, _) = network.take_updates();
    let first_leaves = Until::Instant(network.at(-20 + 60));
    assert!(updates.values().all(|update| update.status.rejected == Some(first_leaves)));
    assert_eq!(updates.len(), 3);
}

#[test]
fn a_held_access_that_is_accepted_gets_through_before_its_node_is_told_to_reject() {
    let mut network = cached(&[at_most(1, 3, Action::Reject), no_esp(2, Action::None)]);
    for node in ["a", "b", "b"] {
        network.admit(node);
        network.report(node);
    }
    let (updates, _) = network.take_updates();
    assert_eq!(updates.len(), 3);
    assert!(updates.values().all(|update| update.status.rejected.is_some()));
    let id = network.alarm("a", esp());
    network.decide(&[at_most(1, 3, Action::Reject), no_esp(2, Action::None)]);
    let update = network.only_update("a");
    assert_eq!((update.alarm, update.status.rejected), (AlarmFate::Cancel, None), "whatever the count");
    network.raise(id, esp(), true);
    assert_eq!(network.only_update("a"), update);
    network.redeem("a");
    network.report("a");
    let update = network.take_updates().0.remove("a").unwrap();
    assert!(update.status.rejected.is_some());
}

#[test]
fn a_node_that_was_told_is_not_told_otherwise_for_the_same_rejection() {
    let mut network = cached(&[at_most(1, 2, Action::Reject)]);
    for node in ["a", "a", "b", "b"] {
        network.admit(node);
    }
    network.report("a");
    assert_eq!(fates(&network.take_updates().0), [("b", AlarmFate::Unchanged), ("c", AlarmFate::Unchanged)]);
    network.report("b");
    assert_eq!(network.take(), [], "b would now reject by itself until the same instant");
}

#[test]
fn after_a_restart_the_first_report_does_not_lift_what_all_reports_led_to() {
    let mut network = cached(&[at_most(1, 2, Action::Reject)]);
    for node in ["a", "b"] {
        network.admit(node);
        network.report(node);
    }
    let (_, records) = network.take_updates();
    let rejected = records[0].entry.status.rejected;
    assert!(rejected.is_some());
    network.control = ServiceControl::new(config());
    network.control.restore([records[0].entry.clone()], network.at(0));
    network.connect("c");
    network.report("a");
    assert_eq!(network.take_updates().0, [].into());
    assert_eq!(network.control.device(&device()).unwrap().status.rejected, rejected);
}

#[test]
fn reports_that_say_nothing_new_cause_nothing() {
    let mut network = cached(&[at_most(1, 3, Action::Throttle(limit(5, 60)))]);
    for node in ["a", "b", "c", "a", "b"] {
        network.admit(node);
        network.report(node);
    }
    let revision = network.control.device(&device()).unwrap().revision;
    network.take();
    for node in ["a", "b", "c", "c", "b", "a"] {
        network.wait(1);
        network.report(node);
    }
    assert_eq!(network.take(), []);
    assert_eq!(network.control.device(&device()).unwrap().revision, revision);
}

#[test]
fn a_device_that_keeps_knocking_does_not_cause_an_update_per_knock() {
    let mut network = cached(&[at_most(1, 3, Action::Throttle(limit(5, 60)))]);
    for _ in 0..5 {
        network.admit("a");
    }
    network.report("a");
    network.take();
    for _ in 0..60 {
        network.wait(1);
        network.refuse("a", "throttled");
        network.report("a");
    }
    let (_, records) = network.take_updates();
    assert!((1..=9).contains(&records.len()), "{} updates", records.len());
}

#[test]
fn exceeding_a_releasing_limit_together_ends_the_sessions() {
    let mut network = cached(&[at_most(1, 2, Action::Release)]);
    for node in ["a", "b", "c"] {
        network.admit(node);
    }
    network.report("a");
    network.report("b");
    assert!(network.take_updates().0.values().all(|update| !update.release_session));
    network.report("c");
    let (updates, _) = network.take_updates();
    assert_eq!(updates.len(), 3);
    assert!(updates.values().all(|update| update.release_session && update.status.rejected.is_some()));
}

#[test]
fn counts_of_a_device_without_network_limits_are_kept_and_lead_to_nothing() {
    let node_scope = Policy { scope: Scope::Node, ..at_most(1, 1, Action::Reject) };
    for policies in [vec![], vec![node_scope], vec![no_esp(2, Action::Reject)]] {
        let mut network = cached(&policies);
        for _ in 0..9 {
            network.admit("a");
        }
        network.report("a");
        assert_eq!(network.take(), []);
        assert_eq!(network.control.device(&device()).unwrap().counts[0].counts.admitted, 9);
    }
}

#[test]
fn a_restarted_nodes_counts_are_added_to_those_of_its_earlier_boot() {
    let mut network = cached(&[at_most(1, 4, Action::Reject)]);
    network.admit("a");
    network.admit("a");
    network.report("a");
    network.wait(10);
    let second = DeviceCounts {
        requests: 2,
        admitted: 2,
        admissions: vec![network.at(0), network.at(0)],
        ..DeviceCounts::default()
    };
    let node = NodeName("a".into());
    network.take();
    network.tell(Input::CountsReported { node, boot: "second".into(), devices: vec![(device(), second)] });
    let (updates, _) = network.take_updates();
    assert!(updates.values().all(|update| update.status.rejected.is_some()));
    assert_eq!(updates.len(), 2, "a knows");
    assert_eq!(network.control.device(&device()).unwrap().counts.len(), 2);
}

#[test]
fn a_node_that_connects_later_is_told_what_holds() {
    let mut network = cached(&[at_most(1, 3, Action::Reject)]);
    for _ in 0..3 {
        network.admit("a");
    }
    network.report("a");
    network.take();
    for (node, rejected) in [("d", true), ("a", false)] {
        network.connect(node);
        let outputs = network.take();
        let [weir_service_control::Output::Snapshot { entries, .. }] = &outputs[..] else {
            panic!("a snapshot and nothing else")
        };
        assert_eq!(entries[0].status.rejected.is_some(), rejected, "{node}");
    }
}
