//! Control is absent, hangs, or is killed: nodes go on by what they hold, and an alarm is answered once, however
//! late (R-D8, R-X4).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_dataplane_common::reason::Reason;
use weir_tests::{
    deployment::device_id,
    gate_view::EntryView,
    process::Signal,
    stage::{Observed, PATIENCE, Stage, Way, until},
    story::tell,
    world::{A, B, Plan, World},
};

use super::story::{
    DEVICE, alarms_are_outstanding, decided_alarms, metrics, readiness, the_decision, throttled_to_five,
    uplink,
};

/// A held frame is let go after two seconds, at the next full second of its agent.
const FRAME_IS_GONE: Duration = Duration::from_millis(3200);

/// Three accesses pass, the fourth is held.
fn until_held(stage: &mut Stage<'_>) -> Result<Observed> {
    for _ in 0..3 {
        stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
    }
    let held = stage.access(A, DEVICE, uplink(), Reason::Held)?;
    ensure!(held.entry.alarm && held.entry.held, "the access was to be held: {}", held.entry);
    Ok(held)
}

/// The alarm was decided once, the held access was counted once, and nothing came through twice.
fn answered_once(stage: &mut Stage<'_>, held: &Observed) -> Result<()> {
    stage.held_access_gets_through(A, DEVICE, held, uplink())?;
    let decision = the_decision(stage)?;
    ensure!(decision["fate"] == "cancelled", "4 are no more than 5: {decision:#}");
    let entry = stage.entry(A, DEVICE)?;
    ensure!(
        (entry.requests, entry.admitted, entry.rejected) == (4, 4, 0),
        "the held access is one request, admitted once: {entry}"
    );
    ensure!(entry.throttled && entry.profile != 0, "the policies were to be cached: {entry}");
    ensure!(stage.view(A).tally()?.of(Reason::Redeemed) == 1, "the kernel was to redeem once");
    stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
    stage.access(A, DEVICE, uplink(), Reason::Throttled)?;
    ensure!(decided_alarms(stage)?.len() == 1, "nobody was to be asked again");
    let stray = stage.far_end(A, Way::Up).arrived()?;
    ensure!(stray.is_empty(), "these arrived and were dropped, or arrived twice: {stray:?}");
    Ok(())
}

/// The agent put the held frame into the program as often as this.
fn frames_were_delivered(world: &World, times: f64) -> Result<()> {
    let delivered = metrics(world, A)?.sum("weir_held_frames_total", &[]);
    ensure!((delivered - times).abs() < f64::EPSILON, "{delivered} frames were delivered, not {times}");
    Ok(())
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn nodes_judge_without_control_and_the_next_packet_redeems_what_was_held_before_control_came() {
    tell("control absent at start", &Plan::new("absent"), |world| {
        let mut stage = Stage::open_without_control(world, &throttled_to_five(3))?;
        ensure!((readiness(world, A)?, readiness(world, B)?) == (503, 503), "no node is synced");
        let held = until_held(&mut stage)?;
        let since = Instant::now();
        until("the held frame is too old to be delivered", || {
            Ok((since.elapsed() > FRAME_IS_GONE).then_some(()))
        })?;
        stage.weir.start_control()?;
        answered_once(&mut stage, &held)?;
        frames_were_delivered(world, 0.0)?;
        stage.weir.wait_until_nodes_ready()
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_alarm_raised_while_control_hangs_is_answered_when_it_goes_on_and_the_frame_delivered() {
    tell("control hangs", &Plan::new("hangs").nodes(1), |world| {
        let mut stage = Stage::open(world, &throttled_to_five(3))?;
        signal_control(&stage, Signal::STOP)?;
        let held = until_held(&mut stage)?;
        alarms_are_outstanding(world, 1)?;
        signal_control(&stage, Signal::CONT)?;
        answered_once(&mut stage, &held)?;
        frames_were_delivered(world, 1.0)
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn control_killed_with_an_alarm_in_its_inbox_answers_it_once_after_its_restart() {
    tell("control killed in mid-alarm", &Plan::new("midalarm").nodes(1), |world| {
        let mut stage = Stage::open(world, &throttled_to_five(3))?;
        // Stopped, it has the alarm on its socket and cannot answer; then it dies.
        signal_control(&stage, Signal::STOP)?;
        let held = until_held(&mut stage)?;
        alarms_are_outstanding(world, 1)?;
        stage.weir.kill_control()?;
        stage.weir.start_control()?;
        answered_once(&mut stage, &held)?;
        stage.weir.wait_until_nodes_ready()
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_alarm_raised_while_control_is_dead_is_answered_once_after_its_restart() {
    tell("alarm while control is dead", &Plan::new("dead").nodes(1), |world| {
        let mut stage = Stage::open(world, &throttled_to_five(3))?;
        stage.weir.kill_control()?;
        let held = until_held(&mut stage)?;
        stage.weir.start_control()?;
        answered_once(&mut stage, &held)?;
        stage.weir.wait_until_nodes_ready()
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn what_control_answered_before_it_was_killed_is_neither_forgotten_nor_decided_again() {
    tell("control killed after its answer", &Plan::new("restart"), |world| {
        let mut stage = Stage::open(world, &throttled_to_five(3))?;
        let held = until_held(&mut stage)?;
        answered_once(&mut stage, &held)?;
        let follows = |entry: &EntryView| is_throttled(entry) && entry.rejecting;
        stage.wait_for_entry(B, DEVICE, "the second node follows", follows)?;
        let decided = the_decision(&stage)?;

        stage.weir.kill_control()?;
        until("the nodes notice", || {
            Ok((readiness(world, A)? == 503 && readiness(world, B)? == 503).then_some(()))
        })?;
        stage.access(A, DEVICE, uplink(), Reason::Throttled)?;
        ensure!(follows(&stage.entry(B, DEVICE)?), "the second node was to keep what it was told");

        stage.weir.start_control()?;
        stage.weir.wait_until_nodes_ready()?;
        ensure!(the_decision(&stage)? == decided, "the record was to stay as it was");
        for node in [A, B] {
            let entry = stage.entry(node, DEVICE)?;
            ensure!(is_throttled(&entry), "the entry was to be in the snapshot: {entry}");
        }
        stage.access(B, DEVICE, uplink(), Reason::StatusReject)?;
        // Until the first node has reported, control does not know that this node counts for itself.
        let rejected = stage.send_when_idle(A, DEVICE, uplink())?.reason;
        ensure!(matches!(rejected, Reason::Throttled | Reason::StatusReject), "not {}", rejected.name());
        ensure!(decided_alarms(&stage)?.len() == 1, "nobody was to be asked again");
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn limits_hold_while_control_is_dead_and_the_counts_arrive_after_its_restart() {
    tell("enforcing without control", &Plan::new("alone"), |world| {
        // The first access alarms, so that the policies are cached from then on.
        let mut stage = Stage::open(world, &throttled_to_five(0))?;
        let held = stage.access(A, DEVICE, uplink(), Reason::Held)?;
        stage.held_access_gets_through(A, DEVICE, &held, uplink())?;
        stage.weir.kill_control()?;

        for _ in 0..4 {
            stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
        }
        let sixth = stage.access(A, DEVICE, uplink(), Reason::Throttled)?;
        ensure!(
            (sixth.entry.requests, sixth.entry.admitted, sixth.entry.rejected) == (6, 5, 1),
            "the node was to go on counting: {}",
            sixth.entry
        );
        let metrics = metrics(world, A)?;
        let seen = metrics.sum("weir_control_connected", &[]);
        ensure!(seen.abs() < f64::EPSILON, "the node was to say that control is away");

        stage.weir.start_control()?;
        counts_arrive(&stage)
    });
}

/// Control's counts of the device are the kernel's.
fn counts_arrive(stage: &Stage<'_>) -> Result<()> {
    let entry = stage.entry(A, DEVICE)?;
    let kernel = [entry.requests, entry.admitted, entry.rejected, entry.unsolicited].map(u64::from);
    let path = format!("/v1/devices/{}", device_id(DEVICE));
    stage.weir.admin().until(&path, PATIENCE, |device| {
        let counts = device["counts"].as_array()?.iter().find(|counts| counts["node"] == "node-1")?;
        let told = ["requests", "admitted", "rejected", "unsolicited"].map(|name| counts[name].as_u64());
        (told == kernel.map(Some) && counts["last_rejection"] == "throttled").then_some(())
    })
}

fn is_throttled(entry: &EntryView) -> bool {
    entry.throttled && entry.profile != 0 && !entry.alarm
}

fn signal_control(stage: &Stage<'_>, signal: Signal) -> Result<()> {
    stage.weir.control.as_ref().context("control is running")?.signal(signal)
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_second_control_on_the_same_store_is_refused_and_the_first_goes_on() {
    tell("a second control", &Plan::new("second").nodes(1), |world| {
        let mut stage = Stage::open(world, &throttled_to_five(0))?;
        // In a namespace of its own it meets no port of the first, only store and sockets.
        let arguments = ["control", stage.weir.control_file()?];
        let mut second = world.weir(&world.devices, "second", &arguments)?;
        let status = second.wait(PATIENCE)?.context("it was to be refused")?;
        ensure!(status.code() == Some(1), "{status}");
        ensure!(second.log().contains("control.redb"), "it was to name the store: {}", second.log());
        ensure!(!second.log().contains("panicked"), "{}", second.log());
        let held = stage.access(A, DEVICE, uplink(), Reason::Held)?;
        stage.held_access_gets_through(A, DEVICE, &held, uplink())
    });
}
