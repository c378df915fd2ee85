//! `cargo xtask test`: every test, those that need root and the BPF program included, and one closing line
//! that says how many ran. A test that lacks rights fails, unless `--allow-skip` was given.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::process::{Workspace, cannot_start, run_openly, say, spoken};
use crate::survey::is_root;
use crate::{ebpf, setup};

/// What the command line can say.
#[derive(clap::Args)]
pub struct Options {
    /// Tests that lack rights or the BPF program print SKIPPED and pass
    #[arg(long)]
    allow_skip: bool,
    /// Arguments for `cargo test`; a second `--` starts those for the test binaries
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// Runs the command.
///
/// # Errors
/// If the machine cannot be prepared, something does not compile, or a test fails.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let started = Instant::now();
    let built = setup::prepare(workspace).and_then(|tools| ebpf::build(workspace, &tools));
    match built {
        Err(error) if options.allow_skip => say(&format!("BPF program NOT BUILT: {error:#}")),
        result => drop(result?),
    }
    if !options.allow_skip {
        setup::prepare_tests();
    }
    if !is_root() && !options.allow_skip {
        say("  this is not root: tests that need it will fail (--allow-skip skips them)");
    }
    let mut build = workspace.cargo();
    run_openly("building weir, which the end-to-end tests run", build.args(["build", "--package", "weir"]))?;

    let mut tests = test_command(workspace, options)?;
    let (tally, passed) = run_counting(&mut tests)?;
    println!("test: {} in {}", tally.summary(), spoken(started.elapsed()));
    if !passed {
        bail!("cargo test failed: see above");
    }
    Ok(())
}

fn test_command(workspace: &Workspace, options: &Options) -> Result<Command> {
    let mut command = workspace.cargo();
    command.env("WEIR_BIN", workspace.binary("weir")?).args(["test", "--no-fail-fast"]);
    let split = options.arguments.iter().position(|argument| argument == "--");
    let (for_cargo, for_binaries) = match split {
        Some(at) => (&options.arguments[..at], &options.arguments[at + 1..]),
        None => (&options.arguments[..], &[][..]),
    };
    command.args(for_cargo).args(["--", "--include-ignored"]);
    if options.allow_skip {
        // What a passing test prints is shown only so, and a skipped test must be seen.
        command.env("WEIR_ALLOW_SKIP", "1").arg("--show-output");
    }
    if std::io::stdout().is_terminal() {
        command.arg("--color=always");
    }
    command.args(for_binaries);
    Ok(command)
}

/// Runs the tests, passes their output on line by line and counts. The second value: whether all passed.
fn run_counting(command: &mut Command) -> Result<(Tally, bool)> {
    say("→ running the tests");
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| cannot_start(command))?;
    let mut output = BufReader::new(child.stdout.take().context("cargo's output is not connected")?);
    let mut tally = Tally::default();
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        std::io::stdout().write_all(&line)?;
        tally.count(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok((tally, child.wait()?.success()))
}

/// What the test binaries reported, added up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    skipped: u64,
}

impl Tally {
    /// Takes in one line of a test binary's output; most lines say nothing that counts.
    fn count(&mut self, line: &str) {
        if line.starts_with("SKIPPED") {
            self.skipped += 1;
        }
        let Some((_, results)) = line.split_once("test result:") else { return };
        let words: Vec<&str> = results.split_whitespace().collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u64>() else { continue };
            match pair[1].trim_end_matches(';') {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    /// The counts for people. A skipped test has passed in the eyes of its binary; here it is counted apart.
    fn summary(&self) -> String {
        let Self { passed, failed, ignored, skipped } = self;
        format!(
            "{} passed, {failed} failed, {ignored} ignored, {skipped} skipped",
            passed.saturating_sub(*skipped)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.count(line));
        tally
    }

    #[test]
    fn the_results_of_all_binaries_are_added_up() {
        let sum = tally(&[
            "running 3 tests\n",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s\n",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.50s\n",
        ]);
        assert_eq!(sum, Tally { passed: 7, failed: 2, ignored: 1, skipped: 0 });
    }

    #[test]
    fn colours_do_not_hide_a_result() {
        let sum = tally(&[
            "test result: \u{1b}[32mok\u{1b}(B\u{1b}[m. 5 passed; 0 failed; 0 ignored; 0 measured\n",
        ]);
        assert_eq!(sum.passed, 5);
    }

    #[test]
    fn a_skipped_test_is_not_counted_as_passed() {
        let sum = tally(&["SKIPPED: no CAP_BPF\n", "test result: ok. 2 passed; 0 failed; 0 ignored\n"]);
        assert_eq!(sum.summary(), "1 passed, 0 failed, 0 ignored, 1 skipped");
    }
}
