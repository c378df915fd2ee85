//! bpf-linker: finding one that fits, or building one. Its version is pinned because from 0.11 on it needs
//! a system LLVM instead of the compiler's own. Read first: `toolchain.rs`, whose limit on LLVM follows from it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{Workspace, run_quietly, say};
use crate::survey::{find_program, program_in};
use crate::version::Version;

/// The version that is installed where none fits.
const PINNED: Version = Version::new(0, 10, 3);

/// The first version that no longer fits.
const TOO_NEW: Version = Version::new(0, 11, 0);

/// The program's name.
const NAME: &str = "bpf-linker";

/// Makes sure of a bpf-linker that fits and returns where it lies.
///
/// # Errors
/// If it has to be built and cannot be.
pub fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    let present = places(workspace);
    for path in &present {
        match version_of(path) {
            Some(version) if fits(version) => return Ok(path.clone()),
            Some(version) => {
                say(&format!(
                    "  {} is {version}; weir needs {PINNED} or later, below {TOO_NEW}",
                    path.display()
                ));
            }
            None => say(&format!("  {} does not tell its version: passed over", path.display())),
        }
    }
    install(workspace, present.is_empty())
}

fn fits(version: Version) -> bool {
    version >= PINNED && version < TOO_NEW
}

fn version_of(path: &PathBuf) -> Option<Version> {
    let output = Command::new(path).arg("--version").output().ok()?;
    Version::in_output(&String::from_utf8_lossy(&output.stdout))
}

/// Where bpf-linker lies now: our own first, then the search path's, then cargo's (it need not be in PATH).
fn places(workspace: &Workspace) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = [
        program_in(NAME, &[own_root(workspace).join("bin")]),
        find_program(NAME),
        cargo_bin().and_then(|dir| program_in(NAME, &[dir])),
    ]
    .into_iter()
    .flatten()
    .collect();
    places.dedup();
    places
}

/// Builds the pinned version. It goes to cargo's usual place; beside one that a user keeps there for
/// something else it goes into the workspace, so as not to replace theirs.
fn install(workspace: &Workspace, usual_place: bool) -> Result<PathBuf> {
    let mut command = workspace.neutral_cargo();
    command.args(["install", NAME, "--version", &PINNED.to_string(), "--locked"]);
    let bin = if usual_place {
        cargo_bin()
            .context("neither CARGO_HOME nor HOME is set: set one to where cargo may install programs")?
    } else {
        let root = own_root(workspace);
        command.arg("--root").arg(&root);
        root.join("bin")
    };
    run_quietly(&format!("installing {NAME} {PINNED} (links BPF programs; about a minute)"), &mut command)?;
    let places = [bin];
    program_in(NAME, &places)
        .with_context(|| format!("cargo install put no {NAME} into {}", places[0].display()))
}

fn own_root(workspace: &Workspace) -> PathBuf {
    workspace.root().join("target/tools")
}

fn cargo_bin() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
        .map(|home| home.join("bin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linker_fits_from_the_pinned_version_up_to_the_next_minor_one() {
        assert!(fits(Version::new(0, 10, 3)));
        assert!(fits(Version::new(0, 10, 9)));
        assert!(!fits(Version::new(0, 10, 2)));
        assert!(!fits(Version::new(0, 11, 0)));
        assert!(!fits(Version::new(1, 0, 0)));
    }
}
