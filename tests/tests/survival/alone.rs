//! A start without control and without old maps, as after a power cut: the last-known-good cache is enforced, and a
//! damaged one as far as it can be believed.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use weir_dataplane_common::reason::Reason;
use weir_tests::{
    deployment::{Deployment, Settings, throttle},
    gate_view::EntryView,
    stage::{Stage, Way, until},
    story::tell,
    world::{A, B, Plan, World},
};

use super::story::{
    FREE, LONG, SHUT_OUT, metrics, readiness, settings, shut_out, uplink, wait_until_attached,
};

fn journal(world: &World) -> PathBuf {
    world.directory().join("state-1/node-1.journal")
}

/// Power cut: control and agents are gone, and with the agents the program and the maps.
fn power_cut(stage: Stage<'_>) -> Result<Deployment<'_>> {
    let mut weir = stage.weir;
    weir.kill_control()?;
    for node in weir.nodes.drain(..) {
        node.kill()?;
    }
    Ok(weir)
}

/// Starts the nodes, and nobody tells them anything.
fn alone<'w>(world: &'w World, weir: Deployment<'w>) -> Result<Stage<'w>> {
    let stage = Stage::reopen(world, weir)?;
    wait_until_attached(world)?;
    Ok(stage)
}

fn is_refused(stage: &mut Stage<'_>) -> Result<()> {
    let refused = stage.send(A, Way::Up, SHUT_OUT, uplink(SHUT_OUT))?;
    ensure!(refused.reason == Reason::AlarmActive, "not {}: {}", refused.reason.name(), refused.entry);
    Ok(())
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_device_that_was_shut_out_is_from_the_first_packet_after_a_power_cut() {
    tell("power cut", &Plan::new("powercut").nodes(1), |world| {
        let mut stage = Stage::open(world, &settings())?;
        shut_out(&mut stage)?;
        let weir = power_cut(stage)?;
        let mut stage = alone(world, weir)?;
        is_refused(&mut stage)?;
        let (status, outstanding) = readiness(world)?;
        ensure!(status == 503 && outstanding.contains("synced with control"), "{status}: {outstanding}");
        let free = stage.send(A, Way::Up, FREE, uplink(FREE))?.reason;
        ensure!(free == Reason::Admitted, "the other device was free before, not {}", free.name());

        // Control comes back, hears of the alarm, and decides as it did.
        stage.weir.start_control()?;
        stage.weir.wait_until_nodes_ready()?;
        until("control answers the alarm that was raised anew", || {
            let outstanding = metrics(world)?.sum("weir_alarms_outstanding", &[]);
            Ok((outstanding.abs() < f64::EPSILON).then_some(()))
        })?;
        is_refused(&mut stage)
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn policies_and_a_rejecting_status_are_in_force_on_every_node_after_a_power_cut() {
    tell("power cut of two", &Plan::new("twonodes"), |world| {
        let throttled = settings().access_policy(1, 3, LONG, &throttle(5, LONG));
        let throttled = Settings {
            alarm: (3, LONG),
            inactivity: Duration::from_millis(100),
            devices: vec![(Some("meter"), vec![1, 2])],
            ..throttled
        };
        let mut stage = Stage::open(world, &throttled)?;
        for _ in 0..3 {
            stage.access(A, FREE, uplink(FREE), Reason::Admitted)?;
        }
        let held = stage.access(A, FREE, uplink(FREE), Reason::Held)?;
        stage.held_access_gets_through(A, FREE, &held, uplink(FREE))?;
        stage.access(A, FREE, uplink(FREE), Reason::Admitted)?;
        stage.access(A, FREE, uplink(FREE), Reason::Throttled)?;
        let follows = |entry: &EntryView| entry.throttled && entry.rejecting;
        stage.wait_for_entry(B, FREE, "the second node follows", follows)?;
        let mut stage = alone(world, power_cut(stage)?)?;
        let entry = stage.entry(B, FREE)?;
        ensure!(follows(&entry) && entry.profile != 0, "it was to be as control left it: {entry}");
        stage.access(B, FREE, uplink(FREE), Reason::StatusReject)?;
        let entry = stage.entry(A, FREE)?;
        ensure!(entry.throttled && entry.profile != 0, "its policies were to be cached: {entry}");
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_flipped_journal_is_said_and_counted_and_control_makes_it_whole() {
    damaged("flipped", "was changed after it was written", |mut bytes| {
        let last = bytes.len() - 5;
        bytes[last] ^= 4;
        bytes
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_torn_journal_is_cut_off_and_control_makes_it_whole() {
    damaged("torn", "ends in the middle of a record", |mut bytes| {
        bytes.truncate(bytes.len() - 5);
        bytes
    });
}

fn damaged(label: &str, said: &str, damage: impl Fn(Vec<u8>) -> Vec<u8>) {
    tell(label, &Plan::new(label).nodes(1), |world| {
        let mut stage = Stage::open(world, &settings())?;
        shut_out(&mut stage)?;
        let weir = power_cut(stage)?;
        let whole = std::fs::read(journal(world))?;
        std::fs::write(journal(world), damage(whole.clone()))?;

        // The one record was the last one, so nothing stands; that is said, not hidden.
        let mut stage = alone(world, weir)?;
        let node = stage.weir.nodes.first().context("it runs")?;
        ensure!(node.log().contains(said), "{}", node.log());
        stage.weir.start_control()?;
        stage.weir.wait_until_nodes_ready()?;
        let counted = metrics(world)?.sum("weir_node_known_good_failures_total", &[]);
        let expected = if label == "flipped" { 1.0 } else { 0.0 };
        ensure!((counted - expected).abs() < f64::EPSILON, "{counted} failures were counted");

        // Resynced: the policies are cached again, and stay so without control.
        stage.wait_for_entry(A, SHUT_OUT, "the snapshot brings the policies", |entry| entry.profile != 0)?;
        let stage = alone(world, power_cut(stage)?)?;
        let entry = stage.entry(A, SHUT_OUT)?;
        ensure!(entry.profile != 0, "the journal was to be whole again: {entry}");
        Ok(())
    });
}
