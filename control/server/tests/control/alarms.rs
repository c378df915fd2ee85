//! From an alarm to what every node holds (R-D8 to R-D17), through the real server.

use std::sync::Arc;

use tokio::sync::Semaphore;
use weir_proto::v1::{AlarmFate, CacheUpdate, DeviceCounts, policy};
use weir_server::{Answer, Hss, Peers};
use weir_service_control::{DeviceId, Subscription};

use crate::agent::{Agent, counts};
use crate::world::{IMSI1, IMSI2, World, now_ms, subscriber};

fn policy_ids(update: &CacheUpdate) -> Vec<u32> {
    update.policies.iter().map(|policy| policy.id).collect()
}

#[tokio::test]
async fn worked_example_1_runs_over_the_real_stream() {
    let world = World::new();
    let control = world.start();
    let (mut first, snapshot) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    assert_eq!(snapshot, [], "the cache is empty at first");
    let (mut second, _) = Agent::attach(&control.nodes, "pgw-2", "boot-1").await;

    // Accesses 1 to 3 were admitted; the fourth raises the alarm and is held. 4 ≤ 5: cancel.
    let alarm = first.count_alarm(IMSI1, 1);
    first.alarm(&alarm).await;
    let cancel = first.update().await;
    assert_eq!(cancel.answers, alarm.id);
    assert_eq!(cancel.alarm(), AlarmFate::Cancel);
    assert_eq!((cancel.device.as_str(), cancel.cached), (IMSI1, true));
    assert_eq!(policy_ids(&cancel), [1, 2]);
    let Some(policy::Rule::AccessLimit(limit)) = &cancel.policies[0].rule else { panic!("{cancel:?}") };
    assert_eq!((limit.permitted, limit.window_ms), (3, 60_000));
    let status = cancel.status.unwrap();
    assert!(status.throttled_until_ms > now_ms() + 50_000, "throttled to 5 per minute: {status:?}");
    assert_eq!(status.rejected_until_ms, 0);
    assert!(!cancel.explanation.is_empty() && !cancel.explanation.contains(IMSI1), "{}", cancel.explanation);

    // Every node's cache is updated (R-D15); only the node that asked gets the answer.
    let told = second.update().await;
    assert_eq!((told.device.as_str(), told.answers.as_ref()), (IMSI1, None));
    assert_eq!(policy_ids(&told), [1, 2]);
    assert_eq!(told.alarm(), AlarmFate::Unspecified);

    // The fourth and fifth are admitted from the cache; the sixth is rejected there and reported: the other
    // node is told.
    let rejected = 1;
    let last_rejection = "throttled".to_owned();
    first.report(DeviceCounts { rejected, last_rejection, ..counts(IMSI1, 6, 5) }).await;
    let followed = second.update().await;
    let status = followed.status.unwrap();
    assert!(status.rejected_until_ms > now_ms(), "the window is full everywhere: {status:?}");
    assert!(status.rejected_until_ms < now_ms() + 60_000, "and lapses with it: {status:?}");
    assert!(followed.revision > told.revision);

    control.metric("weir_control_alarms_total{fate=\"cancelled\"}", 1.0).await;
    control.metric("weir_control_devices_cached", 1.0).await;
    control.metric("weir_control_alarms_active", 0.0).await;
    control.stop().await.unwrap();
}

#[tokio::test]
async fn an_alarm_for_a_forbidden_protocol_is_rejected_until_the_operator_cancels_it() {
    let world = World::new();
    let control = world.start();
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    agent.alarm(&agent.esp_alarm(IMSI1, 1)).await;
    let reject = agent.update().await;
    assert_eq!(reject.alarm(), AlarmFate::Reject);
    assert_eq!(policy_ids(&reject), [1, 2]);

    let alarms = control.get("/v1/alarms").await;
    assert_eq!(alarms[0]["device"], IMSI1);
    assert_eq!(alarms[0]["raised"]["condition"]["protocol"], "esp");
    control.metric("weir_control_alarms_active", 1.0).await;
    let path = format!("/v1/alarms/{IMSI1}/cancel");
    assert_eq!(control.ask(hyper::Method::POST, &path, "").await.0, 204);
    assert_eq!(agent.update().await.alarm(), AlarmFate::Cancel);
    assert_eq!(control.get("/v1/alarms").await.as_array().unwrap().len(), 0);
    control.metric("weir_control_alarms_active", 0.0).await;
}

#[tokio::test]
async fn a_device_that_is_no_machine_is_cancelled_with_that_fact() {
    let mut world = World::new();
    world.config.subscribers = vec![subscriber(IMSI1, "phone", &[])];
    let control = world.start();
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    agent.alarm(&agent.count_alarm(IMSI1, 1)).await;
    let cancel = agent.update().await;
    assert_eq!((cancel.alarm(), cancel.not_m2m), (AlarmFate::Cancel, true));
}

#[tokio::test]
async fn a_subscriber_that_the_hss_does_not_know_is_rejected() {
    let world = World::new();
    let control = world.start();
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    agent.alarm(&agent.count_alarm("999990000000009", 1)).await;
    let reject = agent.update().await;
    assert_eq!((reject.alarm(), reject.cached), (AlarmFate::Reject, false));
}

#[tokio::test]
async fn a_change_of_policy_reaches_every_node_that_holds_it() {
    let world = World::new();
    let control = world.start();
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    agent.alarm(&agent.count_alarm(IMSI1, 1)).await;
    let before = agent.update().await;
    let changed = serde_json::json!({
        "id": 1, "access_limit": {"limit": 9, "window": "1m"}, "action": "reject"
    });
    assert_eq!(control.put("/v1/policies/1", &changed).await.0, 200);
    let after = agent.update().await;
    assert!(after.revision > before.revision);
    let Some(policy::Rule::AccessLimit(limit)) = &after.policies[0].rule else { panic!("{after:?}") };
    assert_eq!(limit.permitted, 9);
}

/// Answers for [`IMSI1`] only once it may.
struct SlowHss {
    inner: Arc<dyn Hss>,
    may_answer: Arc<Semaphore>,
}

impl Hss for SlowHss {
    fn subscription<'a>(&'a self, device: &'a DeviceId) -> Answer<'a, Subscription> {
        Box::pin(async move {
            if device.0 == IMSI1 {
                self.may_answer.acquire().await.map_err(|closed| closed.to_string())?.forget();
            }
            self.inner.subscription(device).await
        })
    }
}

#[tokio::test]
async fn an_hss_that_is_slow_about_one_device_delays_no_other() {
    let mut world = World::new();
    world.config.query_timeout = crate::world::DEADLINE;
    let may_answer = Arc::new(Semaphore::new(0));
    let slow = may_answer.clone();
    let control = world.start_with(|peers| Peers {
        hss: Arc::new(SlowHss { inner: peers.hss.clone(), may_answer: slow }),
        ..peers
    });
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    agent.alarm(&agent.count_alarm(IMSI1, 1)).await;
    agent.alarm(&agent.count_alarm(IMSI2, 2)).await;
    assert_eq!(agent.update().await.device, IMSI2, "raised later, answered first");
    let state = control.get(&format!("/v1/devices/{IMSI1}")).await;
    assert_eq!(state["alarms"][0]["state"], "subscription-queried");
    may_answer.add_permits(1);
    assert_eq!(agent.update().await.device, IMSI1);
}

#[tokio::test]
async fn an_hss_that_does_not_answer_in_time_is_asked_again() {
    let mut world = World::new();
    world.config.query_timeout = std::time::Duration::from_millis(50);
    let may_answer = Arc::new(Semaphore::new(0));
    let slow = may_answer.clone();
    let control = world.start_with(|peers| Peers {
        hss: Arc::new(SlowHss { inner: peers.hss.clone(), may_answer: slow }),
        ..peers
    });
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    agent.alarm(&agent.count_alarm(IMSI1, 1)).await;
    control.metric("weir_control_query_seconds_count{outcome=\"timed_out\",peer=\"hss\"}", 1.0).await;
    may_answer.add_permits(100);
    assert_eq!(agent.update().await.alarm(), AlarmFate::Cancel);
}
