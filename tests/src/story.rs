//! How a privileged test is told: rights, sweep, world, story, and the logs if it goes wrong.

use anyhow::Result;

use crate::remains;
use crate::rights;
use crate::world::{Plan, World};

/// Runs a test that needs `weir` and BPF in a world of its own. A failure, returned or panicked, shows the
/// logs of all its processes.
///
/// # Panics
/// If rights are missing (see [`rights`]), the world cannot be made, or the story fails.
pub fn tell(test: &str, plan: &Plan, story: impl FnOnce(&World) -> Result<()>) {
    if rights::require(test) {
        in_world(test, plan, story);
    }
}

/// As [`tell`], for tests that need neither BPF nor the binary.
///
/// # Panics
/// As [`tell`].
pub fn tell_of_world(test: &str, plan: &Plan, story: impl FnOnce(&World) -> Result<()>) {
    if rights::require_world(test) {
        in_world(test, plan, story);
    }
}

fn in_world(test: &str, plan: &Plan, story: impl FnOnce(&World) -> Result<()>) {
    let prepared = remains::clean_on_signal().and_then(|()| {
        // What cannot be swept is said, and does not stop this test: it is not this test's fault.
        if let Err(error) = remains::sweep_orphans() {
            eprintln!("cannot sweep what an earlier run left: {error:#}");
        }
        World::build(plan)
    });
    let world = match prepared {
        Ok(world) => world,
        Err(error) => panic!("{test} has no world: {error:#}"),
    };
    if let Err(error) = story(&world) {
        // While panicking the world shows its logs as it is dropped.
        panic!("{test}: {error:#}");
    }
}
