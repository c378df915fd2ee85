//! What rules say, as numbers that order themselves.
//!
//! The most severe of several rulings is their maximum, so the verifier sees one number instead of a tree of
//! cases. Nothing here knows a packet or an entry.

use core::mem;

use crate::{
    abi::{action, rule_flag},
    opaque::forget,
    reason::Reason,
};

/// What one rule or the whole cache says, as a number that orders itself: severity first, then the lower
/// policy. So the most severe of several is their maximum (and the verifier sees one number, not a tree).
///
/// | bits | 24–31 | 16–23 | 0–7 |
/// |---|---|---|---|
/// | | severity, one of [`action`] | 255 − place of the rule | reason to reject, or [`NO_REASON`] |
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ruling(u32);

/// A ruling that rejects nothing.
const NO_REASON: u32 = 0xff;
/// More severe than any action: the history changed under the judgement.
pub(super) const UNCLEAR: u8 = 0xff;

impl Ruling {
    /// Place 0: more than a rule that is known and not enforced.
    pub(super) const NOTHING: Ruling = Ruling(255 << 16 | NO_REASON);

    /// By the rule in `place` (0 for the status, n for the n-th rule).
    #[inline(always)]
    pub(super) const fn new(severity: u8, place: u32, reason: Option<Reason>) -> Self {
        let reason = match reason {
            Some(reason) => reason as u32,
            None => NO_REASON,
        };
        Self((severity as u32) << 24 | (255 - place) << 16 | reason)
    }

    #[inline(always)]
    pub(super) fn or_worse(self, other: Ruling) -> Self {
        Self(forget(if other.0 > self.0 { other.0 } else { self.0 }))
    }

    /// The reason to reject, if it rejects.
    #[inline(always)]
    pub(super) fn reason(self) -> Option<Reason> {
        let number = self.0 as u8;
        if u32::from(number) == NO_REASON {
            return None;
        }
        // SAFETY: `new` put a reason's own number there, or the mark of none.
        Some(unsafe { mem::transmute::<u8, Reason>(number) })
    }

    /// The deciding rule's place + 1, 0 for the status.
    #[inline(always)]
    pub(super) const fn rule(self) -> u32 {
        255 - (self.0 >> 16 & 0xff)
    }

    #[inline(always)]
    pub(super) const fn releases(self) -> bool {
        self.0 >> 24 == action::RELEASE as u32
    }

    #[inline(always)]
    pub(super) const fn is_unclear(self) -> bool {
        self.0 >> 24 == UNCLEAR as u32
    }
}

/// Why a policy in shadow would have dropped a packet, if one would have.
///
/// | bits | 8–15 | 0–7 |
/// |---|---|---|
/// | | the rule's place + 1 | reason; 0: nothing would have happened |
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shadow(pub u32);

impl Shadow {
    /// Nothing would have happened.
    pub const NONE: Shadow = Shadow(0);

    #[inline(always)]
    pub(super) fn of(ruling: Ruling) -> Self {
        let shadow = match ruling.reason() {
            Some(reason) => reason as u32 | ruling.rule() << 8,
            None => 0,
        };
        Self(forget(shadow))
    }

    /// The number of the reason, 0 if nothing would have happened.
    #[inline(always)]
    pub const fn reason(self) -> u32 {
        self.0 & 0xff
    }

    /// The place of the rule among the profile's.
    #[inline(always)]
    pub const fn place(self) -> u32 {
        (self.0 >> 8).wrapping_sub(1) & 3
    }
}

/// What the forbidden protocols say, enforced and in shadow.
#[derive(Clone, Copy)]
pub(super) struct Protocols {
    pub(super) ruling: Ruling,
    pub(super) shadow: Ruling,
}

impl Protocols {
    pub(super) const NOTHING: Protocols = Protocols { ruling: Ruling::NOTHING, shadow: Ruling::NOTHING };

    /// The same, whichever rules said it: what follows is one path for the verifier.
    #[inline(always)]
    pub(super) fn forgotten(self) -> Self {
        Self { ruling: Ruling(forget(self.ruling.0)), shadow: Ruling(forget(self.shadow.0)) }
    }

    #[inline(always)]
    pub(super) fn add(&mut self, flags: u8, ruling: Ruling) {
        if flags & rule_flag::SHADOW == 0 {
            self.ruling = self.ruling.or_worse(ruling);
        } else {
            self.shadow = self.shadow.or_worse(ruling);
        }
    }
}
