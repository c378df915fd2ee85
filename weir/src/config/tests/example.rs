//! The commented example is the specification: it is sound, and it shows every key there is.

use std::collections::BTreeSet;

use super::super::document::Document;
use super::super::summary::Summary;
use super::super::{Configuration, LoadError, read_sections};
use super::*;

pub const EXAMPLE: &str = include_str!("../../../../deploy/examples/weir.toml");

pub fn read_example() -> Configuration {
    read(EXAMPLE)
        .unwrap_or_else(|faults| panic!("{}", LoadError::Faulty { file: "weir.toml".into(), faults }))
}

#[test]
fn the_example_is_sound() {
    let example = read_example();
    assert!(example.control.is_some() && example.node.is_some());
    assert_eq!((example.bindings.len(), example.subscribers.len(), example.policies.len()), (1, 1, 4));
}

#[test]
fn every_key_that_can_be_written_stands_in_the_example() {
    let document = Document::parse(EXAMPLE);
    read_sections(&document).unwrap();
    let mut written = BTreeSet::new();
    collect_keys("", &toml::Value::Table(EXAMPLE.parse().unwrap()), &mut written);
    assert_eq!(document.known_keys(), written, "known to the parser, and written in the example");
}

/// The dotted keys of a value; the tables of a list share them.
fn collect_keys(key: &str, value: &toml::Value, keys: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let below = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                collect_keys(&below, value, keys);
                keys.insert(below);
            }
        }
        toml::Value::Array(items) => items.iter().for_each(|item| collect_keys(key, item, keys)),
        _ => {}
    }
}

#[test]
fn the_example_in_words_is_what_its_comments_say() {
    let words = Summary(&read_example()).to_string();
    for line in [
        "entries: 197632 of 192 bytes, 37 MiB in all: 65536 for 10.45.0.0/16, 65536 for 2001:db8:45::/48 (one \
         for each /64), 1024 for devices outside the pools, and 65536 for strangers",
        "strangers: 5 accesses in 1m each, 65536 at once, 1000 new ones a second on each interface; one without a \
         place is dropped",
        "alarm: more than 3 requests in 1m, or esp, or ah; of devices without a cached policy, with the cache check",
        "refused packets are dropped in silence",
        "the program goes on without its agent, pinned in /sys/fs/bpf/weir/pgw-1; the last-known-good cache is in \
         /var/lib/weir/pgw-1.journal",
        "policy 1: above 3 accesses in 1m, throttle to 5 in 1m (network, counts packet+trigger)",
        "policy 2: upon esp, reject (node)",
        "policy 3: above 125000 bytes/s or 100 packets/s both ways, in bursts of 100ms, reject (each node)",
        "policy 4: above 10 requests in 10m, reject, in shadow (node, counts every kind)",
    ] {
        assert!(words.lines().any(|found| found == line), "{line:?} is not in\n{words}");
    }
}

#[test]
fn no_summary_and_no_debug_output_shows_a_device_s_identifier() {
    let example = read_example();
    assert!(!Summary(&example).to_string().contains("001010000000001"));
    assert!(!format!("{example:?}").contains("001010000000001"));
}

#[test]
fn what_may_surprise_is_noted() {
    let text = EXAMPLE.replace("query_timeout = \"2s\"", "query_timeout = \"6s\"");
    let text = text.replacen("stream_socket = \"/run/weir/", "stream_socket = \"/run/other/", 1);
    let words = Summary(&read(&text).unwrap()).to_string();
    let notes: Vec<_> = words.lines().filter(|line| line.starts_with("note: ")).collect();
    assert_eq!(notes.len(), 2, "{words}");
}
