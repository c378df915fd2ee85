//! P11: what the verifier had to do, how large the programs are; and where the time of a packet goes, stage by
//! stage.
//!
//! A stage's cost is the difference of two programs. Leaving a stage out lets the compiler leave out its
//! neighbours' work too, so the sizes stand beside the times.

use std::path::Path;

use anyhow::{Context, Result};
use weir_dataplane::{Gate, Layout, gate::Options, layout::Strangers, measure::Size, replay::PrivateCopy};
use weir_dataplane_common::abi::Side;

use crate::figure::{Figure, Goal, median};
use crate::frames::{Kind, Packets};
use crate::gates::{Addresses, Loaded, OBJECT, State};
use crate::plan::Plan;
use crate::report::Report;

const BUDGET: f64 = 100_000.0;

/// Measures P11.
///
/// # Errors
/// If a program is refused.
pub fn verifier(report: &mut Report) -> Result<()> {
    let options = full_node()?;
    let live = Gate::load(&options).context("the live program")?;
    let mut copy = PrivateCopy::load(&options).context("the private copy")?;
    for (id, side) in [("P11.access", Side::Access), ("P11.network", Side::Network)] {
        let size = live.size(side)?;
        let figure = Figure::one(f64::from(size.verified), "instructions verified", Goal::AtMost(BUDGET));
        report.add(id, figure.noted(in_words(size)));
    }
    let copied = f64::from(copy.verified_instructions()?);
    report.add("P11.copy", Figure::one(copied, "instructions verified", Goal::AtMost(BUDGET)));
    Ok(())
}

fn in_words(size: Size) -> String {
    format!("{} instructions, {} B of machine code", size.translated / 8, size.jitted)
}

/// As many pools and servers as a node holds, and every stranger dropped.
fn full_node() -> Result<Options> {
    let pools = [
        "10.45.0.0/24",
        "10.46.0.0/24",
        "10.47.0.0/25",
        "100.64.0.0/26",
        "2001:db8:45::/56",
        "2001:db8:46::/56",
        "2001:db8:47::/60",
        "2001:db8:48::/64",
    ];
    let pools = pools.iter().map(|pool| pool.parse()).collect::<Result<Vec<_>, _>>()?;
    let layout = Layout::new(&pools, 64)?;
    let servers = (0..8).map(|n| format!("192.0.2.{n}/32").parse()).collect::<Result<Vec<_>, _>>()?;
    let strangers = Strangers { drop_unknown: true, drop_unparsable: true, drop_unsolicited: true };
    Ok(Options {
        entries: layout.entries(),
        unpooled: 64,
        ring_bytes: 1 << 16,
        settings: layout.settings(&servers, strangers),
    })
}

/// The programs with stages left out, from the shortest to the whole.
const STAGES: [(&str, &str); 4] = [
    ("parse", "weir-stage-parse.o"),
    ("+look-up", "weir-stage-lookup.o"),
    ("+inspect+admit", "weir-stage-admit.o"),
    ("+counters", OBJECT),
];

/// Measures the cost by stage, for UDP in an open session.
///
/// # Errors
/// If a program is refused.
pub fn stages(plan: &Plan, report: &mut Report) -> Result<()> {
    let frame = Packets::pooled(Kind::Udp, 1)?.frame;
    let gates = STAGES.map(|(_, object)| Loaded::load(&plan.objects, object, Addresses::Pooled, State::Open));
    let gates = gates.into_iter().collect::<Result<Vec<_>>>()?;
    let mut times = vec![Vec::new(); gates.len()];
    for _ in 0..=plan.few_rounds {
        for (gate, times) in gates.iter().zip(&mut times) {
            times.push(gate.run_unchecked(&frame, plan.repeats)?);
        }
    }
    let mut shorter = 0.0;
    for (((name, object), gate), times) in STAGES.iter().zip(&gates).zip(&times) {
        let size = gate.gate().size(Side::Access)?;
        let stack = crate::stack::depth(&plan.objects.join(Path::new(object)))?;
        let note = format!(
            "{:+.1} ns; {}, {} verified, {stack} B of stack",
            median(times) - shorter,
            in_words(size),
            size.verified
        );
        report.add(format!("stage.{name}"), Figure::of(times, "ns, hot key", Goal::None).noted(note));
        shorter = median(times);
    }
    Ok(())
}
