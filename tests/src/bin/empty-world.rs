//! An empty world to look around in: makes it, says what is where, and waits. Ctrl-C or SIGTERM removes it;
//! after a kill the next run does.
//!
//! Nothing is judged in it. Tests use it as the owner of a world that is interrupted or killed.

use anyhow::{Result, ensure};
use weir_tests::process::Program;
use weir_tests::world::{Plan, World};
use weir_tests::{remains, rights};

fn main() -> Result<()> {
    ensure!(std::env::args_os().len() == 1, "it takes no arguments");
    rights::world()?;
    remains::clean_on_signal()?;
    for name in remains::sweep_orphans()? {
        println!("swept {name}");
    }
    let world = World::build(&Plan::new("look"))?;
    // Something that runs, so that its end can be seen as well.
    let sleeper = world.start(&world.node(0).namespace, Program::new("sleep", "sleep").args(["86400"]))?;
    for namespace in
        [&world.devices, &world.internet].into_iter().chain(world.nodes.iter().map(|node| &node.namespace))
    {
        println!("namespace {}", namespace.name());
    }
    println!("directory {}", world.directory().display());
    println!("process {}", sleeper.pid());
    println!("ready; Ctrl-C removes it");
    loop {
        std::thread::park();
    }
}
