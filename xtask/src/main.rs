//! `cargo xtask`: weir's automation, in Rust and without anything installed first. This file only declares
//! the commands; each has its own file. Nothing here is part of the product.
//!
//! | file | what |
//! |---|---|
//! | `setup.rs` | what a machine needs; `toolchain.rs` chooses the BPF compiler among what `survey.rs` finds |
//! | `linker.rs`, `packages.rs` | bpf-linker and Debian packages |
//! | `ebpf.rs` | the BPF objects |
//! | `test.rs`, `demo.rs`, `bench.rs`, `lint.rs`, `docs.rs`, `deny.rs` | the commands of these names, `audit` in the last |
//! | `process.rs`, `version.rs` | running programs, comparing versions |

mod bench;
mod demo;
mod deny;
mod docs;
mod ebpf;
mod linker;
mod lint;
mod packages;
mod process;
mod setup;
mod survey;
mod test;
mod toolchain;
mod version;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::process::{Workspace, say};

/// weir's automation
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Install what is missing to build and test; nothing if all is there
    Setup,
    /// Compile the BPF program, for live traffic and for replay
    BuildEbpf,
    /// Run every test, those that need root and the BPF program included
    Test(test::Options),
    /// Show weir at work on real packets, in a world of network namespaces (root)
    Demo(demo::Options),
    /// Measure weir beside physical floors and peers, side by side in one run (root)
    Bench(bench::Options),
    /// Check format, clippy, documentation, dependencies; no blobs in git
    Lint,
    /// Write the documents that are made from the source
    Docs,
    /// Look up known vulnerabilities of the dependencies
    Audit,
}

fn main() -> ExitCode {
    match run(&Task::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Result<()> {
    let workspace = Workspace::locate()?;
    match task {
        Task::Setup => setup::run(&workspace),
        Task::BuildEbpf => ebpf::run(&workspace),
        Task::Test(options) => test::run(&workspace, options),
        Task::Demo(options) => demo::run(&workspace, options),
        Task::Bench(options) => bench::run(&workspace, options),
        Task::Lint => lint::run(&workspace),
        Task::Docs => docs::run(&workspace),
        Task::Audit => deny::audit(&workspace),
    }
}
