//! P3: one packet of one device under test-run, again and again: the program's own instructions, without cache
//! misses and without the driver.

use anyhow::Result;

use crate::figure::{Figure, Goal, median};
use crate::floors::{self, Floor};
use crate::frames::{Kind, Packets};
use crate::gates::{Addresses, Loaded, OBJECT, State};
use crate::plan::Plan;
use crate::report::Report;

const UNIT: &str = "× array floor, hot key";

/// A row: name, packets, what the device is up to, goal.
const ROWS: [(&str, Kind, State, Goal); 8] = [
    ("udp", Kind::Udp, State::Open, Goal::AtMost(2.0)),
    ("esp", Kind::Esp, State::Open, Goal::AtMost(2.0)),
    ("tcp", Kind::Tcp, State::Open, Goal::None),
    ("udp6", Kind::Udp6, State::Open, Goal::None),
    ("admitted", Kind::Udp, State::Admitted, Goal::None),
    ("rejected", Kind::Udp, State::Rejected, Goal::None),
    ("repeated", Kind::Udp, State::Repeated, Goal::None),
    ("held", Kind::Udp, State::Held, Goal::None),
];

/// Rows of the goal whose wire formats weir does not read yet.
pub const MISSING: [&str; 4] = ["tls", "gtpu", "qinq6", "quic"];

/// Why they are missing.
pub const NOT_READ: &str = "not there yet: weir does not read these packets yet";

/// Measures P3.
///
/// # Errors
/// If a packet was not treated as its row says.
pub fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let array = Floor::load(&plan.objects, floors::Kind::Array)?;
    let drop = Floor::load(&plan.objects, floors::Kind::Drop)?;
    let mut pooled = Loaded::load(&plan.objects, OBJECT, Addresses::Pooled, State::Open)?;
    let mut pooled6 = Loaded::load(&plan.objects, OBJECT, Addresses::Pooled6, State::Open)?;
    let udp = Packets::pooled(Kind::Udp, 1)?.frame;
    let mut floors = Vec::new();
    let mut drops = Vec::new();
    let mut ratios = vec![Vec::new(); ROWS.len()];
    let mut times = vec![Vec::new(); ROWS.len()];
    for round in 0..=plan.few_rounds {
        let floor = array.run(&udp, plan.repeats)?;
        let drop = drop.run(&udp, plan.repeats)?;
        for (row, (name, kind, state, _)) in ROWS.iter().enumerate() {
            let gate = if *kind == Kind::Udp6 { &mut pooled6 } else { &mut pooled };
            gate.enter_first(*state);
            let each = gate.run(name, &Packets::pooled(*kind, 1)?.frame, plan.repeats)?;
            // The first round warms up.
            if round > 0 {
                ratios[row].push(each / floor);
                times[row].push(each);
            }
        }
        if round > 0 {
            floors.push(floor);
            drops.push(drop);
        }
    }
    report.add("P3.time.drop", Figure::of(&drops, "ns", Goal::None).noted("test-run excludes the driver"));
    report.add("P3.time.array-floor", Figure::of(&floors, "ns", Goal::None));
    for (row, (name, _, _, goal)) in ROWS.iter().enumerate() {
        let note = format!("{:.1} ns", median(&times[row]));
        report.add(format!("P3.{name}"), Figure::of(&ratios[row], UNIT, *goal).noted(note));
    }
    for name in MISSING {
        report.add(format!("P3.{name}"), Figure::absent(UNIT, NOT_READ));
    }
    Ok(())
}
