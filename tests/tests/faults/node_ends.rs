//! How a node's agent ends where nothing is pinned, and what is left of it: nothing. (What a pinned one leaves, see
//! `survival`.)

use anyhow::{Context, Result, ensure};
use weir_dataplane_common::reason::Reason;
use weir_tests::{
    gate_view::attached_program,
    packet::Packet,
    stage::{PATIENCE, Stage, until},
    story::tell,
    world::{A, Plan, World},
};

use super::story::{DEVICE, throttled_to_five, uplink};

const INTERFACES: [&str; 2] = ["access0", "network0"];

/// Addresses, routes and neighbours of the node: what an agent must not touch.
fn surroundings(world: &World) -> Result<String> {
    let namespace = &world.node(A).namespace;
    let shown = [["ip", "address"], ["ip", "route"], ["ip", "neighbour"]].map(|words| namespace.exec(&words));
    shown.into_iter().collect()
}

fn attached(world: &World) -> Result<bool> {
    let found = INTERFACES.map(|interface| attached_program(&world.node(A).namespace, interface));
    Ok(found.into_iter().collect::<Result<Vec<_>>>()?.iter().any(Option::is_some))
}

/// A device that was held back sends through a node on which nobody judges any more.
fn traffic_flows(stage: &mut Stage<'_>) -> Result<()> {
    for _ in 0..3 {
        let marker = stage.world.next_marker();
        let packet: Packet = uplink().marked(marker);
        stage.devices[A].send(&packet)?;
        stage.internet[A].expect(marker, PATIENCE)?;
    }
    Ok(())
}

/// The device's second access alarms, and nobody answers: nothing of it passes while weir judges.
fn until_shut_out(stage: &mut Stage<'_>) -> Result<()> {
    stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
    stage.access(A, DEVICE, uplink(), Reason::Held)?;
    stage.access(A, DEVICE, uplink(), Reason::AlarmActive).map(drop)
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_agent_that_is_asked_to_end_detaches_its_program_and_removes_nothing_else() {
    tell("SIGTERM", &Plan::new("sigterm").nodes(1), |world| {
        let before = surroundings(world)?;
        let mut stage = Stage::open_without_control(world, &throttled_to_five(1))?;
        until_shut_out(&mut stage)?;
        let mut agent = stage.weir.nodes.remove(A);
        agent.signal(weir_tests::process::Signal::TERM)?;
        let status = agent.wait(PATIENCE)?.context("the agent goes on after SIGTERM")?;
        ensure!(status.success(), "the agent was to end in peace: {status}\n{}", agent.log());
        // Detached by the time the process is gone, not some time later.
        ensure!(!attached(world)?, "the program is still attached");
        ensure!(surroundings(world)? == before, "addresses, routes or neighbours have changed");
        traffic_flows(&mut stage)
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_killed_agent_takes_its_program_with_it_and_the_next_one_starts_afresh() {
    tell("SIGKILL", &Plan::new("sigkill").nodes(1), |world| {
        let before = surroundings(world)?;
        let mut stage = Stage::open_without_control(world, &throttled_to_five(1))?;
        until_shut_out(&mut stage)?;
        stage.weir.nodes.remove(A).kill()?;
        until("the kernel detaches the program", || Ok((!attached(world)?).then_some(())))?;
        ensure!(surroundings(world)? == before, "addresses, routes or neighbours have changed");
        traffic_flows(&mut stage)?;

        let weir = stage.weir;
        let mut stage = Stage::reopen(world, weir)?;
        let fresh = stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
        ensure!((fresh.entry.requests, fresh.entry.alarm) == (1, false), "{}", fresh.entry);
        Ok(())
    });
}
