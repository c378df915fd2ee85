//! Policies and subscribers.

use super::*;

const LIMIT: &str = "access_limit = { limit = 3, window = \"1m\" }";
const THROTTLE: &str = "action = { throttle = { limit = 5, window = \"1m\" } }";
const ACTIONS: &str = "write \"none\", \"reject\", \"withhold-resources\", \"release\" or { throttle = { limit \
                       = 5, window = \"1m\" } }";

/// A third policy and a subscriber who has it beside others, at the end of the sound file.
fn also(policy: &str, subscriber: &str) -> String {
    format!(
        "[[policy]]\nid = 3\n{policy}\n[[subscriber]]\ndevice = \"001010000000002\"\ndevice_type = \"meter\"\n{subscriber}\n"
    )
}

#[test]
fn a_second_policy_of_the_same_id_is_refused() {
    refused(
        "# the end",
        "[[policy]]\nid = »1\nforbidden_protocols = [\"ah\"]\naction = \"none\"",
        "policy.id",
        "policy 1 stands already in line 34; give each policy its own id",
    );
}

#[test]
fn a_policy_id_of_zero_is_refused() {
    let policy = "[[policy]]\nid = »0\nforbidden_protocols = [\"ah\"]\naction = \"none\"";
    refused("# the end", policy, "policy.id", "is 0; identifiers begin at 1");
}

#[test]
fn a_limit_that_an_entry_cannot_hold_is_refused() {
    refused(
        LIMIT,
        "access_limit = { limit = »1024, window = \"24h\" }",
        "policy.access_limit.limit",
        "permits 1024 accesses in a window; an entry can count at most 1023",
    );
    accepted(LIMIT, "access_limit = { limit = 1023, window = \"24h\" }");
}

#[test]
fn greater_or_equal_permits_one_access_less() {
    let policy = "access_limit = { limit = 1024, window = \"24h\", comparison = \"greater-or-equal\" }";
    accepted(LIMIT, policy);
    refused(
        LIMIT,
        "access_limit = { limit = »1025, window = \"24h\", comparison = \"greater-or-equal\" }",
        "policy.access_limit.limit",
        "permits 1024 accesses in a window; an entry can count at most 1023",
    );
    let found = faults_of(&changed(LIMIT, &policy.replace("1024", "0")));
    assert!(found.len() == 1 && found[0].contains(": policy.access_limit.limit: is 0, "), "{found:?}");
}

#[test]
fn a_limit_that_cannot_be_reached_is_refused() {
    refused(
        LIMIT,
        "access_limit = { limit = »6, window = \"1m\" }",
        "policy.access_limit.limit",
        "more than 6 accesses in 1m cannot happen: each lasts at least 10s (node.inactivity), and 6 × 10s is \
         not below 1m; lower the limit or node.inactivity, or lengthen the window",
    );
    accepted(LIMIT, "access_limit = { limit = 6, window = \"1m\", comparison = \"greater-or-equal\" }");
}

#[test]
fn a_throttle_that_cannot_be_reached_is_refused() {
    refused(
        THROTTLE,
        "action = { throttle = { limit = »5, window = \"50s\" } }",
        "policy.action.throttle.limit",
        "more than 5 accesses in 50s cannot happen: each lasts at least 10s (node.inactivity), and 5 × 10s is \
         not below 50s; lower the limit or node.inactivity, or lengthen the window",
    );
}

#[test]
fn without_a_node_no_limit_is_out_of_reach() {
    let text = "[control]\nm2m_device_types = [\"meter\"]\n[[policy]]\nid = 1\naction = \"reject\"\n\
                access_limit = { limit = 14, window = \"1s\" }";
    assert!(read(text).is_ok());
}

#[test]
fn a_window_of_zero_or_above_a_day_is_refused() {
    for (window, written) in [("0s", "0ms"), ("25h", "25h")] {
        refused(
            LIMIT,
            &format!("access_limit = {{ limit = 3, window = »\"{window}\" }}"),
            "policy.access_limit.window",
            &format!("is {written}; a window lasts from 1ms to 24h"),
        );
        refused(
            THROTTLE,
            &format!("action = {{ throttle = {{ limit = 5, window = »\"{window}\" }} }}"),
            "policy.action.throttle.window",
            &format!("is {written}; a window lasts from 1ms to 24h"),
        );
    }
    accepted(LIMIT, "access_limit = { limit = 3, window = \"24h\" }");
}

#[test]
fn a_window_that_is_no_duration_is_refused() {
    let found = faults_of(&changed(LIMIT, "access_limit = { limit = 3, window = \"1 minute\" }"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("36:38: policy.access_limit.window: \"1 minute\" is no duration;"),
        "{found:?}"
    );
}

#[test]
fn a_policy_has_one_rule() {
    let none = "is missing; a policy needs this rule, forbidden_protocols or rate";
    refused(
        "[[policy]]\nid = 2\nforbidden_protocols = [\"esp\"]\n",
        "»[[policy]]\nid = 2\n",
        "policy.access_limit",
        none,
    );
    refused(
        "forbidden_protocols = [\"esp\"]",
        "forbidden_protocols = »[\"esp\"]\naccess_limit = { limit = 3, window = \"1m\" }",
        "policy.forbidden_protocols",
        "and access_limit are two rules; make two policies of them",
    );
}

#[test]
fn an_unknown_forbidden_protocol_is_refused() {
    refused(
        "forbidden_protocols = [\"esp\"]",
        "forbidden_protocols = »[\"ipsec\"]",
        "policy.forbidden_protocols",
        "\"ipsec\" is no protocol that nodes recognise; they know esp, ah",
    );
}

#[test]
fn an_unknown_action_is_refused() {
    refused(
        "action = \"reject\"",
        "action = »\"block\"",
        "policy.action",
        &format!("\"block\" is not known here; {ACTIONS}"),
    );
    refused(
        "action = \"reject\"",
        "action = { »slow = 3 }",
        "policy.action.slow",
        "this key is unknown; remove it or choose one of: throttle",
    );
    refused(
        "action = \"reject\"",
        "action = »{}",
        "policy.action.throttle",
        &format!("this key is required and missing; {ACTIONS}"),
    );
}

#[test]
fn a_protocol_policy_cannot_throttle() {
    refused(
        "action = \"reject\"",
        "action = »{ throttle = { limit = 1, window = \"1m\" } }",
        "policy.action",
        "throttles, which needs an access_limit to replace",
    );
}

#[test]
fn unknown_words_of_a_policy_are_refused() {
    refused(
        LIMIT,
        "access_limit = { limit = 3, window = \"1m\", comparison = »\"at-least\" }",
        "policy.access_limit.comparison",
        "\"at-least\" is not known here; write one of \"greater\", \"greater-or-equal\"",
    );
    refused(
        "id = 2",
        "id = 2\nscope = »\"cell\"",
        "policy.scope",
        "\"cell\" is not known here; write one of \"network\", \"node\"",
    );
    refused(
        "kinds = [\"packet\"]",
        "kinds = »[]",
        "policy.kinds",
        "the list is empty; write at least one kind of access, or remove the key to count all",
    );
}

#[test]
fn a_policy_that_a_subscriber_has_must_exist() {
    refused(
        "policies = [1, 2]",
        "policies = [1, »7]",
        "subscriber.policies",
        "there is no policy 7; write its [[policy]] or remove it here",
    );
}

#[test]
fn a_policy_listed_twice_is_refused() {
    refused("policies = [1, 2]", "policies = »[1, 1]", "subscriber.policies", "names policy 1 twice");
}

#[test]
fn more_policies_than_an_entry_can_hold_are_refused() {
    let more: String = (3..=5)
        .map(|id| format!("[[policy]]\nid = {id}\nforbidden_protocols = [\"ah\"]\naction = \"none\"\n"))
        .collect();
    let text = SOUND.replace("# the end", &more);
    let found = faults_of(&text.replace("[1, 2]", "[1, 2, 3, 4, 5]"));
    assert_eq!(found, ["31:12: subscriber.policies: are 5; an entry can hold at most 4 for a device"]);
    assert!(read(&text.replace("[1, 2]", "[1, 3, 4, 5]")).is_ok());
}

#[test]
fn two_throttle_policies_for_one_subscriber_are_refused() {
    let throttle = "kinds = [\"packet\"]\naction = { throttle = { limit = 1, window = \"1m\" } }\n\
                    access_limit = { limit = 1, window = \"1m\" }";
    refused(
        "# the end",
        &also(throttle, "policies = »[1, 3]"),
        "subscriber.policies",
        "1 and 3 all throttle; a device can have one such policy",
    );
    accepted("# the end", &also(throttle, "policies = [2, 3]"));
}

#[test]
fn policies_of_one_subscriber_count_the_same_kinds() {
    let limit = "action = \"reject\"\naccess_limit = { limit = 1, window = \"1m\" }";
    let all_kinds = also(limit, "policies = »[1, 3]");
    let reason = "policies 1 and 3 count different kinds of access, but a device's entry keeps one history; \
                  give both the same kinds";
    refused("# the end", &all_kinds, "subscriber.policies", reason);
    accepted("# the end", &also(limit, "policies = [2, 3]"));
}

#[test]
fn kinds_that_do_not_reach_the_node_make_no_difference() {
    let limit = "kinds = [\"packet\", \"signalling\"]\naction = \"reject\"\n\
                 access_limit = { limit = 1, window = \"1m\" }";
    accepted("# the end", &also(limit, "policies = [1, 3]"));
    let elsewhere = limit.replace("\"packet\", ", "");
    accepted("# the end", &also(&elsewhere, "policies = [1, 3]"));
    let without_node = format!(
        "[control]\nm2m_device_types = [\"meter\"]\n{}",
        SOUND.split("[[subscriber]]").nth(1).map(|rest| format!("[[subscriber]]{rest}")).unwrap()
    );
    let found = faults_of(&without_node.replace("# the end", &also(limit, "policies = [1, 3]")));
    assert!(found.len() == 1 && found[0].contains("different kinds"), "{found:?}");
}

#[test]
fn a_subscriber_written_twice_is_refused() {
    refused(
        "# the end",
        "[[subscriber]]\ndevice = »\"001010000000001\"\ndevice_type = \"meter\"",
        "subscriber.device",
        "this device is a subscriber already; keep one entry for it",
    );
}

#[test]
fn a_subscriber_without_a_type_is_refused() {
    refused(
        "device_type = \"meter\"",
        "device_type = »\" \"",
        "subscriber.device_type",
        "this is empty; write a value or remove the key",
    );
}

#[test]
fn a_subscriber_may_have_no_policy() {
    let configuration = accepted("policies = [1, 2]", "");
    assert!(configuration.subscribers[0].policies.is_empty());
}
