//! Interfaces that go down, away, and come back, under a running agent and under none.

use anyhow::{Context, Result, ensure};
use weir_dataplane_common::reason::Reason;
use weir_tests::{
    gate_view::{GateView, attached_program},
    mount::Mount,
    stage::{Stage, until},
    story::tell,
    world::{A, Plan, World},
};

use super::story::{FREE, SHUT_OUT, open_pinned, readiness, settings, shut_out, uplink};

fn waits_until_ready(world: &World) -> Result<()> {
    until("the node is ready again", || Ok((readiness(world)?.0 == 200).then_some(())))
}

fn says(world: &World, outstanding: &str) -> Result<()> {
    until(outstanding, || {
        let (status, body) = readiness(world)?;
        Ok((status == 503 && body.contains(outstanding)).then_some(()))
    })
}

fn program(world: &World, interface: &str) -> Result<Option<u32>> {
    attached_program(&world.node(A).namespace, interface)
}

/// What becomes of a device's packet on a cable that was just laid.
fn judged_as(world: &World, number: u16) -> Result<Reason> {
    let view = GateView::of(&world.node(A).namespace, "access0")?;
    let port = world.device_side(A)?;
    let before = view.tally()?;
    // The kernel may drop frames of a cable until its queue is attached, without a word: until one is judged.
    until("the packet is judged", || {
        port.send(&uplink(number))?;
        Ok(view.tally()?.since(&before).first().copied())
    })
}

fn goes_and_returns(world: &World) -> Result<()> {
    let others = program(world, "network0")?;
    let access = &world.node(A).access;
    access.take_away()?;
    says(world, "judging on access0")?;
    ensure!(program(world, "network0")? == others, "the other interface was to be judged on");
    access.lay_again()?;
    waits_until_ready(world)?;
    program(world, "access0")?.context("it was to be attached again")?;
    let free = judged_as(world, FREE)?;
    ensure!(matches!(free, Reason::Admitted | Reason::InSession), "not {}", free.name());
    let refused = judged_as(world, SHUT_OUT)?;
    ensure!(refused == Reason::AlarmActive, "not {}", refused.name());
    Ok(())
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_interface_that_goes_is_said_and_one_that_returns_is_judged_on() {
    tell("interface returns", &Plan::new("returns").nodes(1), |world| {
        let bpf = Mount::bpf(world)?;
        let _stage = open_pinned(world, &bpf)?;
        goes_and_returns(world)?;
        goes_and_returns(world)
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_interface_that_returns_is_judged_on_where_nothing_is_pinned() {
    tell("unpinned interface returns", &Plan::new("unpinned").nodes(1), |world| {
        let mut stage = Stage::open(world, &settings())?;
        shut_out(&mut stage)?;
        goes_and_returns(world)
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_renamed_interface_is_judged_on_and_missed_under_its_name() {
    tell("renamed", &Plan::new("renamed").nodes(1), |world| {
        let bpf = Mount::bpf(world)?;
        let _stage = open_pinned(world, &bpf)?;
        let namespace = &world.node(A).namespace;
        let attached = program(world, "access0")?;
        namespace.ip("link set access0 down\nlink set access0 name other0\nlink set other0 up")?;
        says(world, "judging on access0")?;
        ensure!(program(world, "other0")? == attached, "the program stays where it is");
        namespace.ip("link set other0 down\nlink set other0 name access0\nlink set access0 up")?;
        waits_until_ready(world)?;
        program(world, "access0")?.context("it was to be attached")?;
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_interface_that_goes_down_and_up_is_judged_on_as_before() {
    tell("down and up", &Plan::new("downup").nodes(1), |world| {
        let bpf = Mount::bpf(world)?;
        let stage = open_pinned(world, &bpf)?;
        let namespace = &world.node(A).namespace;
        let attached = program(world, "access0")?;
        let agent = stage.weir.nodes.first().context("it runs")?;
        for (turn, said) in [("down", "access0 is down"), ("up", "access0 is up again")] {
            namespace.ip(&format!("link set access0 {turn}"))?;
            until("the agent says so", || Ok(agent.log().contains(said).then_some(())))?;
        }
        ensure!(program(world, "access0")? == attached, "the program stays where it is");
        let refused = judged_as(world, SHUT_OUT)?;
        ensure!(refused == Reason::AlarmActive, "not {}", refused.name());
        Ok(())
    });
}
