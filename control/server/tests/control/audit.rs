//! What operators did on a node, past control: written down before it is acknowledged, and shown (R-X8).

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use weir_proto::v1::{AuditLine, AuditLines, Caller, from_node, to_node};

use crate::agent::Agent;
use crate::world::{IMSI1, World};

fn exempted(sequence: u64) -> AuditLine {
    AuditLine {
        sequence,
        at_ms: 1_000,
        who: Some(Caller { uid: 1000, name: "ops".to_owned(), pid: 7 }),
        what: "exemption-begun".to_owned(),
        device: IMSI1.to_owned(),
        until_ms: 3_601_000,
        reason: "meter recall".to_owned(),
    }
}

fn lapsed(sequence: u64) -> AuditLine {
    AuditLine { sequence, who: None, what: "exemption-ended".to_owned(), ..exempted(sequence) }
}

/// Says lines and waits for control's word that it has them.
async fn say(agent: &mut Agent, lines: &[AuditLine]) -> u64 {
    agent.say(from_node::Message::Audit(AuditLines { lines: lines.to_vec() })).await;
    match agent.hear().await {
        to_node::Message::AuditReceived(received) => received.up_to_sequence,
        other => panic!("the receipt was due, not {other:?}"),
    }
}

fn sequences(lines: &Value) -> Vec<u64> {
    lines.as_array().unwrap().iter().map(|line| line["sequence"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn lines_are_shown_newest_first_once_and_survive_a_crash() {
    let world = World::new();
    let control = world.start();
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    assert_eq!(say(&mut agent, &[exempted(40)]).await, 40);
    control.kill();

    let control = world.start();
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    assert_eq!(say(&mut agent, &[exempted(40), lapsed(41)]).await, 41);
    let (mut other, _) = Agent::attach(&control.nodes, "pgw-2", "boot-2").await;
    assert_eq!(say(&mut other, &[lapsed(40)]).await, 40);

    let lines = control.get("/v1/audit?node=pgw-1").await;
    assert_eq!(sequences(&lines), [41, 40]);
    let line = &lines[1];
    assert_eq!(line["who"], json!({"uid": 1000, "name": "ops", "pid": 7}));
    assert_eq!((&line["device"], &line["what"]), (&json!(IMSI1), &json!("exemption-begun")));
    assert_eq!(lines[0]["who"], Value::Null, "the node itself ended it");
    assert_eq!(sequences(&control.get("/v1/audit").await), [40, 41, 40]);
    assert_eq!(sequences(&control.get("/v1/audit?limit=1").await), [40]);
    control.metric("weir_control_audit_lines_total", 2.0).await;
}

#[tokio::test]
async fn a_line_without_a_number_is_passed_over_and_never_acknowledged() {
    let world = World::new();
    let control = world.start();
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-1", "boot-1").await;
    agent.say(from_node::Message::Audit(AuditLines { lines: vec![exempted(0)] })).await;
    assert_eq!(say(&mut agent, &[exempted(3)]).await, 3, "the stream goes on");
    control.metric("weir_control_malformed_messages_total", 1.0).await;
    let (status, _) = control.ask(Method::GET, "/v1/audit?limit=0", "").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}
