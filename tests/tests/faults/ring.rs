//! An agent that hangs while hundreds of devices alarm: the kernel judges on, the ring overflows, the loss is
//! counted, and the sweep finds every alarm that had no room (R-D8).

use anyhow::{Context, Result, ensure};
use weir_dataplane_common::reason::Reason;
use weir_tests::{
    addresses::{INTERNET_HOST, device},
    deployment::Settings,
    packet::Packet,
    process::Signal,
    stage::{Stage, Way, until},
    story::tell,
    world::{A, Plan, World},
};

use super::story::{alarms_are_outstanding, metrics, throttled_to_five};

/// More than the ring of held frames has room for.
const DEVICES: u16 = 600;

fn uplink_of(number: u16) -> Packet {
    Packet::udp(device(number), INTERNET_HOST)
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn alarms_that_found_the_ring_full_are_counted_swept_and_answered() {
    tell("ring overrun", &Plan::new("ring").nodes(1), |world| {
        let devices = vec![(Some("meter"), vec![1, 2]); usize::from(DEVICES)];
        let mut stage = Stage::open(world, &Settings { devices, ..throttled_to_five(0) })?;
        signal_agent(&stage, Signal::STOP)?;
        for number in 1..=DEVICES {
            stage.devices[A].send(&uplink_of(number))?;
        }
        until("every device is held", || {
            Ok((stage.view(A).tally()?.of(Reason::Held) == u64::from(DEVICES)).then_some(()))
        })?;
        signal_agent(&stage, Signal::CONT)?;

        for number in 1..=DEVICES {
            stage.wait_for_entry(A, number, "the alarm is answered", |entry| !entry.alarm)?;
        }
        alarms_are_outstanding(world, 0)?;
        let [ring, swept] = found(world)?;
        ensure!(swept > 0.0, "the ring was to overflow");
        ensure!((ring + swept - f64::from(DEVICES)).abs() < f64::EPSILON, "{ring} by ring, {swept} by sweep");
        let lost = metrics(world, A)?.sum("weir_alarms_lost_total", &[]);
        ensure!((lost - swept).abs() < f64::EPSILON, "{lost} were lost and {swept} found by the sweep");
        the_next_packet_redeems(&mut stage)
    });
}

/// Of the last device no frame was kept, for the ring was full.
fn the_next_packet_redeems(stage: &mut Stage<'_>) -> Result<()> {
    let entry = stage.entry(A, DEVICES)?;
    ensure!(entry.redeem, "the access was to be redeemed by the next packet: {entry}");
    let redeemed = stage.send(A, Way::Up, DEVICES, uplink_of(DEVICES))?;
    ensure!(redeemed.reason == Reason::Redeemed, "not {}", redeemed.reason.name());
    let entry = redeemed.entry;
    ensure!((entry.requests, entry.admitted) == (1, 1), "{entry}");
    Ok(())
}

fn found(world: &World) -> Result<[f64; 2]> {
    let metrics = metrics(world, A)?;
    Ok(["ring", "sweep"].map(|found| metrics.sum("weir_alarms_total", &[("found", found)])))
}

fn signal_agent(stage: &Stage<'_>, signal: Signal) -> Result<()> {
    stage.weir.nodes.first().context("the agent runs")?.signal(signal)
}
