//! `weir doctor` as a person or a script meets it: what it prints, its exit codes, and what it sees of real
//! interfaces.
//!
//! What it must not do: test the rules again, or expect anything of the machine that it happens to run on.

mod interfaces;
mod stranger;

use std::process::{Command, Output};

use serde_json::Value;

/// What the doctor said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The findings of `--json`.
    fn findings(&self) -> Vec<Value> {
        let said: Value =
            serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out));
        said.as_array().expect("an array").clone()
    }

    /// Severity and words of the finding of a check about an interface or directory.
    fn finding(&self, check: &str, about: &str) -> (String, String) {
        let findings = self.findings();
        let found = findings.iter().find(|finding| finding["check"] == check && finding["about"] == about);
        let found = found.unwrap_or_else(|| panic!("no {check} {about} in {}", self.out));
        let word = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        (word("severity"), word("finding"))
    }
}

fn doctor(arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    Said::of(command.arg("doctor").args(arguments).env_remove("RUST_LOG").output().expect("weir runs"))
}

/// A configuration for control that keeps everything in `place`.
fn for_control(place: &str) -> String {
    format!(
        "[control]\nm2m_device_types = [\"meter\"]\nstore = \"{place}/control.redb\"\n\
         stream_socket = \"{place}/run/stream.sock\"\nadmin_socket = \"{place}/run/admin.sock\"\n"
    )
}

#[test]
fn a_machine_fit_for_control_gives_zero() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("weir.toml");
    std::fs::write(&file, for_control(directory.path().to_str().expect("text"))).expect("a file");
    let said = doctor(&[file.to_str().expect("text")]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{}", said.out);
    assert!(said.out.lines().last().expect("lines").starts_with("0 problems, "), "{}", said.out);
}

#[test]
fn a_missing_directory_for_the_store_is_a_problem_and_gives_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, absent) = (directory.path().join("weir.toml"), directory.path().join("absent"));
    std::fs::write(&file, for_control(absent.to_str().expect("text"))).expect("a file");
    let said = doctor(&["--json", file.to_str().expect("text")]);
    assert_eq!((said.code, said.err.as_str()), (Some(1), ""));
    assert_eq!(said.finding("store", absent.to_str().expect("text")).0, "problem");
    assert!(!absent.exists(), "the doctor makes nothing");
}

#[test]
fn an_absent_interface_is_a_problem_and_gives_one() {
    let said = doctor(&["--interface", "weir-absent"]);
    assert_eq!((said.code, said.err.as_str()), (Some(1), ""));
    let line = said.out.lines().find(|line| line.starts_with("PROBLEM") && line.contains("weir-absent"));
    assert!(line.is_some_and(|line| line.contains("there is no such interface")), "{}", said.out);
}

#[test]
fn every_finding_above_ok_says_what_to_do() {
    for finding in doctor(&["--json", "--interface", "lo", "--interface", "weir-absent"]).findings() {
        assert_eq!(finding["severity"] == "ok", finding["advice"].is_null(), "{finding}");
    }
}

#[test]
fn a_faulty_file_gives_one_and_an_unreadable_one_two() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("weir.toml");
    std::fs::write(&file, "[node]\nname = 7\n").expect("a file");
    let faulty = doctor(&[file.to_str().expect("text")]);
    assert_eq!((faulty.code, faulty.out.as_str()), (Some(1), ""));
    assert!(faulty.err.contains("node.name: "), "{}", faulty.err);
    let unreadable = doctor(&[directory.path().to_str().expect("text")]);
    assert_eq!((unreadable.code, unreadable.out.as_str()), (Some(2), ""));
    assert!(unreadable.err.contains("cannot be read"), "{}", unreadable.err);
}
