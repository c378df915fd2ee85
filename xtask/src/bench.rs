//! `cargo xtask bench`: builds what the bench needs and hands over to it. What is measured, and the cleaning up,
//! are in the package `weir-benches`; nothing of them belongs here.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::ebpf::{self, Object, Source};
use crate::packages::Packages;
use crate::process::{Workspace, last_line, run_openly, say};
use crate::setup;
use crate::survey::{find_program, is_root};

/// What the command line can say.
#[derive(clap::Args)]
pub struct Options {
    /// Prove in under two minutes that the bench works; the figures are no measurement
    #[arg(long)]
    quick: bool,
    /// Arguments for the bench itself
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// The gate as the bench runs it, and with stages left out.
const OBJECTS: [Object; 4] = [
    Object {
        file: "weir-bench.o",
        title: "building the BPF program (bench: what passes is dropped)",
        source: Source::Gate,
        features: &["bench"],
    },
    Object {
        file: "weir-stage-parse.o",
        title: "building the BPF program (bench: parse only)",
        source: Source::Gate,
        features: &["stage-parse"],
    },
    Object {
        file: "weir-stage-lookup.o",
        title: "building the BPF program (bench: parse and look up)",
        source: Source::Gate,
        features: &["stage-lookup"],
    },
    Object {
        file: "weir-stage-admit.o",
        title: "building the BPF program (bench: all but the counters)",
        source: Source::Gate,
        features: &["stage-admit"],
    },
];

/// What an operator would use today: the program, its Debian package.
const PEERS: [(&str, &str); 2] = [("nft", "nftables"), ("iptables", "iptables")];

/// Runs the command. On success this process has become the bench.
///
/// # Errors
/// If this is not root, or something that the bench needs cannot be built.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if !is_root() {
        bail!("the bench makes network namespaces and loads XDP programs: run `cargo xtask bench` as root");
    }
    let tools = setup::prepare(workspace)?;
    install_peers();
    ebpf::build(workspace, &tools)?;
    ebpf::build_objects(workspace, &tools, &OBJECTS)?;
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "weir-benches", "--bin", "bench"]);
    run_openly("building the bench", &mut build)?;

    let bench = workspace.release_binary("bench")?;
    let mut command = Command::new(&bench);
    command.arg("--objects").arg(workspace.bpf_objects());
    command.arg("--summary").arg(workspace.root().join("target/bench/summary.json"));
    if options.quick {
        command.arg("--quick");
    }
    command.args(&options.arguments);
    // The same process, so that Ctrl-C reaches the bench and nobody else has to pass on its exit code.
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", bench.display()))
}

/// Without them the bench runs all the same; their rows say so.
fn install_peers() {
    let mut packages = Packages::default();
    for (program, package) in PEERS {
        if find_program(program).is_some() {
            continue;
        }
        if let Err(error) = packages.install(&[package], "a peer that weir is measured beside") {
            say(&format!("  not possible: {}", last_line(&error.to_string())));
        }
    }
}
