//! Devices that the HSS does not know, that have no policy, or that are no machines (R-D9, R-D10).

use anyhow::{Result, ensure};
use serde_json::json;
use weir_dataplane_common::reason::Reason;
use weir_tests::{
    addresses::{INTERNET_HOST, device},
    deployment::{Settings, device_id},
    gate_view::EntryView,
    packet::Packet,
    stage::Stage,
    story::tell,
    world::{A, B, Plan},
};

use super::story::{DEVICE, LONG, decided_alarms, the_decision, throttled_to_five, uplink};

/// More accesses than any alarm or limit of these stories.
const MANY: u32 = 6;

fn story_of(device_type: Option<&'static str>, policies: Vec<u32>) -> Settings {
    let devices = vec![(device_type, policies)];
    // Nothing is asked again by itself while the story is told.
    Settings { devices, protocol_alarm_hold: LONG, ..throttled_to_five(1) }
}

/// One access passes, the second is held, and its alarm is cancelled.
fn until_cancelled(stage: &mut Stage<'_>) -> Result<serde_json::Value> {
    stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
    let held = stage.access(A, DEVICE, uplink(), Reason::Held)?;
    stage.held_access_gets_through(A, DEVICE, &held, uplink())?;
    let decision = the_decision(stage)?;
    ensure!(decision["fate"] == "cancelled", "{decision:#}");
    Ok(decision)
}

/// Accesses without end, none of them limited, and nobody is asked.
fn never_alarms_again(stage: &mut Stage<'_>) -> Result<()> {
    for admitted in 3..3 + MANY {
        let access = stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
        ensure!(access.entry.admitted == admitted && !access.entry.alarm, "{}", access.entry);
    }
    let esp = Packet::esp(device(DEVICE), INTERNET_HOST, 7, 1);
    stage.access(A, DEVICE, esp, Reason::Admitted)?;
    ensure!(decided_alarms(stage)?.len() == 1, "nobody was to be asked again");
    Ok(())
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_subscriber_unknown_to_the_hss_is_kept_out_until_it_is_subscribed() {
    tell("unknown subscriber", &Plan::new("unknown").nodes(1), |world| {
        let mut stage = Stage::open(world, &story_of(None, vec![]))?;
        stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
        stage.access(A, DEVICE, uplink(), Reason::Held)?;
        let decision = the_decision(&stage)?;
        let why = decision["explanation"].as_str().unwrap_or_default();
        ensure!(decision["fate"] == "rejected" && why.contains("HSS does not know"), "{decision:#}");
        let rejected = |entry: &EntryView| !entry.held;
        stage.wait_for_entry(A, DEVICE, "the held access is discarded", rejected)?;
        let kept_out = stage.access(A, DEVICE, uplink(), Reason::AlarmActive)?;
        ensure!(kept_out.entry.alarm && kept_out.entry.profile == 0, "{}", kept_out.entry);

        let subscriber = json!({ "device": device_id(DEVICE), "device_type": "meter", "policies": [1, 2] });
        stage.weir.admin().put(&format!("/v1/subscribers/{}", device_id(DEVICE)), &subscriber)?;
        let known = |entry: &EntryView| !entry.alarm && entry.profile != 0;
        let entry = stage.wait_for_entry(A, DEVICE, "the subscription counts", known)?;
        ensure!(!entry.redeem, "what was rejected is not redeemed: {entry}");
        let admitted = stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
        ensure!(admitted.entry.admitted == 2, "{}", admitted.entry);
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_machine_without_policies_alarms_once_and_is_not_limited() {
    tell("no policies", &Plan::new("free").nodes(1), |world| {
        let mut stage = Stage::open(world, &story_of(Some("meter"), vec![]))?;
        let decision = until_cancelled(&mut stage)?;
        ensure!(decision["policies"] == json!([]) && decision["not_m2m"] == false, "{decision:#}");
        let entry = stage.entry(A, DEVICE)?;
        ensure!(entry.profile != 0 && !entry.not_m2m, "that it has none was to be cached: {entry}");
        never_alarms_again(&mut stage)
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn what_is_not_a_machine_alarms_once_and_never_again_on_any_node() {
    tell("not a machine", &Plan::new("phone"), |world| {
        let mut stage = Stage::open(world, &story_of(Some("phone"), vec![]))?;
        let decision = until_cancelled(&mut stage)?;
        ensure!(decision["not_m2m"] == true, "{decision:#}");
        for node in [A, B] {
            stage.wait_for_entry(node, DEVICE, "the node knows it", |entry| entry.not_m2m)?;
        }
        never_alarms_again(&mut stage)?;
        for _ in 0..3 {
            stage.access(B, DEVICE, uplink(), Reason::Admitted)?;
        }
        ensure!(decided_alarms(&stage)?.len() == 1, "the second node was not to ask either");
        Ok(())
    });
}
