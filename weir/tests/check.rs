//! `weir check` as a person or a script meets it: what it prints where, and its exit code.

use std::path::Path;
use std::process::{Command, Output};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/weir.toml");

fn weir(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments).env_remove("RUST_LOG").output().unwrap()
}

fn check(file: &Path) -> (Option<i32>, String, String) {
    let output = weir(&["check", file.to_str().unwrap()]);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_sound_file_is_summed_up_on_standard_output() {
    let (code, out, err) = check(Path::new(EXAMPLE));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.lines().next().unwrap().ends_with("weir.toml: sound"), "{out}");
    assert!(out.contains(
        "\npolicy 1: above 3 accesses in 1m, throttle to 5 in 1m (network, counts packet+trigger)\n"
    ));
}

#[test]
fn a_faulty_file_has_each_fault_on_a_line_of_standard_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.toml");
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    std::fs::write(
        &file,
        text.replacen("inactivity = \"10s\"", "inactivity = \"10\"", 1).replace("xdp_mode", "mode"),
    )
    .unwrap();
    let (code, out, err) = check(&file);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let lines: Vec<_> = err.lines().collect();
    assert_eq!(lines.len(), 3, "{err}");
    assert!(lines[0].contains(": node.mode: this key is unknown; "), "{err}");
    assert!(lines[1].contains(": node.inactivity: \"10\" is no duration"), "{err}");
    assert_eq!(lines[2], format!("{}: 2 faults", file.display()));
}

#[test]
fn a_file_that_cannot_be_read_has_its_own_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let (code, out, err) = check(directory.path());
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains(": cannot be read ("), "{err}");
}

#[test]
fn a_log_filter_that_cannot_be_understood_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["check", EXAMPLE])
        .env("RUST_LOG", "weir=loud")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("RUST_LOG: "));
}
