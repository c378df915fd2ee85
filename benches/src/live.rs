//! P1, P2 and the matrix over device numbers: packets over veth, generated and received on one CPU.
//!
//! A round sends the same number of packets to each contender in turn; the figure of a round is what a contender
//! adds to the plain drop, as a multiple of what a floor adds. The generator's own time and the veth's are in
//! both, and fall out of the difference. All figures of a group come from the same rounds.

use anyhow::{Context, Result};
use weir_dataplane::generator::Generator;

use crate::bed::{Bed, cpus, pin};
use crate::contender::{Contender, check, settled};
use crate::cpu_time::CpuTime;
use crate::figure::{Figure, Goal, median};
use crate::floors::{self, Floor};
use crate::frames::{Kind, Packets};
use crate::gates::{Addresses, Loaded, OBJECT, State};
use crate::peers::{self, Peer};
use crate::plan::{DEVICES, Plan};
use crate::report::Report;

/// Frames of the run that shows what a run costs by itself.
const FEW: u32 = 64;

/// A row: one contender, one sort of packet, a number of devices.
pub struct Row {
    /// What it is called in figures.
    pub name: String,
    /// Which contender, by its place in the group.
    pub contender: usize,
    /// Its packets.
    pub packets: Packets,
}

/// Contenders, and rows that they are measured in.
#[derive(Default)]
pub struct Group {
    contenders: Vec<Box<dyn Contender>>,
    rows: Vec<Row>,
}

/// What a group's rounds came to: ns per packet, by round, of each row.
pub struct Rounds {
    times: Vec<(String, Vec<f64>)>,
}

impl Group {
    /// Adds a contender; its place.
    pub fn contender(&mut self, contender: impl Contender + 'static) -> usize {
        self.contenders.push(Box::new(contender));
        self.contenders.len() - 1
    }

    /// Adds a row.
    pub fn row(&mut self, name: &str, contender: usize, packets: Packets) {
        self.rows.push(Row { name: name.to_owned(), contender, packets });
    }

    /// Measures all rows in turn, `rounds` times, after a warm-up.
    ///
    /// # Errors
    /// If a packet was not treated as its row says, or the kernel refuses something.
    pub fn measure(&mut self, bed: &Bed, rounds: usize, packets: u32) -> Result<Rounds> {
        let cpu = *cpus()?.last().context("this thread may run on no CPU")?;
        let (contenders, rows) = (&mut self.contenders, &self.rows);
        bed.sender.enter(move || {
            pin(cpu)?;
            let mut meter = Meter { generator: Generator::load()?, cpu_time: CpuTime::on(cpu)? };
            let mut times: Vec<_> = rows.iter().map(|row| (row.name.clone(), Vec::new())).collect();
            for row in rows {
                meter.run(contenders[row.contender].as_mut(), row, packets)?;
            }
            for _ in 0..rounds {
                for (row, (_, times)) in rows.iter().zip(&mut times) {
                    times.push(meter.run(contenders[row.contender].as_mut(), row, packets)?);
                }
            }
            Ok(Rounds { times })
        })
    }
}

struct Meter {
    generator: Generator,
    cpu_time: CpuTime,
}

impl Meter {
    /// One run: the processor's ns per packet.
    fn run(&mut self, contender: &mut dyn Contender, row: &Row, packets: u32) -> Result<f64> {
        let Packets { frame, spread } = &row.packets;
        self.generator.spread(spread)?;
        let ifindex = contender.lane().ifindex;
        // The page that a run's frames start from is made anew each time: with few frames, what that costs.
        let start = self.cpu_time.now()?;
        self.generator.send(ifindex, frame, FEW)?;
        let call = self.cpu_time.now()? - start;
        let before = settled(contender)?;
        let start = self.cpu_time.now()?;
        self.generator.send(ifindex, frame, packets)?;
        check(contender, &row.name, before, packets)?;
        let cost = self.cpu_time.now()? - start;
        Ok(cost.saturating_sub(call) as f64 / f64::from(packets - FEW))
    }
}

impl Rounds {
    /// Nanoseconds per packet of a row, by round; none if the row was not measured.
    pub fn of(&self, row: &str) -> &[f64] {
        self.times.iter().find(|(name, _)| name == row).map_or(&[], |(_, times)| times)
    }

    /// Whether the group has these rows.
    pub fn has(&self, rows: &[&str]) -> bool {
        rows.iter().all(|row| !self.of(row).is_empty())
    }

    /// The time itself.
    pub fn time(&self, row: &str) -> Figure {
        Figure::of(self.of(row), "ns per packet, generator included", Goal::None)
    }

    /// What a row adds to `base`, as a multiple of what `floor` adds.
    pub fn added(&self, row: &str, base: &str, floor: &str, unit: &'static str, goal: Goal) -> Figure {
        if !self.has(&[row, base, floor]) {
            return Figure::absent(unit, NOT_ASKED);
        }
        let rounds = self.of(row).iter().zip(self.of(base)).zip(self.of(floor));
        let ratios: Vec<f64> = rounds.map(|((row, base), floor)| (row - base) / (floor - base)).collect();
        Figure::of(&ratios, unit, goal).noted(format!(
            "adds {:.0} ns to drop's {:.0}; the floor {:.0}",
            median(self.of(row)) - median(self.of(base)),
            median(self.of(base)),
            median(self.of(floor)) - median(self.of(base)),
        ))
    }

    /// How many times the packets per second of `other` a row makes.
    pub fn faster_than(&self, row: &str, other: &str, goal: Goal) -> Figure {
        const UNIT: &str = "× packets per second";
        if !self.has(&[row, other]) {
            return Figure::absent(UNIT, NOT_ASKED);
        }
        let ratios: Vec<f64> =
            self.of(row).iter().zip(self.of(other)).map(|(row, other)| other / row).collect();
        Figure::of(&ratios, UNIT, goal)
    }
}

/// Puts P1 and P2 together, measures and reports.
///
/// # Errors
/// As [`Group::measure`].
pub fn measure(plan: &Plan, bed: &Bed, report: &mut Report) -> Result<()> {
    let mut group = floors(plan, bed)?;
    let objects = &plan.objects;
    let udp = Packets::pooled(Kind::Udp, DEVICES)?;
    for (state, name) in ACCESSES {
        let gate = Loaded::load(objects, OBJECT, Addresses::Pooled, state)?.attach(bed, name)?;
        let gate = group.contender(gate);
        group.row(name, gate, udp.clone());
    }
    let open = Loaded::load(objects, OBJECT, Addresses::Pooled, State::Open)?.attach(bed, "open")?;
    let open = group.contender(open);
    for (name, kind, _) in IN_SESSION {
        group.row(name, open, Packets::pooled(kind, DEVICES)?);
    }
    let outside = Loaded::load(objects, OBJECT, Addresses::Unpooled, State::Open)?.attach(bed, "outside")?;
    let outside = group.contender(outside);
    let metered = Loaded::load(objects, OBJECT, Addresses::Pooled, State::Metered)?.attach(bed, "metered")?;
    let metered = group.contender(metered);
    group.row("metered", metered, udp.clone());
    group.row("outside", outside, Packets::unpooled(Kind::Udp, DEVICES)?);
    if let Some(other) = &plan.beside {
        beside(plan, bed, &mut group, other)?;
    }
    let mut refused = Vec::new();
    for (name, kind) in [("nftables", peers::Kind::Nftables), ("iptables", peers::Kind::Iptables)] {
        match Peer::attach(bed, kind, name) {
            Ok(peer) => {
                let peer = group.contender(peer);
                group.row(name, peer, udp.clone());
            }
            Err(error) => refused.push((name, format!("{error:#}"))),
        }
    }
    if !plan.rows.is_empty() {
        group.rows.retain(|row| plan.rows.contains(&row.name));
    }
    let rounds = group.measure(bed, plan.rounds, plan.live_packets)?;
    tell(&rounds, &refused, report);
    Ok(())
}

/// The rows in open sessions, with the goal of each.
const IN_SESSION: [(&str, Kind, f64); 3] =
    [("udp", Kind::Udp, 1.25), ("tcp", Kind::Tcp, 1.5), ("esp", Kind::Esp, 1.5)];

/// The rows in which every packet is an access.
const ACCESSES: [(State, &str); 5] = [
    (State::Rejected, "rejected"),
    (State::Shadow, "shadow"),
    (State::Repeated, "repeated"),
    (State::Admitted, "admitted"),
    (State::Held, "held"),
];

const NOT_ASKED: &str = "left out of this run (--rows)";
const ARRAY: &str = "× array floor, added to drop";
const HASH: &str = "× hash floor, added to drop";

/// Another build of the gate, in three states.
fn beside(plan: &Plan, bed: &Bed, group: &mut Group, object: &str) -> Result<()> {
    let udp = Packets::pooled(Kind::Udp, DEVICES)?;
    for (name, addresses, state, packets) in [
        ("beside-udp", Addresses::Pooled, State::Open, udp.clone()),
        ("beside-rej", Addresses::Pooled, State::Rejected, udp),
        ("beside-out", Addresses::Unpooled, State::Open, Packets::unpooled(Kind::Udp, DEVICES)?),
    ] {
        let gate = Loaded::load(&plan.objects, object, addresses, state)?.attach(bed, name)?;
        let gate = group.contender(gate);
        group.row(name, gate, packets);
    }
    Ok(())
}

/// Drop, array floor, the same as wide as weir's entries, hash floor.
fn floors(plan: &Plan, bed: &Bed) -> Result<Group> {
    let mut group = Group::default();
    let floors = [
        ("drop", floors::Kind::Drop),
        ("array", floors::Kind::Array),
        ("wide", floors::Kind::Wide),
        ("hash", floors::Kind::Hash),
    ];
    for (name, kind) in floors {
        let place = group.contender(Floor::load(&plan.objects, kind)?.attach(bed, name)?);
        let packets = match kind {
            floors::Kind::Hash => Packets::unpooled(Kind::Udp, DEVICES)?,
            _ => Packets::pooled(Kind::Udp, DEVICES)?,
        };
        group.row(name, place, packets);
    }
    Ok(group)
}

fn tell(rounds: &Rounds, refused: &[(&str, String)], report: &mut Report) {
    for (row, _) in &rounds.times {
        report.add(format!("live.{row}"), rounds.time(row));
    }
    for (row, _, goal) in IN_SESSION {
        // The first is what the goal is named after.
        let id = if row == "udp" { "P1".to_owned() } else { format!("P1.{row}") };
        report.add(id, rounds.added(row, "drop", "array", ARRAY, Goal::AtMost(goal)));
    }
    for (row, other) in [("udp", "beside-udp"), ("rejected", "beside-rej"), ("outside", "beside-out")] {
        if rounds.has(&[other]) {
            let figure = rounds.added(row, "drop", other, "× the other build, added to drop", Goal::None);
            report.add(format!("beside.{row}"), figure);
        }
    }
    report.add("P1.wide-floor", rounds.added("wide", "drop", "array", ARRAY, Goal::None));
    let access = rounds.added("rejected", "drop", "array", ARRAY, Goal::AtMost(2.25));
    report.add("P1.access", access);
    for (_, row) in &ACCESSES[1..] {
        report.add(format!("P1.access.{row}"), rounds.added(row, "drop", "array", ARRAY, Goal::None));
    }
    for row in ["quic", "gtpu"] {
        report.add(format!("P1.{row}"), Figure::absent(ARRAY, crate::hot::NOT_READ));
    }
    report.add("P1.metered", rounds.added("metered", "drop", "array", ARRAY, Goal::None));
    report.add("P1.grant", Figure::absent(ARRAY, "not there yet: grants"));
    for peer in ["nftables", "iptables"] {
        let id = format!("P1.{peer}");
        match refused.iter().find(|(name, _)| *name == peer) {
            Some((_, why)) => report.add(id, Figure::absent("× packets per second", why.clone())),
            None => {
                report.add(&*id, rounds.faster_than("udp", peer, Goal::AtLeast(4.0)));
                // What the physical floor makes of the same peer: no gate by address can make more.
                report.add(format!("{id}.floor"), rounds.faster_than("array", peer, Goal::None));
            }
        }
    }
    report.add("P2", rounds.added("outside", "drop", "hash", HASH, Goal::AtMost(1.2)));
}

/// The rows of P3 over one, ten thousand and a million devices, live: test-run knows one packet only.
///
/// # Errors
/// As [`Group::measure`].
pub fn matrix(plan: &Plan, bed: &Bed, report: &mut Report) -> Result<()> {
    let rows = [
        ("udp", Kind::Udp, State::Open),
        ("esp", Kind::Esp, State::Open),
        ("udp6", Kind::Udp6, State::Open),
        ("admitted", Kind::Udp, State::Admitted),
        ("rejected", Kind::Udp, State::Rejected),
        ("held", Kind::Udp, State::Held),
    ];
    let mut group = Group::default();
    let drop = group.contender(Floor::load(&plan.objects, floors::Kind::Drop)?.attach(bed, "m-drop")?);
    let array = group.contender(Floor::load(&plan.objects, floors::Kind::Array)?.attach(bed, "m-array")?);
    let mut gates = Vec::new();
    for (name, kind, state) in rows {
        let addresses = if kind == Kind::Udp6 { Addresses::Pooled6 } else { Addresses::Pooled };
        let gate =
            Loaded::load(&plan.objects, OBJECT, addresses, state)?.attach(bed, &format!("m-{name}"))?;
        gates.push((name, kind, group.contender(gate)));
    }
    for (span, devices) in SPANS {
        let udp = Packets::pooled(Kind::Udp, devices)?;
        group.row(&format!("drop.{span}"), drop, udp.clone());
        group.row(&format!("array.{span}"), array, udp);
        for (name, kind, gate) in &gates {
            group.row(&format!("{name}.{span}"), *gate, Packets::pooled(*kind, devices)?);
        }
    }
    let rounds = group.measure(bed, plan.few_rounds, plan.live_packets / 2)?;
    for (name, _, _) in rows {
        for (span, _) in SPANS {
            let row = format!("{name}.{span}");
            let (drop, array) = (format!("drop.{span}"), format!("array.{span}"));
            report.add(format!("matrix.{row}"), rounds.added(&row, &drop, &array, ARRAY, Goal::None));
        }
    }
    for name in crate::hot::MISSING {
        report.add(format!("matrix.{name}"), Figure::absent(ARRAY, crate::hot::NOT_READ));
    }
    Ok(())
}

const SPANS: [(&str, u32); 3] = [("1", 1), ("10k", 10_000), ("1M", DEVICES)];
