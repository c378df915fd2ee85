//! The admin API: what is put comes back, and every refusal says why in the right status.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::world::{Control, IMSI1, IMSI2, World};

async fn refused(control: &Control, method: Method, path: &str, body: &Value, status: u16) -> String {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (answered, problem) = control.ask(method.clone(), path, &body).await;
    assert_eq!(answered, status, "{method} {path}: {problem}");
    assert!(problem["title"].is_string(), "{problem}");
    problem["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_policy_makes_the_round_trip() {
    let world = World::new();
    let control = world.start();
    let policy = json!({
        "id": 3, "scope": "node", "kinds": ["trigger"],
        "access_limit": {"limit": 14, "window": "24h", "comparison": "greater"}, "action": "release"
    });
    assert_eq!(control.put("/v1/policies/3", &policy).await, (StatusCode::CREATED, policy.clone()));
    assert_eq!(control.get("/v1/policies/3").await, policy);
    assert_eq!(control.put("/v1/policies/3", &policy).await.0, StatusCode::OK);
    let listed = control.get("/v1/policies").await;
    assert_eq!(
        listed.as_array().unwrap().iter().map(|policy| policy["id"].clone()).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(control.ask(Method::DELETE, "/v1/policies/3", "").await.0, StatusCode::NO_CONTENT);
    assert_eq!(control.ask(Method::GET, "/v1/policies/3", "").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_subscriber_makes_the_round_trip() {
    let world = World::new();
    let control = world.start();
    let path = "/v1/subscribers/001010000000077";
    let subscriber = json!({"device": "001010000000077", "device_type": "sensor", "policies": [2]});
    assert_eq!(control.put(path, &subscriber).await, (StatusCode::CREATED, subscriber.clone()));
    assert_eq!(control.get(path).await, subscriber);
    assert_eq!(control.put(path, &subscriber).await.0, StatusCode::OK);
    assert_eq!(control.get("/v1/subscribers").await.as_array().unwrap().len(), 3);
    let shown = control.get("/v1/devices/001010000000077").await;
    assert_eq!((&shown["cached"], &shown["subscriber"]), (&json!(false), &subscriber));
    assert_eq!(control.ask(Method::DELETE, path, "").await.0, StatusCode::NO_CONTENT);
    assert_eq!(control.ask(Method::DELETE, path, "").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn policies_that_an_entry_cannot_hold_are_refused() {
    let world = World::new();
    let control = world.start();
    let limit = |limit: u32, window: &str| json!({"limit": limit, "window": window});
    for (policy, why) in [
        (json!({"id": 3, "access_limit": limit(1024, "1m"), "action": "reject"}), "at most 1023"),
        (json!({"id": 3, "access_limit": limit(3, "25h"), "action": "reject"}), "24h"),
        (json!({"id": 3, "access_limit": limit(3, "0s"), "action": "reject"}), "1ms"),
        (json!({"id": 3, "access_limit": limit(3, "1 minute"), "action": "reject"}), "duration"),
        (json!({"id": 3, "action": "reject"}), "needs this rule"),
        (json!({"id": 3, "forbidden_protocols": ["esp"], "action": "reject", "limits": 1}), "unknown field"),
        (json!({"id": 3, "forbidden_protocols": ["smoke"], "action": "reject"}), "smoke"),
        (json!({"id": 4, "forbidden_protocols": ["esp"], "action": "reject"}), "path"),
    ] {
        let detail = refused(&control, Method::PUT, "/v1/policies/3", &policy, 422).await;
        assert!(detail.contains(why), "{policy}: {detail}");
    }
    assert_eq!(control.get("/v1/policies").await.as_array().unwrap().len(), 2, "nothing was kept");
}

#[tokio::test]
async fn a_subscriber_that_an_entry_cannot_hold_is_refused() {
    let world = World::new();
    let control = world.start();
    for id in 3..=5 {
        let policy = json!({"id": id, "forbidden_protocols": ["ah"], "action": "none"});
        assert_eq!(control.put(&format!("/v1/policies/{id}"), &policy).await.0, StatusCode::CREATED);
    }
    let throttle = json!({
        "id": 6, "access_limit": {"limit": 3, "window": "1m"}, "action": {"throttle": {"limit": 4, "window": "1m"}}
    });
    assert_eq!(control.put("/v1/policies/6", &throttle).await.0, StatusCode::CREATED);
    for (policies, why) in [
        (json!([1, 2, 3, 4, 5]), "at most 4"),
        (json!([1, 6]), "all throttle"),
        (json!([1, 1]), "twice"),
        (json!([99]), "no policy 99"),
    ] {
        let subscriber = json!({"device": IMSI1, "device_type": "meter", "policies": policies});
        let path = format!("/v1/subscribers/{IMSI1}");
        let detail = refused(&control, Method::PUT, &path, &subscriber, 422).await;
        assert!(detail.contains(why), "{subscriber}: {detail}");
        assert!(!detail.contains(IMSI1), "{detail}");
    }
    // A policy cannot become a second throttle of those who have it either.
    let subscriber = json!({"device": IMSI1, "device_type": "meter", "policies": [1, 3]});
    assert_eq!(control.put(&format!("/v1/subscribers/{IMSI1}"), &subscriber).await.0, StatusCode::OK);
    let second = json!({
        "id": 3, "access_limit": {"limit": 3, "window": "1m"}, "action": {"throttle": {"limit": 4, "window": "1m"}}
    });
    let detail = refused(&control, Method::PUT, "/v1/policies/3", &second, 422).await;
    assert!(detail.contains("all throttle"), "{detail}");
}

#[tokio::test]
async fn a_policy_that_is_held_goes_only_with_leave_to_detach_it() {
    let world = World::new();
    let control = world.start();
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    agent.alarm(&agent.count_alarm(IMSI1, 1)).await;
    agent.update().await;
    let detail = refused(&control, Method::DELETE, "/v1/policies/2", &Value::Null, 409).await;
    assert!(detail.contains("2 subscriber(s)") && detail.contains("detach"), "{detail}");

    assert_eq!(control.ask(Method::DELETE, "/v1/policies/2?detach=true", "").await.0, StatusCode::NO_CONTENT);
    for device in [IMSI1, IMSI2] {
        assert_eq!(control.get(&format!("/v1/subscribers/{device}")).await["policies"], json!([1]));
    }
    let update = agent.update().await;
    assert_eq!(update.policies.iter().map(|policy| policy.id).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_said_as_json() {
    let world = World::new();
    let control = world.start();
    for path in ["/v1/policies/9", "/v1/policies/x", "/v1/subscribers/1", "/v1/devices/1", "/v1/nothing", "/"]
    {
        refused(&control, Method::GET, path, &Value::Null, 404).await;
    }
    refused(&control, Method::DELETE, "/v1/policies/9", &Value::Null, 404).await;
    refused(&control, Method::POST, "/v1/alarms/1/cancel", &Value::Null, 404).await;
    refused(&control, Method::POST, "/v1/policies", &Value::Null, 405).await;
    refused(&control, Method::GET, "/v1/decisions?limit=0", &Value::Null, 422).await;
    refused(&control, Method::GET, "/v1/decisions?devise=1", &Value::Null, 422).await;
    let subscriber = json!({"device": "12", "device_type": "meter"});
    refused(&control, Method::PUT, "/v1/subscribers/12", &subscriber, 422).await;
    let (status, problem) = control.ask(Method::PUT, "/v1/policies/1", "{").await;
    assert_eq!((status, problem["title"].as_str()), (StatusCode::BAD_REQUEST, Some("not JSON")));
    let (status, _) = control.ask(Method::PUT, "/v1/policies/1", &" ".repeat(100 << 10)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn an_alarm_can_be_cancelled_only_while_it_is_active() {
    let world = World::new();
    let control = world.start();
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    agent.alarm(&agent.count_alarm(IMSI1, 1)).await;
    agent.update().await;
    refused(&control, Method::POST, &format!("/v1/alarms/{IMSI1}/cancel"), &Value::Null, 409).await;
}

#[tokio::test]
async fn a_device_is_shown_with_its_counts_and_its_decisions() {
    let world = World::new();
    let control = world.start();
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    agent.alarm(&agent.count_alarm(IMSI1, 1)).await;
    agent.update().await;
    agent.alarm(&agent.esp_alarm(IMSI2, 2)).await;
    agent.update().await;
    let shown = control.get(&format!("/v1/devices/{IMSI1}")).await;
    assert_eq!(shown["device"], IMSI1);
    assert_eq!(shown["policies"], json!([1, 2]));
    assert_eq!(shown["policy_details"][1]["forbidden_protocols"], json!(["esp"]));
    assert_eq!((&shown["alarm_active"], &shown["not_m2m"]), (&json!(false), &json!(false)));
    assert!(shown["status"]["throttled_until_ms"].is_i64(), "{shown}");
    assert_eq!((&shown["counts"][0]["node"], &shown["counts"][0]["admitted"]), (&json!("pgw-1"), &json!(3)));
    assert_eq!(shown["decisions"].as_array().unwrap().len(), 1);
    assert_eq!(shown["decisions"][0]["fate"], "cancelled");
    assert_eq!(shown["decisions"][0]["alarm"], json!({"node": "pgw-1", "boot": "boot-1", "sequence": 1}));

    let all = control.get("/v1/decisions").await;
    let fates: Vec<_> = all.as_array().unwrap().iter().map(|decision| &decision["fate"]).collect();
    assert_eq!(fates, ["rejected", "cancelled"], "newest first");
    assert_eq!(control.get("/v1/decisions?limit=1").await.as_array().unwrap().len(), 1);
    let devices = control.get("/v1/devices").await;
    assert_eq!(devices.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn limits_that_count_different_kinds_are_refused_where_a_node_tells_them_apart() {
    let world = World::new();
    let control = world.start();
    let policy = |kinds: Value| json!({"id": 3, "kinds": kinds, "access_limit": {"limit": 9, "window": "1h"}, "action": "reject"});
    let subscriber = json!({"device": IMSI1, "device_type": "meter", "policies": [1, 3]});
    let (path, policy_path) = (format!("/v1/subscribers/{IMSI1}"), "/v1/policies/3");
    assert_eq!(control.put(policy_path, &policy(json!(["packet"]))).await.0, StatusCode::CREATED);
    let (_packets, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    assert_eq!(control.put(&path, &subscriber).await.0, StatusCode::OK, "pgw-1 sees packets only");

    let kinds = ["packet", "trigger"];
    let (_both, _) = Agent::attach_reporting(&control.nodes, "pgw-2", "boot-1", &kinds).await;
    let detail = refused(&control, Method::PUT, &path, &subscriber, 422).await;
    assert!(detail.contains("one history"), "{detail}");
    refused(&control, Method::PUT, policy_path, &policy(json!(["trigger"])), 422).await;
    assert_eq!(control.put(policy_path, &policy(json!([]))).await.0, StatusCode::OK);
    assert_eq!(control.put(&path, &subscriber).await.0, StatusCode::OK);
}
