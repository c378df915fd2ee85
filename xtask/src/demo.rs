//! `cargo xtask demo`: builds what the demo needs and hands over to it. The demo's world, its packets and
//! its cleaning up are in the package `weir-tests`; nothing of them belongs here.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{Workspace, run_openly};
use crate::survey::is_root;
use crate::{ebpf, setup};

/// What the command line can say.
#[derive(clap::Args)]
pub struct Options {
    /// Leave the world running and print where metrics and API are
    #[arg(long)]
    keep: bool,
    /// Seed of the drawn limits; without it, one is drawn and printed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Runs the command. On success this process has become the demo: its exit code and its signals are the
/// demo's own.
///
/// # Errors
/// If this is not root, or something that the demo needs cannot be built.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if !is_root() {
        bail!(
            "the demo makes network namespaces and loads an XDP program: run `cargo xtask demo` as root.\n\
             Without root, `cargo xtask test --allow-skip` runs the tests that need no rights."
        );
    }
    let tools = setup::prepare(workspace)?;
    ebpf::build(workspace, &tools)?;
    let mut build = workspace.cargo();
    build.args(["build", "--package", "weir", "--package", "weir-tests", "--bin", "weir", "--bin", "demo"]);
    run_openly("building weir and the demo", &mut build)?;

    let demo = workspace.binary("demo")?;
    let mut command = Command::new(&demo);
    command.env("WEIR_BIN", workspace.binary("weir")?).args(arguments(options));
    // The same process, so that Ctrl-C reaches the demo and nobody else has to pass on its exit code.
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", demo.display()))
}

fn arguments(options: &Options) -> Vec<String> {
    let mut arguments = Vec::new();
    if options.keep {
        arguments.push("--keep".to_owned());
    }
    if let Some(seed) = options.seed {
        arguments.extend(["--seed".to_owned(), seed.to_string()]);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_gets_the_options_that_were_given() {
        assert!(arguments(&Options { keep: false, seed: None }).is_empty());
        assert_eq!(arguments(&Options { keep: true, seed: Some(7) }), ["--keep", "--seed", "7"]);
    }
}
