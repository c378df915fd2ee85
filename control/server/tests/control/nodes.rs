//! Streams of nodes: who may speak, who is listened to, and what is known of them.

use hyper::StatusCode;
use serde_json::Value;
use tonic::Code;
use weir_proto::v1::{AlarmId, AlarmRaised, Hello, from_node};

use crate::agent::Agent;
use crate::world::{Control, IMSI1, World, eventually};

async fn node(control: &Control, name: &str) -> Value {
    let nodes = control.get("/v1/nodes").await;
    let found = nodes.as_array().unwrap().iter().find(|node| node["name"] == name);
    found.cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_second_stream_of_a_node_replaces_the_first() {
    let world = World::new();
    let control = world.start();
    let (first, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    let (mut second, _) = Agent::attach(&control.nodes, "pgw-1", "boot-2").await;
    assert_eq!(first.ended().await.code(), Code::Aborted);
    second.alarm(&second.count_alarm(IMSI1, 1)).await;
    assert_eq!(second.update().await.device, IMSI1, "the newer one is served");
    let shown = node(&control, "pgw-1").await;
    assert_eq!((&shown["connected"], &shown["boot"]), (&true.into(), &"boot-2".into()));
    assert_eq!(shown["streams"], 2);
    control.metric("weir_control_nodes_connected", 1.0).await;
}

#[tokio::test]
async fn what_became_of_updates_is_shown_with_the_node() {
    let world = World::new();
    let control = world.start();
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    agent.alarm(&agent.count_alarm(IMSI1, 1)).await;
    let update = agent.update().await;
    // Said twice, counts once.
    agent.answer(&update, "").await;
    let changed = serde_json::json!({"id": 2, "forbidden_protocols": ["ah"], "action": "none"});
    control.put("/v1/policies/2", &changed).await;
    let weir_proto::v1::to_node::Message::Update(update) = agent.hear().await else { panic!() };
    agent.answer(&update, "no profile is free").await;

    control.metric("weir_control_updates_total{result=\"refused\"}", 1.0).await;
    control.metric("weir_control_updates_total{result=\"acknowledged\"}", 1.0).await;
    control.metric("weir_control_updates_total{result=\"sent\"}", 2.0).await;
    let shown = node(&control, "pgw-1").await;
    assert_eq!(shown["updates"], serde_json::json!({"sent": 2, "acknowledged": 1, "refused": 1}));
    assert_eq!(shown["last_refusal"]["reason"], "no profile is free");
    assert_eq!(shown["abi_version"], 1);
    assert_eq!(shown["kinds"][0], "packet");
}

#[tokio::test]
async fn a_node_that_leaves_is_remembered_as_gone() {
    let world = World::new();
    let control = world.start();
    let (agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    assert_eq!(node(&control, "pgw-1").await["connected"], true);
    drop(agent);
    eventually("the node to be gone", async || {
        (node(&control, "pgw-1").await["connected"] == false).then_some(())
    })
    .await;
    control.metric("weir_control_nodes_connected", 0.0).await;
}

#[tokio::test]
async fn a_stream_must_begin_with_a_hello_that_names_its_node() {
    let world = World::new();
    let control = world.start();
    let hello = |node: &str| {
        let (node, boot) = (node.to_owned(), "boot-1".to_owned());
        from_node::Message::Hello(Hello { node, boot, abi_version: 1, kinds: Vec::new() })
    };
    let agent = Agent::connect(&control.nodes, "", "boot-1").await;
    agent.say(hello("")).await;
    assert_eq!(agent.ended().await.code(), Code::InvalidArgument);

    let agent = Agent::connect(&control.nodes, "pgw-1", "boot-1").await;
    agent.say(from_node::Message::Alarm(agent.count_alarm(IMSI1, 1))).await;
    assert_eq!(agent.ended().await.code(), Code::FailedPrecondition);

    let (agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    agent.say(hello("pgw-2")).await;
    assert_eq!(agent.ended().await.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_message_that_makes_no_sense_is_counted_and_the_stream_goes_on() {
    let world = World::new();
    let control = world.start();
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    let good = agent.count_alarm(IMSI1, 1);
    let foreign = AlarmId { node: "pgw-2".to_owned(), ..good.id.clone().unwrap() };
    for bad in [
        AlarmRaised { id: None, ..good.clone() },
        AlarmRaised { id: Some(foreign), ..good.clone() },
        AlarmRaised { condition: None, ..good.clone() },
        AlarmRaised { counts: None, ..good.clone() },
        AlarmRaised { device: String::new(), ..good.clone() },
        AlarmRaised { kind: "smoke".to_owned(), ..good.clone() },
    ] {
        agent.say(from_node::Message::Alarm(bad)).await;
    }
    control.metric("weir_control_malformed_messages_total", 6.0).await;
    agent.alarm(&good).await;
    assert_eq!(agent.update().await.device, IMSI1);
}

#[tokio::test]
async fn a_live_control_is_not_displaced() {
    let world = World::new();
    let control = world.start();
    let mut other = world.config.clone();
    other.store = world.path("other.redb");
    let error = weir_server::Server::bind(other).await.err().expect("the sockets are taken").to_string();
    assert!(error.contains("stream.sock") && error.contains("in use"), "{error}");
    assert_eq!(control.page("/readyz").await.0, StatusCode::OK);
    Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
}
