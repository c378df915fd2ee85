//! Policies as a person writes them, compiled into what the law reads, as the agent does it.
//!
//! Knows the ABI and nothing of a device's state.

use weir_dataplane_common::{
    abi::{self, BY_WORDS, Meter, Profile, THROTTLE_WORD, alarm_order, alarm_when, meter_side, rule_flag},
    inspect::{Class, Classes},
};

use super::policy::{
    Action, Counts, Limit, Metered, Node, Order, Policy, Rule, SMALL, When, meters_of, throttle_of,
};

pub fn classes(classes: &[Class]) -> Classes {
    classes.iter().fold(Classes::NONE, |all, class| all.with(Classes::of(*class)))
}

/// Compiles a node's configuration and a device's policies into what the law reads.
pub fn profile(node: &Node, policies: Option<&Vec<Policy>>) -> Profile {
    let mut rules = [abi::Rule::default(); abi::RULES];
    for (place, policy) in rules.iter_mut().zip(policies.into_iter().flatten()) {
        *place = rule(policy);
    }
    let alarm = &node.alarm;
    let enforced = |rule: &&abi::Rule| rule.action > abi::action::NONE;
    let limit = alarm.requests;
    let meters: Vec<Meter> = meters_of(policies).into_iter().map(meter).collect();
    let mut profile = Profile {
        inactivity: node.inactivity as u32,
        max_age: node.max_age as u32,
        retry: node.retry as u32,
        kinds: node.kinds.iter().map(|kind| kind.bit()).sum(),
        cached: policies.is_some().into(),
        alarm_when: match alarm.when {
            When::NoPolicyCached => alarm_when::NO_POLICY_CACHED,
            When::Always => alarm_when::ALWAYS,
            When::NotRejected => alarm_when::NOT_REJECTED,
        },
        alarm_order: match alarm.order {
            Order::Before => alarm_order::BEFORE,
            Order::With => alarm_order::WITH,
            Order::After => alarm_order::AFTER,
        },
        alarm_counts: limit.is_some().into(),
        alarm_permitted: limit.map_or(0, |limit| limit.permitted as u32),
        alarm_window: limit.map_or(0, |limit| limit.window as u32),
        alarm_classes: classes(&alarm.classes).0,
        forbidden: rules.iter().filter(enforced).fold(0, |all, rule| all | rule.classes),
        meter: meters.first().copied().unwrap_or_default(),
        second_meter: meters.get(1).copied().unwrap_or_default(),
        rules,
        ..Profile::default()
    };
    if let Some(throttle) = throttle_of(policies) {
        profile.throttle_permitted = throttle.permitted as u32;
        profile.throttle_window = throttle.window as u32;
    }
    set_words(&mut profile, node, policies);
    profile
}

/// Which limits are counted by words, and which of those bind whatever happens.
fn set_words(profile: &mut Profile, node: &Node, policies: Option<&Vec<Policy>>) {
    if !needs_words(node, policies) {
        return;
    }
    profile.by_words = BY_WORDS;
    for (place, policy) in policies.into_iter().flatten().enumerate() {
        let Rule::AccessLimit(limit) = policy.rule else { continue };
        if limit.permitted > SMALL {
            profile.by_words |= 1 << place;
            let binds = !policy.shadow && !matches!(policy.action, Action::None | Action::Throttle(_));
            profile.bounded_words |= u8::from(binds) << place;
        }
        if policy.action.throttle().is_some_and(|throttle| throttle.permitted > SMALL) {
            profile.by_words |= 1 << THROTTLE_WORD;
        }
    }
}

/// Whether a limit, a throttle, the alarm or a second rate takes the room of the last requests.
pub fn needs_words(node: &Node, policies: Option<&Vec<Policy>>) -> bool {
    let is_large = |limit: Limit| limit.permitted > SMALL;
    let large = policies.into_iter().flatten().any(|policy| match policy.rule {
        Rule::AccessLimit(limit) => is_large(limit) || policy.action.throttle().is_some_and(is_large),
        Rule::Forbidden(_) | Rule::Rate(_) => false,
    });
    large || node.alarm.requests.is_some_and(is_large) || meters_of(policies).len() == 2
}

fn meter(metered: Metered) -> Meter {
    let side = |wanted: bool, side: u8| if wanted { side } else { 0 };
    Meter {
        byte_cost: metered.byte << 16,
        packet_cost: metered.packet as u32,
        burst: metered.burst as u32,
        sides: side(metered.up, meter_side::UP) | side(metered.down, meter_side::DOWN),
        place: metered.policy as u8,
        flags: if metered.watched_only { rule_flag::SHADOW } else { 0 },
        ..Meter::default()
    }
}

fn rule(policy: &Policy) -> abi::Rule {
    let throttle = policy.action.throttle();
    let mut rule = abi::Rule {
        policy: policy.id,
        action: match policy.action {
            Action::None => abi::action::NONE,
            Action::Throttle(_) => abi::action::THROTTLE,
            Action::Withhold => abi::action::WITHHOLD,
            Action::Reject => abi::action::REJECT,
            Action::Release => abi::action::RELEASE,
        },
        flags: if policy.shadow { rule_flag::SHADOW } else { 0 }
            | if policy.counts == Counts::Requests { rule_flag::REQUESTS } else { 0 },
        throttle_permitted: throttle.map_or(0, |limit| limit.permitted as u32),
        throttle_window: throttle.map_or(0, |limit| limit.window as u32),
        ..abi::Rule::default()
    };
    match &policy.rule {
        Rule::AccessLimit(limit) => {
            rule.restricts = abi::rule::ACCESS_LIMIT;
            (rule.permitted, rule.window) = (limit.permitted as u32, limit.window as u32);
        }
        Rule::Forbidden(forbidden) => {
            rule.restricts = abi::rule::FORBIDDEN_PROTOCOLS;
            rule.classes = classes(forbidden).0;
        }
        Rule::Rate(_) => rule.restricts = abi::rule::RATE,
    }
    rule
}
