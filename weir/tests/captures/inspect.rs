//! `weir inspect` without configuration: a device is a source address, and nothing is limited.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use pcap_file::{DataLink, Endianness, TsResolution};
use serde_json::json;

use crate::files::{Packet, START, at_ms, pcap, pcap_as, pcapng};
use crate::frames::{arp, esp, tcp, udp};
use crate::{about, inspected};

const METER: &str = "10.45.0.7";
const METER_V6: &str = "2001:db8:45:7::1";
const HOST: &str = "203.0.113.5";
const HOST_V6: &str = "2001:db8:ffff::10";

/// One packet of each kind, a second apart, with microseconds in their times.
fn some() -> Vec<Packet> {
    let frames = [
        udp(METER, HOST),
        tcp(METER_V6, HOST_V6, 10),
        esp(METER, HOST),
        arp(),
        vec![0xff; 9],
        udp(METER, HOST)[..40].to_vec(),
    ];
    let times = (0..).map(|second| START + Duration::from_micros(second * 1_000_000 + 123_456));
    times.zip(frames).collect()
}

#[test]
fn a_line_says_whose_packet_it_was_and_what_was_decided() {
    let lines = inspected(&some()).lines();
    let expected = json!({
        "n": 1, "time": "2026-11-01T12:00:00.123456000Z", "device": METER, "direction": "uplink",
        "src": METER, "dst": HOST, "sport": 40_000, "dport": 53, "ip_proto": 17, "protocols": [],
        "access": "packet", "verdict": "pass", "reason": "admitted", "alarm": null,
    });
    assert_eq!(lines[0], expected);
    let expected = json!({
        "n": 2, "time": "2026-11-01T12:00:01.123456000Z", "device": "2001:db8:45:7::/64",
        "direction": "uplink", "src": METER_V6, "dst": HOST_V6, "sport": 40_001, "dport": 443,
        "ip_proto": 6, "protocols": [], "access": "packet", "verdict": "pass", "reason": "admitted",
        "alarm": null,
    });
    assert_eq!(lines[1], expected);
}

#[test]
fn fields_stand_in_the_order_of_the_documentation() {
    let said = inspected(&some());
    let names = "n time device direction src dst sport dport ip_proto protocols access verdict reason alarm";
    let line = said.out.lines().next().expect("a line");
    let places: Vec<_> = names.split(' ').map(|name| line.find(&format!("\"{name}\":"))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{line}");
}

#[test]
fn esp_is_named_and_has_no_ports() {
    let line = &inspected(&some()).lines()[2];
    assert_eq!((&line["protocols"], &line["ip_proto"]), (&json!(["esp"]), &json!(50)));
    assert_eq!((&line["sport"], &line["dport"]), (&json!(null), &json!(null)));
    assert_eq!((&line["access"], &line["reason"]), (&json!(null), &json!("in-session")));
}

#[test]
fn what_is_no_readable_ip_packet_has_nothing_but_a_verdict() {
    let lines = inspected(&some()).lines();
    for (number, reason) in [(3, "not-ip"), (4, "unparsable-passed"), (5, "unparsable-passed")] {
        let line = &lines[number];
        for field in ["device", "direction", "src", "dst", "sport", "dport", "ip_proto", "access"] {
            assert!(line[field].is_null(), "{line}");
        }
        assert_eq!((&line["verdict"], &line["reason"]), (&json!("pass"), &json!(reason)));
    }
}

#[test]
fn format_byte_order_and_resolution_make_no_difference() {
    let packets = some();
    let expected = inspected(&packets).out;
    for order in [Endianness::Little, Endianness::Big] {
        for capture in [
            pcap_as(order, TsResolution::MicroSecond, DataLink::ETHERNET, &packets),
            pcap_as(order, TsResolution::NanoSecond, DataLink::ETHERNET, &packets),
            pcapng(order, 6, &packets),
            pcapng(order, 9, &packets),
        ] {
            let said = about(&["inspect", "--json"], &capture);
            assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
            assert_eq!(said.out, expected);
        }
    }
}

#[test]
fn nanoseconds_are_kept() {
    let time = START + Duration::from_nanos(7);
    assert_eq!(inspected(&[(time, arp())]).all("time"), ["2026-11-01T12:00:00.000000007Z"]);
}

#[test]
fn each_silence_of_ten_seconds_makes_the_next_packet_an_access() {
    let packet = |ms| (at_ms(ms), udp(METER, HOST));
    let said = inspected(&[0, 5_000, 14_000, 25_000, 25_001].map(packet));
    let reasons = ["admitted", "in-session", "in-session", "admitted", "in-session"];
    assert_eq!(said.all("reason"), reasons);
}

#[test]
fn addresses_of_one_64_are_one_device_and_ipv4_addresses_are_not() {
    let said = inspected(&[
        (at_ms(0), udp("2001:db8:45:7::1", HOST_V6)),
        (at_ms(1), udp("2001:db8:45:7::2", HOST_V6)),
        (at_ms(2), udp("10.45.0.7", HOST)),
        (at_ms(3), udp("10.45.0.8", HOST)),
    ]);
    assert_eq!(said.all("reason"), ["admitted", "in-session", "admitted", "admitted"]);
    assert_eq!(said.all("device")[1..], ["2001:db8:45:7::/64", "10.45.0.7", "10.45.0.8"]);
}

#[test]
fn time_that_goes_back_is_printed_as_it_is_and_said_to_have_been_judged_later() {
    let said = inspected(&[
        (at_ms(60_000), udp(METER, HOST)),
        (at_ms(0), udp(METER, HOST)),
        (at_ms(60_001), udp(METER, HOST)),
    ]);
    assert_eq!(said.all("reason"), ["admitted", "in-session", "in-session"]);
    assert_eq!(said.all("time")[1], "2026-11-01T12:00:00.000000000Z");
    assert!(said.err.starts_with("note: 1 packet with a time before that of an earlier one"), "{}", said.err);
}

#[test]
fn a_silence_of_years_ends_a_session_and_wraps_no_clock() {
    // 2³² and 2³⁰ ticks of 2²⁰ ns after the first: where an entry's instants come round again.
    let packet = |nanos: u64| (START + Duration::from_nanos(nanos), udp(METER, HOST));
    let said = inspected(&[0, 1 << 52, (1 << 52) + (1 << 50), 1 << 59].map(packet));
    assert_eq!(said.all("reason"), ["admitted"; 4]);
}

#[test]
fn people_get_aligned_columns_and_a_summary() {
    let said = about(&["inspect"], &pcap(&some()));
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let lines: Vec<_> = said.out.lines().collect();
    for (heading, cell) in [("TIME", "2026-11-01T12"), ("DEVICE", METER), ("SOURCE", "10.45.0.7:40000")] {
        assert_eq!(lines[0].find(heading), lines[1].find(cell), "{}", said.out);
    }
    assert!(lines[2].contains("[2001:db8:45:7::1]:40001") && lines[2].contains("  tcp "));
    assert!(lines[3].contains("  esp ") && lines[4].contains("  -  "));
    let summary = "\n\n6 packets: 6 passed, 0 dropped; 2 devices; 5.000 s from first to last\n";
    assert!(said.out.contains(summary), "{}", said.out);
    let row = |start: &str| lines.iter().find(|line| line.starts_with(start)).copied().unwrap_or_default();
    let cells: Vec<_> = row("unparsable-passed").split_whitespace().take(3).collect();
    assert_eq!(cells, ["unparsable-passed", "pass", "2"]);
    let cells: Vec<_> = row(METER).split_whitespace().collect();
    assert_eq!(cells, [METER, "2", "1", "1", "0", "0"]);
}

#[test]
fn a_capture_that_is_cut_short_is_judged_as_far_as_it_goes() {
    let whole = pcap(&some());
    let cut = &whole[..whole.len() - 1];
    let json = about(&["inspect", "--json"], cut);
    assert_eq!((json.code, json.lines().len()), (Some(1), 5));
    assert!(json.err.contains("capture: packet 6: the file ends in the middle of it"), "{}", json.err);
    let table = about(&["inspect"], cut);
    assert_eq!(table.code, Some(1));
    assert!(table.out.contains("\n5 packets: "), "{}", table.out);
}

#[test]
fn another_link_type_is_an_error_that_names_it() {
    let capture = pcap_as(Endianness::Big, TsResolution::MicroSecond, DataLink::LINUX_SLL, &some());
    let said = about(&["inspect", "--json"], &capture);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    assert!(said.err.contains("link type 113 (LINUX_SLL); only Ethernet captures"), "{}", said.err);
}

#[test]
fn packets_that_the_capture_cut_short_are_counted() {
    let mut capture = pcap(&[(START, udp(METER, HOST))]);
    let longer = u32::to_ne_bytes(1500);
    capture[36..40].copy_from_slice(&longer);
    let said = about(&["inspect"], &capture);
    assert!(said.err.starts_with("note: 1 packet cut short when captured"), "{}", said.err);
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("capture");
    let packets: Vec<_> = (0..20_000).map(|ms| (at_ms(ms), udp(METER, HOST))).collect();
    std::fs::write(&file, pcap(&packets)).expect("a file");
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["inspect", "--json"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("weir runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    lines.read_line(&mut String::new()).expect("a line");
    drop(lines);
    let output = child.wait_with_output().expect("weir ends");
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}
