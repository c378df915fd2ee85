//! P10: what a device costs in kernel memory, and what an idle one costs in control.

use std::fs;

use anyhow::{Context, Result};
use weir_dataplane_common::abi::{Entry, Ledger};
use weir_service_control::{
    AccessKind, AccessLimit, Action, AlarmFate, CacheUpdate, Config, DeviceCounts, DeviceId, Input, NodeName,
    Policy, Rule, Scope, ServiceControl, Status, UnixMillis,
};

use crate::figure::{Figure, Goal};
use crate::gates::{Addresses, Loaded, OBJECT, State};
use crate::plan::{DEVICES, Plan};
use crate::report::Report;

/// When it is.
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// Measures P10.
///
/// # Errors
/// If something cannot be loaded or the kernel does not tell.
pub fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    kernel(plan, Addresses::Pooled, "P10.kernel", Goal::AtMost(192.0), report)?;
    kernel(plan, Addresses::Unpooled, "P10.kernel.unpooled", Goal::None, report)?;
    control(report)
}

fn kernel(plan: &Plan, addresses: Addresses, id: &str, goal: Goal, report: &mut Report) -> Result<()> {
    let gate = Loaded::load(&plan.objects, OBJECT, addresses, State::Open)?;
    let maps = gate.gate().memory()?;
    let per_device = |wanted: &str| {
        let bytes = maps.iter().filter(|(name, _)| name == wanted).map(|(_, bytes)| *bytes).sum::<u64>();
        bytes as f64 / f64::from(DEVICES)
    };
    let (entries, hash) = (per_device("ENTRIES") + per_device("LEDGERS"), per_device("UNPOOLED"));
    let promised = size_of::<Entry>() + size_of::<Ledger>();
    let overhead = (entries - promised as f64) * f64::from(DEVICES);
    let all: u64 = maps.iter().map(|(_, bytes)| bytes).sum();
    // The map's own header is beside the promise.
    let entries = entries.floor();
    let (value, note) = match addresses {
        Addresses::Unpooled => (entries + hash, format!("{entries} B entry and ledger, {hash:.0} B of hash")),
        _ => (
            entries,
            format!("{overhead:.0} B of map overhead in all; {} MiB with all other maps", all >> 20),
        ),
    };
    report.add(id, Figure::one(value, "B per device", goal).noted(note));
    Ok(())
}

/// Devices about which nothing is going on: first with policies that control keeps for the nodes, then also counted.
fn control(report: &mut Report) -> Result<()> {
    let mut control = ServiceControl::new(Config::default());
    let before = resident()?;
    let grown = || -> Result<f64> { Ok(resident()?.saturating_sub(before) as f64 / f64::from(DEVICES)) };
    control.restore((0..DEVICES).map(entry), NOW);
    let cached = grown()?;
    for number in 0..DEVICES {
        control.handle(counted(number), NOW);
    }
    let figure = Figure::one(grown()?, "B per idle device", Goal::AtMost(256.0));
    let note = format!(
        "resident memory that 1,048,576 idle devices add to service control, with policies cached, counts of one \
         node and three admissions; {cached:.0} B before they were counted"
    );
    report.add("P10.control", figure.noted(note));
    drop(control);
    Ok(())
}

fn counted(number: u32) -> Input {
    let counts = DeviceCounts {
        requests: 5,
        admitted: 3,
        rejected: 2,
        last_rejection: Some("limit".to_owned()),
        admissions: (1..=3).rev().map(|number| UnixMillis(NOW.0 - 10_000 * number)).collect(),
        ..DeviceCounts::default()
    };
    let (node, boot) = (NodeName("node".to_owned()), "boot".to_owned());
    Input::CountsReported { node, boot, devices: vec![(device(number), counts)] }
}

fn device(number: u32) -> DeviceId {
    DeviceId(format!("{:015}", 1_010_000_000_000_u64 + u64::from(number)))
}

fn entry(number: u32) -> CacheUpdate {
    let limit = AccessLimit { permitted: 3, window: std::time::Duration::from_secs(60) };
    let policy = Policy {
        kinds: vec![AccessKind::Packet],
        scope: Scope::Node,
        ..Policy::new(1, Rule::AccessLimit(limit), Action::Reject)
    };
    CacheUpdate {
        revision: u64::from(number) + 1,
        device: device(number),
        cached: true,
        policies: vec![policy],
        status: Status::default(),
        not_m2m: false,
        release_session: false,
        answers: None,
        alarm: AlarmFate::Unchanged,
        explanation: "Cancelled: policy 1 permits 3 accesses in 60 s, and the count is 3.".to_owned(),
    }
}

/// Bytes of this process that are in memory and its own.
fn resident() -> Result<u64> {
    let told = fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = told.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    Ok(kib.context("the kernel tells no RssAnon")? << 10)
}
