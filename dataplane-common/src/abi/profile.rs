//! What combinations of policies mean to the packet path: rules, meters, the alarm's condition.
//!
//! Compiled by user space, never changed while an entry names it. Read first: [`super::Entry`].

use super::RULES;
use crate::inspect::Classes;

/// What a rule restricts.
pub mod rule {
    /// No rule in this place.
    pub const ABSENT: u8 = 0;
    /// How often: at most `permitted` accesses in `window`.
    pub const ACCESS_LIMIT: u8 = 1;
    /// By which protocols: none of `classes`.
    pub const FORBIDDEN_PROTOCOLS: u8 = 2;
    /// How much: the profile's meters say.
    pub const RATE: u8 = 3;
}

/// How a rule is applied, in [`Rule::flags`].
pub mod rule_flag {
    /// Evaluated and counted, not enforced (R-X5).
    pub const SHADOW: u8 = 1;
    /// Counts requests, not admissions.
    pub const REQUESTS: u8 = 2;
}

/// What a violation leads to, in the order of severity.
pub mod action {
    /// Known, never enforced.
    pub const NONE: u8 = 0;
    /// The throttle's limit replaces the rule's.
    pub const THROTTLE: u8 = 1;
    /// No new access; on signalling nodes, accepted without bearer.
    pub const WITHHOLD: u8 = 2;
    /// No new access.
    pub const REJECT: u8 = 3;
    /// The open session ends.
    pub const RELEASE: u8 = 4;
}

/// A policy as the packet path judges it. Windows are in ticks, made by [`crate::tick::window_ticks`].
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Rule {
    /// The policy's identifier; rules stand in ascending order of it.
    pub policy: u32,
    /// One of [`rule`].
    pub restricts: u8,
    /// One of [`action`].
    pub action: u8,
    /// Bits of [`rule_flag`].
    pub flags: u8,
    /// Explicit padding.
    pub padding: u8,
    /// Accesses that may be admitted in any window: up to [`crate::window::SLOTS`] by the ledger's slots, above
    /// that, up to [`crate::subwindow::LARGEST`], by its words.
    pub permitted: u32,
    /// The window, in ticks.
    pub window: u32,
    /// The same two for the throttle.
    pub throttle_permitted: u32,
    /// The throttle's window, in ticks.
    pub throttle_window: u32,
    /// Forbidden classes, as [`Classes`].
    pub classes: u64,
}

/// When a node's alarm condition is evaluated (R-D7).
pub mod alarm_when {
    /// Only for devices without a cached policy.
    pub const NO_POLICY_CACHED: u8 = 0;
    /// For every access.
    pub const ALWAYS: u8 = 1;
    /// Only where the cache did not reject.
    pub const NOT_REJECTED: u8 = 2;
}

/// Where the alarm condition stands relative to the cache check (R-D7).
pub mod alarm_order {
    /// The cache's verdict stands, the alarm is raised beside it.
    pub const WITH: u8 = 0;
    /// An alarm holds the access whatever the cache would say.
    pub const BEFORE: u8 = 1;
    /// The alarm is evaluated only for what the cache let through.
    pub const AFTER: u8 = 2;
}

/// A rate that packets are paid for at. See [`crate::rate`].
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Meter {
    /// What a byte of an IP packet costs, in 2⁻¹⁶ ns.
    pub byte_cost: u64,
    /// What a packet costs, whatever its size, in ns.
    pub packet_cost: u32,
    /// How far packets may be ahead of their payment, in µs.
    pub burst: u32,
    /// Which directions are metered: bits of [`meter_side`]; 0: there is no meter.
    pub sides: u8,
    /// The rule's place + 1.
    pub place: u8,
    /// Bits of [`rule_flag`].
    pub flags: u8,
    /// Explicit padding.
    pub padding: [u8; 5],
}

/// Directions, in [`Meter::sides`].
pub mod meter_side {
    /// From the device.
    pub const UP: u8 = 1;
    /// To the device.
    pub const DOWN: u8 = 2;
}

/// Everything that a combination of policies means on this node. Compiled by user space, written before any
/// entry names it, never changed while one does. Its first line is what a packet of an open session needs.
#[repr(C, align(64))]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Profile {
    /// Silence of the device that ends a session, in ticks.
    pub inactivity: u32,
    /// Age at which a session ends whatever happens, in ticks.
    pub max_age: u32,
    /// Classes that are an alarm, as [`Classes`].
    pub alarm_classes: u64,
    /// Classes that any rule forbids, with an action above none or in shadow.
    pub forbidden: u64,
    /// The first rate, whose bucket stands in the entry.
    pub meter: Meter,
    /// How long a dropped packet's repeats are the same request, in ticks.
    pub retry: u32,
    /// Kinds of access that the rules count, bits of [`super::AccessKind`].
    pub kinds: u32,
    /// Whether policies are cached for the device; an empty list of policies is a policy too.
    pub cached: u8,
    /// One of [`alarm_when`].
    pub alarm_when: u8,
    /// One of [`alarm_order`].
    pub alarm_order: u8,
    /// Whether the alarm counts requests at all.
    pub alarm_counts: u8,
    /// Not 0 if the ledger's first room holds words, not the last attempts: bits of the words that count
    /// admissions, and [`super::BY_WORDS`].
    pub by_words: u8,
    /// Of those words, the ones whose limits are enforced whatever happens; the throttle's is while it throttles.
    pub bounded_words: u8,
    /// Explicit padding.
    pub padding: [u8; 2],
    /// More requests than this in the alarm's window are an alarm: counted as in [`Rule::permitted`].
    pub alarm_permitted: u32,
    /// The alarm's window, in ticks.
    pub alarm_window: u32,
    /// The second rate, whose bucket is a word of the ledger: only with `by_words`.
    pub second_meter: Meter,
    /// Of the rule that throttles, if there is one: its throttle's limit and window again.
    pub throttle_permitted: u32,
    /// In ticks.
    pub throttle_window: u32,
    /// Explicit padding to a cache line.
    pub reserved: [u64; 3],
    /// The policies, in ascending order of their identifiers.
    pub rules: [Rule; RULES],
}

impl Profile {
    /// The limit and the window that a word of admissions counts for.
    #[inline(always)]
    pub fn word_limit(&self, word: usize) -> (u32, u32) {
        match self.rules.get(word) {
            Some(rule) => (rule.permitted, rule.window),
            None => (self.throttle_permitted, self.throttle_window),
        }
    }

    /// Classes that need more than a look at the session.
    #[inline(always)]
    pub const fn watched(&self) -> Classes {
        Classes(self.alarm_classes | self.forbidden)
    }
}
