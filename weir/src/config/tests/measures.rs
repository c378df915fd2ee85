//! What policies measure beside small limits: rates, requests, large limits; shadow; and what does not go together.

use std::time::Duration;

use weir_server::api::{Counted, Direction};

use super::*;

const LIMIT: &str = "access_limit = { limit = 3, window = \"1m\" }";
const THROTTLE: &str = "action = { throttle = { limit = 5, window = \"1m\" } }";
/// The sound file's rule against ESP made into another rule.
const NO_ESP: &str = "forbidden_protocols = [\"esp\"]";

#[test]
fn a_rate_is_read_as_written() {
    let policy = "rate = { bytes_per_second = 12500000000, packets_per_second = 7, burst = \"2s\", direction = \"up\" }";
    let rate = accepted(NO_ESP, policy).policies[1].rate.unwrap();
    assert_eq!((rate.bytes_per_second, rate.packets_per_second), (Some(12_500_000_000), Some(7)));
    assert_eq!((rate.burst, rate.direction), (Duration::from_secs(2), Direction::Up));
    let rate = accepted(NO_ESP, "rate = { packets_per_second = 7 }").policies[1].rate.unwrap();
    assert_eq!((rate.burst, rate.direction), (Duration::from_millis(100), Direction::Both));
}

#[test]
fn a_rate_that_a_node_cannot_meter_is_refused() {
    for (rate, key, reason) in [
        ("»{ burst = \"1s\" }", "", "limits nothing; write bytes_per_second, packets_per_second or both"),
        (
            "{ bytes_per_second = »99 }",
            ".bytes_per_second",
            "is 99; a node can meter from 100 to 12500000000",
        ),
        ("{ packets_per_second = »0 }", ".packets_per_second", "is 0; a node can meter from 1 to 20000000"),
        ("{ packets_per_second = 1, burst = »\"5ms\" }", ".burst", "is 5ms; a burst lasts from 10ms to 1m"),
        (
            "{ packets_per_second = 1, direction = »\"sideways\" }",
            ".direction",
            "\"sideways\" is not known here; write one of \"both\", \"up\", \"down\"",
        ),
        (
            "{ packets_per_second = 1, »packets = 2 }",
            ".packets",
            "this key is unknown; remove it or choose one of: burst, bytes_per_second, direction, packets_per_second",
        ),
        (
            "{ bytes_per_second = »-1 }",
            ".bytes_per_second",
            "this number is out of range; write one from 0 to 9223372036854775807",
        ),
    ] {
        refused(NO_ESP, &format!("rate = {rate}"), &format!("policy.rate{key}"), reason);
    }
}

#[test]
fn a_rate_has_no_kinds_and_drops_or_does_nothing() {
    const RATE: &str = "rate = { packets_per_second = 10 }";
    refused(
        NO_ESP,
        &format!("{RATE}\nkinds = »[\"packet\"]"),
        "policy.kinds",
        "are of accesses; a rate counts bytes or packets: remove the key",
    );
    refused(
        &format!("{NO_ESP}\naction = \"reject\""),
        &format!("{RATE}\naction = »\"release\""),
        "policy.action",
        "is not for a rate, beyond which packets are dropped; write \"reject\" or \"none\"",
    );
    refused(
        NO_ESP,
        &format!("rate = »{{ packets_per_second = 10 }}\n{LIMIT}"),
        "policy.rate",
        "and access_limit are two rules; make two policies of them",
    );
}

#[test]
fn a_policy_may_be_in_shadow() {
    assert!(!accepted("# the end", "").policies[1].shadow);
    assert!(accepted(NO_ESP, &format!("{NO_ESP}\nshadow = true")).policies[1].shadow);
    refused(
        NO_ESP,
        &format!("{NO_ESP}\nshadow = »\"yes\""),
        "policy.shadow",
        "this is a string; write true or false",
    );
}

#[test]
fn requests_are_counted_on_a_node_and_up_to_thirteen() {
    const REQUESTS: &str = "kinds = [\"packet\"]\ncounts = \"requests\"\nscope = \"node\"";
    let with = |limit: &str| format!("{REQUESTS}\naccess_limit = {{ limit = {limit}, window = \"1m\" }}");
    let policy = accepted(NO_ESP, &with("13")).policies[1].clone();
    assert_eq!(policy.counts, Counted::Requests, "and no inactivity time makes it unreachable");
    refused(
        NO_ESP,
        &with("»14"),
        "policy.access_limit.limit",
        "permits 14 requests in a window; an entry can count at most 13",
    );
    let network = with("3").replace("\"requests\"", "»\"requests\"").replace("scope = \"node\"", "");
    refused(
        NO_ESP,
        &network,
        "policy.counts",
        "is \"requests\", which only each node knows: nodes report the times of admissions; write scope = \"node\"",
    );
    refused(
        NO_ESP,
        &format!("{NO_ESP}\nscope = \"node\"\ncounts = »\"requests\""),
        "policy.counts",
        "is for an access_limit; remove the key",
    );
    refused(
        NO_ESP,
        &format!("{NO_ESP}\ncounts = »\"attempts\""),
        "policy.counts",
        "\"attempts\" is not known here; write one of \"admitted\", \"requests\"",
    );
}

#[test]
fn a_large_limit_needs_a_window_of_a_second() {
    let text = "[control]\nm2m_device_types = [\"meter\"]\n[[policy]]\nid = 1\naction = \"reject\"\n\
                access_limit = { limit = 15, window = \"999ms\" }";
    assert_eq!(
        faults_of(text),
        ["6:39: policy.access_limit.window: is 999ms; limits above 14 are counted in windows from 1s on"]
    );
}

#[test]
fn two_rates_of_one_unit_for_one_subscriber_are_refused() {
    let bytes =
        |id| format!("[[policy]]\nid = {id}\nrate = {{ bytes_per_second = 1000 }}\naction = \"reject\"\n");
    let packets = "[[policy]]\nid = 5\nrate = { packets_per_second = 10 }\naction = \"reject\"\n";
    let file = |policies: &str| {
        changed("policies = [1, 2]", policies).replace("# the end", &(bytes(3) + &bytes(4) + packets))
    };
    let found = faults_of(&file("policies = [3, 4]"));
    let reason = "subscriber.policies: 3 and 4 all limit bytes; a device can have one such policy";
    assert_eq!(found, [format!("31:12: {reason}")]);
    assert!(read(&file("policies = [3, 5]")).is_ok());
}

#[test]
fn what_counts_requests_is_refused_beside_a_large_limit() {
    let large = "[[policy]]\nid = 3\nkinds = [\"packet\"]\naccess_limit = { limit = 15, window = \"1h\" }\n\
                 action = \"reject\"\n[[policy]]\nid = 4\nkinds = [\"packet\"]\nscope = \"node\"\ncounts = \
                 \"requests\"\naccess_limit = { limit = 5, window = \"1h\" }\naction = \"reject\"\n";
    let text = changed("# the end", large).replace("policies = [1, 2]", "policies = [3, 4]");
    let reason = "cannot be held together: policy 4 counts requests, and policy 3 permits more than 14 accesses, which \
                  takes the room that an entry has for them; count admitted accesses instead";
    assert_eq!(faults_of(&text), [format!("31:12: subscriber.policies: {reason}")]);
    let alone = text.replace("policies = [3, 4]", "policies = [4]");
    assert!(read(&alone).is_ok(), "{:?}", faults_of(&alone));
    let beside = alone.replace("limit = 3\nwindow = \"1m\"", "limit = 15\nwindow = \"1h\"");
    let reason = "policy 4 counts requests, and node.alarm.limit is above 14, which takes the room that an entry has \
                  for them; count admitted accesses, or lower node.alarm.limit";
    assert_eq!(faults_of(&beside), [format!("31:12: subscriber.policies: {reason}")]);
}

#[test]
fn a_large_limit_is_refused_beside_an_alarm_that_looks_at_devices_with_policies() {
    let throttle = "action = { throttle = { limit = 15, window = \"1h\" } }";
    let text = changed(THROTTLE, throttle);
    assert!(read(&text).is_ok(), "{:?}", faults_of(&text));
    let always = text.replace("protocols = [\"esp\"]", "protocols = [\"esp\"]\nwhen = \"always\"");
    let always = always.replacen("forbidden_protocols = [\"esp\"]\nwhen = \"always\"", NO_ESP, 1);
    let reason = "policy 1 throttles to more than 14 accesses, which takes the room in which node.alarm counts \
                  requests of devices with policies; set node.alarm.when to \"no-policy-cached\", or \
                  node.alarm.limit above 14";
    assert_eq!(faults_of(&always), [format!("32:12: subscriber.policies: {reason}")]);
    let large = always.replace("limit = 3\nwindow = \"1m\"", "limit = 15\nwindow = \"1h\"");
    assert!(read(&large).is_ok(), "{:?}", faults_of(&large));
}
