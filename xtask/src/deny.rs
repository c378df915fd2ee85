//! cargo-deny: finding or installing it, and `cargo xtask audit`, which checks the advisories. What is
//! allowed is in `deny.toml`; the checks that need no network are part of `lint.rs`.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{Workspace, last_line, run_openly, run_quietly};
use crate::version::Version;

/// The version that is installed where none is; it builds on rustc 1.95.
const PINNED: &str = "0.20.2";

/// The oldest version that reads `deny.toml` as it is written.
const OLDEST: Version = Version::new(0, 18, 0);

/// Makes sure of a cargo-deny and returns the beginning of a command line for it.
///
/// # Errors
/// If it has to be installed and cannot be.
pub fn command(workspace: &Workspace) -> Result<Command> {
    let mut question = workspace.cargo();
    let present = question
        .args(["deny", "--version"])
        .output()
        .ok()
        .and_then(|output| Version::in_output(&String::from_utf8_lossy(&output.stdout)));
    if present.is_none_or(|version| version < OLDEST) {
        let mut install = workspace.neutral_cargo();
        install.args(["install", "cargo-deny", "--version", PINNED, "--locked"]);
        run_quietly(
            &format!("installing cargo-deny {PINNED} (checks licences and sources; about four minutes)"),
            &mut install,
        )?;
    }
    let mut command = workspace.cargo();
    command.arg("deny");
    Ok(command)
}

/// Runs `cargo xtask audit`: looks up known vulnerabilities, and says so where they cannot be looked up.
///
/// # Errors
/// If cargo-deny cannot be installed, or an advisory concerns a dependency.
pub fn audit(workspace: &Workspace) -> Result<()> {
    let mut fetch = command(workspace)?;
    let fetched = run_quietly("fetching the advisory database", fetch.args(["fetch", "db"]));
    if let Err(error) = fetched {
        println!(
            "audit: NOT CHECKED, the advisory database cannot be had: {}",
            last_line(&error.to_string())
        );
        return Ok(());
    }
    let mut check = command(workspace)?;
    if run_openly("checking advisories", check.args(["--offline", "check", "advisories"])).is_err() {
        bail!("an advisory concerns a dependency: see above");
    }
    println!("audit: no advisory concerns a dependency");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_version_reads_the_configuration() {
        assert!(Version::parse(PINNED).is_some_and(|version| version >= OLDEST));
    }
}
