//! Strangers on a node that gives each of them a limit: more than it permits is dropped, another has room, a device
//! goes its way, and the node says how large the table is.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};
use weir_dataplane_common::reason::Reason;
use weir_tests::{
    addresses::{INTERNET_HOST, device},
    deployment::Settings,
    packet::Packet,
    stage::{Stage, Way, until},
    story::tell,
    world::{A, Plan},
};

use super::story::{DEVICE, metrics, throttled_to_five, uplink};

const STRANGER: u16 = 77;

/// A stranger's packet when its last session is over.
fn access(stage: &mut Stage<'_>, settings: &Settings, stranger: u16, expected: Reason) -> Result<()> {
    // Nothing shows from outside that a stranger's session has ended; by then it has.
    thread::sleep(settings.inactivity + Duration::from_millis(100));
    let sent = stage.send(A, Way::Up, stranger, Packet::udp(device(stranger), INTERNET_HOST))?;
    ensure!(sent.reason == expected, "{}, not {}", sent.reason.name(), expected.name());
    Ok(())
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn each_stranger_has_its_limit_and_the_node_says_what_it_has_room_for() {
    tell("strangers", &Plan::new("strange").nodes(1), |world| {
        let node = "unknown_devices = \"limit\"\n[node.strangers]\nplaces = 64\nlimit = 2\nwindow = \"1m\"";
        let settings = Settings { node, ..throttled_to_five(3) };
        let mut stage = Stage::open(world, &settings)?;
        for expected in [Reason::Admitted, Reason::Admitted, Reason::LimitExceeded] {
            access(&mut stage, &settings, STRANGER, expected).context("a stranger")?;
        }
        access(&mut stage, &settings, STRANGER + 1, Reason::Admitted).context("another stranger")?;
        stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
        until("the node shows its table of strangers", || {
            let shown = metrics(world, A)?;
            let strangers = [("table", "strangers")];
            let refused = shown.sum("weir_packets_total", &[("reason", Reason::LimitExceeded.name())]);
            let is_there = shown.get("weir_node_table_places", &strangers) == Some(64.0)
                && shown.get("weir_node_table_full_total", &strangers) == Some(0.0);
            Ok((is_there && refused >= 1.0).then_some(()))
        })
    });
}
