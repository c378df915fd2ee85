//! The law: a device's entry and one packet's facts in, a verdict and its effects out.
//!
//! This is the only place that decides about an access. The XDP program, replay, inspect and the tests call
//! [`admit`]; none of them adds a rule of its own. It changes the entry, and nothing else, by single-word
//! operations that several CPUs and user space may interleave.
//!
//! The order of questions: is a session open? then the packet is no access, and only a watched protocol can
//! stop it. Otherwise it is an access: may it redeem a held one? is an alarm active? what does the cache
//! say (status, protocols, limits; the most severe verdict wins)? does the alarm condition hold? Who opens
//! the session by compare-and-swap owns the admission, who sets the retry time owns the request, who sets
//! the alarm bit owns the alarm: so nothing is counted twice.
//!
//! Read first: requirements, "Terms"; R-D2 to R-D4, R-D7, R-D8, R-D12, R-D13.

use core::mem;

use crate::{
    abi::{
        ALARM_ACTIVE, ALARM_UNSEEN, ATTENTION, AccessKind, Control, Entry, HELD, LAST_ALARM_HELD, NOT_M2M,
        Profile, REDEEM, Rule, STATUS_REJECT, STATUS_THROTTLED, action, alarm_order, alarm_when, condition,
        rule,
    },
    inspect::Classes,
    opaque::forget,
    reason::{Reason, Verdict},
    tick::{LONGEST_AHEAD, Tick},
    window::{Room, View},
};

/// One packet before the law.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// The device's primary entry.
    pub entry: &'a Entry,
    /// The profile that `control` names.
    pub profile: &'a Profile,
    /// The entry's control word as it was read.
    pub control: Control,
    /// The packet's security protocols.
    pub classes: Classes,
    /// From the device; otherwise to it.
    pub uplink: bool,
    /// From an application server to the device.
    pub from_server: bool,
    /// Whether the node drops unsolicited downlink packets.
    pub drop_unsolicited: bool,
    /// The clock, read once.
    pub now: Tick,
}

/// What was decided, and what follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Why; the verdict follows from it.
    pub reason: Reason,
    /// The kind of access the packet was, if it was one.
    pub access: Option<AccessKind>,
    /// Whether a new request was counted.
    pub counted: bool,
    /// The alarm that this packet raised.
    pub raised: Option<Raised>,
}

/// An alarm just raised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Raised {
    /// One of [`condition`].
    pub condition: u8,
    /// The alarmed classes, for a protocol alarm.
    pub classes: Classes,
    /// Whether an access is held.
    pub access_held: bool,
}

impl Outcome {
    /// A verdict without access or effect.
    #[inline(always)]
    pub const fn of(reason: Reason) -> Self {
        Self { reason, access: None, counted: false, raised: None }
    }
}

/// What one rule or the whole cache says, as a number that orders itself: severity first, then the lower
/// policy. So the most severe of several is their maximum (and the verifier sees one number, not a tree).
///
/// | bits | 24–31 | 16–23 | 0–7 |
/// |---|---|---|---|
/// | | severity, one of [`action`] | 255 − place of the rule | reason to reject, or [`NO_REASON`] |
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ruling(u32);

/// A ruling that rejects nothing.
const NO_REASON: u32 = 0xff;
/// More severe than any action: the history changed under the judgement.
const UNCLEAR: u8 = 0xff;

impl Ruling {
    /// Place 0: more than a rule that is known and not enforced.
    const NOTHING: Ruling = Ruling(255 << 16 | NO_REASON);

    /// By the rule in `place` (0 for the status, n for the n-th rule).
    #[inline(always)]
    const fn new(severity: u8, place: u32, reason: Option<Reason>) -> Self {
        let reason = match reason {
            Some(reason) => reason as u32,
            None => NO_REASON,
        };
        Self((severity as u32) << 24 | (255 - place) << 16 | reason)
    }

    #[inline(always)]
    fn or_worse(self, other: Ruling) -> Self {
        Self(forget(if other.0 > self.0 { other.0 } else { self.0 }))
    }

    /// The reason to reject, if it rejects.
    #[inline(always)]
    fn reason(self) -> Option<Reason> {
        let number = self.0 as u8;
        if u32::from(number) == NO_REASON {
            return None;
        }
        // SAFETY: `new` put a reason's own number there, or the mark of none.
        Some(unsafe { mem::transmute::<u8, Reason>(number) })
    }

    /// The deciding rule's place + 1, 0 for the status.
    #[inline(always)]
    const fn rule(self) -> u32 {
        255 - (self.0 >> 16 & 0xff)
    }

    #[inline(always)]
    const fn releases(self) -> bool {
        self.0 >> 24 == action::RELEASE as u32
    }
}

/// Beside the numbers of [`condition`]: no alarm condition holds.
const NO_ALARM: u8 = 0;

/// The cache's ruling, and the throttle that begins with it.
#[derive(Clone, Copy)]
struct CacheVerdict {
    ruling: Ruling,
    /// How long the throttle is to run from now on, in ticks; 0: no throttle rule was broken.
    throttle: u32,
}

/// Judges one packet and changes the entry accordingly.
#[inline(always)]
pub fn admit(case: &Case<'_>) -> Outcome {
    let session = case.entry.session.load();
    let protocols = case.protocol_ruling();
    if case.session_is_open(session) {
        return case.in_session(session, protocols);
    }
    if !case.uplink && !case.from_server {
        return case.unsolicited(protocols);
    }
    let kind = if case.uplink { AccessKind::Packet } else { AccessKind::Trigger };
    case.access(kind, session, protocols)
}

impl Case<'_> {
    /// Open while its end lies ahead and its age is below the maximum. Whoever opened or refreshed it may have
    /// read the clock after us, so the start may lie slightly ahead; the end needs no tighter bound, since the
    /// age tells a session of another lap of the clock.
    #[inline(always)]
    fn session_is_open(&self, session: u64) -> bool {
        let (start, end) = ((session >> 32) as u32, session as u32);
        start != 0 && self.now.before(end, LONGEST_AHEAD) && self.now.is_within(start, self.profile.max_age)
    }

    /// A packet inside an open session is no access; a watched protocol or an attention bit gets a look.
    #[inline(always)]
    fn in_session(&self, session: u64, protocols: Ruling) -> Outcome {
        let watched = self.classes.meets(self.profile.watched()) || self.control.has(ATTENTION);
        if watched && let Some(outcome) = self.stop_in_session(session, protocols) {
            return outcome;
        }
        if self.uplink {
            self.refresh(session);
        }
        Outcome::of(Reason::InSession)
    }

    /// Only the device's own packets keep a session open. The end is written alone, without asking whether another
    /// CPU changed the session meanwhile: a refresh is as good as ours, and a session that was ended has no start,
    /// so that an end alone does not open it again.
    #[inline(always)]
    fn refresh(&self, session: u64) {
        let end = self.now.after(self.profile.inactivity);
        if end.0.wrapping_sub(session as u32).wrapping_sub(1) < LONGEST_AHEAD {
            self.entry.session.store_low(end.0);
        }
    }

    /// What can stop a packet of an open session: a forbidden or alarmed protocol.
    #[inline(always)]
    fn stop_in_session(&self, session: u64, forbidden: Ruling) -> Option<Outcome> {
        if forbidden.releases() {
            self.entry.session.replace(session, 0);
        }
        if self.is_of_active_alarm() {
            return Some(Outcome::of(Reason::AlarmActive));
        }
        let reject = forbidden.reason();
        let alarm = self.protocol_alarm(reject.is_some());
        let raised = alarm != NO_ALARM && self.raise(0);
        let reason = if raised { Some(self.held_or(reject).unwrap_or(Reason::Held)) } else { reject };
        if let Some(reason) = reason {
            if !matches!(reason, Reason::Held) {
                self.note_rejection(reason, forbidden.rule());
            }
            let raised = if raised { Some(self.raised(alarm, AccessKind::Packet, false)) } else { None };
            return Some(Outcome { raised, ..Outcome::of(reason) });
        }
        if self.control.has(REDEEM) {
            // What was held goes through as part of the session; nothing is left to redeem.
            self.end_redeem();
        }
        None
    }

    /// Whether an alarm is active and this is a packet of an alarmed protocol.
    #[inline(always)]
    fn is_of_active_alarm(&self) -> bool {
        self.control.has(ALARM_ACTIVE) && self.classes.meets(Classes(self.profile.alarm_classes))
    }

    /// To an idle device and no trigger: charged to nobody, opens nothing.
    #[inline(always)]
    fn unsolicited(&self, forbidden: Ruling) -> Outcome {
        self.entry.unsolicited.add(1);
        Outcome::of(if self.drop_unsolicited {
            Reason::UnsolicitedDropped
        } else if self.is_of_active_alarm() {
            Reason::AlarmActive
        } else {
            forbidden.reason().unwrap_or(Reason::UnsolicitedPassed)
        })
    }

    /// An attempt to obtain resources: decide, then do.
    #[inline(always)]
    fn access(&self, kind: AccessKind, session: u64, protocols: Ruling) -> Outcome {
        let retry_until = self.entry.retry_until.load();
        let repeat = self.now.before(retry_until, self.profile.retry);
        // Read again: who set the retry time raised its alarm before, so a repeat of a held access sees it.
        let alarmed = Control(self.control.0 | self.entry.control.load()).has(ALARM_ACTIVE);
        let attempt = Attempt { case: self, kind, session, retry_until, repeat };
        let Some(view) = self.entry.admission_history.view() else {
            return attempt.outcome(Reason::Contended, false);
        };
        let redeems = self.control.has(REDEEM);
        let cache = self.cache_verdict(kind, &view, protocols, !redeems);
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

    /// An alarm holds what the cache lets through; what the cache rejects it holds only if it comes before.
    #[inline(always)]
    fn held_or(&self, reject: Option<Reason>) -> Option<Reason> {
        if self.profile.alarm_order == alarm_order::BEFORE { None } else { reject }
    }

    /// Status, forbidden protocols, limits: the most severe wins, ties go to the lowest policy.
    ///
    /// A held access that was accepted is not asked for its limits again: control has judged the count.
    #[inline(always)]
    fn cache_verdict(
        &self,
        kind: AccessKind,
        view: &View<'_>,
        protocols: Ruling,
        ask_limits: bool,
    ) -> CacheVerdict {
        let mut verdict = CacheVerdict { ruling: protocols, throttle: 0 };
        if self.status_rejects() {
            let status = Ruling::new(action::REJECT, 0, Some(Reason::StatusReject));
            verdict.ruling = verdict.ruling.or_worse(status);
        }
        if ask_limits && self.profile.kinds & kind.bit() != 0 {
            for (place, rule) in self.profile.rules.iter().enumerate() {
                if rule.restricts == rule::ACCESS_LIMIT {
                    self.judge_limit(place as u32 + 1, rule, view, &mut verdict);
                }
            }
        }
        verdict
    }

    /// A rejecting status stands until its instant, or until further notice.
    #[inline(always)]
    fn status_rejects(&self) -> bool {
        let until = self.entry.rejected_until.load();
        self.control.has(STATUS_REJECT) && (until == 0 || self.now.before(until, LONGEST_AHEAD))
    }

    /// One access limit, with the throttle that may stand in its place.
    #[inline(always)]
    fn judge_limit(&self, place: u32, rule: &Rule, view: &View<'_>, verdict: &mut CacheVerdict) {
        let room = view.room(self.now, rule.permitted, rule.window);
        let ruling = if room == Room::Unclear {
            Ruling::new(UNCLEAR, place, Some(Reason::Contended))
        } else if rule.action == action::THROTTLE {
            if room == Room::Full {
                verdict.throttle = forget(rule.throttle_window);
            }
            self.throttle_ruling(place, rule, view, room)
        } else if room == Room::Full && rule.action != action::NONE {
            Ruling::new(rule.action, place, Some(Reason::LimitExceeded))
        } else {
            Ruling::NOTHING
        };
        verdict.ruling = verdict.ruling.or_worse(ruling);
    }

    /// What the throttle says, where the rule is broken or the throttle still runs.
    #[inline(always)]
    fn throttle_ruling(&self, place: u32, rule: &Rule, view: &View<'_>, room: Room) -> Ruling {
        if room == Room::Free && !self.is_throttled(rule) {
            return Ruling::NOTHING;
        }
        match view.room(self.now, rule.throttle_permitted, rule.throttle_window) {
            Room::Free => Ruling::NOTHING,
            Room::Full => Ruling::new(action::THROTTLE, place, Some(Reason::Throttled)),
            Room::Unclear => Ruling::new(UNCLEAR, place, Some(Reason::Contended)),
        }
    }

    /// The node ends a throttle after a throttle window in which the original rule held.
    #[inline(always)]
    fn is_throttled(&self, rule: &Rule) -> bool {
        self.control.has(STATUS_THROTTLED)
            && self.now.before(self.entry.throttled_until.load(), rule.throttle_window)
    }

    /// The forbidden protocols, at any packet. A throttle replaces a limit, which a protocol has not: configured
    /// all the same, it stops the packet.
    #[inline(always)]
    fn protocol_ruling(&self) -> Ruling {
        let mut ruling = Ruling::NOTHING;
        if !self.classes.meets(Classes(self.profile.forbidden)) {
            return ruling;
        }
        for (place, rule) in self.profile.rules.iter().enumerate() {
            if rule.restricts == rule::FORBIDDEN_PROTOCOLS && self.classes.meets(Classes(rule.classes)) {
                let reason = match rule.action {
                    action::NONE => None,
                    action::RELEASE => Some(Reason::Released),
                    _ => Some(Reason::ForbiddenProtocol),
                };
                ruling = ruling.or_worse(Ruling::new(rule.action, place as u32 + 1, reason));
            }
        }
        ruling
    }

    /// The alarm's protocols, if they are to be looked at now.
    #[inline(always)]
    fn protocol_alarm(&self, cache_rejects: bool) -> u8 {
        let alarmed = self.classes.meets(Classes(self.profile.alarm_classes));
        if alarmed && self.alarm_is_due(cache_rejects) { condition::PROTOCOL } else { NO_ALARM }
    }

    /// Whether the alarm condition is to be evaluated for this device and this verdict (R-D7).
    #[inline(always)]
    fn alarm_is_due(&self, cache_rejects: bool) -> bool {
        let profile = self.profile;
        let when = match profile.alarm_when {
            alarm_when::ALWAYS => true,
            alarm_when::NOT_REJECTED => !cache_rejects,
            _ => profile.cached == 0,
        };
        let order = profile.alarm_order != alarm_order::AFTER || !cache_rejects;
        when && order && !self.control.has(NOT_M2M | ALARM_ACTIVE)
    }

    /// Sets the alarm bit; false if the control word changed meanwhile, which leaves the alarm to others.
    #[inline(always)]
    fn raise(&self, held: u64) -> bool {
        self.entry.control.replace(self.control.0, self.control.with(ALARM_UNSEEN | held).0)
    }

    /// Once only, also if an update changes the rest of the control word at this moment.
    #[inline(always)]
    fn end_redeem(&self) {
        self.entry.control.clear_bits(REDEEM);
    }

    /// From the violating access on. The instant first, then the bit that makes it count.
    #[inline(always)]
    fn start_throttle(&self, verdict: &CacheVerdict) {
        if verdict.throttle == 0 {
            return;
        }
        self.entry.throttled_until.store(self.now.after(verdict.throttle).0);
        self.entry.control.set_bits(STATUS_THROTTLED);
    }

    /// What to tell of the alarm just raised. The entry keeps it too, for the agent's sweep, in case the ring is
    /// full.
    #[inline(always)]
    fn raised(&self, condition: u8, kind: AccessKind, access_held: bool) -> Raised {
        let protocol = condition == condition::PROTOCOL;
        let classes = if protocol { self.classes.0 & self.profile.alarm_classes } else { 0 };
        let held = if access_held { LAST_ALARM_HELD } else { 0 };
        self.entry.last_alarm.store(u32::from(condition) | (kind as u32) << 8 | held);
        self.entry.last_alarm_classes.store(classes as u32);
        Raised { condition, classes: Classes(classes), access_held }
    }

    #[inline(always)]
    fn note_rejection(&self, reason: Reason, rule: u32) {
        self.entry.last_rejection.store(reason as u32 | rule << 8);
    }
}

/// An access being judged.
struct Attempt<'a> {
    case: &'a Case<'a>,
    kind: AccessKind,
    session: u64,
    retry_until: u32,
    repeat: bool,
}

impl Attempt<'_> {
    #[inline(always)]
    fn outcome(&self, reason: Reason, counted: bool) -> Outcome {
        Outcome { reason, access: Some(self.kind), counted, raised: None }
    }

    /// The alarm condition: its protocols at any packet, its count for each new request (this one included).
    #[inline(always)]
    fn alarm(&self, cache_rejects: bool) -> u8 {
        let (case, profile) = (self.case, self.case.profile);
        let protocol = case.protocol_alarm(cache_rejects);
        let counts = !self.repeat && profile.alarm_counts != 0;
        if protocol != NO_ALARM || !counts || !case.alarm_is_due(cache_rejects) {
            return protocol;
        }
        let history = &case.entry.request_history;
        let full = history.is_full(case.now, profile.alarm_permitted, profile.alarm_window);
        if full { condition::COUNT } else { NO_ALARM }
    }

    /// Does what was decided. Each effect has one owner, found by compare-and-swap.
    #[inline(always)]
    fn carry_out(&self, reason: Reason, alarm: u8, view: &View<'_>, cache: &CacheVerdict) -> Outcome {
        let outcome = match Reason::verdict_of(reason as u32) {
            Verdict::Pass => self.enter(reason, view),
            Verdict::Drop => self.refuse(reason, alarm, cache),
        };
        if outcome.counted {
            self.case.entry.request_history.record(self.case.now);
            self.case.entry.requests.add(1);
        }
        // A repeat is no new violation, unless it is let through.
        if outcome.counted | matches!(outcome.reason, Reason::Admitted) {
            self.case.start_throttle(cache);
        }
        outcome
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
        let until = case.now.after(case.profile.retry).0;
        let counted = !self.repeat && entry.retry_until.replace(self.retry_until, until);
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
    /// one access: the loser of the swap finds the session open.
    ///
    /// An access that was held has been counted as a request: admitted + 1, requests + 0.
    #[inline(always)]
    fn enter(&self, reason: Reason, view: &View<'_>) -> Outcome {
        let case = self.case;
        let Some(opened) = self.open_session() else {
            return self.outcome(Reason::InSession, false);
        };
        if case.profile.kinds & self.kind.bit() != 0 && !view.take(case.now) {
            case.entry.session.replace(opened, 0);
            return self.outcome(Reason::Contended, false);
        }
        case.entry.retry_until.store(0);
        case.entry.admitted.add(1);
        if matches!(reason, Reason::Redeemed) {
            case.end_redeem();
            return self.outcome(reason, false);
        }
        self.outcome(reason, !self.repeat)
    }

    /// The word of the session just opened, or `None` if another CPU opened one first.
    #[inline(always)]
    fn open_session(&self) -> Option<u64> {
        let now = self.case.now;
        let opened = u64::from(now.0) << 32 | u64::from(now.after(self.case.profile.inactivity).0);
        self.case.entry.session.replace(self.session, opened).then_some(opened)
    }
}
