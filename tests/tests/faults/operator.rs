//! An operator changes a policy, or ends an alarm: nodes follow without a restart (R-D13, R-D15).

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use weir_dataplane_common::reason::Reason;
use weir_tests::{
    addresses::{INTERNET_HOST, device},
    deployment::{Settings, device_id},
    packet::Packet,
    stage::{PATIENCE, Stage, Way},
    story::tell,
    world::{A, B, Plan},
};

use super::story::{DEVICE, LONG, the_decision, throttled_to_five, uplink};

fn policy_one(limit: u32, scope: &str) -> Value {
    json!({
        "id": 1,
        "scope": scope,
        "access_limit": { "limit": limit, "window": "60s" },
        "action": "reject",
    })
}

fn set_policy_one(stage: &Stage<'_>, policy: &Value) -> Result<()> {
    stage.weir.admin().put("/v1/policies/1", policy).map(drop)
}

/// The policies are cached on both nodes, and the one access that this took is admitted on the first.
fn cached_on_both_nodes(stage: &mut Stage<'_>) -> Result<()> {
    let held = stage.access(A, DEVICE, uplink(), Reason::Held)?;
    stage.held_access_gets_through(A, DEVICE, &held, uplink())?;
    stage.wait_for_entry(B, DEVICE, "the second node caches the policies", |entry| entry.profile != 0)?;
    Ok(())
}

fn profiles_change(stage: &Stage<'_>, before: [u32; 2]) -> Result<()> {
    for (node, before) in [A, B].into_iter().zip(before) {
        stage.wait_for_entry(node, DEVICE, "the node has the new policy", |entry| entry.profile != before)?;
    }
    Ok(())
}

fn profiles(stage: &Stage<'_>) -> Result<[u32; 2]> {
    Ok([stage.entry(A, DEVICE)?.profile, stage.entry(B, DEVICE)?.profile])
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_changed_limit_holds_on_every_node_from_the_next_access_on() {
    tell("changes a policy", &Plan::new("change"), |world| {
        let mut settings = Settings::new(0, LONG).access_policy(1, 10, LONG, "\"reject\"");
        settings.devices = vec![(Some("meter"), vec![1])];
        let mut stage = Stage::open(world, &settings)?;
        cached_on_both_nodes(&mut stage)?;
        for node in [A, B, B] {
            stage.access(node, DEVICE, uplink(), Reason::Admitted)?;
        }

        // Two on each node: tighter for each by itself.
        let before = profiles(&stage)?;
        set_policy_one(&stage, &policy_one(3, "node"))?;
        profiles_change(&stage, before)?;
        for node in [A, B] {
            stage.access(node, DEVICE, uplink(), Reason::Admitted)?;
            stage.access(node, DEVICE, uplink(), Reason::LimitExceeded)?;
        }

        // And looser again: the history is the same, the limit is not.
        let before = profiles(&stage)?;
        set_policy_one(&stage, &policy_one(4, "node"))?;
        profiles_change(&stage, before)?;
        for node in [A, B] {
            stage.access(node, DEVICE, uplink(), Reason::Admitted)?;
            stage.access(node, DEVICE, uplink(), Reason::LimitExceeded)?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_network_limit_lowered_below_what_was_used_rejects_everywhere_at_once() {
    tell("lowers a network limit", &Plan::new("lower"), |world| {
        let mut settings = Settings::new(0, LONG).access_policy(1, 10, LONG, "\"reject\"");
        settings.devices = vec![(Some("meter"), vec![1])];
        let mut stage = Stage::open(world, &settings)?;
        cached_on_both_nodes(&mut stage)?;
        for _ in 0..2 {
            stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
        }
        let path = format!("/v1/devices/{}", device_id(DEVICE));
        stage.weir.admin().until(&path, PATIENCE, |device| {
            let counts = device["counts"].as_array()?;
            (counts.iter().map(|node| node["admitted"].as_u64()).sum::<Option<u64>>()? == 3).then_some(())
        })?;

        // The second node has seen no access of this device at all.
        let before = profiles(&stage)?;
        set_policy_one(&stage, &policy_one(3, "network"))?;
        profiles_change(&stage, before)?;
        stage.wait_for_entry(B, DEVICE, "the second node rejects", |entry| entry.rejecting)?;
        stage.access(B, DEVICE, uplink(), Reason::StatusReject)?;
        let refused = stage.send_when_idle(A, DEVICE, uplink())?.reason;
        ensure!(
            matches!(refused, Reason::LimitExceeded | Reason::StatusReject),
            "the first node was to reject it too, not {}",
            refused.name()
        );

        let before = profiles(&stage)?;
        set_policy_one(&stage, &policy_one(10, "network"))?;
        profiles_change(&stage, before)?;
        for node in [A, B] {
            stage.wait_for_entry(node, DEVICE, "the rejection is taken back", |entry| !entry.rejecting)?;
            stage.access(node, DEVICE, uplink(), Reason::Admitted)?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_operator_ends_an_alarm_that_would_stand() {
    tell("operator cancels", &Plan::new("cancel").nodes(1), |world| {
        let settings = Settings { protocol_alarm_hold: LONG, ..throttled_to_five(3) };
        let mut stage = Stage::open(world, &settings)?;
        let esp = || Packet::esp(device(DEVICE), INTERNET_HOST, 7, 1);
        stage.access(A, DEVICE, esp(), Reason::Held)?;
        ensure!(the_decision(&stage)?["fate"] == "rejected", "ESP is forbidden");
        stage.access(A, DEVICE, uplink(), Reason::AlarmActive)?;

        let admin = stage.weir.admin();
        let cancel = format!("/v1/alarms/{}/cancel", device_id(DEVICE));
        admin.post(&cancel, &Value::Null)?;
        let entry = stage.wait_for_entry(A, DEVICE, "the alarm ends", |entry| !entry.alarm)?;
        ensure!(!entry.redeem, "what was rejected stays rejected: {entry}");
        stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
        // The policy stands; only the alarm was ended.
        let again = stage.send(A, Way::Up, DEVICE, esp())?;
        ensure!(again.reason == Reason::ForbiddenProtocol, "not {}", again.reason.name());

        let twice = admin.exchange("POST", &cancel, None)?;
        ensure!(twice.status == 409, "there is no alarm any more: {}", twice.body);
        let stray = stage.far_end(A, Way::Up).arrived()?;
        ensure!(stray.is_empty(), "no ESP was to arrive: {stray:?}");
        Ok(())
    });
}
