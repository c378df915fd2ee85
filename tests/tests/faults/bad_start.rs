//! What keeps a node from starting: it says what, where and what to do, exits with 1, and leaves nothing attached.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result, ensure};
use weir_dataplane_common::reason::Reason;
use weir_tests::{
    deployment::{Deployment, NODE_METRICS},
    gate_view::attached_program,
    process::{Process, Program},
    rights,
    stage::{PATIENCE, Stage, Way},
    story::tell,
    world::{A, Plan, World},
};

use super::story::{DEVICE, throttled_to_five, uplink};

/// Waits until a process has refused to start; what it said.
fn refusal(mut process: Process) -> Result<String> {
    let status = process.wait(PATIENCE)?.context("it was to be refused and goes on")?;
    let said = process.log();
    ensure!(status.code() == Some(1), "{status}, and it said: {said}");
    ensure!(!said.contains("panicked"), "{said}");
    Ok(said)
}

/// Starts the node and waits until it has refused.
fn refused_node(weir: &mut Deployment<'_>) -> Result<String> {
    weir.start_node(A)?;
    refusal(weir.nodes.remove(0))
}

fn names(said: &str, all: &[&str]) -> Result<()> {
    for words in all {
        ensure!(said.contains(words), "{words:?} is not in: {said}");
    }
    Ok(())
}

fn nothing_is_attached(world: &World) -> Result<()> {
    for interface in ["lo", "access0", "network0"] {
        let program = attached_program(&world.node(A).namespace, interface)?;
        ensure!(program.is_none(), "a program was left on {interface}");
    }
    Ok(())
}

/// A node configured with `right` replaced by `wrong` refuses to start and says all of `words`.
fn mistake(test: &str, label: &str, right: &str, wrong: &str, words: &[&str]) {
    tell(test, &Plan::new(label).nodes(1), |world| {
        let mut weir = Deployment::prepare(world, &throttled_to_five(3))?;
        weir.edit_node(A, |file| file.replace(right, wrong))?;
        names(&refused_node(&mut weir)?, words)?;
        nothing_is_attached(world)
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_missing_interface_is_named_and_the_other_side_is_let_go() {
    mistake(
        "interface missing",
        "missing",
        "\"network0\"",
        "\"network7\"",
        &["network7", "does not exist", "ip link"],
    );
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_driver_without_native_mode_is_refused_with_the_advice_that_helps() {
    tell("native refused", &Plan::new("native").nodes(1), |world| {
        let mut weir = Deployment::prepare(world, &throttled_to_five(3))?;
        // The loopback's driver has no XDP.
        weir.edit_node(A, |file| file.replace("\"access0\"", "\"lo\""))?;
        let said = refused_node(&mut weir)?;
        names(&said, &["attach to lo in native mode", "no native XDP", "xdp_mode = \"generic\""])?;
        nothing_is_attached(world)?;

        weir.edit_node(A, |file| file.replace("[node]", "[node]\nxdp_mode = \"generic\""))?;
        weir.start_control()?;
        weir.start_node(A)?;
        weir.wait_until_nodes_ready()?;
        let program = attached_program(&world.node(A).namespace, "lo")?;
        ensure!(program.is_some(), "the advice was followed, and nothing is attached");
        Ok(())
    });
}

/// Starts the node as root without some capabilities.
fn without(world: &World, weir: &Deployment<'_>, capabilities: &str) -> Result<String> {
    let program = Program::new("bounded", "setpriv").args([
        "--bounding-set".into(),
        capabilities.to_owned(),
        rights::weir_binary()?.display().to_string(),
        "node".into(),
        weir.node_file(A)?.to_owned(),
    ]);
    refusal(world.start(&world.node(A).namespace, program)?)
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_process_without_its_capabilities_names_those_that_are_missing() {
    tell("capabilities missing", &Plan::new("rights").nodes(1), |world| {
        let weir = Deployment::prepare(world, &throttled_to_five(3))?;
        let said = without(world, &weir, "-bpf,-perfmon,-sys_admin")?;
        names(&said, &["not permitted", "CAP_PERFMON, CAP_BPF missing", "root"])?;
        ensure!(!said.contains("CAP_NET_ADMIN"), "it has that one: {said}");
        names(&without(world, &weir, "-all")?, &["CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF missing"])?;
        nothing_is_attached(world)
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn every_fault_of_a_configuration_is_listed_with_line_and_key() {
    tell("faulty configuration", &Plan::new("faulty").nodes(1), |world| {
        let mut weir = Deployment::prepare(world, &throttled_to_five(3))?;
        weir.edit_node(A, |file| {
            let file = file.replace("report_interval = \"50ms\"", "report_interval = \"often\"");
            let file = file.replace("on_outage = \"deny\"", "on_outage = \"panic\"\ncolour = \"blue\"");
            file.replace("window = \"60000ms\"", "window = \"0ms\"")
        })?;
        let file = weir.node_file(A)?.to_owned();
        let said = refused_node(&mut weir)?;
        let faults = ["node.report_interval", "node.on_outage", "node.colour", "node.alarm"];
        names(&said, &faults)?;
        let lines: Vec<&str> = said.lines().filter(|line| line.starts_with(&file)).collect();
        ensure!(lines.len() >= faults.len(), "each was to have a line that begins with the file: {said}");
        // `check` says the same, without running anything.
        let check = refusal(world.weir(&world.node(A).namespace, "check", &["check", &file])?)?;
        names(&check, &faults)?;
        nothing_is_attached(world)
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_second_agent_on_the_same_interface_is_refused_and_the_first_goes_on() {
    tell("second agent", &Plan::new("twice").nodes(1), |world| {
        let mut stage = Stage::open(world, &throttled_to_five(3))?;
        let first = attached_program(&world.node(A).namespace, "access0")?;
        let (port, other) = (NODE_METRICS.to_string(), (NODE_METRICS + 1).to_string());
        // By its name another node; a second agent of the same one is refused sooner, see `survival`.
        stage.weir.edit_node(A, |file| file.replace(&port, &other).replace("node-1", "node-9"))?;
        let second = world.weir(&world.node(A).namespace, "second", &["node", stage.weir.node_file(A)?])?;
        let said = refusal(second)?;
        names(
            &said,
            &["attach to access0", "another XDP program is attached", "`ip link`", "weir node detach"],
        )?;
        ensure!(!said.contains("generic"), "the mode is not what is wrong: {said}");
        ensure!(attached_program(&world.node(A).namespace, "access0")? == first, "the first was to stay");
        let judged = stage.send(A, Way::Up, DEVICE, uplink())?;
        ensure!(judged.reason == Reason::Admitted, "the first was to judge, not {}", judged.reason.name());
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_taken_metrics_port_is_named_before_anything_is_attached() {
    tell("metrics port taken", &Plan::new("port").nodes(1), |world| {
        let mut weir = Deployment::prepare(world, &throttled_to_five(3))?;
        let namespace = &world.node(A).namespace;
        let _taken = namespace.enter(|| Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, NODE_METRICS))?))?;
        let said = refused_node(&mut weir)?;
        names(&said, &[&format!("127.0.0.1:{NODE_METRICS}"), "another weir"])?;
        ensure!(said.matches("in use").count() == 1, "the cause is to be said once: {said}");
        nothing_is_attached(world)
    });
}
