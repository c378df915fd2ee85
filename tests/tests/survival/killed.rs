//! The agent is killed under live traffic, at any moment of its life: what it enforced goes on being enforced.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use weir_dataplane_common::reason::{Reason, Verdict};
use weir_tests::{
    addresses::{INTERNET_HOST, device},
    deployment::{NODE_METRICS, device_id},
    draw::Draw,
    gate_view::{EntryView, Tally, attached_program},
    mount::Mount,
    packet::Packet,
    stage::{PATIENCE, Stage, Way, until},
    story::tell,
    world::{A, Plan, World},
};

use super::story::{CHANGED, FREE, SHUT_OUT, Traffic, all_arrived_that_may, metrics, open_pinned, uplink};

const KILLS: u32 = 30;
/// A start takes some of this; so starts are cut short at every step, and some are not.
const LATEST_KILL: Duration = Duration::from_millis(400);

/// How long an update takes from the operator to the journal, about.
const UPDATE_TAKES: Duration = Duration::from_millis(10);

/// What must never go back.
struct Counted {
    entries: [EntryView; 2],
    tally: Tally,
}

impl Counted {
    fn now(stage: &Stage<'_>) -> Result<Self> {
        let entries = [stage.entry(A, FREE)?, stage.entry(A, SHUT_OUT)?];
        Ok(Self { entries, tally: stage.view(A).tally()? })
    }

    fn has_not_gone_back(&self, before: &Self) -> Result<()> {
        for (now, then) in self.entries.iter().zip(&before.entries) {
            let counts = |it: &EntryView| [it.requests, it.admitted, it.rejected, it.unsolicited];
            let grew = counts(now).iter().zip(counts(then)).all(|(now, then)| *now >= then);
            ensure!(grew, "a counter went back: {then}, then {now}");
        }
        for reason in Reason::ALL {
            let (now, then) = (self.tally.of(*reason), before.tally.of(*reason));
            ensure!(now >= then, "{} went back from {then} to {now}", reason.name());
        }
        Ok(())
    }
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn whenever_the_agent_is_killed_nothing_passes_that_was_shut_out_and_no_counter_goes_back() {
    tell("killed at any moment", &Plan::new("survive").nodes(1), |world| {
        let mut draw = Draw::new("agent killed at any moment")?;
        let bpf = Mount::bpf(world)?;
        let mut stage = open_pinned(world, &bpf)?;
        cached(&mut stage)?;
        // The kernel's counters stay where they are, so one view of them is enough for the whole story.
        let first = stage.view(A).tally()?;
        let traffic = Traffic::begin(world)?;
        let mut before = Counted::now(&stage)?;
        for kill in 0..KILLS {
            std::thread::sleep(draw.duration(Duration::ZERO..=LATEST_KILL));
            // An update is on its way, or being written, when the agent dies.
            change_policy(&stage, 100 + kill)?;
            std::thread::sleep(draw.duration(Duration::ZERO..=UPDATE_TAKES));
            stage.weir.nodes.remove(A).kill()?;
            stage.weir.start_node(A)?;
            let now = Counted::now(&stage)?;
            now.has_not_gone_back(&before).with_context(|| format!("after kill {kill}"))?;
            before = now;
        }
        stage.weir.wait_until_nodes_ready()?;
        let sent = traffic.end()?;
        all_arrived_that_may(&mut stage, sent)?;
        every_packet_was_judged(&stage, &first, u64::from(sent.each) * 2)?;
        control_and_node_agree(&stage, world)?;
        let before = stage.entry(A, CHANGED)?.profile;
        change_policy(&stage, 7)?;
        stage.wait_for_entry(A, CHANGED, "the next update is applied", |entry| entry.profile != before)?;
        Ok(())
    });
}

/// A device gets its policies cached: it alarms, and what it did is forbidden to others only.
fn cached(stage: &mut Stage<'_>) -> Result<()> {
    stage.send(A, Way::Up, CHANGED, Packet::esp(device(CHANGED), INTERNET_HOST, 7, 1))?;
    stage.wait_for_entry(A, CHANGED, "control cancels", |entry| entry.profile != 0 && !entry.alarm)?;
    // The held frame comes through on its own; from here on nothing is judged but what is sent.
    until("the held frame is delivered", || Ok((!stage.entry(A, CHANGED)?.redeem).then_some(())))
}

fn change_policy(stage: &Stage<'_>, limit: u32) -> Result<()> {
    let policy = json!({
        "id": 3,
        "scope": "network",
        "access_limit": { "limit": limit, "window": "600s" },
        "action": "reject",
    });
    stage.weir.admin().put("/v1/policies/3", &policy).map(drop)
}

/// As many packets were judged as were sent, and every one that passed was the free device's.
fn every_packet_was_judged(stage: &Stage<'_>, first: &Tally, sent: u64) -> Result<()> {
    let since = stage.view(A).tally()?.since(first);
    let passed = since.iter().filter(|reason| reason.verdict() == Verdict::Pass).count() as u64;
    ensure!(since.len() as u64 == sent, "{} packets were judged of {sent}", since.len());
    ensure!(passed == sent / 2, "{passed} packets passed of {}", sent / 2);
    Ok(())
}

/// The counts that control has are the kernel's, and no alarm is without an answer.
fn control_and_node_agree(stage: &Stage<'_>, world: &World) -> Result<()> {
    for number in [FREE, SHUT_OUT] {
        let entry = stage.entry(A, number)?;
        let kernel = [entry.requests, entry.admitted, entry.rejected].map(|count| Some(u64::from(count)));
        let path = format!("/v1/devices/{}", device_id(number));
        stage.weir.admin().until(&path, PATIENCE, |device| {
            let counts = device["counts"].as_array()?.iter().find(|counts| counts["node"] == "node-1")?;
            let told = ["requests", "admitted", "rejected"].map(|name| counts[name].as_u64());
            (told == kernel).then_some(())
        })?;
    }
    until("the alarm that was raised anew is answered", || {
        let outstanding = metrics(world)?.sum("weir_alarms_outstanding", &[]);
        Ok((outstanding.abs() < f64::EPSILON).then_some(()))
    })?;
    let entry = stage.entry(A, SHUT_OUT)?;
    ensure!(entry.alarm && entry.profile != 0, "it was to be shut out still: {entry}");
    Ok(())
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_second_agent_of_the_same_node_is_refused_and_the_first_goes_on() {
    tell("second agent of a node", &Plan::new("samenode").nodes(1), |world| {
        let bpf = Mount::bpf(world)?;
        let mut stage = open_pinned(world, &bpf)?;
        let namespace = &world.node(A).namespace;
        let first = attached_program(namespace, "access0")?;
        let (port, other) = (NODE_METRICS.to_string(), (NODE_METRICS + 1).to_string());
        stage.weir.edit_node(A, |file| file.replace(&port, &other).replace("node-1.sock", "other.sock"))?;
        let mut second = world.weir(namespace, "second", &["node", stage.weir.node_file(A)?])?;
        let status = second.wait(PATIENCE)?.context("it was to be refused")?;
        ensure!(status.code() == Some(1), "{status}");
        ensure!(second.log().contains("is running"), "{}", second.log());
        ensure!(attached_program(namespace, "access0")? == first, "the first program was to stay");
        let refused = stage.send(A, Way::Up, SHUT_OUT, uplink(SHUT_OUT))?.reason;
        ensure!(refused == Reason::AlarmActive, "not {}", refused.name());
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn without_an_agent_a_pinned_program_goes_on_judging_and_counting() {
    tell("no agent", &Plan::new("orphan").nodes(1), |world| {
        let bpf = Mount::bpf(world)?;
        let mut stage = open_pinned(world, &bpf)?;
        let requests = stage.entry(A, SHUT_OUT)?.rejected;
        stage.weir.nodes.remove(A).kill()?;
        let admitted = stage.send(A, Way::Up, FREE, uplink(FREE))?.reason;
        ensure!(admitted == Reason::Admitted, "not {}", admitted.name());
        let inside = stage.send(A, Way::Up, FREE, uplink(FREE))?.reason;
        ensure!(inside == Reason::InSession, "not {}", inside.name());
        let refused = stage.send(A, Way::Up, SHUT_OUT, uplink(SHUT_OUT))?;
        ensure!(refused.reason == Reason::AlarmActive, "not {}", refused.reason.name());
        ensure!(refused.entry.rejected >= requests, "the kernel was to go on counting: {}", refused.entry);
        Ok(())
    });
}
