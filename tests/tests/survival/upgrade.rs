//! An upgrade: the agent is asked to end, the next one starts, and a numbered stream of packets flows all the while.

use anyhow::{Context, Result, ensure};
use weir_tests::{
    gate_view::attached_program,
    mount::Mount,
    process::Signal,
    stage::PATIENCE,
    story::tell,
    world::{A, Plan, World},
};

use super::story::{Traffic, all_arrived_that_may, open_pinned};

const UPGRADES: u32 = 3;

fn program(world: &World) -> Result<u32> {
    attached_program(&world.node(A).namespace, "access0")?.context("the gate stands open")
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_upgrade_replaces_the_program_and_leaves_not_one_packet_unjudged() {
    tell("upgrade", &Plan::new("upgrade").nodes(1), |world| {
        let bpf = Mount::bpf(world)?;
        let mut stage = open_pinned(world, &bpf)?;
        let before = stage.view(A).tally()?;
        let traffic = Traffic::begin(world)?;
        for _ in 0..UPGRADES {
            let old = program(world)?;
            let mut agent = stage.weir.nodes.remove(A);
            agent.signal(Signal::TERM)?;
            let status = agent.wait(PATIENCE)?.context("the agent goes on after SIGTERM")?;
            ensure!(status.success(), "the agent was to end in peace: {status}\n{}", agent.log());
            ensure!(agent.log().contains("weir node detach node-1"), "{}", agent.log());
            ensure!(program(world)? == old, "the old program was to go on");
            stage.weir.start_node(A)?;
            stage.weir.wait_until_nodes_ready()?;
            ensure!(program(world)? != old, "the new program was to take its place");
        }
        let sent = traffic.end()?;
        all_arrived_that_may(&mut stage, sent)?;
        let judged = stage.view(A).tally()?.since(&before).len();
        ensure!(judged == 2 * sent.each as usize, "{judged} packets were judged of {}", 2 * sent.each);
        Ok(())
    });
}
