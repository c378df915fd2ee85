//! The demo: worked examples R-D17 and R-D18 with real packets, then R-D17 with numbers drawn at random.
//!
//! Every line is something observed: a packet at the far end, a counter or an entry in the kernel, a decision
//! that control wrote down. The exit code is 0 only if every observation was what it had to be. Nothing is
//! left behind, whatever happens; `--keep` waits with a running world until Ctrl-C. Needs root: run it as
//! `cargo xtask demo`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use weir_tests::{
    deployment::{CONTROL_METRICS, NODE_METRICS},
    draw::Draw,
    examples::{self, WINDOW},
    forecast::Numbers,
    remains, rights,
    stage::Stage,
    world::{Plan, World},
};

/// How many times the first example is repeated with numbers drawn at random.
const DRAWS: usize = 2;

/// weir's demo.
#[derive(Debug, Parser)]
struct Demo {
    /// Leave a world running afterwards, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Draw the same numbers again.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> Result<()> {
    let demo = Demo::parse();
    rights::world()?;
    rights::gate()?;
    remains::clean_on_signal()?;
    remains::sweep_orphans()?;
    let begin = Instant::now();
    let mut print = |line: &str| println!("  {line}");
    chapter("R-D17: alarm above 3 accesses; policy 1 throttles to 5 above 3; policy 2 rejects ESP");
    let world = new_world()?;
    examples::worked_example_one(&world, &mut print).with_context(|| world.logs())?;
    drop(world);
    for (esp_is_rejected, words) in [(false, "both policies take no action"), (true, "policy 2 rejects ESP")]
    {
        chapter(&format!("R-D18: an application server wakes the device with ESP; {words}"));
        let world = new_world()?;
        examples::worked_example_two(&world, esp_is_rejected, &mut print).with_context(|| world.logs())?;
    }
    let mut draw = demo.seed.map_or_else(|| Draw::new("demo"), |seed| Ok(Draw::seeded(seed)))?;
    println!("\nnumbers drawn with seed {}", draw.seed());
    for _ in 0..DRAWS {
        drawn(&mut draw, &mut print)?;
    }
    println!("\nEvery observation was what it had to be, in {:.1} s.", begin.elapsed().as_secs_f64());
    if demo.keep { keep() } else { Ok(()) }
}

fn new_world() -> Result<World> {
    World::build(&Plan::new("demo"))
}

fn chapter(title: &str) {
    println!("\n{title}\n");
}

fn drawn(draw: &mut Draw, print: &mut dyn FnMut(&str)) -> Result<()> {
    let numbers = Numbers {
        alarm: draw.number(1..=4) as u32,
        rule: draw.number(1..=6) as u32,
        throttle: draw.number(1..=8) as u32,
    };
    let window = draw.duration(Duration::from_secs(3)..=Duration::from_secs(5));
    let Numbers { alarm, rule, throttle } = numbers;
    chapter(&format!(
        "drawn: alarm above {alarm}, policy 1 throttles to {throttle} above {rule}, window {window:.1?}"
    ));
    let world = new_world()?;
    examples::drawn_example(&world, numbers, window, print).with_context(|| world.logs())
}

/// A world with weir in it, to look at.
fn keep() -> Result<()> {
    let world = new_world()?;
    let numbers = Numbers { alarm: 3, rule: 3, throttle: 5 };
    let _stage = Stage::open(&world, &examples::settings(numbers, WINDOW))?;
    println!("\nA world is running. Ctrl-C ends it and removes everything.");
    println!(
        "  control's metrics  ip netns exec {} curl 127.0.0.1:{CONTROL_METRICS}/metrics",
        world.internet.name()
    );
    for node in &world.nodes {
        let name = node.namespace.name();
        println!("  a node's metrics   ip netns exec {name} curl 127.0.0.1:{NODE_METRICS}/metrics");
    }
    let socket = world.directory().join("admin.sock");
    println!("  the admin API      weir device list --socket {}", socket.display());
    loop {
        std::thread::park();
    }
}
