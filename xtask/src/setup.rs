//! `cargo xtask setup`: installs what is missing on a bare machine, each step announced with its reason,
//! and nothing where all is there. Read first: `toolchain.rs`, the order in which compilers are chosen.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::linker;
use crate::packages::Packages;
use crate::process::{Workspace, last_line, run_quietly, say};
use crate::survey::{self, find_program, is_root};
use crate::toolchain::{self, Choice, Compiler, DEBIAN_PACKAGES, Facts, LINKER_READS_LLVM, Step};
use crate::version::Version;

/// What builds the BPF program.
pub struct BpfTools {
    /// The Rust compiler, with library source.
    pub compiler: Compiler,
    /// bpf-linker.
    pub linker: PathBuf,
    /// The LLVM that bpf-linker is to open; `None` leaves it to its own search.
    pub llvm: Option<PathBuf>,
}

/// Runs the command: prepares the machine and says what is used.
///
/// # Errors
/// As [`prepare`].
pub fn run(workspace: &Workspace) -> Result<()> {
    let tools = prepare(workspace)?;
    say(&format!("BPF compiler: {} (rustc {})", tools.compiler.name, tools.compiler.release));
    say(&format!("BPF linker:   {}", tools.linker.display()));
    println!("setup: everything is there");
    Ok(())
}

/// Installs what is missing and returns the tools for the BPF program.
///
/// # Errors
/// If something is missing that cannot be installed here; the message says what to install.
pub fn prepare(workspace: &Workspace) -> Result<BpfTools> {
    let mut packages = Packages::default();
    check_c_compiler();
    ensure_ip(&mut packages)?;
    let (compiler, all) = ensure_compiler(workspace, &mut packages)?;
    let linker = linker::ensure(workspace)?;
    let llvm = survey::llvm_library(std::iter::once(&compiler).chain(&all), LINKER_READS_LLVM);
    Ok(BpfTools { compiler, linker, llvm })
}

/// Cargo itself needs a C compiler as linker, so whoever runs this has one; dependencies with C code look
/// for the name `cc`.
fn check_c_compiler() {
    if find_program("cc").is_none() {
        say("  no program `cc` found: if a build fails, install a C compiler (Debian: gcc libc6-dev)");
    }
}

fn ensure_ip(packages: &mut Packages) -> Result<()> {
    if find_program("ip").is_some() {
        return Ok(());
    }
    let why = "network namespaces for the demo and the tests";
    match packages.install(&["iproute2"], why) {
        // Without root no namespace can be made either: the tests that need one will say so.
        Err(error) if !is_root() => say(&format!("  {error:#}")),
        result => result?,
    }
    Ok(())
}

/// What the tests need beside the build; some of them fail without it, and say so.
pub fn prepare_tests() {
    if find_program("tshark").is_some() {
        return;
    }
    let why = "a reader of captures that is not weir's own, for the tests";
    if let Err(error) = Packages::default().install(&["tshark"], why) {
        say(&format!("  {error:#}"));
    }
}

/// The compiler to use, and all that are there.
fn ensure_compiler(workspace: &Workspace, packages: &mut Packages) -> Result<(Compiler, Vec<Compiler>)> {
    let mut facts = Facts {
        oldest: oldest_compiler(),
        compilers: survey::compilers(workspace),
        source_refused: Vec::new(),
        packages_possible: Packages::possible(),
    };
    let mut told = Vec::new();
    loop {
        let Choice { step, passed_over } = toolchain::choose(&facts);
        for reason in &passed_over {
            if !told.contains(reason) {
                say(&format!("  {reason}: passed over"));
                told.push(reason.clone());
            }
        }
        match step {
            Step::Use(compiler) => return Ok((compiler, facts.compilers)),
            Step::AddSource(name) => {
                if let Err(error) = add_source(&name) {
                    // There are other ways: the reason will do.
                    say(&format!("  not possible: {}", last_line(&error.to_string())));
                }
                // Also after a success, or a source in an unexpected place would be added for ever.
                facts.source_refused.push(name);
            }
            Step::InstallPackages => {
                facts.packages_possible = false;
                let why = "a Rust compiler with library source, for the BPF program";
                if let Err(error) = packages.install(&DEBIAN_PACKAGES, why) {
                    say(&format!("  not possible: {}", last_line(&error.to_string())));
                }
            }
            Step::GiveUp => bail!(toolchain::nothing_left(&passed_over)),
        }
        facts.compilers = survey::compilers(workspace);
    }
}

fn add_source(toolchain: &str) -> Result<()> {
    let mut command = Command::new("rustup");
    command.args(["component", "add", "rust-src", "--toolchain", toolchain]);
    // A backtrace of rustup helps nobody here.
    command.env_remove("RUST_BACKTRACE");
    run_quietly(
        &format!("adding rust-src to {toolchain} (library source, for the BPF program)"),
        &mut command,
    )?;
    Ok(())
}

/// The workspace's `rust-version`: cargo refuses to build it with an older compiler.
fn oldest_compiler() -> Version {
    Version::parse(env!("CARGO_PKG_RUST_VERSION"))
        .expect("Cargo.toml states a rust-version, checked by a test")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_workspace_states_its_oldest_compiler() {
        assert!(super::oldest_compiler().major >= 1);
    }
}
