//! Policies into the profile that the packet path judges by.
//!
//! Pure: the same policies and times always give the same profile, so equal devices share one. What a
//! profile cannot hold is a [`Misfit`] with the reason; no limit is rounded in the device's favour. `meter` turns
//! rates into costs, `room` decides what the ledger's first room is used for.

mod meter;
mod misfit;
mod room;
#[cfg(test)]
mod tests;

use std::time::Duration;

use weir_dataplane_common::{
    abi::{AccessKind, Profile, RULES, Rule, action, rule, rule_flag},
    inspect::{Class, Classes},
    subwindow::LARGEST,
    tick::{LONGEST_WINDOW_NS, length_ticks, window_ticks},
    window::SLOTS,
};

use crate::config::{AlarmCondition, Timings};
pub use misfit::Misfit;
pub use room::{CountedWord, counted_words};

/// Limits above [`SLOTS`] are for windows at least so long: the numbers of shorter sub-windows wrap too soon.
const SHORTEST_WINDOW_OF_WORDS: Duration = Duration::from_secs(1);

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
    /// What an access limit counts.
    pub counts: Counted,
    /// Evaluated and counted, never enforced.
    pub shadow: bool,
}

impl Policy {
    /// A policy that counts admitted accesses of all kinds, and is enforced.
    pub fn new(id: u32, restriction: Restriction, action: Action) -> Self {
        Self { id, restriction, kinds: Vec::new(), action, counts: Counted::Admitted, shadow: false }
    }
}

/// What an access limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Accesses that were let through.
    Admitted,
    /// Attempts, let through or not.
    Requests,
}

/// What a policy restricts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// How often.
    Accesses(Limit),
    /// By which protocols.
    Protocols(Vec<Class>),
    /// How fast.
    Rate(Rate),
}

/// At most so much a second; at least one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bytes of IP packets.
    pub bytes_per_second: Option<u64>,
    /// IP packets.
    pub packets_per_second: Option<u32>,
    /// How much may come at once: what the rate allows in so long a time.
    pub burst: Duration,
    /// Whose packets are measured: bits of [`weir_dataplane_common::abi::meter_side`].
    pub sides: u8,
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
        set_alarm(&mut profile, alarm)?;
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
    meter::set(&mut profile, &sorted)?;
    room::set(&mut profile)?;
    profile.forbidden = forbidden(&profile);
    Ok(profile)
}

fn set_alarm(profile: &mut Profile, alarm: &AlarmCondition) -> Result<(), Misfit> {
    if let Some((permitted, window)) = alarm.count {
        if permitted > LARGEST || permitted as usize > SLOTS && window < SHORTEST_WINDOW_OF_WORDS {
            return Err(Misfit::Alarm { permitted, window });
        }
        profile.alarm_counts = 1;
        profile.alarm_permitted = permitted;
        profile.alarm_window = window_ticks(nanos(window));
    }
    profile.alarm_classes = classes(&alarm.protocols);
    profile.alarm_when = alarm.when;
    profile.alarm_order = alarm.order;
    Ok(())
}

fn compile_rule(policy: &Policy) -> Result<Rule, Misfit> {
    let mut compiled = Rule { policy: policy.id, flags: flags(policy), ..Rule::default() };
    match &policy.restriction {
        Restriction::Accesses(limit) => {
            compiled.restricts = rule::ACCESS_LIMIT;
            (compiled.permitted, compiled.window) = checked(policy.id, limit)?;
            check_requests(&compiled)?;
        }
        Restriction::Protocols(forbidden) => {
            compiled.restricts = rule::FORBIDDEN_PROTOCOLS;
            compiled.classes = classes(forbidden);
        }
        Restriction::Rate(_) => compiled.restricts = rule::RATE,
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

fn flags(policy: &Policy) -> u8 {
    let shadow = if policy.shadow { rule_flag::SHADOW } else { 0 };
    let counts_requests =
        policy.counts == Counted::Requests && matches!(policy.restriction, Restriction::Accesses(_));
    shadow | if counts_requests { rule_flag::REQUESTS } else { 0 }
}

/// The attempt that is judged stands among the last requests already if it is a repeat.
fn check_requests(rule: &Rule) -> Result<(), Misfit> {
    if rule.flags & rule_flag::REQUESTS != 0 && rule.permitted as usize >= SLOTS {
        return Err(Misfit::TooManyRequests { policy: rule.policy, permitted: rule.permitted });
    }
    Ok(())
}

fn checked(policy: u32, limit: &Limit) -> Result<(u32, u32), Misfit> {
    let Limit { permitted, window } = *limit;
    if permitted > LARGEST {
        return Err(Misfit::LimitTooLarge { policy, permitted });
    }
    if window.is_zero() || window.as_nanos() > u128::from(LONGEST_WINDOW_NS) {
        return Err(Misfit::Window { policy, window });
    }
    if permitted as usize > SLOTS && window < SHORTEST_WINDOW_OF_WORDS {
        return Err(Misfit::WindowTooShort { policy, permitted, window });
    }
    Ok((permitted, window_ticks(nanos(window))))
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
