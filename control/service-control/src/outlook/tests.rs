//! Facts about the sum over nodes.

use std::time::Duration;

use super::*;
use crate::Rule;

const NOW: UnixMillis = UnixMillis(1_000_000);
const A: NodeIndex = NodeIndex(0);
const B: NodeIndex = NodeIndex(1);

fn limit(permitted: u32, seconds: u64) -> AccessLimit {
    AccessLimit { permitted, window: Duration::from_secs(seconds) }
}

fn at_most(permitted: u32, action: Action) -> Policy {
    let rule = Rule::AccessLimit(limit(permitted, 60));
    Policy::new(1, rule, action)
}

fn ago(seconds: i64) -> UnixMillis {
    UnixMillis(NOW.0 - 1000 * seconds)
}

fn history(admissions: &[(i64, NodeIndex)]) -> History {
    let mut history = History::default();
    for (seconds, node) in admissions {
        history.push(ago(*seconds), *node);
    }
    history
}

fn look(policy: &Policy, admissions: &[(i64, NodeIndex)], throttles: &[Throttle], refused: bool) -> Outlook {
    let policies = std::slice::from_ref(policy);
    survey(&Survey { policies, history: &history(admissions), throttles, refused, now: NOW })
}

fn own(policy: &Policy, admissions: &[(i64, NodeIndex)], node: NodeIndex) -> Option<UnixMillis> {
    let policies = std::slice::from_ref(policy);
    let history = history(admissions);
    Prospect { policies, history: &history, throttles: &[], node: Some(node), now: NOW }.by_itself()
}

#[test]
fn a_limit_that_no_node_sees_alone_is_exhausted_by_all_together() {
    let policy = at_most(4, Action::Reject);
    let spread = [(40, A), (30, B), (20, A), (10, B)];
    assert_eq!(look(&policy, &spread[1..], &[], false).rejected, None);
    assert_eq!(look(&policy, &spread, &[], false).rejected, Some(ago(40 - 60)));
    assert_eq!(own(&policy, &spread, A), None);
    assert_eq!(own(&policy, &[(40, A), (30, A), (20, A), (10, A)], A), Some(ago(40 - 60)));
}

#[test]
fn all_limits_must_have_room() {
    let day =
        Policy { id: PolicyId(2), rule: Rule::AccessLimit(limit(2, 600)), ..at_most(9, Action::Reject) };
    let policies = [at_most(2, Action::Reject), day, at_most(2, Action::Release)];
    let history = history(&[(40, A), (30, B)]);
    let outlook =
        survey(&Survey { policies: &policies, history: &history, throttles: &[], refused: false, now: NOW });
    assert_eq!((outlook.rejected, outlook.governing), (Some(ago(40 - 600)), Some(PolicyId(1))));
}

#[test]
fn exceeding_a_throttle_rule_throttles_from_the_latest_breach() {
    let policy = at_most(3, Action::Throttle(limit(5, 60)));
    let spread = [(40, A), (30, B), (20, A), (10, B)];
    let outlook = look(&policy, &spread, &[], false);
    assert_eq!(outlook.throttles, [Throttle { policy: PolicyId(1), node: None, until: ago(10 - 60) }]);
    assert_eq!(outlook.rejected, None);
}

#[test]
fn a_throttle_is_not_prolonged_for_every_knock() {
    let policy = at_most(3, Action::Throttle(limit(5, 60)));
    let full = [(40, A), (30, B), (20, A), (10, B), (9, A)];
    let standing = |seconds: i64| [Throttle { policy: PolicyId(1), node: None, until: ago(-seconds) }];
    assert_eq!(look(&policy, &full, &standing(55), true).throttles, []);
    let prolonged = look(&policy, &full, &standing(52), true).throttles;
    assert_eq!(prolonged, [Throttle { policy: PolicyId(1), node: None, until: ago(-60) }]);
}

#[test]
fn a_refused_attempt_beyond_the_rule_begins_the_throttle_everywhere() {
    let policy = at_most(3, Action::Throttle(limit(1, 300)));
    let at_the_limit = [(40, A), (30, A), (20, A)];
    assert_eq!(look(&policy, &at_the_limit, &[], false).throttles, []);
    let refused = look(&policy, &at_the_limit, &[], true);
    assert_eq!(refused.throttles, [Throttle { policy: PolicyId(1), node: None, until: ago(-300) }]);
    assert_eq!(refused.rejected, Some(ago(20 - 300)));
}

#[test]
fn policies_of_node_scope_in_shadow_or_without_action_are_not_the_networks_concern() {
    let full = [(3, A), (2, A), (1, A)];
    let of_node = Policy { scope: Scope::Node, ..at_most(2, Action::Reject) };
    let watched = Policy { shadow: true, ..at_most(2, Action::Release) };
    for policy in [of_node, watched, at_most(2, Action::None)] {
        assert!(!concerns_network(std::slice::from_ref(&policy)));
        assert_eq!(look(&policy, &full, &[], true), Outlook::default());
    }
}

#[test]
fn sessions_are_released_only_beyond_the_limit() {
    let policy = at_most(2, Action::Release);
    assert!(!look(&policy, &[(3, A), (2, B)], &[], false).release);
    assert!(look(&policy, &[(3, A), (2, B), (1, A)], &[], false).release);
}

#[test]
fn a_policy_that_permits_nothing_is_left_to_the_nodes() {
    assert_eq!(look(&at_most(0, Action::Reject), &[], &[], false), Outlook::default());
}
