//! What a policy can say, from the admin API through the store to the nodes; and limits above fourteen, which control
//! adds up from sub-windows.

use serde_json::{Value, json};
use weir_proto::v1::{self, CacheUpdate, DeviceCounts, SubWindowCounts, policy::Rule};

use crate::agent::{Agent, counts};
use crate::world::{Control, IMSI1, World, now_ms};

async fn put(control: &Control, policies: &[Value]) {
    let ids: Vec<u64> = policies.iter().map(|policy| policy["id"].as_u64().unwrap()).collect();
    for policy in policies {
        let (status, kept) = control.put(&format!("/v1/policies/{}", policy["id"]), policy).await;
        assert!(status.is_success(), "{kept}");
        assert_eq!(kept, *policy, "as it was written");
    }
    let subscriber = json!({"device": IMSI1, "device_type": "meter", "policies": ids});
    let (status, kept) = control.put(&format!("/v1/subscribers/{IMSI1}"), &subscriber).await;
    assert!(status.is_success(), "{kept}");
}

async fn answered(agent: &mut Agent) -> CacheUpdate {
    let alarm = agent.count_alarm(IMSI1, 1);
    agent.alarm(&alarm).await;
    agent.update().await
}

fn limited(limit: u32) -> Value {
    json!({"limit": limit, "window": "1m", "comparison": "greater"})
}

#[tokio::test]
async fn every_kind_of_policy_reaches_the_nodes_as_it_was_put() {
    let world = World::new();
    let control = world.start();
    put(
        &control,
        &[
            json!({"id": 11, "scope": "network", "access_limit": limited(1023), "shadow": true, "action": "reject"}),
            json!({"id": 12, "scope": "node", "action": "reject", "rate": {
                "bytes_per_second": 12_500_000_000_u64, "packets_per_second": 100, "burst": "1s", "direction": "up"
            }}),
        ],
    )
    .await;
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    let update = answered(&mut agent).await;
    let [large, rate] = &update.policies[..] else { panic!("{update:?}") };
    let limit = v1::AccessLimit { permitted: 1023, window_ms: 60_000 };
    assert_eq!((&large.rule, large.shadow), (&Some(Rule::AccessLimit(limit)), true));
    assert_eq!(large.counts(), v1::Counted::Admitted);
    let expected = v1::Rate {
        bytes_per_second: 12_500_000_000,
        packets_per_second: 100,
        burst_ms: 1000,
        direction: v1::Direction::Up.into(),
    };
    assert_eq!((&rate.rule, rate.shadow), (&Some(Rule::Rate(expected)), false));
    let requests = json!({
        "id": 11, "scope": "node", "access_limit": limited(13), "counts": "requests", "action": "reject"
    });
    assert_eq!(control.put("/v1/policies/11", &requests).await.0, 422, "it has no room beside two rates");
    let only = json!({"device": IMSI1, "device_type": "meter", "policies": [11]});
    assert!(control.put(&format!("/v1/subscribers/{IMSI1}"), &only).await.0.is_success());
    assert!(control.put("/v1/policies/11", &requests).await.0.is_success());
    let changed = loop {
        let update = agent.update().await;
        if update.policies.len() == 1 && update.policies[0].counts() == v1::Counted::Requests {
            break update;
        }
    };
    assert_eq!(changed.policies[0].id, 11);
    control.stop().await.unwrap();
}

#[tokio::test]
async fn what_an_entry_cannot_hold_together_is_refused_by_the_admin_api() {
    let world = World::new();
    let control = world.start();
    let rate =
        |id: u32| json!({"id": id, "scope": "node", "rate": {"bytes_per_second": 1000}, "action": "reject"});
    for id in [11, 12] {
        assert!(control.put(&format!("/v1/policies/{id}"), &rate(id)).await.0.is_success());
    }
    let subscriber = json!({"device": IMSI1, "device_type": "meter", "policies": [11, 12]});
    let (status, problem) = control.put(&format!("/v1/subscribers/{IMSI1}"), &subscriber).await;
    assert_eq!(status, 422);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("11 and 12 all limit bytes"), "{detail}");
    control.stop().await.unwrap();
}

#[tokio::test]
async fn sums_of_two_nodes_exhaust_a_limit_that_neither_reaches() {
    let world = World::new();
    let control = world.start();
    put(&control, &[json!({"id": 11, "scope": "network", "access_limit": limited(100), "action": "reject"})])
        .await;
    let (mut first, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    let (mut second, _) = Agent::attach(&control.nodes, "pgw-2", "boot-1").await;
    let told = answered(&mut first).await;
    second.update().await;
    let windows = |counts: [u32; 4]| SubWindowCounts {
        policy: 11,
        throttle: false,
        length_us: 20_000_000,
        newest_start_ms: now_ms() - 1000,
        counts: counts.to_vec(),
    };
    let report = |number, windows| DeviceCounts { windows: vec![windows], ..counts(IMSI1, number, number) };
    first.report(report(60, windows([20, 20, 20, 0]))).await;
    second.report(report(40, windows([0, 0, 40, 0]))).await;
    for agent in [&mut first, &mut second] {
        let update = agent.update().await;
        let rejected = update.status.unwrap().rejected_until_ms;
        assert!(update.revision > told.revision && rejected > now_ms(), "{update:?}");
        assert!(rejected <= now_ms() + 60_000, "the oldest stretch leaves first: {update:?}");
    }
    control.stop().await.unwrap();
}
