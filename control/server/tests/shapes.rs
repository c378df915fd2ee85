//! The shapes of policies and subscribers: what is read, what is refused, and why.

use std::time::Duration;

use serde_json::json;
use weir_server::api::{self, Invalid, Policy, Subscriber};
use weir_service_control as sc;

fn policy(value: serde_json::Value) -> Policy {
    serde_json::from_value(value).unwrap()
}

fn throttling() -> Policy {
    policy(json!({
        "id": 1, "scope": "network", "kinds": ["packet", "trigger"],
        "access_limit": {"limit": 3, "window": "1m", "comparison": "greater"},
        "action": {"throttle": {"limit": 5, "window": "1m"}}
    }))
}

fn keys(invalid: &[Invalid]) -> Vec<&str> {
    invalid.iter().map(|invalid| invalid.key.as_str()).collect()
}

#[test]
fn the_policies_of_the_example_mean_what_they_say() {
    let minute = |permitted| sc::AccessLimit { permitted, window: Duration::from_secs(60) };
    let first = throttling().check().unwrap();
    assert_eq!(first.rule, sc::Rule::AccessLimit(minute(3)));
    assert_eq!(first.action, sc::Action::Throttle(minute(5)));
    assert_eq!(first.kinds, [sc::AccessKind::Packet, sc::AccessKind::Trigger]);
    let second =
        policy(json!({"id": 2, "scope": "node", "forbidden_protocols": ["esp"], "action": "reject"}));
    let second = second.check().unwrap();
    assert_eq!(second.rule, sc::Rule::ForbiddenProtocols(vec!["esp".to_owned()]));
    assert_eq!((second.scope, second.action), (sc::Scope::Node, sc::Action::Reject));
}

#[test]
fn json_and_toml_are_the_same_shape() {
    let text = r#"
        id = 1
        scope = "network"
        kinds = ["packet", "trigger"]
        access_limit = { limit = 3, window = "1m", comparison = "greater" }
        action = { throttle = { limit = 5, window = "1m" } }
    "#;
    assert_eq!(toml::from_str::<Policy>(text).unwrap(), throttling());
    let written = toml::to_string(&throttling()).unwrap();
    assert_eq!(toml::from_str::<Policy>(&written).unwrap(), throttling());
}

#[test]
fn what_is_stored_is_shown_as_it_was_written() {
    for action in ["none", "reject", "withhold-resources", "release"] {
        let written = policy(json!({"id": 7, "forbidden_protocols": ["esp", "ah"], "action": action}));
        assert_eq!(Policy::from(&written.check().unwrap()), written);
    }
    assert_eq!(Policy::from(&throttling().check().unwrap()), throttling());
}

#[test]
fn greater_or_equal_permits_one_less() {
    let limit = json!({"limit": 3, "window": "1m", "comparison": "greater-or-equal"});
    let policy = policy(json!({"id": 1, "access_limit": limit, "action": "reject"})).check().unwrap();
    let window = Duration::from_secs(60);
    assert_eq!(policy.rule, sc::Rule::AccessLimit(sc::AccessLimit { permitted: 2, window }));
}

#[test]
fn unknown_fields_and_words_are_refused() {
    for value in [
        json!({"id": 1, "forbidden_protocols": ["esp"], "action": "reject", "limt": 3}),
        json!({"id": 1, "access_limit": {"limit": 3, "window": "1m", "x": 1}, "action": "reject"}),
        json!({"id": 1, "access_limit": {"limit": 3, "window": 60}, "action": "reject"}),
        json!({"id": 1, "access_limit": {"limit": 3, "window": "60"}, "action": "reject"}),
        json!({"id": 1, "forbidden_protocols": ["esp"], "action": "explode"}),
        json!({"id": 1, "forbidden_protocols": ["esp"], "action": {"throttle": {"limit": 5}}}),
        json!({"id": 1, "forbidden_protocols": ["esp"]}),
        json!({"id": -1, "forbidden_protocols": ["esp"], "action": "reject"}),
        json!({"id": 1, "scope": "planet", "forbidden_protocols": ["esp"], "action": "reject"}),
        json!({"id": 1, "kinds": ["smoke"], "forbidden_protocols": ["esp"], "action": "reject"}),
    ] {
        assert!(serde_json::from_value::<Policy>(value.clone()).is_err(), "{value} was read");
    }
}

#[test]
fn what_an_entry_cannot_hold_is_refused_with_its_key() {
    let limit = |limit, window: &str| json!({"limit": limit, "window": window});
    let of = |limit| json!({"id": 1, "access_limit": limit, "action": "reject"});
    let throttled =
        |throttle| json!({"id": 1, "access_limit": limit(3, "1m"), "action": {"throttle": throttle}});
    for (value, key) in [
        (of(limit(1024, "1m")), "access_limit.limit"),
        (of(limit(3, "0s")), "access_limit.window"),
        (of(limit(15, "999ms")), "access_limit.window"),
        (of(limit(3, "25h")), "access_limit.window"),
        (throttled(limit(1024, "1m")), "action.throttle.limit"),
        (throttled(limit(5, "25h")), "action.throttle.window"),
        (json!({"id": 0, "forbidden_protocols": ["esp"], "action": "reject"}), "id"),
        (json!({"id": 1, "forbidden_protocols": [], "action": "reject"}), "forbidden_protocols"),
        (
            json!({"id": 1, "forbidden_protocols": ["carrier-pigeon"], "action": "reject"}),
            "forbidden_protocols",
        ),
        (json!({"id": 1, "action": "reject"}), "access_limit"),
        (
            json!({"id": 1, "access_limit": limit(3, "1m"), "forbidden_protocols": ["esp"], "action": "none"}),
            "forbidden_protocols",
        ),
        (json!({"id": 1, "forbidden_protocols": ["esp"], "action": {"throttle": limit(5, "1m")}}), "action"),
        (of(json!({"limit": 0, "window": "1m", "comparison": "greater-or-equal"})), "access_limit.limit"),
    ] {
        let invalid = policy(value.clone()).check().unwrap_err();
        assert_eq!(keys(&invalid), [key], "{value}: {invalid:?}");
    }
    policy(of(limit(1023, "24h"))).check().unwrap();
    policy(throttled(limit(1023, "24h"))).check().unwrap();
    policy(of(limit(0, "1ms"))).check().unwrap();
}

fn limited(limit: u32) -> serde_json::Value {
    json!({"limit": limit, "window": "1m"})
}

fn counting_requests(id: u32, limit: u32) -> serde_json::Value {
    json!({"id": id, "scope": "node", "counts": "requests", "access_limit": limited(limit), "action": "reject"})
}

fn rate(id: u32, rate: &serde_json::Value) -> serde_json::Value {
    json!({"id": id, "rate": rate, "action": "reject"})
}

#[test]
fn a_rate_has_a_burst_and_a_direction_even_if_none_is_written() {
    let written = policy(rate(1, &json!({"bytes_per_second": 125_000})));
    let checked = written.check().unwrap();
    let meant = sc::Rate {
        bytes_per_second: Some(125_000),
        packets_per_second: None,
        burst: Duration::from_millis(100),
        direction: sc::Direction::Both,
    };
    assert_eq!((&checked.rule, checked.scope), (&sc::Rule::Rate(meant), sc::Scope::Node));
    let full = json!({"bytes_per_second": 100, "packets_per_second": 1, "burst": "60s", "direction": "up"});
    let full = policy(rate(1, &full));
    let shown = Policy { scope: api::Scope::Node, ..full.clone() };
    assert_eq!(Policy::from(&full.check().unwrap()), shown, "nobody adds rates up");
}

#[test]
fn a_policy_in_shadow_or_that_counts_requests_says_so_and_others_do_not() {
    let requests = policy(counting_requests(1, 13));
    assert_eq!(Policy::from(&requests.check().unwrap()), requests);
    assert_eq!(requests.check().unwrap().counts, sc::Counted::Requests);
    let mut watched = throttling();
    watched.shadow = true;
    assert!(watched.check().unwrap().shadow && !throttling().check().unwrap().shadow);
    let text = serde_json::to_string(&watched).unwrap();
    assert!(text.contains("\"shadow\":true") && !text.contains("counts"), "{text}");
    assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), watched);
    assert!(!serde_json::to_string(&throttling()).unwrap().contains("shadow"));
}

#[test]
fn rates_that_a_node_cannot_meter_are_refused_with_their_key() {
    for (value, key) in [
        (json!({}), "rate"),
        (json!({"bytes_per_second": 99}), "rate.bytes_per_second"),
        (json!({"bytes_per_second": 12_500_000_001_u64}), "rate.bytes_per_second"),
        (json!({"packets_per_second": 0}), "rate.packets_per_second"),
        (json!({"packets_per_second": 20_000_001}), "rate.packets_per_second"),
        (json!({"packets_per_second": 1, "burst": "9ms"}), "rate.burst"),
        (json!({"packets_per_second": 1, "burst": "61s"}), "rate.burst"),
    ] {
        let invalid = policy(rate(1, &value)).check().unwrap_err();
        assert_eq!(keys(&invalid), [key], "{value}: {invalid:?}");
    }
    let ten = json!({"packets_per_second": 10});
    for (more, key) in [
        (json!({"action": "release"}), "action"),
        (json!({"action": {"throttle": limited(5)}}), "action"),
        (json!({"kinds": ["packet"]}), "kinds"),
        (json!({"access_limit": limited(3)}), "rate"),
        (json!({"forbidden_protocols": ["esp"]}), "rate"),
        (json!({"counts": "requests", "scope": "node"}), "counts"),
    ] {
        let mut value = rate(1, &ten);
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let invalid = policy(value.clone()).check().unwrap_err();
        assert_eq!(keys(&invalid), [key], "{value}: {invalid:?}");
    }
}

#[test]
fn requests_are_counted_on_one_node_and_up_to_thirteen() {
    let with = |key: &str, value: serde_json::Value| {
        let mut policy = counting_requests(1, 3);
        policy[key] = value;
        policy
    };
    for (value, key) in [
        (counting_requests(1, 14), "access_limit.limit"),
        (with("scope", json!("network")), "counts"),
        (with("action", json!({"throttle": limited(15)})), "action.throttle.limit"),
        (json!({"id": 1, "counts": "requests", "forbidden_protocols": ["esp"], "action": "none"}), "counts"),
    ] {
        let invalid = policy(value.clone()).check().unwrap_err();
        assert_eq!(keys(&invalid), [key], "{value}: {invalid:?}");
    }
    policy(with("action", json!({"throttle": limited(14)}))).check().unwrap();
}

#[test]
fn what_an_entry_cannot_hold_together_is_refused_with_both_policies() {
    let bytes = |id| rate(id, &json!({"bytes_per_second": 1000}));
    let packets = |id, direction| rate(id, &json!({"packets_per_second": 1000, "direction": direction}));
    let large = |id| json!({"id": id, "access_limit": limited(15), "action": "reject"});
    let reasons = |values: &[serde_json::Value]| {
        let policies: Vec<_> = values.iter().map(|value| policy(value.clone()).check().unwrap()).collect();
        let invalid = api::check_device_policies(&policies);
        invalid.into_iter().map(|invalid| invalid.reason).collect::<Vec<_>>().join("; ")
    };
    let up = || rate(1, &json!({"bytes_per_second": 1000, "direction": "up"}));
    assert_eq!(reasons(&[bytes(1), packets(2, "down"), large(3)]), "");
    assert_eq!(reasons(&[bytes(1), bytes(2)]), "1 and 2 all limit bytes; a device can have one such policy");
    assert!(reasons(&[up(), packets(2, "down")]).starts_with("1 limits a rate up and 2 one down"));
    assert_eq!(reasons(&[counting_requests(1, 13), bytes(2)]), "");
    let taken = reasons(&[counting_requests(1, 13), large(2)]);
    assert!(
        taken.contains("policy 1 counts requests, and policy 2 permits more than 14 accesses"),
        "{taken}"
    );
    let taken = reasons(&[counting_requests(1, 13), bytes(2), packets(4, "up")]);
    assert!(taken.contains("policies 2 and 4 limit bytes as well as packets"), "{taken}");
}

#[test]
fn every_fault_of_a_policy_is_named() {
    let limit = json!({"limit": 9999, "window": "48h"});
    let invalid = policy(json!({
        "id": 0, "access_limit": limit, "action": {"throttle": {"limit": 9999, "window": "0ms"}}
    }))
    .check()
    .unwrap_err();
    assert_eq!(
        keys(&invalid),
        [
            "id",
            "access_limit.limit",
            "access_limit.window",
            "action.throttle.limit",
            "action.throttle.window"
        ]
    );
}

#[test]
fn a_device_has_four_policies_and_one_throttle_at_most() {
    let find = |id: u32| {
        let mut policy = throttling();
        policy.id = id;
        if id > 2 {
            policy.action = api::Action::Reject;
        }
        (id < 9).then(|| policy.check().unwrap())
    };
    let subscriber = |device: &str, policies: &[u32]| Subscriber {
        device: sc::DeviceId(device.to_owned()),
        device_type: "meter".to_owned(),
        policies: policies.to_vec(),
    };
    let checked = |policies: &[u32]| subscriber("001010000000001", policies).check_against(find);
    assert_eq!(checked(&[1, 3, 4, 5]), []);
    for policies in [&[3, 4, 5, 6, 7][..], &[1, 2], &[3, 3], &[9]] {
        assert_eq!(keys(&checked(policies)), ["policies"], "{policies:?}");
    }
    for device in ["", "12345", "1234567890123456", "imsi-001010000000001"] {
        let invalid = subscriber(device, &[]).check_against(find);
        assert_eq!(keys(&invalid), ["device"]);
    }
}

#[test]
fn debugging_a_subscriber_does_not_show_its_imsi() {
    let subscriber: Subscriber = serde_json::from_value(json!({
        "device": "001010000000001", "device_type": "meter", "policies": [1]
    }))
    .unwrap();
    assert!(!format!("{subscriber:?}").contains("00101000000"));
    assert!(serde_json::to_string(&subscriber).unwrap().contains("001010000000001"));
}
