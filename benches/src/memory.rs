//! P10: what a device costs in kernel memory, and what an idle one costs in control.

use std::fs;

use anyhow::{Context, Result};
use weir_dataplane_common::abi::{Entry, Ledger};
use weir_service_control::{
    AccessKind, AccessLimit, Action, AlarmFate, CacheUpdate, Config, DeviceId, Policy, Rule, Scope,
    ServiceControl, Status, UnixMillis,
};

use crate::figure::{Figure, Goal};
use crate::gates::{Addresses, Loaded, OBJECT, State};
use crate::plan::{DEVICES, Plan};
use crate::report::Report;

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

/// Devices whose policies control keeps for the nodes, and about which nothing else is going on.
fn control(report: &mut Report) -> Result<()> {
    let mut control = ServiceControl::new(Config::default());
    let before = resident()?;
    control.restore((0..DEVICES).map(entry), UnixMillis(1_800_000_000_000));
    let grown = resident()?.saturating_sub(before);
    let figure = Figure::one(grown as f64 / f64::from(DEVICES), "B per idle device", Goal::AtMost(256.0));
    report.add(
        "P10.control",
        figure.noted("resident memory that 1,048,576 idle devices add to service control"),
    );
    drop(control);
    Ok(())
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
        device: DeviceId(format!("{:015}", 1_010_000_000_000_u64 + u64::from(number))),
        cached: true,
        policies: vec![policy],
        status: Status::default(),
        not_m2m: false,
        release_session: false,
        answers: None,
        alarm: AlarmFate::Unchanged,
        explanation: String::new(),
    }
}

/// Bytes of this process that are in memory and its own.
fn resident() -> Result<u64> {
    let told = fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = told.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    Ok(kib.context("the kernel tells no RssAnon")? << 10)
}
