//! `unknown_devices` and `[node.strangers]`.

use std::time::Duration;

use super::super::UnknownDevices;
use super::*;

const LIMIT: &str = "unknown_devices = \"limit\"\n#";

/// The section that a change of the sound file gives.
fn section(to: &str) -> super::super::strangers::StrangersSection {
    let UnknownDevices::Limit(section) = accepted("# more", to).node.unwrap().unknown_devices else {
        panic!("strangers are not limited")
    };
    section
}

/// Expects one fault in a section with this content, at the mark.
#[track_caller]
fn refused_in_section(content: &str, key: &str, reason: &str) {
    let to = format!("unknown_devices = \"limit\"\n[node.strangers]\n{content}\n#");
    refused("# more", &to, &format!("node.strangers.{key}"), reason);
}

#[test]
fn strangers_pass_or_are_dropped_or_limited_as_is_written() {
    let read = |to| accepted("# more", to).node.unwrap().unknown_devices;
    assert_eq!(read("#"), UnknownDevices::Pass, "unless something is written");
    assert_eq!(read("unknown_devices = \"pass\"\n#"), UnknownDevices::Pass);
    assert_eq!(read("unknown_devices = \"drop\"\n#"), UnknownDevices::Drop);
    assert!(matches!(read(LIMIT), UnknownDevices::Limit(_)));
}

#[test]
fn strangers_are_limited_without_a_section_as_the_example_shows() {
    let UnknownDevices::Limit(shown) = example::read_example().node.unwrap().unknown_devices else {
        panic!("the example shows a limit")
    };
    assert_eq!(section(LIMIT), shown);
}

#[test]
fn what_is_written_of_strangers_is_kept() {
    let written = section(
        "unknown_devices = \"limit\"\n[node.strangers]\nplaces = 1024\nlimit = 100\nwindow = \"10m\"\n\
         inactivity = \"1s\"\nnew_per_second = 50\nwhen_full = \"pass\"\n#",
    );
    assert_eq!((written.places, written.limit.permitted), (1024, 100));
    assert_eq!(
        (written.limit.window, written.inactivity),
        (Duration::from_secs(600), Duration::from_secs(1))
    );
    assert_eq!((written.new_per_second, written.pass_when_full), (50, true));
}

#[test]
fn the_nodes_inactivity_time_is_the_strangers_too() {
    let text = changed("inactivity = \"10s\"", "inactivity = \"3s\"\nunknown_devices = \"limit\"");
    let UnknownDevices::Limit(section) = read(&text).unwrap().node.unwrap().unknown_devices else {
        panic!("strangers are not limited")
    };
    assert_eq!(section.inactivity, Duration::from_secs(3));
}

#[test]
fn a_section_that_would_mean_nothing_is_refused() {
    refused(
        "# more",
        "unknown_devices = \"drop\"\n»[node.strangers]\n#",
        "node.strangers",
        "this section is for unknown_devices = \"limit\", which is not written; write that in [node], or remove \
         the section",
    );
}

#[test]
fn places_that_are_no_power_of_two_are_refused_with_the_nearest() {
    refused_in_section("places = »60000", "places", "60000 is no power of two; write 65536");
    refused_in_section("places = »0", "places", "0 is no power of two; write 1");
}

#[test]
fn more_places_than_strangers_can_have_are_refused() {
    let reason = "2097152 are more places than the 1048576 that strangers can have; write 1048576";
    refused_in_section("places = »2097152", "places", reason);
    section("unknown_devices = \"limit\"\n[node.strangers]\nplaces = 1048576\n#");
}

#[test]
fn places_without_room_behind_the_devices_are_refused() {
    let text = changed("\"10.45.0.0/16\", \"2001:db8:45::/48\"", "\"10.0.0.0/8\"");
    let text = text.replace("unpooled_devices = 1", "unpooled_devices = 0\nunknown_devices = \"limit\"");
    let text = text.replace(", \"2001:db8:45:7::/64\"", "");
    assert_eq!(
        faults_of(&text),
        [
            "7:1: node.strangers.places: with these places the node needs 16842752 entries; 16777216 is the most; \
          write fewer places, or longer prefixes in node.pools"
        ]
    );
}

#[test]
fn a_limit_that_no_stranger_could_keep_is_refused() {
    let reason = "no stranger would ever pass; write unknown_devices = \"drop\", or at least 1 here";
    refused_in_section("limit = »0", "limit", reason);
}

#[test]
fn a_limit_that_an_entry_cannot_count_is_refused() {
    let reason = "permits 1024 accesses in a window; an entry can count at most 1023";
    refused_in_section("inactivity = \"1s\"\nlimit = »1024\nwindow = \"24h\"", "limit", reason);
}

#[test]
fn a_limit_that_no_stranger_can_reach_is_refused() {
    refused_in_section(
        "limit = »6",
        "limit",
        "more than 6 accesses in 1m cannot happen: each lasts at least 10s (node.inactivity), and 6 × 10s is \
         not below 1m; lower the limit or node.inactivity, or lengthen the window",
    );
    section("unknown_devices = \"limit\"\n[node.strangers]\nlimit = 6\ninactivity = \"1s\"\n#");
}

#[test]
fn a_window_longer_than_a_day_is_refused() {
    refused_in_section("window = »\"25h\"", "window", "is 25h; a window lasts from 1ms to 24h");
}

#[test]
fn an_inactivity_beyond_the_longest_session_is_refused() {
    let reason = "90s is too long; write at most \"1m\"";
    let to = "max_session_age = \"1m\"\nunknown_devices = \"limit\"\n[node.strangers]\nlimit = 1\nwindow = \"1h\"\n\
              inactivity = »\"90s\"\n#";
    refused("# more", to, "node.strangers.inactivity", reason);
    refused_in_section("inactivity = »\"99ms\"", "inactivity", "99ms is too short; write at least \"100ms\"");
}

#[test]
fn a_rate_that_cannot_be_kept_to_is_refused() {
    for rate in ["0", "1000001"] {
        let reason = format!("{rate} new strangers a second cannot be kept to; write 1 to 1000000");
        refused_in_section(&format!("new_per_second = »{rate}"), "new_per_second", &reason);
    }
}

#[test]
fn an_unknown_word_for_a_full_table_is_refused() {
    let reason = "\"evict\" is not known here; write one of \"drop\", \"pass\"";
    refused_in_section("when_full = »\"evict\"", "when_full", reason);
}
