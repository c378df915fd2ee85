//! Policies into the profile that the packet path judges by.
//!
//! Pure: the same policies and times always give the same profile, so equal devices share one. What a
//! profile cannot hold is an error with the reason; nothing is rounded in the device's favour.

use std::time::Duration;

use weir_dataplane_common::{
    abi::{AccessKind, Profile, RULES, Rule, action, rule},
    inspect::{Class, Classes},
    tick::{LONGEST_WINDOW_NS, length_ticks, window_ticks},
    window::SLOTS,
};

use crate::config::{AlarmCondition, Timings};

/// A policy in the agent's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Identifier.
    pub id: u32,
    /// What is restricted.
    pub restriction: Restriction,
    /// Kinds of access counted; empty means all.
    pub kinds: Vec<AccessKind>,
    /// What a violation leads to.
    pub action: Action,
}

/// What a policy restricts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// How often.
    Accesses(Limit),
    /// By which protocols.
    Protocols(Vec<Class>),
}

/// At most `permitted` accesses in any `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Accesses.
    pub permitted: u32,
    /// In this window.
    pub window: Duration,
}

/// What a violation leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// This limit instead.
    Throttle(Limit),
    /// No new access.
    Reject,
    /// On the packet path the same.
    Withhold,
    /// The session ends.
    Release,
}

/// Why policies do not fit into a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// More policies than rules.
    #[error("{0} policies; an entry holds {RULES}")]
    TooManyPolicies(usize),
    /// A limit that the slots cannot hold.
    #[error("policy {policy}: {permitted} accesses per window; an entry judges at most {SLOTS} exactly")]
    LimitTooLarge {
        /// The policy.
        policy: u32,
        /// Its limit.
        permitted: u32,
    },
    /// A window of zero or more than a day.
    #[error("policy {policy}: a window of {window:?}; an entry judges windows above zero and up to 24 hours")]
    Window {
        /// The policy.
        policy: u32,
        /// Its window.
        window: Duration,
    },
    /// The throttle's end is kept once.
    #[error("policies {0} and {1} both throttle; an entry keeps one throttle")]
    TwoThrottles(u32, u32),
    /// The history is kept once.
    #[error("policies {0} and {1} count different kinds of access; an entry keeps one history")]
    TwoHistories(u32, u32),
}

/// The profile of a device, or of one without policies (`None`).
///
/// # Errors
/// [`Misfit`], naming the policy.
pub fn compile(
    policies: Option<&[Policy]>,
    node_kinds: &[AccessKind],
    timings: &Timings,
    alarm: Option<&AlarmCondition>,
) -> Result<Profile, Misfit> {
    let mut profile = Profile {
        inactivity: ticks(timings.inactivity),
        max_age: ticks(timings.max_session_age),
        retry: ticks(timings.retry_interval),
        kinds: mask(node_kinds, node_kinds),
        cached: policies.is_some().into(),
        ..Profile::default()
    };
    if let Some(alarm) = alarm {
        set_alarm(&mut profile, alarm);
    }
    let mut sorted: Vec<&Policy> = policies.unwrap_or_default().iter().collect();
    sorted.sort_by_key(|policy| policy.id);
    if sorted.len() > RULES {
        return Err(Misfit::TooManyPolicies(sorted.len()));
    }
    for (place, policy) in sorted.iter().enumerate() {
        profile.rules[place] = compile_rule(policy)?;
    }
    check_one_throttle(&profile)?;
    set_kinds(&mut profile, &sorted, node_kinds)?;
    profile.forbidden = forbidden(&profile);
    Ok(profile)
}

fn set_alarm(profile: &mut Profile, alarm: &AlarmCondition) {
    if let Some((permitted, window)) = alarm.count {
        profile.alarm_counts = 1;
        profile.alarm_permitted = permitted;
        profile.alarm_window = window_ticks(nanos(window));
    }
    profile.alarm_classes = classes(&alarm.protocols);
    profile.alarm_when = alarm.when;
    profile.alarm_order = alarm.order;
}

fn compile_rule(policy: &Policy) -> Result<Rule, Misfit> {
    let mut compiled = Rule { policy: policy.id, ..Rule::default() };
    match &policy.restriction {
        Restriction::Accesses(limit) => {
            compiled.restricts = rule::ACCESS_LIMIT;
            (compiled.permitted, compiled.window) = checked(policy.id, limit)?;
        }
        Restriction::Protocols(forbidden) => {
            compiled.restricts = rule::FORBIDDEN_PROTOCOLS;
            compiled.classes = classes(forbidden);
        }
    }
    compiled.action = match policy.action {
        Action::None => action::NONE,
        Action::Reject => action::REJECT,
        Action::Withhold => action::WITHHOLD,
        Action::Release => action::RELEASE,
        Action::Throttle(limit) => {
            (compiled.throttle_permitted, compiled.throttle_window) = checked(policy.id, &limit)?;
            action::THROTTLE
        }
    };
    Ok(compiled)
}

fn checked(policy: u32, limit: &Limit) -> Result<(u32, u32), Misfit> {
    if limit.permitted as usize > SLOTS {
        return Err(Misfit::LimitTooLarge { policy, permitted: limit.permitted });
    }
    if limit.window.is_zero() || limit.window.as_nanos() > u128::from(LONGEST_WINDOW_NS) {
        return Err(Misfit::Window { policy, window: limit.window });
    }
    Ok((limit.permitted, window_ticks(nanos(limit.window))))
}

fn check_one_throttle(profile: &Profile) -> Result<(), Misfit> {
    let mut throttles = profile.rules.iter().filter(|rule| rule.action == action::THROTTLE);
    match (throttles.next(), throttles.next()) {
        (Some(one), Some(other)) => Err(Misfit::TwoThrottles(one.policy, other.policy)),
        _ => Ok(()),
    }
}

/// All access limits must count the same of the kinds that this node sees.
fn set_kinds(profile: &mut Profile, policies: &[&Policy], node: &[AccessKind]) -> Result<(), Misfit> {
    let limits = policies.iter().filter(|policy| matches!(policy.restriction, Restriction::Accesses(_)));
    let mut first: Option<(u32, u32)> = None;
    for policy in limits {
        let kinds = if policy.kinds.is_empty() { mask(node, node) } else { mask(&policy.kinds, node) };
        match first {
            Some((other, counted)) if counted != kinds => return Err(Misfit::TwoHistories(other, policy.id)),
            _ => first = Some((policy.id, kinds)),
        }
        profile.kinds = kinds;
    }
    Ok(())
}

fn mask(kinds: &[AccessKind], node: &[AccessKind]) -> u32 {
    kinds.iter().filter(|kind| node.contains(kind)).fold(0, |mask, kind| mask | kind.bit())
}

fn classes(classes: &[Class]) -> u64 {
    classes.iter().fold(Classes::NONE, |set, class| set.with(Classes::of(*class))).0
}

fn forbidden(profile: &Profile) -> u64 {
    let rules = profile.rules.iter();
    let enforced = rules.filter(|r| r.restricts == rule::FORBIDDEN_PROTOCOLS && r.action != action::NONE);
    enforced.fold(0, |set, rule| set | rule.classes)
}

fn ticks(length: Duration) -> u32 {
    length_ticks(nanos(length))
}

fn nanos(length: Duration) -> u64 {
    length.as_nanos().min(u128::from(LONGEST_WINDOW_NS)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use AccessKind::{Packet, Trigger};

    const MINUTE: Duration = Duration::from_secs(60);
    const TIMINGS: Timings = Timings {
        inactivity: Duration::from_secs(10),
        max_session_age: Duration::from_secs(3600),
        retry_interval: Duration::from_secs(1),
    };

    fn limit(permitted: u32) -> Restriction {
        Restriction::Accesses(Limit { permitted, window: MINUTE })
    }

    fn policy(id: u32, restriction: Restriction, action: Action) -> Policy {
        Policy { id, restriction, kinds: vec![], action }
    }

    fn compiled(policies: &[Policy]) -> Result<Profile, Misfit> {
        compile(Some(policies), &[Packet, Trigger], &TIMINGS, None)
    }

    #[test]
    fn the_worked_example_compiles_to_two_rules_in_the_order_of_their_ids() {
        let throttle = Action::Throttle(Limit { permitted: 5, window: MINUTE });
        let profile = compiled(&[
            policy(2, Restriction::Protocols(vec![Class::Esp]), Action::Reject),
            policy(1, limit(3), throttle),
        ])
        .expect("fits");
        let minute = window_ticks(60_000_000_000);
        assert_eq!(
            (profile.rules[0].policy, profile.rules[0].permitted, profile.rules[0].window),
            (1, 3, minute)
        );
        assert_eq!((profile.rules[0].throttle_permitted, profile.rules[0].throttle_window), (5, minute));
        assert_eq!((profile.rules[1].policy, profile.rules[1].action), (2, action::REJECT));
        assert_eq!(profile.forbidden, Classes::of(Class::Esp).0);
        assert_eq!((profile.cached, profile.kinds), (1, Packet.bit() | Trigger.bit()));
    }

    #[test]
    fn a_protocol_that_is_only_watched_is_not_forbidden() {
        let profile = compiled(&[policy(2, Restriction::Protocols(vec![Class::Esp]), Action::None)]);
        assert_eq!(profile.expect("fits").forbidden, 0);
    }

    #[test]
    fn no_policies_are_not_the_same_as_no_entry() {
        assert_eq!(compiled(&[]).expect("fits").cached, 1);
        assert_eq!(compile(None, &[Packet], &TIMINGS, None).expect("fits").cached, 0);
    }

    #[test]
    fn what_an_entry_cannot_hold_is_refused_with_the_policy() {
        let throttle = Action::Throttle(Limit { permitted: 1, window: MINUTE });
        let five: Vec<Policy> = (1..=5).map(|id| policy(id, limit(1), Action::None)).collect();
        assert_eq!(compiled(&five), Err(Misfit::TooManyPolicies(5)));
        let large = compiled(&[policy(7, limit(15), Action::Reject)]);
        assert_eq!(large, Err(Misfit::LimitTooLarge { policy: 7, permitted: 15 }));
        let two = compiled(&[policy(1, limit(1), throttle), policy(2, limit(2), throttle)]);
        assert_eq!(two, Err(Misfit::TwoThrottles(1, 2)));
        let zero = Restriction::Accesses(Limit { permitted: 1, window: Duration::ZERO });
        assert!(matches!(
            compiled(&[policy(1, zero, Action::Reject)]),
            Err(Misfit::Window { policy: 1, .. })
        ));
    }

    #[test]
    fn limits_that_count_different_kinds_are_refused_unless_the_node_sees_no_difference() {
        let only_packets = Policy { kinds: vec![Packet], ..policy(1, limit(1), Action::Reject) };
        let everything = policy(2, limit(2), Action::Reject);
        let both = [only_packets, everything];
        assert_eq!(compiled(&both), Err(Misfit::TwoHistories(1, 2)));
        assert!(compile(Some(&both), &[Packet], &TIMINGS, None).is_ok());
    }
}
