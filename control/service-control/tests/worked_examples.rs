//! Worked examples R-D17 and R-D18 as inputs and outputs.

mod network;

use network::{Network, at_most, device, esp, fates, limit, meter, no_esp, r_d17, too_many};
use weir_service_control::{Action, AlarmFate, Input, NodeName, Output, Status, Until};

/// Accesses 1 to 3 at node a, ten seconds apart, and 4 raises the alarm.
fn up_to_the_alarm() -> (Network, weir_service_control::AlarmId) {
    let mut network = Network::of(&["a", "b"]);
    for _ in 0..3 {
        network.admit("a");
        network.report("a");
        network.wait(10);
    }
    assert_eq!(network.take(), [], "accesses within the alarm's limit are nobody's business");
    let id = network.alarm("a", too_many(4));
    (network, id)
}

#[test]
fn r_d17_the_fourth_access_is_asked_about_cancelled_and_throttled() {
    let (mut network, id) = up_to_the_alarm();
    let node = NodeName("a".into());
    assert_eq!(
        network.take(),
        [Output::AlarmReceived { node, id: id.clone() }, Output::QuerySubscription { device: device() }]
    );
    network.hss(meter());
    assert_eq!(network.take(), [Output::QueryPolicies { device: device(), event: Some(too_many(4)) }]);
    network.pcrf(Ok(r_d17()));
    let throttled = Status { throttled_until: Some(network.at(60)), rejected: None };
    let (updates, records) = network.take_updates();
    assert_eq!(fates(&updates), [("a", AlarmFate::Cancel), ("b", AlarmFate::Unchanged)]);
    for update in updates.values() {
        assert!(update.cached && !update.not_m2m && !update.release_session);
        assert_eq!(update.policies, r_d17());
        assert_eq!(update.status, throttled);
    }
    assert_eq!(updates["a"].answers, Some(id.clone()));
    assert_eq!(updates["b"].answers, None);
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].alarm.clone(), records[0].fate), (Some(id), AlarmFate::Cancel));
    assert_eq!(records[0].entry.status, throttled);
    assert!(!network.control.device(&device()).unwrap().alarm_active);
}

#[test]
fn r_d17_the_fifth_is_nobodys_business_and_the_sixth_is_rejected_everywhere_else() {
    let (mut network, _) = up_to_the_alarm();
    network.decide(&r_d17());
    network.redeem("a");
    network.report("a");
    network.take();
    network.wait(2);
    network.admit("a");
    network.refuse("a", "throttled");
    network.report("a");
    let update = network.only_update("b");
    let room = network.at(-32 + 60);
    assert_eq!(
        update.status.rejected,
        Some(Until::Instant(room)),
        "until the first access leaves the window"
    );
    assert!(update.status.throttled_until.is_some());
    assert_eq!(update.alarm, AlarmFate::Unchanged);
    network.report("a");
    network.report("b");
    assert_eq!(network.take(), [], "nothing is sent twice");
    network.wait(29);
    assert_eq!(network.take(), [], "the status lapses by itself");
    assert_eq!(network.control.device(&device()).unwrap().status.rejected, None);
}

#[test]
fn r_d17_a_tighter_throttle_rejects_the_fourth_and_cancels_when_there_is_room() {
    let (mut network, id) = up_to_the_alarm();
    let policies = [at_most(1, 3, Action::Throttle(limit(3, 60))), no_esp(2, Action::Reject)];
    network.decide(&policies);
    let (updates, _) = network.take_updates();
    assert_eq!(fates(&updates), [("a", AlarmFate::Reject), ("b", AlarmFate::Unchanged)]);
    let room = network.at(-30 + 60);
    for update in updates.values() {
        assert_eq!(update.status.rejected, Some(Until::Instant(room)));
        assert_eq!(update.status.throttled_until, Some(network.at(60)));
    }
    assert_eq!(updates["a"].answers, Some(id.clone()));
    network.wait(31);
    let (updates, records) = network.take_updates();
    assert_eq!(fates(&updates), [("a", AlarmFate::Cancel)]);
    assert_eq!(updates["a"].answers, None, "nothing is held any more");
    assert_eq!(updates["a"].status.rejected, None);
    assert_eq!((records[0].alarm.clone(), records[0].fate), (Some(id), AlarmFate::Cancel));
}

#[test]
fn r_d18_esp_under_policies_without_action_is_delivered_and_not_asked_about_again() {
    let mut network = Network::of(&["a", "b"]);
    let policies = [at_most(1, 3, Action::None), no_esp(2, Action::None)];
    let id = network.alarm("a", esp());
    network.hss(meter());
    network.take();
    network.pcrf(Ok(policies.to_vec()));
    let (updates, _) = network.take_updates();
    assert_eq!(fates(&updates), [("a", AlarmFate::Cancel), ("b", AlarmFate::Unchanged)]);
    assert_eq!(updates["a"].answers, Some(id));
    for update in updates.values() {
        assert_eq!((&update.policies[..], update.status), (&policies[..], Status::default()));
    }
    network.redeem("a");
    network.admit("a");
    network.report("a");
    assert_eq!(network.take(), []);
}

#[test]
fn r_d18_variant_esp_is_rejected_and_the_policy_named() {
    let mut network = Network::of(&["a", "b"]);
    let policies = [at_most(1, 3, Action::None), no_esp(2, Action::Reject)];
    network.alarm("a", esp());
    network.decide(&policies);
    let (updates, _) = network.take_updates();
    assert_eq!(fates(&updates), [("a", AlarmFate::Reject), ("b", AlarmFate::Unchanged)]);
    assert_eq!(updates["a"].explanation, "Rejected: policy 2 forbids esp.");
    assert_eq!(updates["a"].status, Status::default());
    network.wait(599);
    assert_eq!(network.take(), []);
    network.wait(2);
    let lifted = network.only_update("a");
    assert_eq!((lifted.alarm, lifted.answers), (AlarmFate::Cancel, None));
    assert_eq!(lifted.explanation, "Cancelled: the hold time is over.");
}

#[test]
fn an_operator_ends_a_protocol_alarm_on_every_node() {
    let mut network = Network::of(&["a", "b"]);
    network.alarm("a", esp());
    network.decide(&r_d17());
    network.take();
    network.tell(Input::OperatorCancels { device: device() });
    let (updates, records) = network.take_updates();
    assert_eq!(fates(&updates), [("a", AlarmFate::Cancel), ("b", AlarmFate::Cancel)]);
    assert_eq!(records.len(), 1);
    assert_eq!(network.control.alarms().count(), 0);
}
