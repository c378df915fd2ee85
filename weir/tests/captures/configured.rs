//! `weir inspect --config`: pools, bindings, alarm condition and cached policies of a configuration.

use crate::files::{Packet, at_ms, pcap};
use crate::frames::{esp, udp};
use crate::{Said, path, weir};

const METER: &str = "10.45.0.7";
const METER_V6: &str = "2001:db8:45:7::1";
const STRANGER: &str = "10.45.0.99";
const SERVER: &str = "192.0.2.10";
const HOST: &str = "203.0.113.5";
const HOST_V6: &str = "2001:db8:ffff::10";
const IMSI: &str = "001010000000001";

/// A node with two devices: the first has policies 1 and 2, the second is what `SUBSCRIBER` says.
pub const CONFIGURATION: &str = r#"
[control]
m2m_device_types = ["meter"]

[node]
name = "pgw-1"
access_interfaces = ["access0"]
network_interfaces = ["network0"]
pools = ["10.45.0.0/16", "2001:db8:45::/48"]
application_servers = ["192.0.2.10/32"]
inactivity = "100ms"
retry_interval = "1ms"

[node.alarm]
limit = 3
window = "1m"
protocols = ["esp"]

[[binding]]
device = "001010000000001"
addresses = ["10.45.0.7", "2001:db8:45:7::/64"]

[[binding]]
device = "001010000000002"
addresses = ["198.51.100.8"]

[[subscriber]]
device = "001010000000001"
device_type = "meter"
policies = [2, 1]

SUBSCRIBER

[[policy]]
id = 1
access_limit = { limit = 3, window = "1m" }
action = { throttle = { limit = 5, window = "1m" } }

[[policy]]
id = 2
forbidden_protocols = ["esp"]
action = "reject"
"#;

fn subscriber(device_type: &str) -> String {
    let second = r#"[[subscriber]]
        device = "001010000000002"
        device_type = "TYPE"
        policies = [1, 2]"#;
    CONFIGURATION.replace("SUBSCRIBER", &second.replace("TYPE", device_type))
}

fn inspected_as(configuration: &str, options: &[&str], packets: &[Packet]) -> Said {
    let directory = tempfile::tempdir().expect("a directory");
    let (capture, config) = (directory.path().join("capture"), directory.path().join("weir.toml"));
    std::fs::write(&capture, pcap(packets)).expect("a file");
    std::fs::write(&config, configuration).expect("a file");
    weir(&[&["inspect"], options, &["--config", path(&config), path(&capture)]].concat())
}

fn inspected(configuration: &str, packets: &[Packet]) -> Said {
    let said = inspected_as(configuration, &["--json"], packets);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    said
}

/// Accesses a second apart.
fn accesses(frames: &[Vec<u8>]) -> Vec<Packet> {
    (0..).map(|second| at_ms(second * 1000)).zip(frames.iter().cloned()).collect()
}

#[test]
fn cached_policies_throttle_the_sixth_access_of_the_minute() {
    let configuration = CONFIGURATION.replace("SUBSCRIBER", "");
    let said = inspected(&configuration, &accesses(&vec![udp(METER, HOST); 7]));
    let mut reasons = vec!["admitted"; 5];
    reasons.extend(["throttled"; 2]);
    assert_eq!(said.all("reason"), reasons);
    assert_eq!(said.all("verdict")[4..], ["pass", "drop", "drop"]);
    assert_eq!(said.all("alarm"), ["null"; 7], "a policy is cached");
}

#[test]
fn two_addresses_of_a_device_share_one_limit() {
    let configuration = CONFIGURATION.replace("SUBSCRIBER", "");
    let pair = [udp(METER, HOST), udp(METER_V6, HOST_V6)];
    let frames = [&pair[..], &pair, &pair].concat();
    let said = inspected(&configuration, &accesses(&frames));
    assert_eq!(said.all("reason")[4..], ["admitted", "throttled"]);
    assert_eq!(said.all("device"), ["device-1"; 6]);
}

#[test]
fn a_forbidden_protocol_is_rejected() {
    let configuration = CONFIGURATION.replace("SUBSCRIBER", "");
    let said = inspected(&configuration, &accesses(&[esp(METER, HOST)]));
    assert_eq!(said.all("reason"), ["forbidden-protocol"]);
}

#[test]
fn a_device_without_policies_raises_alarms_that_nobody_answers() {
    let configuration = CONFIGURATION.replace("SUBSCRIBER", "");
    let frame = udp("198.51.100.8", HOST);
    let said = inspected(&configuration, &accesses(&vec![frame; 6]));
    let reasons = ["admitted", "admitted", "admitted", "held", "alarm-active", "alarm-active"];
    assert_eq!(said.all("reason"), reasons);
    assert_eq!(said.all("alarm")[2..], ["null", "count", "null", "null"]);
    assert_eq!(said.all("device"), ["device-2"; 6]);
    let said = inspected(&configuration, &accesses(&[esp("198.51.100.8", HOST)]));
    assert_eq!((said.all("reason"), said.all("alarm")), (vec!["held".into()], vec!["protocol".into()]));
}

#[test]
fn a_device_that_is_no_machine_is_not_limited() {
    let frames = vec![udp("198.51.100.8", HOST); 9];
    let limited = inspected(&subscriber("meter"), &accesses(&frames));
    assert!(limited.all("reason").contains(&"throttled".to_owned()));
    let free = inspected(&subscriber("phone"), &accesses(&frames));
    assert_eq!(free.all("reason"), ["admitted"; 9]);
}

#[test]
fn a_packet_to_a_device_came_in_on_the_network_side() {
    let configuration = CONFIGURATION.replace("SUBSCRIBER", "");
    let said = inspected(
        &configuration,
        &[
            (at_ms(0), udp(HOST, METER)),
            (at_ms(1000), udp(SERVER, METER)),
            (at_ms(1010), udp(HOST, METER)),
            (at_ms(1020), udp(METER, "198.51.100.8")),
            (at_ms(1030), udp(STRANGER, HOST)),
        ],
    );
    let reasons = ["unsolicited-dropped", "admitted", "in-session", "in-session", "unknown-passed"];
    assert_eq!(said.all("reason"), reasons);
    assert_eq!(said.all("access")[..3], ["null", "trigger", "null"]);
    assert_eq!(said.all("direction"), ["downlink", "downlink", "downlink", "uplink", "null"]);
    assert_eq!(said.all("device")[4], "null");
}

/// The same node, but strangers have a limit.
pub fn limiting_strangers() -> String {
    let section = "[node.strangers]\nplaces = 4\nlimit = 2\nnew_per_second = 3\n\n[node.alarm]";
    let text = CONFIGURATION.replace("SUBSCRIBER", "").replace("[node.alarm]", section);
    text.replace("name = \"pgw-1\"", "name = \"pgw-1\"\nunknown_devices = \"limit\"")
}

#[test]
fn strangers_have_a_limit_each_where_the_configuration_gives_them_one() {
    let (one, other) = (udp(STRANGER, HOST), udp("10.45.0.98", HOST));
    let mut packets = accesses(&[one.clone(), one.clone(), one, other, udp(METER, HOST)]);
    packets.push((at_ms(4010), udp(SERVER, STRANGER)));
    packets.push((at_ms(4020), udp(SERVER, "10.45.0.97")));
    let said = inspected(&limiting_strangers(), &packets);
    let reasons = [
        "admitted",
        "admitted",
        "limit-exceeded",
        "admitted",
        "admitted",
        "limit-exceeded",
        "unsolicited-dropped",
    ];
    assert_eq!(said.all("reason"), reasons);
    let devices = ["null", "null", "null", "null", "device-1", "null", "null"];
    assert_eq!(said.all("device"), devices, "a stranger is nobody's device");
    assert_eq!(said.all("direction")[4..], ["uplink", "downlink", "downlink"]);
}

#[test]
fn identifiers_are_shown_only_when_asked_for() {
    let configuration = CONFIGURATION.replace("SUBSCRIBER", "");
    let packets = accesses(&[udp(METER, HOST)]);
    for options in [&["--json"][..], &[]] {
        let said = inspected_as(&configuration, options, &packets);
        assert!(said.out.contains("device-1") && !said.out.contains(IMSI), "{}", said.out);
        let shown = inspected_as(&configuration, &[options, &["--show-identifiers"]].concat(), &packets);
        assert!(shown.out.contains(IMSI) && !shown.out.contains("device-1"), "{}", shown.out);
    }
}

#[test]
fn a_configuration_without_a_node_or_with_faults_is_refused() {
    let packets = accesses(&[udp(METER, HOST)]);
    let control_only = "[control]\nm2m_device_types = [\"meter\"]\n";
    let said = inspected_as(control_only, &[], &packets);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    assert!(said.err.contains("weir.toml: the configuration has no [node]"), "{}", said.err);
    let said = inspected_as(&CONFIGURATION.replace("SUBSCRIBER", "x = 1"), &[], &packets);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("this key is unknown"), "{}", said.err);
}
