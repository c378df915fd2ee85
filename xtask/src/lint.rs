//! `cargo xtask lint`: all that is checked without running anything. Every check runs, also after one has
//! failed, so that one run tells all.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{Workspace, cannot_start, run_openly, say};
use crate::{deny, ebpf, setup};

/// A check: an error says what it found, or why it could not look.
type Check = fn(&Workspace) -> Result<()>;

/// Runs the command.
///
/// # Errors
/// If any check failed; the message names them.
pub fn run(workspace: &Workspace) -> Result<()> {
    let checks: [(&str, Check); 6] = [
        ("format", format),
        ("clippy", clippy),
        ("BPF program", bpf_warnings),
        ("documentation", documentation),
        ("dependencies", dependencies),
        ("blobs", blobs),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        if let Err(error) = check(workspace) {
            say(&format!("  {error:#}"));
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("lint: {} of {} checks failed: {}", failed.len(), checks.len(), failed.join(", "));
    }
    println!("lint: {} checks passed", checks.len());
    Ok(())
}

fn format(workspace: &Workspace) -> Result<()> {
    run_openly("checking the format (cargo fmt --all)", workspace.cargo().args(["fmt", "--all", "--check"]))
}

fn clippy(workspace: &Workspace) -> Result<()> {
    run_openly("clippy", workspace.cargo().args(["clippy", "--all-targets", "--", "-D", "warnings"]))
}

/// Clippy cannot see the BPF program, which compiles for its own target: the compiler's warnings have to do.
fn bpf_warnings(workspace: &Workspace) -> Result<()> {
    let warnings = ebpf::build(workspace, &setup::prepare(workspace)?)?;
    if !warnings.is_empty() {
        bail!("the BPF program compiles with warnings");
    }
    Ok(())
}

fn documentation(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo();
    run_openly("rustdoc", command.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn dependencies(workspace: &Workspace) -> Result<()> {
    let mut command = deny::command(workspace)?;
    command.args(["--offline", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]);
    run_openly("licences, sources and bans of dependencies (cargo deny)", &mut command)
}

/// Everything in git is text that can be read and reviewed.
fn blobs(workspace: &Workspace) -> Result<()> {
    say("→ looking for blobs in git");
    let mut command = Command::new("git");
    command.args(["ls-files", "-z"]).current_dir(workspace.root());
    let output = command.output().with_context(|| cannot_start(&command))?;
    if !output.status.success() {
        bail!("git cannot list its files: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let names = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
    let found = blobs_among(workspace.root(), names.split_terminator('\0'))?;
    if !found.is_empty() {
        bail!("files in git that are not text: {}", found.join(", "));
    }
    Ok(())
}

fn blobs_among<'a>(root: &Path, names: impl Iterator<Item = &'a str>) -> Result<Vec<&'a str>> {
    let mut found = Vec::new();
    for name in names {
        let path = root.join(name);
        // A deleted file that git still lists, or a link, has no content of its own.
        if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        if !is_text(&fs::read(&path).with_context(|| format!("cannot read {name}"))?) {
            found.push(name);
        }
    }
    Ok(found)
}

/// UTF-8 without a NUL, which no text contains and most binary formats do.
fn is_text(content: &[u8]) -> bool {
    std::str::from_utf8(content).is_ok() && !content.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::is_text;

    #[test]
    fn text_is_utf8_without_nul() {
        assert!(is_text("→ Größe\n".as_bytes()));
        assert!(is_text(b""));
        assert!(!is_text(b"\x7fELF\x02\x01\x01\x00\x00"));
        assert!(!is_text(b"\xff\xfe"));
    }
}
