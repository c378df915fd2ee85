//! Text that is not TOML, keys nobody knows, values of the wrong type.

use super::super::{LoadError, load, read_bytes};
use super::*;

#[test]
fn broken_syntax_is_named_with_its_line() {
    let faults = faults_of("[node]\nname = \"a\nkinds = []\n");
    assert!(faults[0].starts_with("2:10: syntax: "), "{faults:?}");
    assert!(faults[0].ends_with("; this is not TOML: mend the syntax"), "{faults:?}");
}

#[test]
fn a_key_written_twice_is_named() {
    refused(
        "name = \"pgw-1\"",
        "name = \"pgw-1\"\n»name = \"pgw-2\"",
        "name",
        "duplicate key; keep one of them",
    );
}

#[test]
fn text_that_is_not_utf8_is_named_with_its_place() {
    let faults = read_bytes(b"[node]\nname = \"\xff\"\n").unwrap_err();
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["2:9: syntax: this byte is not UTF-8 text; save the file as UTF-8"]);
}

#[test]
fn an_unknown_key_is_named_with_those_that_are_known() {
    refused(
        "limit = 3\nwindow = \"1m\"\n",
        "limit = 3\nwindow = \"1m\"\n»windov = \"1m\"\n",
        "node.alarm.windov",
        "this key is unknown; remove it or choose one of: limit, order, protocols, when, window",
    );
    refused(
        "limit = 5, window",
        "»burst = 3, limit = 5, window",
        "policy.action.throttle.burst",
        "this key is unknown; remove it or choose one of: limit, window",
    );
    refused(
        "[control]",
        "»nodes = []\n[control]",
        "nodes",
        "this key is unknown; remove it or choose one of: binding, control, node, policy, subscriber",
    );
}

#[test]
fn every_unknown_key_of_the_file_is_named() {
    let text = SOUND.replace("# more of the node", "colour = 1").replace("# the end", "shape = 2");
    let faults = faults_of(&text);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains(": node.colour: ") && faults[1].contains(": policy.shape: "));
}

#[test]
fn a_missing_required_key_is_named_at_its_table() {
    refused(
        "[node]\nname = \"pgw-1\"",
        "»[node]",
        "node.name",
        "this key is required and missing; name the node, e.g. name = \"pgw-1\"",
    );
    refused(
        "# the end",
        "»[[policy]]\nforbidden_protocols = [\"ah\"]\naction = \"none\"",
        "policy.id",
        "this key is required and missing; number the policy, from 1",
    );
}

#[test]
fn a_value_of_the_wrong_type_is_named() {
    refused(
        "name = \"pgw-1\"",
        "name = »1",
        "node.name",
        "this is an integer; write a string in quotation marks",
    );
    refused(
        "unpooled_devices = 1",
        "unpooled_devices = »\"1\"",
        "node.unpooled_devices",
        "this is a string; write a whole number",
    );
    refused(
        "access_interfaces = [\"access0\"]",
        "access_interfaces = »\"access0\"",
        "node.access_interfaces",
        "this is a string; write a list in square brackets",
    );
    refused(
        "access_limit = { limit = 3, window = \"1m\" }",
        "access_limit = »3",
        "policy.access_limit",
        "this is an integer; write a table",
    );
}

#[test]
fn one_table_where_a_list_is_expected_is_named() {
    refused(
        "[[binding]]",
        "»[binding]",
        "binding",
        "[binding] is one table where a list of them is expected; write [[binding]], once for each",
    );
}

#[test]
fn a_number_out_of_range_is_named() {
    refused(
        "unpooled_devices = 1",
        "unpooled_devices = »-1",
        "node.unpooled_devices",
        "this number is out of range; write one from 0 to 4294967295",
    );
}

#[test]
fn a_file_without_control_and_node_has_nothing_to_run() {
    let expected = "1:1: node: there is nothing to run; write [control], [node] or both";
    assert_eq!(faults_of(""), [expected]);
    assert_eq!(
        faults_of("[[policy]]\nid = 1\nforbidden_protocols = [\"ah\"]\naction = \"none\""),
        [expected]
    );
}

#[test]
fn a_file_may_serve_one_role_only() {
    let control = read("[control]\nm2m_device_types = [\"meter\"]").unwrap();
    assert!(control.control.is_some() && control.node.is_none());
    let node = "[node]\nname = \"a\"\naccess_interfaces = [\"a\"]\nnetwork_interfaces = [\"b\"]\npools = [\"10.0.0.0/8\"]";
    let node = read(&node.replace("/8", "/9")).unwrap();
    assert!(node.control.is_none() && node.node.is_some());
}

#[test]
fn a_file_that_is_not_there_is_unreadable_not_faulty() {
    let directory = tempfile::tempdir().unwrap();
    let error = load(&directory.path().join("weir.toml")).unwrap_err();
    assert!(matches!(error, LoadError::Unreadable { .. }));
    assert!(error.to_string().contains("weir.toml: cannot be read ("), "{error}");
}

#[test]
fn every_line_of_a_faulty_files_error_begins_with_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.toml");
    std::fs::write(&file, SOUND.replace("10s", "1").replace("pgw-1", "pgw 1")).unwrap();
    let error = load(&file).unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines.len(), 2, "{error}");
    assert!(lines.iter().all(|line| line.starts_with(&format!("{}:", file.display()))), "{error}");
}
