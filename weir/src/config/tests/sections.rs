//! `[control]`, `[node]` and `[node.alarm]`.

use std::time::Duration;

use super::super::UnknownDevices;
use super::*;

#[test]
fn what_is_left_out_has_the_example_s_values() {
    let text = "[control]\nm2m_device_types = [\"meter\"]\n\
                [node]\nname = \"a\"\naccess_interfaces = [\"a\"]\nnetwork_interfaces = [\"b\"]\npools = [\"10.0.0.0/9\"]";
    let shortest = read(text).unwrap();
    let example = example::read_example();
    let (control, node) = (shortest.control.unwrap(), shortest.node.unwrap());
    let mut expected = example.control.unwrap();
    expected.m2m_device_types = control.m2m_device_types.clone();
    assert_eq!(control, expected);
    let mut expected = example.node.unwrap();
    expected.name = node.name.clone();
    expected.access_interfaces = node.access_interfaces.clone();
    expected.network_interfaces = node.network_interfaces.clone();
    expected.pools = node.pools.clone();
    expected.application_servers = Vec::new();
    expected.alarm = None;
    expected.unknown_devices = UnknownDevices::Pass;
    assert_eq!(node, expected);
}

#[test]
fn metrics_that_others_could_reach_are_refused() {
    refused(
        "metrics = \"127.0.0.1:9180\"",
        "metrics = »\"0.0.0.0:9180\"",
        "control.metrics",
        "0.0.0.0 can be reached from outside this machine; write a loopback address, 127.0.0.1 or [::1]; \
         let a collector run here",
    );
    accepted("metrics = \"127.0.0.1:9181\"", "metrics = \"[::1]:9181\"");
}

#[test]
fn metrics_without_a_port_are_refused() {
    refused(
        "metrics = \"127.0.0.1:9181\"",
        "metrics = »\"127.0.0.1\"",
        "node.metrics",
        "\"127.0.0.1\" is not an address and a port; write one such as \"127.0.0.1:9180\" or \"[::1]:9180\"",
    );
}

#[test]
fn one_port_for_the_metrics_of_control_and_node_is_refused() {
    refused(
        "metrics = \"127.0.0.1:9181\"",
        "metrics = »\"127.0.0.1:9180\"",
        "node.metrics",
        "127.0.0.1:9180 is also control.metrics; give each its own port",
    );
}

#[test]
fn a_socket_path_longer_than_the_system_takes_is_refused() {
    let path = "s".repeat(108);
    refused(
        "store = \"control.redb\"",
        &format!("admin_socket = »\"{path}\""),
        "control.admin_socket",
        "the path of a Unix socket cannot be 108 bytes long; write at most 107",
    );
}

#[test]
fn one_socket_for_stream_and_admin_is_refused() {
    refused(
        "store = \"control.redb\"",
        "admin_socket = »\"a.sock\"\nstream_socket = \"a.sock\"",
        "control.admin_socket",
        "this is also control.stream_socket; give each its own path",
    );
}

#[test]
fn an_empty_list_of_device_types_is_refused() {
    refused(
        "m2m_device_types = [\"meter\"]",
        "m2m_device_types = »[]",
        "control.m2m_device_types",
        "the list is empty; write at least one device type",
    );
}

#[test]
fn a_duration_without_a_unit_is_refused() {
    refused("\"10s\"", "»10", "node.inactivity", "10 has no unit; write \"10s\" for seconds");
}

#[test]
fn an_inactivity_below_a_tenth_of_a_second_is_refused() {
    refused("\"10s\"", "»\"99ms\"", "node.inactivity", "99ms is too short; write at least \"100ms\"");
    accepted("\"10s\"", "\"100ms\"");
}

#[test]
fn a_retry_interval_of_zero_or_above_a_minute_is_refused() {
    let key = "node.retry_interval";
    refused("# more", "retry_interval = »\"0s\"\n#", key, "0ms is too short; write at least \"1ms\"");
    refused("# more", "retry_interval = »\"61s\"\n#", key, "61s is too long; write at most \"1m\"");
    accepted("# more", "retry_interval = \"1m\"\n#");
}

#[test]
fn a_session_age_below_the_inactivity_time_is_refused() {
    refused(
        "# more",
        "max_session_age = »\"9s\"\n#",
        "node.max_session_age",
        "a session would end before its inactivity time; write at least what node.inactivity is",
    );
}

#[test]
fn an_unknown_word_is_refused_with_the_known_ones() {
    let pass_or_drop = "\"reject\" is not known here; write one of \"pass\", \"drop\"";
    for key in ["unparsable", "unsolicited"] {
        refused("# more", &format!("{key} = »\"reject\"\n#"), &format!("node.{key}"), pass_or_drop);
    }
    refused(
        "# more",
        "unknown_devices = »\"reject\"\n#",
        "node.unknown_devices",
        "\"reject\" is not known here; write one of \"pass\", \"drop\", \"limit\"",
    );
    refused(
        "# more",
        "xdp_mode = »\"offload\"\n#",
        "node.xdp_mode",
        "\"offload\" is not known here; write one of \"native\", \"generic\"",
    );
    refused(
        "# more",
        "on_outage = »\"keep\"\n#",
        "node.on_outage",
        "\"keep\" is not known here; write one of \"deny\", \"allow\"",
    );
}

#[test]
fn an_unknown_kind_of_access_is_refused() {
    refused(
        "kinds = [\"packet\", \"trigger\"]",
        "kinds = [\"packet\", »\"rrc\"]",
        "node.kinds",
        "\"rrc\" is not known here; write one of \"packet\", \"trigger\", \"signalling\"",
    );
}

#[test]
fn an_empty_list_of_interfaces_is_refused() {
    refused(
        "access_interfaces = [\"access0\"]",
        "access_interfaces = »[]",
        "node.access_interfaces",
        "the list is empty; write at least one interface",
    );
}

#[test]
fn an_interface_on_both_sides_is_refused() {
    refused(
        "network_interfaces = [\"network0\"]",
        "network_interfaces = [\"network0\", »\"access0\"]",
        "node.network_interfaces",
        "this is also one of access_interfaces; an interface is on one side of the gateway: remove it from \
         one of the lists",
    );
}

#[test]
fn an_interface_listed_twice_is_refused() {
    refused(
        "access_interfaces = [\"access0\"]",
        "access_interfaces = [\"access0\", »\"access0\"]",
        "node.access_interfaces",
        "this interface is listed twice; remove one",
    );
}

#[test]
fn a_name_that_no_interface_can_have_is_refused() {
    for name in ["", "0123456789abcdef", "a b", "a/b", ".."] {
        refused(
            "access_interfaces = [\"access0\"]",
            &format!("access_interfaces = [»\"{name}\"]"),
            "node.access_interfaces",
            &format!("\"{name}\" cannot be an interface's name; write a name as `ip link` shows it"),
        );
    }
}

#[test]
fn a_name_that_no_node_can_have_is_refused() {
    refused(
        "name = \"pgw-1\"",
        "name = »\"pgw 1\"",
        "node.name",
        "\"pgw 1\" cannot be a node's name; write 1 to 64 letters, digits, \"-\", \"_\" or \".\"",
    );
}

#[test]
fn an_alarm_limit_that_an_entry_cannot_hold_is_refused() {
    refused(
        "[node.alarm]\nlimit = 3",
        "[node.alarm]\nlimit = »1024",
        "node.alarm.limit",
        "permits 1024 accesses in a window; an entry can count at most 1023",
    );
    accepted("[node.alarm]\nlimit = 3\nwindow = \"1m\"", "[node.alarm]\nlimit = 1023\nwindow = \"24h\"");
    accepted("inactivity = \"10s\"", "inactivity = \"4s\"");
}

#[test]
fn an_alarm_limit_that_cannot_be_reached_is_refused() {
    refused(
        "[node.alarm]\nlimit = 3",
        "[node.alarm]\nlimit = »6",
        "node.alarm.limit",
        "more than 6 accesses in 1m cannot happen: each lasts at least 10s (node.inactivity), and 6 × 10s is \
         not below 1m; lower the limit or node.inactivity, or lengthen the window",
    );
    accepted("[node.alarm]\nlimit = 3", "[node.alarm]\nlimit = 5");
}

#[test]
fn an_alarm_window_of_zero_is_refused() {
    refused(
        "limit = 3\nwindow = \"1m\"",
        "limit = 3\nwindow = »\"0s\"",
        "node.alarm.window",
        "is 0ms; a window lasts from 1ms to 24h",
    );
}

#[test]
fn an_alarm_limit_without_a_window_is_refused() {
    refused(
        "[node.alarm]\nlimit = 3\nwindow = \"1m\"",
        "»[node.alarm]\nlimit = 3",
        "node.alarm.window",
        "this key is required and missing; write in how much time, e.g. window = \"1m\"",
    );
}

#[test]
fn an_alarm_may_count_or_watch_protocols_or_both_but_not_neither() {
    let counting = accepted("protocols = [\"esp\"]\n\n[[binding]]", "[[binding]]");
    assert!(counting.node.unwrap().alarm.unwrap().protocols.is_empty());
    let watching = accepted("limit = 3\nwindow = \"1m\"\n", "");
    assert_eq!(watching.node.unwrap().alarm.unwrap().limit, None);
    refused(
        "[node.alarm]\nlimit = 3\nwindow = \"1m\"\nprotocols = [\"esp\"]",
        "»[node.alarm]",
        "node.alarm",
        "this alarm can never be raised; write a limit with its window, protocols, or both; or remove the section",
    );
}

#[test]
fn an_unknown_protocol_is_refused() {
    refused(
        "protocols = [\"esp\"]\n\n[[binding]]",
        "protocols = [\"esp\", »\"ipsec\"]\n\n[[binding]]",
        "node.alarm.protocols",
        "\"ipsec\" is not known here; write one of \"esp\", \"ah\"",
    );
}

#[test]
fn durations_are_kept_as_written() {
    let node = accepted("# more", "alarm_timeout = \"1500ms\"\n#").node.unwrap();
    assert_eq!(node.alarm_timeout, Duration::from_millis(1500));
    assert_eq!(node.inactivity, Duration::from_secs(10));
}

#[test]
fn refused_packets_are_answered_only_if_the_file_says_so() {
    assert_eq!(accepted("# more", "answers_per_second = 7\n#").node.unwrap().answers_per_second, None);
    assert_eq!(accepted("# more", "answers = \"reject\"\n#").node.unwrap().answers_per_second, Some(100));
    let both = "answers = \"reject\"\nanswers_per_second = 10000\n#";
    assert_eq!(accepted("# more", both).node.unwrap().answers_per_second, Some(10_000));
    refused(
        "# more",
        "answers = »\"drop\"\n#",
        "node.answers",
        "\"drop\" is not known here; write one of \"none\", \"reject\"",
    );
    for number in [0, 10_001] {
        refused(
            "# more",
            &format!("answers_per_second = »{number}\n#"),
            "node.answers_per_second",
            &format!(
                "{number} answers in a second cannot be chosen; write 1 to 10000; answers = \"none\" sends none"
            ),
        );
    }
}

#[test]
fn a_node_does_not_listen_where_control_does() {
    refused(
        "# more",
        "local_socket = »\"/run/weir/stream.sock\"\n#",
        "node.local_socket",
        "this is also node.stream_socket, where control listens; give each its own path",
    );
    let node = accepted("# more", "local_socket = \"/run/weir/pgw-1.sock\"\n#").node.unwrap();
    assert_eq!(node.local_socket.to_str(), Some("/run/weir/pgw-1.sock"));
}

#[test]
fn a_node_watches_only_if_the_file_says_so() {
    assert!(!accepted("# more", "#").node.unwrap().shadow);
    let configuration = accepted("# more", "shadow = true\n#");
    assert!(configuration.node_role().unwrap().shadow);
    let words = super::super::Summary(&configuration).to_string();
    assert!(words.contains("note: node.shadow"), "{words}");
}
