//! Break-glass, end to end: an operator lets a device, or everything, through a node while control is away, and
//! control learns of it when it comes back (R-X8).
//!
//! The real binary and its commands, real packets, the kernel's own counters. Every test needs root and the BPF
//! program, so all are ignored under a plain `cargo test`; `cargo xtask test` runs them. A suspension's seconds are
//! waited for by looking at what the kernel does with packets, not by sleeping.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use weir_dataplane_common::reason::Reason;
use weir_tests::{
    addresses::{INTERNET_HOST, device},
    deployment::{Deployment, NODE_METRICS, Settings, device_id},
    http,
    metrics::Metrics,
    mount::Mount,
    packet::Packet,
    rights,
    stage::{PATIENCE, Stage, Way, until},
    story::tell,
    world::{A, Plan, World},
};

const DEVICE: u16 = 1;
const LONG: Duration = Duration::from_secs(60);

fn uplink() -> Packet {
    Packet::udp(device(DEVICE), INTERNET_HOST)
}

/// One access is admitted, the second alarms, and while nobody answers nothing of the device passes.
fn settings() -> Settings {
    let settings = Settings::new(1, LONG).access_policy(1, 3, LONG, "\"reject\"");
    Settings { devices: vec![(Some("meter"), vec![1])], ..settings }
}

fn until_shut_out(stage: &mut Stage<'_>) -> Result<()> {
    stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
    stage.access(A, DEVICE, uplink(), Reason::Held)?;
    stage.access(A, DEVICE, uplink(), Reason::AlarmActive).map(drop)
}

/// Runs a command of weir against the first node's socket; `option` is how the command is told of it.
fn weir(world: &World, words: &[&str], option: &str) -> Result<String> {
    let binary = rights::weir_binary()?;
    let socket = world.directory().join("node-1.sock");
    let (binary, socket) = (binary.to_str().context("a path")?, socket.to_str().context("a path")?);
    let all: Vec<&str> = [binary].into_iter().chain(words.iter().copied()).chain([option, socket]).collect();
    world.node(A).namespace.exec(&all)
}

fn exempt(world: &World, length: &str) -> Result<String> {
    let words = ["device", "exempt", &device_id(DEVICE), "--for", length, "--reason", "meter recall"];
    weir(world, &words, "--node-socket")
}

fn status(world: &World) -> Result<Value> {
    Ok(serde_json::from_str(&weir(world, &["node", "status", "--json"], "--socket")?)?)
}

fn metrics(world: &World) -> Result<Metrics> {
    Metrics::fetch(&world.node(A).namespace, NODE_METRICS)
}

/// Sends until a packet is judged otherwise than `while_suspended`, and returns how.
fn judged_after(stage: &mut Stage<'_>, while_suspended: Reason) -> Result<Reason> {
    until("the suspension lapses", || {
        let reason = stage.send(A, Way::Up, DEVICE, uplink())?.reason;
        Ok((reason != while_suspended).then_some(reason))
    })
}

/// The acts of the first node that control has written down, oldest first, once the last of them is `last`.
fn acts(weir: &Deployment<'_>, last: &str) -> Result<Vec<Value>> {
    weir.admin().until("/v1/audit?node=node-1", PATIENCE, |lines| {
        let mut lines = lines.as_array()?.clone();
        lines.reverse();
        (lines.last()?["what"] == last).then_some(lines)
    })
}

fn names(acts: &[Value]) -> Vec<&str> {
    acts.iter().filter_map(|act| act["what"].as_str()).collect()
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn without_control_an_exempt_device_passes_until_its_time_is_over_and_control_learns_of_it() {
    tell("exempts a device", &Plan::new("exempt").nodes(1), |world| {
        let mut stage = Stage::open_without_control(world, &settings())?;
        until_shut_out(&mut stage)?;
        let said = exempt(world, "3s")?;
        ensure!(said.contains("every packet of device") && !said.contains("NOT on disk"), "{said}");
        let passed = stage.send(A, Way::Up, DEVICE, uplink())?;
        ensure!(passed.reason == Reason::Exempt, "not {}", passed.reason.name());
        ensure!(status(world)?["exemptions"][0]["reason"] == "meter recall", "the status shows it");
        until("the metrics show it", || {
            Ok((metrics(world)?.sum("weir_node_exempt_devices", &[]) > 0.5).then_some(()))
        })?;

        let after = judged_after(&mut stage, Reason::Exempt)?;
        ensure!(after == Reason::AlarmActive, "it was to be shut out as before, not {}", after.name());
        until("the agent tidies up", || {
            let none = status(world)?["exemptions"].as_array().is_some_and(Vec::is_empty);
            Ok(none.then_some(()))
        })?;

        stage.weir.start_control()?;
        let acts = acts(&stage.weir, "exemption-ended")?;
        ensure!(names(&acts) == ["exemption-begun", "exemption-ended"], "{acts:?}");
        ensure!(acts[0]["device"] == *device_id(DEVICE) && acts[0]["reason"] == "meter recall", "{acts:?}");
        ensure!(acts[0]["who"]["uid"] == 0 && acts[1]["who"].is_null(), "{acts:?}");
        until("the node has forgotten what control has", || {
            Ok((status(world)?["audit_waiting"] == 0).then_some(()))
        })
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn under_a_bypass_everything_passes_and_everybody_can_see_it() {
    tell("bypasses a node", &Plan::new("bypass").nodes(1), |world| {
        let mut stage = Stage::open_without_control(world, &settings())?;
        until_shut_out(&mut stage)?;
        for (words, why) in [
            (&["node", "bypass", "--for", "10m"][..], "must learn why"),
            (&["node", "bypass", "--reason", "storm"][..], "comes back by itself"),
            (&["node", "bypass", "--for", "25h", "--reason", "storm"][..], "within a day"),
        ] {
            let Err(refused) = weir(world, words, "--socket") else { bail!("{words:?} was not refused") };
            ensure!(format!("{refused:#}").contains(why), "{refused:#}");
        }
        stage.access(A, DEVICE, uplink(), Reason::AlarmActive)?;

        weir(world, &["node", "bypass", "--for", "10m", "--reason", "storm"], "--socket")?;
        let passed = stage.send(A, Way::Up, DEVICE, uplink())?;
        ensure!(passed.reason == Reason::Bypassed, "not {}", passed.reason.name());
        let page = http::get(&world.node(A).namespace, NODE_METRICS, "/readyz")?.body;
        ensure!(page.contains("note: the node is bypassed"), "{page}");
        until("the metrics show it", || {
            Ok((metrics(world)?.sum("weir_node_bypass_active", &[]) > 0.5).then_some(()))
        })?;
        let shown = weir(world, &["node", "status"], "--socket")?;
        ensure!(shown.contains("BYPASSED") && shown.contains("storm"), "{shown}");

        weir(world, &["node", "bypass", "--end"], "--socket")?;
        stage.access(A, DEVICE, uplink(), Reason::AlarmActive)?;
        stage.weir.start_control()?;
        let acts = acts(&stage.weir, "bypass-ended")?;
        ensure!(names(&acts) == ["bypass-begun", "bypass-ended"], "{acts:?}");
        ensure!(acts[1]["who"]["uid"] == 0, "an operator ended it: {acts:?}");
        let log = stage.weir.nodes[A].log();
        ensure!(!log.contains(&device_id(DEVICE)), "the log names a device");
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_exemption_outlives_a_killed_agent_and_lapses_without_one() {
    tell("kills the agent under an exemption", &Plan::new("lapse").nodes(1), |world| {
        let bpf = Mount::bpf(world)?;
        let weir = Deployment::prepare(world, &settings())?;
        weir.pin(A, &bpf)?;
        let mut stage = Stage::reopen(world, weir)?;
        until_shut_out(&mut stage)?;
        exempt(world, "4s")?;
        stage.weir.nodes.remove(A).kill()?;
        let passed = stage.send(A, Way::Up, DEVICE, uplink())?;
        ensure!(passed.reason == Reason::Exempt, "not {}", passed.reason.name());
        let after = judged_after(&mut stage, Reason::Exempt)?;
        ensure!(after == Reason::AlarmActive, "it was to be shut out as before, not {}", after.name());

        stage.weir.start_node(A)?;
        until("the next agent has tidied up", || {
            let Ok(status) = status(world) else { return Ok(None) };
            ensure!(status["exemptions"].as_array().is_some_and(Vec::is_empty), "{status}");
            Ok((status["audit_waiting"] == 2).then_some(()))
        })?;
        stage.weir.start_control()?;
        let acts = acts(&stage.weir, "exemption-ended")?;
        ensure!(names(&acts) == ["exemption-begun", "exemption-ended"], "{acts:?}");
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn the_next_agent_takes_an_exemption_over_and_does_not_prolong_it() {
    tell("restarts the agent under an exemption", &Plan::new("taken").nodes(1), |world| {
        let bpf = Mount::bpf(world)?;
        let weir = Deployment::prepare(world, &settings())?;
        weir.pin(A, &bpf)?;
        let mut stage = Stage::reopen(world, weir)?;
        until_shut_out(&mut stage)?;
        exempt(world, "1h")?;
        let before = status(world)?["exemptions"][0].clone();
        stage.weir.nodes.remove(A).kill()?;
        stage.weir.start_node(A)?;
        let after = until("the next agent answers", || Ok(status(world).ok()))?["exemptions"][0].clone();
        ensure!(after["reason"] == "meter recall" && after["device"] == before["device"], "{after}");
        let ends = |exemption: &Value| exemption["until_ms"].as_i64().context("an end");
        ensure!((ends(&after)? - ends(&before)?).abs() < 50, "{before} became {after}");
        let passed = stage.send(A, Way::Up, DEVICE, uplink())?;
        ensure!(passed.reason == Reason::Exempt, "not {}", passed.reason.name());
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_node_in_shadow_drops_nothing_and_counts_what_it_would_have_dropped() {
    tell("puts a node in shadow", &Plan::new("shadow").nodes(1), |world| {
        let weir = Deployment::prepare(world, &settings())?;
        weir.edit_node(A, |file| file.replace("pin = false", "pin = false\nshadow = true"))?;
        let mut stage = Stage::reopen(world, weir)?;
        stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
        for _ in 0..2 {
            let seen = stage.send_when_idle(A, DEVICE, uplink())?.reason;
            ensure!(seen == Reason::ShadowPassed, "not {}", seen.name());
        }
        until("the metrics say why they would have been dropped", || {
            let dropped = metrics(world)?.sum("weir_node_shadow_total", &[]);
            Ok(((dropped - 2.0).abs() < f64::EPSILON).then_some(()))
        })?;
        let page = http::get(&world.node(A).namespace, NODE_METRICS, "/readyz")?.body;
        ensure!(page.contains("note: the node is in shadow"), "{page}");
        Ok(())
    });
}
