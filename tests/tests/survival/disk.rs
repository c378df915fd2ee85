//! The disk is full: what control says is enforced, control is told that it is not kept, and it is kept once there is
//! room again.

use std::fs;

use anyhow::{Context, Result, ensure};
use weir_tests::{
    addresses::{INTERNET_HOST, device},
    deployment::{Deployment, Settings},
    gate_view::EntryView,
    mount::Mount,
    packet::Packet,
    stage::{PATIENCE, Stage, Way, until},
    story::tell,
    world::{A, Plan, World},
};

use super::story::{metrics, readiness, settings, shut_out};

/// So many records need more room than what is left of the page that the journal ends in.
const MANY: usize = 150;

/// Fills a disk to its last byte.
fn fill(disk: &Mount) -> Result<std::path::PathBuf> {
    let path = disk.path().join("filler");
    let mut room = 64 << 10;
    while room > 0 {
        let grown = fs::File::options()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &vec![0; room]));
        if grown.is_err() {
            room /= 2;
        }
    }
    Ok(path)
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn on_a_full_disk_updates_are_enforced_and_refused_as_not_kept_until_there_is_room() {
    tell("disk full", &Plan::new("diskfull").nodes(1), |world| {
        let disk = Mount::disk(world, "state-1", 64 << 10)?;
        let weir = Deployment::start(
            world,
            &Settings { devices: vec![(Some("meter"), vec![2]); MANY], ..settings() },
        )?;
        let mut stage = Stage::around(world, weir)?;
        let filler = fill(&disk)?;
        all_are_shut_out(&mut stage)?;

        stage.weir.admin().until("/v1/nodes", PATIENCE, |nodes| {
            let refusal =
                nodes.as_array()?.iter().find_map(|node| node["last_refusal"]["reason"].as_str())?;
            refusal.contains("enforced, but could not be kept on disk").then_some(())
        })?;
        let (status, outstanding) = readiness(world)?;
        ensure!(status == 503 && outstanding.contains("last-known-good on disk"), "{status}: {outstanding}");
        failures_are_counted(world)?;

        fs::remove_file(filler)?;
        until("the cache is on disk again", || Ok((readiness(world)?.0 == 200).then_some(())))?;
        let log = stage.weir.nodes.first().context("it runs")?.log();
        ensure!(log.contains("is on disk again"), "{log}");

        // What could not be kept then is kept now.
        let mut weir = stage.weir;
        weir.kill_control()?;
        weir.nodes.remove(A).kill()?;
        let stage = Stage::reopen(world, weir)?;
        for number in 1..=MANY as u16 {
            let entry = stage.entry(A, number)?;
            ensure!(entry.alarm && entry.profile != 0, "device {number} was to be shut out still: {entry}");
        }
        Ok(())
    });
}

/// Every device sends ESP, and is rejected.
fn all_are_shut_out(stage: &mut Stage<'_>) -> Result<()> {
    for number in 1..=MANY as u16 {
        stage.send(A, Way::Up, number, Packet::esp(device(number), INTERNET_HOST, 7, 1))?;
    }
    for number in 1..=MANY as u16 {
        let rejected = |entry: &EntryView| entry.profile != 0 && entry.alarm && !entry.held;
        stage.wait_for_entry(A, number, "control rejects", rejected)?;
    }
    Ok(())
}

fn failures_are_counted(world: &World) -> Result<()> {
    until("the failures are counted", || {
        let counted = metrics(world)?.sum("weir_node_known_good_failures_total", &[]);
        Ok((counted > 0.0).then_some(()))
    })
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_node_starts_and_judges_without_a_disk() {
    tell("no disk", &Plan::new("nodisk").nodes(1), |world| {
        let mut weir = Deployment::prepare(world, &settings())?;
        weir.edit_node(A, |file| file.replace("/state-1\"", "/control.toml/state\""))?;
        weir.start_control()?;
        weir.start_node(A)?;
        let attached = || weir_tests::gate_view::attached_program(&world.node(A).namespace, "network0");
        until("the node attaches its program", attached)?;
        let mut stage = Stage::around(world, weir)?;
        shut_out(&mut stage)?;
        let (status, outstanding) = readiness(world)?;
        ensure!(status == 503 && outstanding.trim() == "not yet: last-known-good on disk", "{outstanding}");
        Ok(())
    });
}
