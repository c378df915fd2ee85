//! What control shows of itself on loopback (R-X6, R-X7).

use hyper::{Method, StatusCode};
use weir_server::{Error, Server};

use crate::agent::Agent;
use crate::world::{IMSI1, World};

#[tokio::test]
async fn the_metrics_page_is_prometheus_text_without_identifiers() {
    let world = World::new();
    let control = world.start();
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    agent.alarm(&agent.count_alarm(IMSI1, 1)).await;
    let update = agent.update().await;
    agent.answer(&update, &format!("no room for {IMSI1}")).await;
    control.metric("weir_control_updates_total{result=\"acknowledged\"}", 1.0).await;

    let (status, page) = control.page("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(!page.contains(IMSI1) && !page.contains("pgw-1"), "{page}");
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(sample.starts_with("weir_control_"), "{line}");
        value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
    }
    for name in [
        "weir_control_nodes_connected 1",
        "weir_control_nodes_too_slow_total 0",
        "weir_control_decisions_total 1",
        "weir_control_devices_cached 1",
        "weir_control_alarms_active 0",
        "weir_control_alarms_total{fate=\"cancelled\"} 1",
        "weir_control_alarms_total{fate=\"rejected\"} 0",
        "weir_control_query_seconds_count{outcome=\"answered\",peer=\"hss\"} 1",
        "weir_control_query_seconds_count{outcome=\"answered\",peer=\"pcrf\"} 1",
    ] {
        assert!(page.lines().any(|line| line == name), "no {name} in\n{page}");
    }
}

#[tokio::test]
async fn control_is_ready_when_its_store_and_sockets_are() {
    let world = World::new();
    let control = world.start();
    assert_eq!(control.page("/readyz").await, (StatusCode::OK, "ready\n".to_owned()));
    assert_eq!(control.page("/healthz").await.0, StatusCode::OK);
    // What can be changed is on the admin socket only.
    assert_eq!(control.page("/v1/nodes").await.0, StatusCode::NOT_FOUND);
    let (status, _) = control.ask(Method::GET, "/metrics", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_metrics_address_outside_the_machine_is_refused() {
    let mut world = World::new();
    world.config.metrics = "0.0.0.0:0".parse().unwrap();
    let error = Server::bind(world.config.clone()).await.err().unwrap();
    assert!(matches!(error, Error::Observe(_)), "{error}");
    assert!(error.to_string().contains("loopback"), "{error}");
    assert!(!world.config.admin_socket.exists() && !world.config.store.exists(), "nothing was begun");
}

#[tokio::test]
async fn seeds_that_an_entry_cannot_hold_are_refused_by_name() {
    let mut world = World::new();
    world.config.policies[0].access_limit.as_mut().unwrap().limit = 1024;
    let error = Server::bind(world.config.clone()).await.err().unwrap().to_string();
    assert!(error.contains("policy 1") && error.contains("access_limit.limit"), "{error}");

    let mut world = World::new();
    world.config.subscribers[0].policies.push(9);
    let error = Server::bind(world.config.clone()).await.err().unwrap().to_string();
    assert!(error.contains("no policy 9") && !error.contains(IMSI1), "{error}");
}
