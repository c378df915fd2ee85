//! Facts about single decisions, then `judge` against a model that looks at every millisecond.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{AccessLimit, Direction, Rate};

const NOW: i64 = 1_000_000;
const HERE: NodeIndex = NodeIndex(0);
const ELSEWHERE: NodeIndex = NodeIndex(1);

fn limit(permitted: u32, seconds: u64) -> AccessLimit {
    AccessLimit { permitted, window: Duration::from_secs(seconds) }
}

fn policy(id: u32, rule: Rule, action: Action) -> Policy {
    Policy::new(id, rule, action)
}

fn at_most(id: u32, permitted: u32, action: Action) -> Policy {
    policy(id, Rule::AccessLimit(limit(permitted, 60)), action)
}

fn no_esp(id: u32, action: Action) -> Policy {
    policy(id, Rule::ForbiddenProtocols(vec!["esp".into()]), action)
}

fn count_alarm() -> Condition {
    Condition::Count { requests: 4, window: Duration::from_secs(60) }
}

fn esp_alarm() -> Condition {
    Condition::Protocol("esp".into())
}

fn before_now(seconds: i64) -> UnixMillis {
    UnixMillis(NOW - 1000 * seconds)
}

/// Admissions so many seconds ago, and on which node.
fn history(admissions: &[(i64, NodeIndex)]) -> History {
    let mut history = History::default();
    for (seconds, node) in admissions {
        history.push(before_now(*seconds), *node);
    }
    history
}

fn verdict(policies: &[Policy], condition: &Condition, admissions: &[(i64, NodeIndex)]) -> Verdict {
    judge(&Situation {
        policies,
        condition,
        held: Some(AccessKind::Packet),
        node: HERE,
        history: &history(admissions),
        throttles: &[],
        now: UnixMillis(NOW),
    })
}

const THREE_HERE: [(i64, NodeIndex); 3] = [(50, HERE), (30, HERE), (10, HERE)];

#[test]
fn a_fourth_access_under_a_throttle_to_five_is_cancelled_and_throttles() {
    let policies = [at_most(1, 3, Action::Throttle(limit(5, 60))), no_esp(2, Action::Reject)];
    let verdict = verdict(&policies, &count_alarm(), &THREE_HERE);
    assert_eq!(verdict.fate, AlarmFate::Cancel);
    assert_eq!(verdict.status.throttled_until, Some(UnixMillis(NOW + 60_000)));
    assert_eq!(verdict.status.rejected, None);
    assert_eq!(
        verdict.explanation,
        "Cancelled: policy 1 permits 3 accesses in 60 s, and the count is 4; \
         it throttles to 5 in 60 s, of which the count is 4."
    );
}

#[test]
fn beyond_the_throttle_it_is_rejected_until_the_throttle_has_room() {
    let policies = [at_most(1, 3, Action::Throttle(limit(3, 30)))];
    let recent = [(25, HERE), (20, HERE), (15, HERE)];
    let verdict = verdict(&policies, &count_alarm(), &recent);
    assert_eq!(verdict.fate, AlarmFate::Reject);
    assert_eq!(verdict.status.throttled_until, Some(UnixMillis(NOW + 30_000)));
    assert_eq!(verdict.status.rejected, Some(Until::Instant(UnixMillis(NOW + 5_000))));
}

#[test]
fn a_rejecting_limit_rejects_until_its_oldest_admission_leaves_the_window() {
    let verdict = verdict(&[at_most(1, 3, Action::Reject)], &count_alarm(), &THREE_HERE);
    assert_eq!(verdict.fate, AlarmFate::Reject);
    assert_eq!(verdict.status.rejected, Some(Until::Instant(UnixMillis(NOW + 10_000))));
    assert!(!verdict.release_session);
    let text = "Rejected: policy 1 permits 3 accesses in 60 s, and the count is 4; it rejects.";
    assert_eq!(verdict.explanation, text);
}

#[test]
fn only_release_ends_the_session() {
    let released = verdict(&[at_most(1, 3, Action::Release)], &count_alarm(), &THREE_HERE);
    assert!(released.release_session);
    assert_eq!(released.fate, AlarmFate::Reject);
    let withheld = verdict(&[at_most(1, 3, Action::WithholdResources)], &count_alarm(), &THREE_HERE);
    assert!(!withheld.release_session);
    assert_eq!(withheld.fate, AlarmFate::Reject);
}

#[test]
fn within_the_limit_nothing_is_restricted() {
    let verdict = verdict(&[at_most(1, 4, Action::Reject)], &count_alarm(), &THREE_HERE);
    assert_eq!((verdict.fate, verdict.status), (AlarmFate::Cancel, Status::default()));
}

#[test]
fn a_violation_without_action_is_known_and_cancelled() {
    let verdict = verdict(&[at_most(7, 3, Action::None)], &count_alarm(), &THREE_HERE);
    assert_eq!((verdict.fate, verdict.status), (AlarmFate::Cancel, Status::default()));
    assert!(verdict.explanation.contains("policy 7") && verdict.explanation.contains("without consequence"));
}

#[test]
fn a_device_without_policies_is_unrestricted() {
    for condition in [count_alarm(), esp_alarm()] {
        let verdict = verdict(&[], &condition, &THREE_HERE);
        assert_eq!((verdict.fate, verdict.status), (AlarmFate::Cancel, Status::default()));
        assert_eq!(verdict.explanation, "Cancelled: the device has no policies and is unrestricted.");
    }
}

#[test]
fn a_forbidden_protocol_is_rejected_whatever_the_count() {
    let verdict = verdict(&[no_esp(2, Action::Reject)], &esp_alarm(), &[]);
    assert_eq!((verdict.fate, verdict.status), (AlarmFate::Reject, Status::default()));
    assert_eq!(verdict.explanation, "Rejected: policy 2 forbids esp.");
}

#[test]
fn a_protocol_that_is_not_forbidden_or_without_action_is_cancelled() {
    for policies in [vec![no_esp(2, Action::None)], vec![at_most(1, 9, Action::Reject)]] {
        assert_eq!(verdict(&policies, &esp_alarm(), &[]).fate, AlarmFate::Cancel);
    }
    let other = Condition::Protocol("quic".into());
    assert_eq!(verdict(&[no_esp(2, Action::Reject)], &other, &[]).fate, AlarmFate::Cancel);
}

#[test]
fn a_cancelled_protocol_alarm_still_tells_what_the_counts_demand() {
    let policies = [at_most(1, 3, Action::Throttle(limit(5, 60))), no_esp(2, Action::None)];
    let throttled = verdict(&policies, &esp_alarm(), &THREE_HERE);
    assert_eq!(throttled.fate, AlarmFate::Cancel);
    assert_eq!(throttled.status.throttled_until, Some(UnixMillis(NOW + 60_000)));
    let rejected = verdict(&[at_most(1, 3, Action::Reject)], &esp_alarm(), &THREE_HERE);
    assert_eq!(rejected.fate, AlarmFate::Cancel);
    assert_eq!(rejected.status.rejected, Some(Until::Instant(UnixMillis(NOW + 10_000))));
}

#[test]
fn the_most_severe_policy_speaks_and_among_equals_the_lowest() {
    let policies = [
        at_most(1, 3, Action::Throttle(limit(9, 60))),
        at_most(2, 2, Action::Reject),
        at_most(3, 3, Action::Reject),
        at_most(4, 3, Action::WithholdResources),
    ];
    let verdict = verdict(&policies, &count_alarm(), &THREE_HERE);
    assert!(verdict.explanation.starts_with("Rejected: policy 2 "), "{}", verdict.explanation);
    let last_room = UnixMillis(NOW + 30_000);
    assert_eq!(verdict.status.rejected, Some(Until::Instant(last_room)), "all limits must have room");
    assert_eq!(verdict.status.throttled_until, Some(UnixMillis(NOW + 60_000)));
}

#[test]
fn network_scope_counts_all_nodes_and_node_scope_only_its_own() {
    let spread = [(50, ELSEWHERE), (30, HERE), (10, ELSEWHERE)];
    let network = at_most(1, 3, Action::Reject);
    let node = Policy { scope: Scope::Node, ..network.clone() };
    assert_eq!(verdict(&[network], &count_alarm(), &spread).fate, AlarmFate::Reject);
    assert_eq!(verdict(&[node], &count_alarm(), &spread).fate, AlarmFate::Cancel);
}

#[test]
fn a_policy_that_does_not_count_the_held_kind_has_no_say() {
    let policy = Policy { kinds: vec![AccessKind::Trigger], ..at_most(1, 3, Action::Reject) };
    assert_eq!(verdict(&[policy], &count_alarm(), &THREE_HERE).fate, AlarmFate::Cancel);
}

#[test]
fn a_policy_in_shadow_decides_nothing_and_says_what_it_would_have_done() {
    let shadow = |policy| Policy { shadow: true, ..policy };
    let watched = [
        shadow(at_most(1, 2, Action::Reject)),
        at_most(2, 9, Action::Reject),
        shadow(at_most(3, 3, Action::Throttle(limit(5, 60)))),
        shadow(at_most(4, 9, Action::Release)),
        shadow(at_most(5, 0, Action::None)),
    ];
    let counted = verdict(&watched, &count_alarm(), &THREE_HERE);
    assert_eq!((counted.fate, counted.status), (AlarmFate::Cancel, Status::default()));
    assert_eq!(counted.throttles, []);
    assert_eq!(
        counted.explanation,
        "Cancelled: policy 2 permits 9 accesses in 60 s, and the count is 4. In shadow: policy 1 permits 2 accesses \
         in 60 s, and the count is 4; it would reject; policy 3 permits 3 accesses in 60 s, and the count is 4; it \
         would throttle to 5 in 60 s, of which the count is 4."
    );
    let forbidding = [shadow(no_esp(2, Action::Release))];
    let protocol = verdict(&forbidding, &esp_alarm(), &[]);
    assert_eq!((protocol.fate, protocol.release_session), (AlarmFate::Cancel, false));
    let text =
        "Cancelled: no policy forbids esp. In shadow: policy 2 forbids esp; it would release the session.";
    assert_eq!(protocol.explanation, text);
    assert!(!forbids(&forbidding, "esp"));
}

#[test]
fn rates_and_counts_of_requests_are_left_to_the_nodes() {
    let rate = Rate {
        bytes_per_second: Some(1),
        packets_per_second: None,
        burst: Duration::from_millis(10),
        direction: Direction::Both,
    };
    let requests =
        Policy { counts: crate::Counted::Requests, scope: Scope::Node, ..at_most(2, 0, Action::Reject) };
    let policies = [policy(1, Rule::Rate(rate), Action::Reject), requests];
    for condition in [count_alarm(), esp_alarm()] {
        let verdict = verdict(&policies, &condition, &THREE_HERE);
        assert_eq!((verdict.fate, verdict.status), (AlarmFate::Cancel, Status::default()));
    }
}

#[test]
fn a_policy_that_permits_nothing_rejects_for_one_window() {
    let verdict = verdict(&[at_most(1, 0, Action::Reject)], &count_alarm(), &[]);
    assert_eq!(verdict.fate, AlarmFate::Reject);
    assert_eq!(verdict.status.rejected, Some(Until::Instant(UnixMillis(NOW + 60_000))));
}

#[test]
fn a_standing_throttle_governs_though_the_rule_is_kept_again() {
    let policies = [at_most(1, 3, Action::Throttle(limit(1, 300)))];
    let standing = Throttle { policy: PolicyId(1), node: None, until: UnixMillis(NOW + 5_000) };
    let verdict = judge(&Situation {
        policies: &policies,
        condition: &count_alarm(),
        held: Some(AccessKind::Packet),
        node: HERE,
        history: &history(&[(100, HERE)]),
        throttles: &[standing],
        now: UnixMillis(NOW),
    });
    assert_eq!(verdict.fate, AlarmFate::Reject);
    assert_eq!(verdict.status.rejected, Some(Until::Instant(standing.until)));
}

mod model {
    //! What the requirements say, without any cleverness: counts by looking at every admission, room by trying
    //! every millisecond.

    use super::*;

    pub(super) struct Expected {
        pub(super) fate: AlarmFate,
        pub(super) throttled_until: Option<i64>,
        pub(super) rejected: Option<i64>,
        pub(super) release: bool,
        /// The policy that must be named.
        pub(super) names: Option<u32>,
    }

    pub(super) struct World<'a> {
        pub(super) policies: &'a [Policy],
        pub(super) condition: &'a Condition,
        pub(super) held: bool,
        pub(super) admissions: &'a [(i64, NodeIndex)],
        pub(super) standing: &'a [(u32, i64)],
    }

    struct Opinion {
        rank: u8,
        throttled_until: Option<i64>,
        rejected: Option<i64>,
    }

    impl World<'_> {
        fn counted(&self, policy: &Policy) -> Vec<i64> {
            let mine = |node: NodeIndex| policy.scope == Scope::Network || node == HERE;
            self.admissions.iter().filter(|(_, node)| mine(*node)).map(|(at, _)| *at).collect()
        }

        fn opinion(&self, policy: &Policy, limit: AccessLimit) -> Opinion {
            let times = self.counted(policy);
            let count = |limit: AccessLimit, at: i64| {
                let window = limit.window.as_millis() as i64;
                times.iter().filter(|time| **time > at - window && **time <= at).count() as u32
            };
            let held = u32::from(self.held);
            let broken = count(limit, NOW) + held > limit.permitted;
            let ranked = |rank| if broken { rank } else { 0 };
            let Action::Throttle(throttle) = policy.action else {
                let rank = match policy.action {
                    Action::None => ranked(1),
                    Action::WithholdResources => ranked(4),
                    Action::Reject => ranked(5),
                    _ => ranked(6),
                };
                let room = || (NOW + 1..NOW + 10_000).find(|at| count(limit, *at) < limit.permitted);
                let rejected = (rank > 2).then(|| room().unwrap_or(NOW + limit.window.as_millis() as i64));
                return Opinion { rank, throttled_until: None, rejected };
            };
            let mut breaches: Vec<i64> =
                times.iter().copied().filter(|at| count(limit, *at) > limit.permitted).collect();
            if broken && self.held {
                breaches.push(NOW);
            }
            let mut ends: Vec<i64> =
                breaches.iter().map(|at| at + throttle.window.as_millis() as i64).collect();
            ends.extend(self.standing.iter().filter(|(id, _)| *id == policy.id.0).map(|(_, until)| *until));
            let until = ends.into_iter().filter(|end| *end > NOW).max();
            let rank = match until.is_some() || broken {
                false => 0,
                true if count(throttle, NOW) + held > throttle.permitted => 3,
                true => 2,
            };
            let open = |at: i64| {
                let throttled = until.is_some_and(|until| until > at);
                count(throttle, at) < throttle.permitted || (!throttled && count(limit, at) < limit.permitted)
            };
            let room = || (NOW + 1..NOW + 20_000).find(|at| open(*at) && !open(NOW));
            let rejected = (rank > 2).then(|| room().unwrap_or(NOW + limit.window.as_millis() as i64));
            Opinion { rank, throttled_until: until, rejected }
        }

        pub(super) fn expected(&self) -> Expected {
            let mut ranks = Vec::new();
            let (mut throttled_until, mut rejected) = (None, None);
            for policy in self.policies {
                match (&policy.rule, self.condition) {
                    (Rule::AccessLimit(limit), condition) => {
                        let opinion = self.opinion(policy, *limit);
                        throttled_until = throttled_until.max(opinion.throttled_until);
                        rejected = rejected.max(opinion.rejected);
                        if matches!(condition, Condition::Count { .. }) {
                            ranks.push((opinion.rank, policy.id.0));
                        }
                    }
                    (Rule::ForbiddenProtocols(classes), Condition::Protocol(class))
                        if classes.contains(class) =>
                    {
                        let rank = match policy.action {
                            Action::None => 1,
                            Action::Throttle(_) => 3,
                            Action::WithholdResources => 4,
                            Action::Reject => 5,
                            Action::Release => 6,
                        };
                        ranks.push((rank, policy.id.0));
                    }
                    _ => {}
                }
            }
            let worst = ranks.iter().map(|(rank, _)| *rank).max();
            let names = ranks.iter().filter(|(rank, _)| Some(*rank) == worst).map(|(_, id)| *id).min();
            Expected {
                fate: if worst > Some(2) { AlarmFate::Reject } else { AlarmFate::Cancel },
                throttled_until,
                rejected,
                release: worst == Some(6),
                names,
            }
        }
    }
}

fn any_limit() -> impl Strategy<Value = AccessLimit> {
    (0_u32..6, 1_u64..2_000)
        .prop_map(|(permitted, ms)| AccessLimit { permitted, window: Duration::from_millis(ms) })
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::None),
        any_limit().prop_map(Action::Throttle),
        Just(Action::Reject),
        Just(Action::WithholdResources),
        Just(Action::Release),
    ]
}

fn any_policies() -> impl Strategy<Value = Vec<Policy>> {
    let rule = prop_oneof![
        4 => any_limit().prop_map(Rule::AccessLimit),
        1 => Just(Rule::ForbiddenProtocols(vec!["esp".into(), "quic".into()])),
    ];
    let scope = prop_oneof![Just(Scope::Node), Just(Scope::Network)];
    let any = (rule, scope, any_action());
    proptest::collection::vec(any, 0..4).prop_map(|policies| {
        let numbered = policies.into_iter().zip(1_u32..);
        numbered.map(|((rule, scope, action), id)| Policy { scope, ..policy(id, rule, action) }).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 20_000 }))]

    #[test]
    fn judging_agrees_with_the_slow_model(
        policies in any_policies(),
        protocol in any::<bool>(),
        held in any::<bool>(),
        mut admissions in proptest::collection::vec((NOW - 3_000..=NOW, 0_u32..3), 0..12),
        standing in proptest::collection::vec((1_u32..4, NOW + 1..NOW + 2_000), 0..2),
    ) {
        admissions.sort_unstable();
        let admissions: Vec<_> = admissions.into_iter().map(|(at, node)| (at, NodeIndex(node))).collect();
        let condition = if protocol { esp_alarm() } else { count_alarm() };
        let mut history = History::default();
        for (at, node) in &admissions {
            history.push(UnixMillis(*at), *node);
        }
        let standing: Vec<_> = standing
            .into_iter()
            .filter(|(id, _)| policies.iter().any(|policy| policy.id.0 == *id && policy.throttle().is_some()))
            .collect();
        let throttles: Vec<_> = standing
            .iter()
            .map(|(id, until)| Throttle { policy: PolicyId(*id), node: None, until: UnixMillis(*until) })
            .collect();
        let verdict = judge(&Situation {
            policies: &policies,
            condition: &condition,
            held: held.then_some(AccessKind::Packet),
            node: HERE,
            history: &history,
            throttles: &throttles,
            now: UnixMillis(NOW),
        });
        let world = model::World {
            policies: &policies, condition: &condition, held, admissions: &admissions, standing: &standing,
        };
        let expected = world.expected();
        prop_assert_eq!(verdict.fate, expected.fate);
        prop_assert_eq!(verdict.release_session, expected.release);
        prop_assert_eq!(verdict.status.throttled_until, expected.throttled_until.map(UnixMillis));
        let rejected = expected.rejected.map(|at| Until::Instant(UnixMillis(at)));
        prop_assert_eq!(verdict.status.rejected, rejected);
        if let Some(id) = expected.names {
            let named = format!("policy {id} ");
            prop_assert!(verdict.explanation.contains(&named), "{} in: {}", named, verdict.explanation);
        }
    }
}
