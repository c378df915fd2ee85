//! What a ledger's first room is used for: the last requests, or words in which large limits are counted.
//!
//! One or the other for a profile as a whole. The law is `weir_dataplane_common::admit`; here is decided which it is,
//! and refused what would need both.

use weir_dataplane_common::{
    abi::{BY_WORDS, Profile, Rule, THROTTLE_WORD, action, alarm_when, rule, rule_flag},
    window::SLOTS,
};

use super::{Misfit, misfit::Taker};

/// A limit of admissions that is counted in a word of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedWord {
    /// Which of [`weir_dataplane_common::abi::Ledger::words`].
    pub word: usize,
    /// Whose limit.
    pub policy: u32,
    /// The throttle's limit rather than the rule's.
    pub throttle: bool,
    /// The window, in ticks.
    pub window: u32,
}

/// The words in which a profile counts admissions, and for which policy.
pub fn counted_words(profile: &Profile) -> impl Iterator<Item = CountedWord> + '_ {
    let counted = |word: &usize| profile.by_words & 1 << *word != 0;
    let throttling = profile.rules.iter().find(|rule| rule.action == action::THROTTLE);
    (0..=THROTTLE_WORD).filter(counted).filter_map(move |word| {
        let throttle = word == THROTTLE_WORD;
        let rule = if throttle { throttling? } else { profile.rules.get(word)? };
        Some(CountedWord { word, policy: rule.policy, throttle, window: profile.word_limit(word).1 })
    })
}

/// Decides what the room is used for.
pub(super) fn set(profile: &mut Profile) -> Result<(), Misfit> {
    if let Some(rule) = profile.rules.iter().find(|rule| rule.action == action::THROTTLE) {
        (profile.throttle_permitted, profile.throttle_window) =
            (rule.throttle_permitted, rule.throttle_window);
    }
    let Some(taker) = taker(profile) else { return Ok(()) };
    let (words, bounded) = words(profile);
    (profile.by_words, profile.bounded_words) = (BY_WORDS | words, bounded);
    if let Some(rule) = profile.rules.iter().find(|rule| counts_requests(rule)) {
        return Err(Misfit::NoRoomForRequests { policy: rule.policy, taker });
    }
    let alarm_looks = profile.cached == 0 || profile.alarm_when != alarm_when::NO_POLICY_CACHED;
    if profile.alarm_counts != 0 && !has_large_alarm(profile) && alarm_looks {
        return Err(Misfit::NoRoomForAlarm { taker });
    }
    Ok(())
}

/// Bits of the words that count admissions, and of those whose limits are enforced whatever happens.
fn words(profile: &Profile) -> (u8, u8) {
    let (mut words, mut bounded) = (0, 0);
    for (place, rule) in profile.rules.iter().enumerate() {
        if has_large_limit(rule) {
            words |= 1 << place;
            let enforced = rule.flags & rule_flag::SHADOW == 0 && rule.action > action::THROTTLE;
            bounded |= u8::from(enforced) << place;
        }
        words |= u8::from(has_large_throttle(rule)) << THROTTLE_WORD;
    }
    (words, bounded)
}

/// What needs words, if anything does. Policies first: they are what is being refused.
fn taker(profile: &Profile) -> Option<Taker> {
    let mut rules = profile.rules.iter();
    let large = rules.find(|rule| has_large_limit(rule) || has_large_throttle(rule));
    let policy_of = |place: u8| profile.rules[usize::from(place) - 1].policy;
    let (one, other) = (profile.meter.place, profile.second_meter.place);
    match large {
        Some(rule) => Some(Taker::Limit(rule.policy)),
        None if other != 0 => {
            let (one, other) = (policy_of(one), policy_of(other));
            Some(Taker::SecondMeter(one.min(other), one.max(other)))
        }
        None => has_large_alarm(profile).then_some(Taker::Alarm),
    }
}

fn counts_requests(rule: &Rule) -> bool {
    rule.restricts == rule::ACCESS_LIMIT && rule.flags & rule_flag::REQUESTS != 0
}

fn has_large_limit(rule: &Rule) -> bool {
    rule.restricts == rule::ACCESS_LIMIT && !counts_requests(rule) && rule.permitted as usize > SLOTS
}

fn has_large_throttle(rule: &Rule) -> bool {
    rule.restricts == rule::ACCESS_LIMIT
        && rule.action == action::THROTTLE
        && rule.throttle_permitted as usize > SLOTS
}

fn has_large_alarm(profile: &Profile) -> bool {
    profile.alarm_counts != 0 && profile.alarm_permitted as usize > SLOTS
}
