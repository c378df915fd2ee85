//! The life of an alarm: repeated, joined, unanswered, rejected, lifted (R-D8 to R-D13, R-D15).

mod network;

use network::{Network, at_most, config, device, esp, fates, limit, meter, no_esp, queries, r_d17, too_many};
use weir_service_control::{
    Action, AlarmFate, AlarmId, AlarmProgress, DeviceId, Input, NodeName, Output, Policy, Scope,
    ServiceControl, Status, Subscription, UnixMillis, Until,
};

fn three_admitted() -> Network {
    let mut network = Network::of(&["a", "b"]);
    for _ in 0..3 {
        network.admit("a");
        network.report("a");
        network.wait(10);
    }
    network.take();
    network
}

fn rejected_alarm() -> (Network, AlarmId) {
    let mut network = three_admitted();
    let id = network.alarm("a", too_many(4));
    network.decide(&[at_most(1, 3, Action::Reject)]);
    (network, id)
}

#[test]
fn an_alarm_sent_again_while_undecided_is_acknowledged_and_asks_nothing() {
    let mut network = three_admitted();
    let id = network.alarm("a", too_many(4));
    network.take();
    network.raise(id.clone(), too_many(4), true);
    assert_eq!(network.take(), [Output::AlarmReceived { node: NodeName("a".into()), id }]);
}

#[test]
fn an_alarm_sent_again_after_its_decision_gets_the_same_answer() {
    for (policies, fate) in
        [(r_d17(), AlarmFate::Cancel), (vec![at_most(1, 3, Action::Reject)], AlarmFate::Reject)]
    {
        let mut network = three_admitted();
        let id = network.alarm("a", too_many(4));
        network.decide(&policies);
        let (first, _) = network.take_updates();
        network.disconnect("a");
        network.connect("a");
        network.take();
        network.raise(id.clone(), too_many(4), true);
        let again = network.only_update("a");
        assert_eq!(again, first["a"]);
        assert_eq!((again.answers, again.alarm), (Some(id), fate));
    }
}

#[test]
fn alarms_of_several_nodes_share_the_queries_and_each_is_answered() {
    let mut network = three_admitted();
    let first = network.alarm("a", too_many(4));
    let second = network.alarm("b", too_many(4));
    assert_eq!(queries(&network.take()), ["hss"]);
    network.hss(meter());
    assert_eq!(queries(&network.take()), ["pcrf"]);
    network.pcrf(Ok(r_d17()));
    let (updates, records) = network.take_updates();
    assert_eq!(fates(&updates), [("a", AlarmFate::Cancel), ("b", AlarmFate::Cancel)]);
    assert_eq!(updates["a"].answers.as_ref(), Some(&first));
    assert_eq!(updates["b"].answers.as_ref(), Some(&second));
    assert_eq!(records.len(), 2, "one record for each alarm");
}

#[test]
fn accesses_held_at_the_same_time_are_not_all_given_the_last_place() {
    let mut network = three_admitted();
    network.alarm("a", too_many(4));
    network.alarm("b", too_many(4));
    network.decide(&[at_most(1, 3, Action::Throttle(limit(4, 60)))]);
    let (updates, _) = network.take_updates();
    assert_eq!(fates(&updates), [("a", AlarmFate::Cancel), ("b", AlarmFate::Reject)]);
    assert_eq!(updates["b"].status.rejected, Some(Until::Instant(network.at(-30 + 60))));
    assert_eq!(updates["a"].status.rejected, None);
}

#[test]
fn a_failed_query_is_asked_again_with_growing_pauses() {
    let mut network = three_admitted();
    network.alarm("a", too_many(4));
    network.take();
    for pause in [1, 2, 4, 8, 8] {
        network.hss(Err("connection refused".into()));
        let retry = AlarmProgress::RetryAt(network.at(pause));
        assert_eq!(network.control.alarms().next().unwrap().progress, retry);
        network.wait(pause - 1);
        assert_eq!(network.take(), []);
        network.wait(1);
        assert_eq!(queries(&network.take()), ["hss"]);
    }
    network.hss(meter());
    network.pcrf(Err("busy".into()));
    network.take();
    network.wait(1);
    assert_eq!(queries(&network.take()), ["pcrf"], "what is known is not asked again");
    network.pcrf(Ok(r_d17()));
    let (updates, _) = network.take_updates();
    assert_eq!(updates["a"].alarm, AlarmFate::Cancel);
}

#[test]
fn a_query_without_answer_times_out_and_a_late_answer_still_counts_once() {
    let mut network = three_admitted();
    let id = network.alarm("a", too_many(4));
    network.take();
    network.wait(5);
    assert_eq!(network.take(), [], "the pause comes first");
    network.hss(meter());
    assert_eq!(queries(&network.take()), ["pcrf"]);
    network.wait(6);
    assert_eq!(queries(&network.take()), ["pcrf"], "timed out and asked again");
    network.pcrf(Ok(r_d17()));
    assert_eq!(network.take_updates().0["a"].answers, Some(id));
    network.pcrf(Ok(vec![]));
    network.hss(meter());
    assert_eq!(network.take(), [], "answers to questions that are closed");
}

#[test]
fn a_rejected_alarm_is_reviewed_put_off_while_there_is_no_room_and_then_lifted() {
    let (mut network, id) = rejected_alarm();
    let (updates, _) = network.take_updates();
    let first_room = network.at(-30 + 60);
    assert_eq!(updates["a"].status.rejected, Some(Until::Instant(first_room)));
    assert_eq!(updates["b"].status.rejected, Some(Until::Instant(first_room)));
    // Two accesses slip in elsewhere before the status arrives there.
    network.wait(1);
    network.admit("b");
    network.wait(1);
    network.admit("b");
    network.report("b");
    let (updates, _) = network.take_updates();
    let later = network.at(-12 + 60);
    assert_eq!(
        updates["b"].status.rejected,
        Some(Until::Instant(later)),
        "the third of a's has to leave, too"
    );
    network.wait(29);
    assert_eq!(network.control.alarms().next().unwrap().progress, AlarmProgress::RejectedUntil(later));
    network.take();
    network.wait(20);
    let lifted = network.only_update("a");
    assert_eq!((lifted.alarm, lifted.answers, lifted.status), (AlarmFate::Cancel, None, Status::default()));
    assert_eq!(network.control.alarms().count(), 0);
    network.raise(id.clone(), too_many(4), true);
    let again = network.only_update("a");
    assert_eq!((again.answers, again.alarm), (Some(id), AlarmFate::Cancel));
}

#[test]
fn an_alarm_lifted_while_its_node_was_away_is_cancelled_by_the_snapshot() {
    let (mut network, id) = rejected_alarm();
    network.disconnect("a");
    network.wait(31);
    network.take();
    network.connect("a");
    let [Output::Snapshot { entries, .. }] = &network.take()[..] else {
        panic!("a snapshot and nothing else")
    };
    assert_eq!((entries[0].alarm, entries[0].answers.as_ref()), (AlarmFate::Cancel, Some(&id)));
    network.connect("b");
    let [Output::Snapshot { entries, .. }] = &network.take()[..] else {
        panic!("a snapshot and nothing else")
    };
    assert_eq!((entries[0].alarm, entries[0].answers.as_ref()), (AlarmFate::Unchanged, None));
}

#[test]
fn a_subscriber_that_the_hss_does_not_know_is_rejected_and_asked_about_again() {
    let mut network = three_admitted();
    let id = network.alarm("a", too_many(4));
    network.hss(Ok(Subscription::Unknown));
    let update = network.only_update("a");
    assert_eq!((update.alarm, update.cached, update.answers), (AlarmFate::Reject, false, Some(id)));
    assert_eq!(update.explanation, "Rejected: the HSS does not know the device.");
    network.wait(601);
    assert_eq!(queries(&network.take()), ["hss"]);
    network.hss(Ok(Subscription::Unknown));
    assert_eq!(network.take(), [], "still so: nothing is said twice");
    network.tell(Input::SubscriberChanged { device: device() });
    assert_eq!(queries(&network.take()), ["hss"]);
    network.decide(&r_d17());
    let (updates, _) = network.take_updates();
    assert_eq!(fates(&updates), [("a", AlarmFate::Cancel), ("b", AlarmFate::Unchanged)]);
    assert_eq!(updates["a"].answers, None);
    assert!(updates["b"].cached);
}

#[test]
fn a_device_without_policies_is_cached_with_none() {
    let mut network = three_admitted();
    network.alarm("a", too_many(4));
    network.decide(&[]);
    let (updates, _) = network.take_updates();
    assert_eq!(fates(&updates), [("a", AlarmFate::Cancel), ("b", AlarmFate::Unchanged)]);
    for update in updates.values() {
        assert!(update.cached && update.policies.is_empty() && update.status == Status::default());
    }
}

#[test]
fn not_m2m_is_remembered_by_every_node_and_forgotten_when_its_time_is_over() {
    let mut network = three_admitted();
    network.alarm("a", too_many(4));
    network.hss(Ok(Subscription::Known { device_type: "phone".into() }));
    let (updates, _) = network.take_updates();
    assert_eq!(fates(&updates), [("a", AlarmFate::Cancel), ("b", AlarmFate::Unchanged)]);
    assert!(updates.values().all(|update| update.not_m2m && update.cached));
    network.wait(3599);
    assert_eq!(network.take(), []);
    network.wait(2);
    let (updates, records) = network.take_updates();
    assert_eq!(updates.len(), 2);
    assert!(updates.values().all(|update| !update.not_m2m && !update.cached));
    assert!(!records[0].entry.cached);
    network.connect("c");
    assert_eq!(network.take(), [Output::Snapshot { node: NodeName("c".into()), entries: vec![] }]);
}

#[test]
fn a_changed_subscription_ends_not_m2m() {
    let mut network = three_admitted();
    network.alarm("a", too_many(4));
    network.hss(Ok(Subscription::Known { device_type: "phone".into() }));
    network.take();
    network.tell(Input::SubscriberChanged { device: device() });
    network.decide(&r_d17());
    let (updates, records) = network.take_updates();
    assert_eq!(fates(&updates), [("a", AlarmFate::Unchanged), ("b", AlarmFate::Unchanged)]);
    assert!(updates.values().all(|update| !update.not_m2m && update.policies == r_d17()));
    assert_eq!(records[0].alarm, None);
}

#[test]
fn a_policy_change_frees_a_rejected_device() {
    let (mut network, _) = rejected_alarm();
    network.take();
    network.tell(Input::SubscriberChanged { device: device() });
    assert_eq!(queries(&network.take()), ["hss"]);
    network.hss(meter());
    assert_eq!(network.take(), [Output::QueryPolicies { device: device(), event: None }]);
    network.pcrf(Ok(vec![at_most(1, 10, Action::Reject)]));
    let (updates, _) = network.take_updates();
    assert_eq!(fates(&updates), [("a", AlarmFate::Cancel), ("b", AlarmFate::Unchanged)]);
    assert!(updates.values().all(|update| update.status == Status::default()));
}

#[test]
fn a_throttle_ends_with_its_policy() {
    let mut network = three_admitted();
    network.alarm("a", too_many(4));
    network.decide(&r_d17());
    assert!(network.take_updates().0["b"].status.throttled_until.is_some());
    network.tell(Input::SubscriberChanged { device: device() });
    network.decide(&[no_esp(2, Action::Reject)]);
    assert_eq!(network.take_updates().0["b"].status, Status::default());
}

#[test]
fn a_policy_put_in_shadow_frees_whom_it_rejected_or_throttled() {
    let shadow = |policy| Policy { shadow: true, ..policy };
    let (mut network, _) = rejected_alarm();
    network.take();
    network.tell(Input::SubscriberChanged { device: device() });
    network.decide(&[shadow(at_most(1, 3, Action::Reject))]);
    let (updates, _) = network.take_updates();
    assert_eq!(fates(&updates), [("a", AlarmFate::Cancel), ("b", AlarmFate::Unchanged)]);
    assert!(updates.values().all(|update| update.status == Status::default()));
    let mut network = three_admitted();
    network.alarm("a", too_many(4));
    network.decide(&r_d17());
    network.take();
    network.tell(Input::SubscriberChanged { device: device() });
    network.decide(&r_d17().into_iter().map(shadow).collect::<Vec<_>>());
    assert_eq!(network.take_updates().0["b"].status, Status::default());
}

#[test]
fn the_same_policies_once_more_lift_nothing_that_a_restart_forgot() {
    let (mut network, _) = rejected_alarm();
    let (_, records) = network.take_updates();
    network.control = ServiceControl::new(config());
    network.control.restore([records[0].entry.clone()], network.at(0));
    network.tell(Input::SubscriberChanged { device: device() });
    network.decide(&records[0].entry.policies.clone());
    let status = network.control.device(&device()).unwrap().status;
    assert_eq!(status.rejected, records[0].entry.status.rejected);
}

#[test]
fn a_policy_change_that_still_forbids_keeps_the_protocol_alarm_to_its_hold_time() {
    let mut network = Network::of(&["a"]);
    network.alarm("a", esp());
    network.decide(&[no_esp(2, Action::Reject)]);
    network.take();
    network.wait(300);
    network.tell(Input::SubscriberChanged { device: device() });
    network.decide(&[no_esp(2, Action::Release)]);
    let (updates, _) = network.take_updates();
    assert_eq!(fates(&updates), [("a", AlarmFate::Unchanged)]);
    network.wait(301);
    assert_eq!(network.only_update("a").alarm, AlarmFate::Cancel);
}

#[test]
fn a_change_while_a_question_is_open_makes_its_answer_worthless() {
    let mut network = three_admitted();
    network.alarm("a", too_many(4));
    network.hss(meter());
    network.take();
    network.tell(Input::SubscriberChanged { device: device() });
    assert_eq!(network.take(), []);
    network.pcrf(Ok(vec![at_most(1, 3, Action::Reject)]));
    assert_eq!(queries(&network.take()), ["hss"]);
    network.decide(&r_d17());
    assert_eq!(network.take_updates().0["a"].alarm, AlarmFate::Cancel);
}

#[test]
fn a_change_of_a_device_that_nobody_asked_about_is_no_reason_to_ask() {
    let mut network = three_admitted();
    network.tell(Input::SubscriberChanged { device: device() });
    network.tell(Input::SubscriberChanged { device: DeviceId("001010000000999".into()) });
    assert_eq!(network.take(), []);
    assert_eq!(network.control.devices().count(), 1);
}

#[test]
fn an_operator_answers_an_alarm_that_is_still_being_asked_about() {
    let mut network = three_admitted();
    let id = network.alarm("a", too_many(4));
    network.take();
    network.tell(Input::OperatorCancels { device: device() });
    let (updates, _) = network.take_updates();
    assert_eq!(fates(&updates), [("a", AlarmFate::Cancel), ("b", AlarmFate::Cancel)]);
    assert_eq!(updates["a"].answers, Some(id));
    network.decide(&r_d17());
    let (updates, _) = network.take_updates();
    assert_eq!(fates(&updates), [("a", AlarmFate::Unchanged), ("b", AlarmFate::Unchanged)]);
    assert!(updates["a"].cached, "the policies are cached all the same");
}

#[test]
fn a_release_ends_the_session_once() {
    let mut network = three_admitted();
    network.alarm("a", too_many(4));
    network.decide(&[at_most(1, 3, Action::Release)]);
    let (updates, _) = network.take_updates();
    assert!(updates.values().all(|update| update.release_session));
    network.wait(31);
    let lifted = network.only_update("a");
    assert_eq!((lifted.alarm, lifted.release_session), (AlarmFate::Cancel, false));
}

#[test]
fn a_node_scope_decision_is_about_its_node_alone() {
    let mut network = three_admitted();
    network.alarm("a", too_many(4));
    let policy = Policy { scope: Scope::Node, ..at_most(1, 3, Action::Throttle(limit(5, 60))) };
    network.decide(&[policy]);
    let (updates, records) = network.take_updates();
    assert_eq!(updates["a"].status.throttled_until, Some(network.at(60)));
    assert_eq!(updates["b"].status, Status::default());
    assert_eq!(records[0].entry.status.throttled_until, Some(network.at(60)), "recorded at its strictest");
}

#[test]
fn a_restarted_service_control_has_what_it_decided() {
    let mut network = three_admitted();
    network.alarm("a", too_many(4));
    network.decide(&r_d17());
    let (updates, records) = network.take_updates();
    let mut control = ServiceControl::new(config());
    control.restore([records[0].entry.clone()], network.at(1));
    let snapshot = Input::NodeConnected { node: NodeName("b".into()), boot: "boot".into() };
    let outputs = control.handle(snapshot, network.at(2));
    let [Output::Snapshot { entries, .. }] = &outputs[..] else { panic!("a snapshot and nothing else") };
    assert_eq!(entries[..], [updates["b"].clone()]);
}

#[test]
fn a_rejected_alarm_outlives_a_restart_and_is_lifted_on_whatever_node_it_is() {
    let mut network = Network::of(&["a", "b"]);
    network.alarm("a", esp());
    network.decide(&[no_esp(2, Action::Reject)]);
    let (_, records) = network.take_updates();
    let entry = records[0].entry.clone();
    assert_eq!(entry.alarm, AlarmFate::Reject);
    network.control = ServiceControl::new(config());
    network.control.restore([entry.clone()], UnixMillis(network.now));
    network.connect("a");
    network.take();
    network.wait(601);
    let lifted = network.only_update("a");
    assert_eq!((lifted.alarm, lifted.answers), (AlarmFate::Cancel, None));
    assert!(lifted.revision > entry.revision);
    network.connect("b");
    let [Output::Snapshot { entries, .. }] = &network.take()[..] else {
        panic!("a snapshot and nothing else")
    };
    assert_eq!(entries[0].alarm, AlarmFate::Cancel, "it was away when the alarm was lifted");
    network.connect("b");
    let [Output::Snapshot { entries, .. }] = &network.take()[..] else {
        panic!("a snapshot and nothing else")
    };
    assert_eq!(entries[0].alarm, AlarmFate::Unchanged);
}

#[test]
fn a_rejection_of_before_the_restart_ends_without_ending_a_nodes_own() {
    let mut network = Network::of(&["a", "b"]);
    network.alarm("a", esp());
    network.decide(&[no_esp(2, Action::Reject)]);
    let (_, records) = network.take_updates();
    network.control = ServiceControl::new(config());
    network.control.restore([records[0].entry.clone()], UnixMillis(network.now));
    network.connect("a");
    network.connect("b");
    network.wait(300);
    network.alarm("b", esp());
    network.decide(&[no_esp(2, Action::Reject)]);
    assert_eq!(fates(&network.take_updates().0), [("b", AlarmFate::Reject)]);
    network.wait(301);
    assert_eq!(network.only_update("a").alarm, AlarmFate::Cancel);
    network.wait(300);
    assert_eq!(network.only_update("b").alarm, AlarmFate::Cancel);
}

#[test]
fn an_alarm_of_an_earlier_boot_does_not_replace_the_present_one() {
    let mut network = three_admitted();
    let id = |boot: &str, sequence| AlarmId { node: NodeName("a".into()), boot: boot.into(), sequence };
    network.raise(id("boot", 1), too_many(4), true);
    network.raise(id("next boot", 1), too_many(4), true);
    network.raise(id("boot", 2), too_many(4), true);
    network.decide(&r_d17());
    assert_eq!(network.take_updates().0["a"].answers, Some(id("next boot", 1)));
}

#[test]
fn revisions_go_on_after_a_restart_even_where_the_entry_was_forgotten() {
    let mut network = three_admitted();
    network.alarm("a", too_many(4));
    network.hss(Ok(Subscription::Known { device_type: "phone".into() }));
    network.wait(3601);
    let (_, records) = network.take_updates();
    let last = records.last().unwrap().entry.clone();
    assert!(!last.cached);
    network.control = ServiceControl::new(config());
    network.control.restore([last.clone()], UnixMillis(network.now));
    assert_eq!(network.control.devices().count(), 0);
    network.connect("a");
    network.alarm("a", too_many(4));
    network.take();
    network.decide(&r_d17());
    assert!(network.only_update("a").revision > last.revision);
}

#[test]
fn debug_output_shows_no_whole_identifier() {
    let (network, _) = rejected_alarm();
    let text = format!("{:?} {:?}", network.control, network.said);
    assert!(!text.contains(&device().0));
    assert_eq!(format!("{:?}", device()), "DeviceId(…01)");
    assert_eq!(format!("{:?}", DeviceId("1234".into())), "DeviceId(…)");
}
