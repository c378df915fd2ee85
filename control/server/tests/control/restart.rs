//! Control dies and comes back (R-X4): nothing decided is lost, nothing is decided twice.

use std::sync::Arc;

use weir_proto::v1::AlarmFate;
use weir_server::{Answer, Hss, Peers};
use weir_service_control::{DeviceId, Subscription};

use crate::agent::Agent;
use crate::world::{IMSI1, World, within};

/// Never answers, but says that it was asked.
struct DeadHss(Arc<tokio::sync::Notify>);

impl Hss for DeadHss {
    fn subscription<'a>(&'a self, _: &'a DeviceId) -> Answer<'a, Subscription> {
        Box::pin(async move {
            self.0.notify_one();
            std::future::pending().await
        })
    }
}

#[tokio::test]
async fn an_alarm_that_control_died_over_is_answered_once_after_its_return() {
    let world = World::new();
    let asked = Arc::new(tokio::sync::Notify::new());
    let hss = Arc::new(DeadHss(asked.clone()));
    let control = world.start_with(|peers| Peers { hss, ..peers });
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    let alarm = agent.count_alarm(IMSI1, 1);
    agent.alarm(&alarm).await;
    within("the HSS to be asked", asked.notified()).await;
    control.kill();

    let control = world.start();
    let (mut agent, snapshot) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    assert_eq!(snapshot, [], "nothing was decided");
    agent.alarm(&alarm).await;
    let answer = agent.update().await;
    assert_eq!((answer.answers.as_ref(), answer.alarm()), (alarm.id.as_ref(), AlarmFate::Cancel));

    // The same alarm once more, as if the answer had been lost: the same answer, and no other decision.
    agent.alarm(&alarm).await;
    let again = agent.update().await;
    assert_eq!((again.answers.as_ref(), again.revision), (alarm.id.as_ref(), answer.revision));
    let decisions = control.get(&format!("/v1/decisions?device={IMSI1}")).await;
    assert_eq!(decisions.as_array().unwrap().len(), 1, "{decisions}");
    control.metric("weir_control_decisions_total", 1.0).await;
}

#[tokio::test]
async fn what_was_decided_before_a_crash_is_in_the_snapshot_after_it() {
    let world = World::new();
    let control = world.start();
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    agent.alarm(&agent.count_alarm(IMSI1, 1)).await;
    let decided = agent.update().await;
    control.kill();

    let control = world.start();
    let (_agent, snapshot) = Agent::attach(&control.nodes, "pgw-2", "boot-1").await;
    assert_eq!(snapshot.len(), 1);
    let entry = &snapshot[0];
    assert_eq!((entry.device.as_str(), entry.cached), (IMSI1, true));
    assert_eq!(entry.policies, decided.policies);
    assert_eq!(
        entry.status.unwrap().throttled_until_ms,
        decided.status.unwrap().throttled_until_ms,
        "{snapshot:?}"
    );
    assert!(entry.revision >= decided.revision);
    control.metric("weir_control_devices_cached", 1.0).await;
}

#[tokio::test]
async fn what_the_operator_changed_outlives_the_seeds() {
    let world = World::new();
    let control = world.start();
    let changed = serde_json::json!({"id": 2, "forbidden_protocols": ["ah"], "action": "none"});
    assert_eq!(control.put("/v1/policies/2", &changed).await.0, 200);
    control.stop().await.unwrap();
    assert!(!world.config.admin_socket.exists() && !world.config.stream_socket.exists());

    let control = world.start();
    assert_eq!(control.get("/v1/policies/2").await["forbidden_protocols"][0], "ah");
}

#[tokio::test]
async fn streams_are_ended_with_a_reason_when_control_stops() {
    let world = World::new();
    let control = world.start();
    let (agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    let (stopped, ended) = tokio::join!(control.stop(), agent.ended());
    stopped.unwrap();
    assert_eq!(ended.code(), tonic::Code::Unavailable, "{ended}");
}
