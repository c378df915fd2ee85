//! `cargo xtask bench`: measures, prints, writes `summary.json`. Needs root. It fails if something could not be
//! measured or a packet was not treated as its row says, never because a goal was missed.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use weir_benches::{bed::Bed, exact, hot, live, memory, plan::Plan, program, push, report::Report};
use weir_tests::{remains, rights};

/// weir's bench.
#[derive(Debug, Parser)]
struct Bench {
    /// Prove that the bench works; the figures are no measurement.
    #[arg(long)]
    quick: bool,
    /// Only these parts, of: live, matrix, hot, stages, verifier, exact, push, memory.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these rows of P1 and P2, by the names that follow `live.` in the table.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Interleaved rounds for P1 and P2, instead of 15 (3 in the quick run).
    #[arg(long)]
    rounds: Option<usize>,
    /// Measure this other build of weir-bench.o too, in the same rounds (part live).
    #[arg(long)]
    beside: Option<String>,
    /// Where the BPF objects lie.
    #[arg(long, default_value = "target/bpf-objects")]
    objects: PathBuf,
    /// Where the summary is written.
    #[arg(long, default_value = "target/bench/summary.json")]
    summary: PathBuf,
}

type Part = (&'static str, &'static str, fn(&Plan, &mut Report) -> Result<()>);

const PARTS: [Part; 8] = [
    ("live", "P1, P2: over veth, a million devices", |plan, report| {
        live::measure(plan, &Bed::make(&plan.objects)?, report)
    }),
    ("matrix", "the rows of P3 over veth, by number of devices", |plan, report| {
        live::matrix(plan, &Bed::make(&plan.objects)?, report)
    }),
    ("hot", "P3: test-run, one packet; excludes the driver", hot::measure),
    ("stages", "cost by stage; excludes the driver", program::stages),
    ("verifier", "P11: the verifier", |_, report| program::verifier(report)),
    ("exact", "P4: two CPUs, one device", exact::measure),
    ("push", "P5: writing entries", push::measure),
    ("memory", "P10: memory", memory::measure),
];

fn main() -> Result<()> {
    let bench = Bench::parse();
    rights::world()?;
    remains::clean_on_signal()?;
    remains::sweep_orphans()?;
    let mut plan = if bench.quick { Plan::quick(bench.objects) } else { Plan::full(bench.objects) };
    plan.beside = bench.beside;
    plan.rows = bench.rows;
    plan.rounds = bench.rounds.unwrap_or(plan.rounds).max(1);
    let mut report = Report::default();
    for (name, title, measure) in PARTS {
        if bench.only.is_empty() || bench.only.iter().any(|only| only == name) {
            let begin = Instant::now();
            println!("\n{title}");
            measure(&plan, &mut report)?;
            println!("({:.0} s)", begin.elapsed().as_secs_f64());
        }
    }
    println!("\n{}\n\n{}", machine(), report.table());
    report.write(&bench.summary)?;
    match report.missed().as_slice() {
        [] => println!("\nevery goal measured here holds"),
        missed => println!("\ngoals that do not hold: {}", missed.join(", ")),
    }
    if plan.quick {
        println!("a quick run: these figures prove that the bench works, and nothing else");
    }
    Ok(())
}

/// What it ran on, for whoever reads the table later.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown CPU");
    let load = read("/proc/loadavg");
    format!(
        "{} × {}, Linux {}, load {}",
        cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
        model.trim_start_matches([' ', '\t', ':']),
        read("/proc/sys/kernel/osrelease").trim(),
        load.split_whitespace().next().unwrap_or("unknown"),
    )
}
