//! Control dies again and again, at any moment: no alarm is lost, no access is counted twice, and nodes come back
//! soon.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weir_dataplane_common::reason::Reason;
use weir_tests::{
    addresses::{INTERNET_HOST, device},
    deployment::{NODE_METRICS, Settings},
    draw::Draw,
    packet::Packet,
    stage::{Stage, Way},
    story::tell,
    world::{A, Plan},
};

use super::story::{alarms_are_outstanding, throttled_to_five};

const ROUNDS: u16 = 5;
const ALARMS_A_ROUND: u16 = 12;
/// Control is killed at any time up to then after the alarms.
const LATEST_KILL: Duration = Duration::from_millis(60);
/// A first wait of a tenth of a second, doubled a few times while control starts; not the longest wait.
const SOON: Duration = Duration::from_secs(4);

fn uplink_of(number: u16) -> Packet {
    Packet::udp(device(number), INTERNET_HOST)
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn no_alarm_is_lost_and_no_access_counted_twice_whenever_control_is_killed() {
    tell("killed at any moment", &Plan::new("chaos").nodes(1), |world| {
        let mut draw = Draw::new("killed at any moment")?;
        let devices = ROUNDS * ALARMS_A_ROUND;
        let subscribers = vec![(Some("meter"), vec![1, 2]); usize::from(devices)];
        let mut stage = Stage::open(world, &Settings { devices: subscribers, ..throttled_to_five(0) })?;
        for round in 0..ROUNDS {
            for number in 1..=ALARMS_A_ROUND {
                stage.devices[A].send(&uplink_of(round * ALARMS_A_ROUND + number))?;
            }
            std::thread::sleep(draw.duration(Duration::ZERO..=LATEST_KILL));
            stage.weir.kill_control()?;
            stage.weir.start_control()?;
            stage.weir.wait_until_nodes_ready()?;
        }
        // From here on nothing but what is sent below is counted.
        alarms_are_outstanding(world, 0)?;
        for number in 1..=devices {
            every_access_gets_through_once(&mut stage, number)?;
        }
        ensure!(stage.view(A).tally()?.of(Reason::Redeemed) == u64::from(devices), "each is redeemed once");
        each_alarm_was_decided_one_way(&stage, usize::from(devices))
    });
}

fn every_access_gets_through_once(stage: &mut Stage<'_>, number: u16) -> Result<()> {
    stage.wait_for_entry(A, number, "the alarm is answered", |entry| !entry.alarm)?;
    if stage.entry(A, number)?.redeem {
        let next = stage.send(A, Way::Up, number, uplink_of(number))?.reason;
        ensure!(matches!(next, Reason::Redeemed | Reason::InSession), "not {}", next.name());
    }
    let entry = stage.entry(A, number)?;
    ensure!((entry.requests, entry.admitted, entry.rejected) == (1, 1, 0), "device {number}: {entry}");
    Ok(())
}

/// A decision that was written down and had not reached the node when control died is made again when the node
/// asks again; then the record has it twice, and both must say the same.
fn each_alarm_was_decided_one_way(stage: &Stage<'_>, alarms: usize) -> Result<()> {
    let decisions = stage.weir.admin().get("/v1/decisions?limit=1000")?;
    let mut fates = BTreeMap::<String, BTreeSet<String>>::new();
    for decision in decisions.as_array().into_iter().flatten().filter(|it| !it["alarm"].is_null()) {
        fates.entry(decision["alarm"].to_string()).or_default().insert(decision["fate"].to_string());
    }
    ensure!(fates.len() == alarms, "{} of {alarms} alarms were decided", fates.len());
    fates.retain(|_, fates| fates.len() != 1);
    ensure!(fates.is_empty(), "decided this way and that: {fates:#?}");
    Ok(())
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_node_is_back_soon_however_often_control_was_restarted() {
    tell("restarted often", &Plan::new("often").nodes(1), |world| {
        let mut stage = Stage::open(world, &throttled_to_five(0))?;
        for restart in 1..=6 {
            stage.weir.kill_control()?;
            stage.weir.start_control()?;
            let back = stage.weir.nodes[A].wait_ready(NODE_METRICS, SOON);
            back.with_context(|| format!("after restart {restart} of control"))?;
        }
        Ok(())
    });
}
