//! An access before the law: status, limits and alarm condition, then the one effect that follows.
//!
//! First everything is decided, then it is carried out, so that each effect stands in the program once and has
//! one owner, found by compare-and-swap. What a packet inside a session meets is the room above.
//!
//! Read first: requirements, "Terms"; R-D2 to R-D4, R-D7, R-D12.

use super::{
    Case, NO_ALARM, Outcome,
    ruling::{Protocols, Ruling, Shadow, UNCLEAR},
};
use crate::{
    abi::{
        ALARM_ACTIVE, ALARM_WORD, AccessKind, Control, HELD, Ledger, REDEEM, Rule, STATUS_REJECT,
        STATUS_THROTTLED, THROTTLE_WORD, UNSETTLED, action, condition, rule, rule_flag,
    },
    atomic::Word64,
    opaque::forget,
    reason::{Reason, Verdict},
    subwindow,
    tick::LONGEST_AHEAD,
    window::{Room, SLOTS, View},
};

/// A bound that no word's count reaches.
const UNBOUNDED: u32 = u32::MAX;

/// The cache's ruling, what it would be if the policies in shadow were enforced, and the throttle that begins.
#[derive(Clone, Copy)]
struct CacheVerdict {
    ruling: Ruling,
    shadow: Ruling,
    /// How long the throttle is to run from now on, in ticks; 0: no throttle rule was broken.
    throttle: u32,
    /// Not 0 if the throttle's limit stands in the place of its rule's, and is enforced.
    throttled: u32,
    /// Of the words that count admissions, those whose limit binds this access beside the throttle's.
    bounded: u32,
}

impl Case<'_> {
    /// An attempt to obtain resources: decide, then do.
    #[inline(always)]
    pub(super) fn access(
        &self,
        ledger: &Ledger,
        kind: AccessKind,
        session: u64,
        protocols: Protocols,
    ) -> Outcome {
        let retry_until = self.entry.retry_until.load();
        let repeat = forget(self.now.before(retry_until, self.profile.retry).into());
        // Read again: who set the retry time raised its alarm before, so a repeat of a held access sees it.
        let alarmed = Control(self.control.0 | self.entry.control.load()).has(ALARM_ACTIVE);
        let attempt = Attempt { case: self, ledger, kind, session, retry_until, repeat };
        let Some(view) = ledger.admissions.view() else {
            return attempt.outcome(Reason::Contended, false);
        };
        let redeems = self.control.has(REDEEM);
        let cache = attempt.cache_verdict(&view, protocols, !redeems);
        let reject = cache.ruling.reason();
        let alarm = if redeems { NO_ALARM } else { attempt.alarm(reject.is_some()) };
        let reason = if redeems {
            reject.unwrap_or(Reason::Redeemed)
        } else if alarmed {
            Reason::AlarmActive
        } else if alarm != NO_ALARM {
            self.held_or(reject).unwrap_or(Reason::Held)
        } else {
            reject.unwrap_or(Reason::Admitted)
        };
        attempt.carry_out(reason.forgotten(), alarm, &view, &cache)
    }
}

/// An access being judged.
struct Attempt<'a> {
    case: &'a Case<'a>,
    ledger: &'a Ledger,
    kind: AccessKind,
    session: u64,
    retry_until: u32,
    /// Not 0 if it repeats a request; a number, of which the verifier remembers nothing.
    repeat: u32,
}

impl Attempt<'_> {
    #[inline(always)]
    fn outcome(&self, reason: Reason, counted: bool) -> Outcome {
        Outcome { access: Some(self.kind), counted, ..Outcome::of(reason) }
    }

    /// Status, forbidden protocols, limits: the most severe wins, ties go to the lowest policy.
    ///
    /// A held access that was accepted is not asked for its limits again: control has judged the count.
    #[inline(always)]
    fn cache_verdict(&self, view: &View<'_>, protocols: Protocols, ask_limits: bool) -> CacheVerdict {
        let Protocols { ruling, shadow } = protocols;
        let mut verdict = CacheVerdict { ruling, shadow, throttle: 0, throttled: 0, bounded: 0 };
        if self.status_rejects() {
            let status = Ruling::new(action::REJECT, 0, Some(Reason::StatusReject));
            verdict.ruling = verdict.ruling.or_worse(status);
        }
        if ask_limits && self.is_counted_kind() {
            verdict.bounded = forget(self.case.profile.bounded_words.into());
            let full = self.full_words();
            for (place, rule) in self.case.profile.rules.iter().enumerate() {
                // A limit without action is known, never enforced, and never unclear.
                if rule.restricts == rule::ACCESS_LIMIT && rule.action != action::NONE {
                    self.judge_limit(place, rule, view, full, &mut verdict);
                }
            }
        }
        verdict
    }

    /// Whether the policies count this kind of access.
    #[inline(always)]
    fn is_counted_kind(&self) -> bool {
        self.case.profile.kinds & self.kind.bit() != 0
    }

    /// A rejecting status stands until its instant, or until further notice.
    #[inline(always)]
    fn status_rejects(&self) -> bool {
        let until = self.ledger.rejected_until.load();
        self.case.control.has(STATUS_REJECT) && (until == 0 || self.case.now.before(until, LONGEST_AHEAD))
    }

    /// One access limit, with the throttle that may stand in its place.
    #[inline(always)]
    fn judge_limit(&self, place: usize, rule: &Rule, view: &View<'_>, full: u32, verdict: &mut CacheVerdict) {
        let number = place as u32 + 1;
        let room = self.rule_room(place, rule, view, full).forgotten();
        let ruling = if room == Room::Unclear {
            Ruling::new(UNCLEAR, number, Some(Reason::Contended))
        } else if rule.action == action::THROTTLE {
            if room == Room::Full {
                verdict.throttle = forget(rule.throttle_window);
            }
            let throttled = forget(u32::from(room == Room::Full || self.is_throttled(rule)));
            // The bit of `SHADOW` is the lowest.
            verdict.throttled = forget(throttled & u32::from(!rule.flags & rule_flag::SHADOW));
            if throttled != 0 { self.throttle_ruling(number, rule, view, full) } else { Ruling::NOTHING }
        } else if room == Room::Full {
            Ruling::new(rule.action, number, Some(Reason::LimitExceeded))
        } else {
            Ruling::NOTHING
        };
        if rule.flags & rule_flag::SHADOW == 0 {
            verdict.ruling = verdict.ruling.or_worse(ruling);
        } else if !ruling.is_unclear() {
            verdict.shadow = verdict.shadow.or_worse(ruling);
        }
    }

    /// Whether the rule's own limit has room: in the last admissions, in its word, or in the last requests. A
    /// repeat is among the requests already.
    #[inline(always)]
    fn rule_room(&self, place: usize, rule: &Rule, view: &View<'_>, full: u32) -> Room {
        if rule.flags & rule_flag::REQUESTS != 0 {
            if self.case.control.has(UNSETTLED) {
                return Room::Unclear;
            }
            let permitted = rule.permitted.wrapping_add(self.repeat);
            let full = self.ledger.requests.is_full(self.case.now, permitted, rule.window);
            return if full { Room::Full } else { Room::Free };
        }
        self.room(place, rule.permitted, rule.window, view, full)
    }

    /// Whether one more admission has room under a limit: a small one in the slots, a large one in its word.
    #[inline(always)]
    fn room(&self, word: usize, permitted: u32, window: u32, view: &View<'_>, full: u32) -> Room {
        let now = self.case.now;
        if permitted <= SLOTS as u32 {
            return view.room(now, permitted, window);
        }
        if self.case.control.has(UNSETTLED) {
            return Room::Unclear;
        }
        if full & 1 << word != 0 { Room::Full } else { Room::Free }
    }

    /// What the throttle says, where its rule is broken or it still runs.
    #[inline(always)]
    fn throttle_ruling(&self, number: u32, rule: &Rule, view: &View<'_>, full: u32) -> Ruling {
        match self.room(THROTTLE_WORD, rule.throttle_permitted, rule.throttle_window, view, full) {
            Room::Free => Ruling::NOTHING,
            Room::Full => Ruling::new(action::THROTTLE, number, Some(Reason::Throttled)),
            Room::Unclear => Ruling::new(UNCLEAR, number, Some(Reason::Contended)),
        }
    }

    /// The node ends a throttle after a throttle window in which the original rule held. One in shadow has no status:
    /// nobody else is to believe that the device is throttled.
    #[inline(always)]
    fn is_throttled(&self, rule: &Rule) -> bool {
        let in_shadow = rule.flags & rule_flag::SHADOW != 0;
        (in_shadow || self.case.control.has(STATUS_THROTTLED))
            && self.case.now.before(self.ledger.throttled_until.load(), rule.throttle_window)
    }

    /// From the violating access on. The instant first, then the bit that makes it count.
    #[inline(always)]
    fn start_throttle(&self, verdict: &CacheVerdict) {
        if verdict.throttle == 0 {
            return;
        }
        self.ledger.throttled_until.store(self.case.now.after(verdict.throttle).stored());
        if verdict.throttled != 0 {
            self.case.entry.control.set_bits(STATUS_THROTTLED);
        }
    }

    /// The alarm condition: its protocols at any packet, its count for each new request (this one included).
    #[inline(always)]
    fn alarm(&self, cache_rejects: bool) -> u8 {
        let (case, profile) = (self.case, self.case.profile);
        let protocol = case.protocol_alarm(cache_rejects);
        let counts = self.repeat == 0 && profile.alarm_counts != 0 && !case.control.has(UNSETTLED);
        if protocol != NO_ALARM || !counts || !case.alarm_is_due(cache_rejects) {
            return protocol;
        }
        let (permitted, window) = (profile.alarm_permitted, profile.alarm_window);
        let full = if permitted > SLOTS as u32 {
            subwindow::is_full(&self.ledger.words()[ALARM_WORD], case.now, permitted, window)
        } else {
            // Where words stand in their place, the last requests are not known: the agent refuses to cache
            // such policies beside such an alarm.
            profile.by_words == 0 && self.ledger.requests.is_full(case.now, permitted, window)
        };
        if full { condition::COUNT } else { NO_ALARM }
    }

    /// Does what was decided. Each effect has one owner, found by compare-and-swap.
    #[inline(always)]
    fn carry_out(&self, reason: Reason, alarm: u8, view: &View<'_>, cache: &CacheVerdict) -> Outcome {
        let outcome = match Reason::verdict_of(reason as u32) {
            Verdict::Pass => self.enter(reason, view, cache),
            Verdict::Drop => self.refuse(reason, alarm, cache),
        };
        if outcome.counted {
            self.record_request();
            self.case.entry.requests.add(1);
        }
        // A repeat is no new violation, unless it is let through.
        if outcome.counted | matches!(outcome.reason, Reason::Admitted) {
            self.start_throttle(cache);
        }
        outcome
    }

    /// In the slots or in the alarm's word, as the ledger's first room is used.
    #[inline(always)]
    fn record_request(&self) {
        let (case, profile) = (self.case, self.case.profile);
        // Read again: user space may have begun, or ended, to write words where this profile has its slots.
        let control = Control(case.entry.control.load());
        if control.has(UNSETTLED) || control.profile() != case.control.profile() {
            return;
        }
        if profile.by_words == 0 {
            self.ledger.requests.record(self.case.now);
        } else if profile.alarm_permitted > SLOTS as u32 {
            let word = &self.ledger.words()[ALARM_WORD];
            subwindow::take(word, self.case.now, profile.alarm_window, UNBOUNDED);
        }
    }

    /// Drops the packet. Who sets the alarm bit owns the alarm and the access it holds; who sets the retry time
    /// owns the request: the others, and the repeats that follow, are the same request.
    #[inline(always)]
    fn refuse(&self, reason: Reason, alarm: u8, cache: &CacheVerdict) -> Outcome {
        let (case, entry) = (self.case, self.case.entry);
        if self.was_admitted_meanwhile() {
            return self.outcome(Reason::InSession, false);
        }
        let holds = matches!(reason, Reason::Held);
        let owns_alarm = alarm != NO_ALARM && case.raise(if holds { HELD } else { 0 });
        if holds && !owns_alarm {
            return self.outcome(Reason::AlarmActive, false);
        }
        let until = case.now.after(case.profile.retry).stored();
        let counted = self.repeat == 0 && entry.retry_until.replace(self.retry_until, until);
        if counted && !holds {
            entry.rejected.add(1);
            case.note_rejection(reason, cache.ruling.rule());
        }
        let raised = if owns_alarm { Some(case.raised(alarm, self.kind, holds)) } else { None };
        Outcome { raised, ..self.outcome(reason, counted) }
    }

    /// Whether another CPU admitted this very access while we judged: its admission may be what left us no room.
    /// A watched protocol is stopped all the same.
    #[inline(always)]
    fn was_admitted_meanwhile(&self) -> bool {
        let case = self.case;
        case.session_is_open(case.entry.session.load()) && !case.classes.meets(case.profile.watched())
    }

    /// Opens the session, takes the judged place in the history, counts. Two simultaneous first packets are
    /// one access: the loser of the swap finds the session open. A packet that cannot be paid for is none.
    ///
    /// An access that was held has been counted as a request: admitted + 1, requests + 0.
    #[inline(always)]
    fn enter(&self, reason: Reason, view: &View<'_>, cache: &CacheVerdict) -> Outcome {
        let case = self.case;
        let mut outcome = Outcome { shadow: Shadow::of(cache.shadow), ..self.outcome(reason, false) };
        if case.is_metered() && !case.pay(&mut outcome, || Some(self.ledger)) {
            return outcome;
        }
        let Some(opened) = self.open_session() else {
            return self.outcome(Reason::InSession, false);
        };
        if self.is_counted_kind() && !self.take(view, cache) {
            case.entry.session.replace(opened, 0);
            return self.outcome(Reason::Contended, false);
        }
        case.entry.retry_until.store(0);
        case.entry.admitted.add(1);
        if matches!(reason, Reason::Redeemed) {
            case.end_redeem();
        } else {
            outcome.counted = self.repeat == 0;
        }
        outcome
    }

    /// Takes the judged place in the slots and in the words. False under contention: then what was taken before
    /// stays taken, which errs against the device, once in a blue moon.
    #[inline(always)]
    fn take(&self, view: &View<'_>, cache: &CacheVerdict) -> bool {
        if !view.take(self.case.now) {
            return false;
        }
        self.case.profile.by_words == 0 || self.case.control.has(UNSETTLED) || self.take_words(cache)
    }

    /// A limit that is not enforced now is counted without bound.
    #[inline(always)]
    fn take_words(&self, cache: &CacheVerdict) -> bool {
        let (now, profile) = (self.case.now, self.case.profile);
        let bounded = forget(cache.bounded | cache.throttled << THROTTLE_WORD);
        let mut refused = 0;
        for (number, word) in self.admission_words() {
            if profile.by_words & 1 << number != 0 {
                let (permitted, window) = profile.word_limit(number);
                let bound = forget(if bounded & 1 << number != 0 { permitted } else { UNBOUNDED });
                refused |= forget(u32::from(!subwindow::take(word, now, window, bound)));
            }
        }
        refused == 0
    }

    /// The words in which admissions are counted, with their numbers.
    #[inline(always)]
    fn admission_words(&self) -> impl Iterator<Item = (usize, &Word64)> {
        self.ledger.words().iter().enumerate().take(THROTTLE_WORD + 1)
    }

    /// Which of the large limits have no room: a bit for each word.
    #[inline(always)]
    fn full_words(&self) -> u32 {
        let profile = self.case.profile;
        let mut full = 0;
        if profile.by_words != 0 {
            for (number, word) in self.admission_words() {
                let (permitted, window) = profile.word_limit(number);
                let is_full = subwindow::is_full(word, self.case.now, permitted, window);
                full |= forget(u32::from(is_full) << number);
            }
        }
        forget(full)
    }

    /// The word of the session just opened, or `None` if another CPU opened one first.
    #[inline(always)]
    fn open_session(&self) -> Option<u64> {
        let now = self.case.now;
        let end = now.after(self.case.profile.inactivity).stored();
        let opened = u64::from(now.stored()) << 32 | u64::from(end);
        self.case.entry.session.replace(self.session, opened).then_some(opened)
    }
}
