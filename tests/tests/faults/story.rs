//! What several stories share: the device they are about, its usual packet and its usual policies.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_tests::{
    addresses::{INTERNET_HOST, device},
    deployment::{NODE_METRICS, Settings, throttle},
    http,
    metrics::Metrics,
    packet::Packet,
    stage::{Stage, until},
    world::{A, World},
};

/// The device that the stories are about.
pub const DEVICE: u16 = 1;
/// A window that does not pass while a story is told, so that no story depends on how fast it is told.
pub const LONG: Duration = Duration::from_secs(60);

/// What the device sends.
pub fn uplink() -> Packet {
    Packet::udp(device(DEVICE), INTERNET_HOST)
}

/// An alarm above `alarm` accesses; above 3 the device is throttled to 5; ESP is forbidden.
pub fn throttled_to_five(alarm: u32) -> Settings {
    Settings::new(alarm, LONG).access_policy(1, 3, LONG, &throttle(5, LONG)).protocol_policy(
        2,
        "esp",
        "\"reject\"",
    )
}

/// The decisions on alarms of the device, newest first; others only followed counts.
pub fn decided_alarms(stage: &Stage<'_>) -> Result<Vec<Value>> {
    let mut decisions = stage.weir.decisions(DEVICE)?;
    decisions.retain(|decision| !decision["alarm"].is_null());
    Ok(decisions)
}

/// The one decision there has been on an alarm of the device, once it is there.
pub fn the_decision(stage: &Stage<'_>) -> Result<Value> {
    let mut decisions = until("control decides", || {
        let decisions = decided_alarms(stage)?;
        Ok((!decisions.is_empty()).then_some(decisions))
    })?;
    ensure!(decisions.len() == 1, "an alarm is to be decided once: {decisions:#?}");
    decisions.pop().context("there is one")
}

/// The status code of a node's `/readyz`.
pub fn readiness(world: &World, node: usize) -> Result<u16> {
    Ok(http::get(&world.node(node).namespace, NODE_METRICS, "/readyz")?.status)
}

/// What a node says of itself.
pub fn metrics(world: &World, node: usize) -> Result<Metrics> {
    Metrics::fetch(&world.node(node).namespace, NODE_METRICS)
}

/// Waits until so many of the first node's alarms are without an answer.
pub fn alarms_are_outstanding(world: &World, count: u32) -> Result<()> {
    until("the agent has taken up its alarms and their answers", || {
        let outstanding = metrics(world, A)?.sum("weir_alarms_outstanding", &[]);
        Ok(((outstanding - f64::from(count)).abs() < f64::EPSILON).then_some(()))
    })
}
