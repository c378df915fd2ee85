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
//! the alarm bit owns the alarm: so nothing is counted twice. What passes pays at the device's rates.
//!
//! Packets of an open session touch the entry alone; accesses touch the ledger too.
//!
//! Read first: requirements, "Terms"; R-D2 to R-D4, R-D7, R-D8, R-D12, R-D13.

mod access;
mod ruling;

use crate::{
    abi::{
        ALARM_ACTIVE, ALARM_UNSEEN, ATTENTION, AccessKind, BUCKET_WORD, Control, Entry, LAST_ALARM_CLASS,
        LAST_ALARM_HELD, Ledger, Meter, NOT_M2M, Profile, REDEEM, UNSETTLED, action, alarm_order, alarm_when,
        condition, meter_side, rule, rule_flag,
    },
    atomic::Word64,
    inspect::Classes,
    opaque::forget,
    rate,
    reason::Reason,
    tick::{LONGEST_AHEAD, Tick},
};

pub use ruling::Shadow;
use ruling::{Protocols, Ruling};

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
    /// The IP packet's length, bytes.
    pub length: u32,
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
    /// What a policy in shadow would have done to a packet that passes.
    pub shadow: Shadow,
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
        Self { reason, access: None, counted: false, raised: None, shadow: Shadow::NONE }
    }
}

/// Beside the numbers of [`condition`]: no alarm condition holds.
const NO_ALARM: u8 = 0;
/// Judges one packet and changes entry and ledger accordingly. The ledger is looked up only where it counts.
#[inline(always)]
pub fn admit<'a>(case: &Case<'a>, ledger: impl Fn() -> Option<&'a Ledger>) -> Outcome {
    let session = case.entry.session.load();
    let protocols = case.protocol_rulings().forgotten();
    if case.session_is_open(session) {
        return case.in_session(session, protocols, ledger);
    }
    if !case.uplink && !case.from_server {
        return case.unsolicited(protocols);
    }
    let kind = if case.uplink { AccessKind::Packet } else { AccessKind::Trigger };
    match ledger() {
        Some(ledger) => case.access(ledger, kind, session, protocols),
        None => Outcome::of(Reason::BrokenEntry),
    }
}

impl<'a> Case<'a> {
    /// Open while its end lies ahead and its age is below the maximum. Whoever opened or refreshed it may have
    /// read the clock after us, so the start may lie slightly ahead; the end needs no tighter bound, since the
    /// age tells a session of another lap of the clock.
    #[inline(always)]
    fn session_is_open(&self, session: u64) -> bool {
        let (start, end) = ((session >> 32) as u32, session as u32);
        start != 0 && self.now.before(end, LONGEST_AHEAD) && self.now.is_within(start, self.profile.max_age)
    }

    /// A packet inside an open session is no access; a watched protocol or an attention bit gets a look, and a
    /// metered device pays.
    #[inline(always)]
    fn in_session(
        &self,
        session: u64,
        protocols: Protocols,
        ledger: impl Fn() -> Option<&'a Ledger>,
    ) -> Outcome {
        let watched = self.classes.meets(self.profile.watched()) || self.control.has(ATTENTION);
        if watched && let Some(outcome) = self.stop_in_session(session, protocols.ruling) {
            return outcome;
        }
        let mut outcome = Outcome { shadow: Shadow::of(protocols.shadow), ..Outcome::of(Reason::InSession) };
        if self.is_metered() && !self.pay(&mut outcome, ledger) {
            return outcome;
        }
        if self.uplink {
            self.refresh(session);
        }
        outcome
    }

    /// Only the device's own packets keep a session open. The end is written alone, without asking whether another
    /// CPU changed the session meanwhile: a refresh is as good as ours, and a session that was ended has no start,
    /// so that an end alone does not open it again.
    #[inline(always)]
    fn refresh(&self, session: u64) {
        let end = self.now.after(self.profile.inactivity).stored();
        if end.wrapping_sub(session as u32).wrapping_sub(1) < LONGEST_AHEAD {
            self.entry.session.store_low(end);
        }
    }

    /// Whether packets of this direction cost the device anything.
    #[inline(always)]
    fn is_metered(&self) -> bool {
        self.profile.meter.sides & self.side() != 0
    }

    #[inline(always)]
    fn side(&self) -> u8 {
        if self.uplink { meter_side::UP } else { meter_side::DOWN }
    }

    /// Pays for a packet that is about to pass, at all the device's rates or at none. False if a rate has no room:
    /// then the outcome says so.
    #[inline(always)]
    fn pay(&self, outcome: &mut Outcome, ledger: impl Fn() -> Option<&'a Ledger>) -> bool {
        let (first, second) = (&self.profile.meter, &self.profile.second_meter);
        // While user space writes the words, the second rate does not bind.
        let absent = second.sides & self.side() == 0 || self.control.has(UNSETTLED);
        let word = if absent { None } else { ledger() };
        let second_bucket = word.map(|ledger| &ledger.words()[BUCKET_WORD]);
        let mut beyond = self.beyond(first, rate::conforms(&self.entry.bucket, first, self.now));
        if let Some(bucket) = second_bucket {
            beyond = beyond.or_worse(self.beyond(second, rate::conforms(bucket, second, self.now)));
        }
        if beyond != Ruling::NOTHING {
            let flags = if beyond.rule() == u32::from(second.place) { second.flags } else { first.flags };
            if flags & rule_flag::SHADOW == 0 {
                self.note_rejection(Reason::RateExceeded, beyond.rule());
                *outcome = Outcome::of(Reason::RateExceeded);
                return false;
            }
            if outcome.shadow == Shadow::NONE {
                outcome.shadow = Shadow::of(beyond);
            }
        }
        let beyond = forget(u32::from(beyond != Ruling::NOTHING));
        self.charge(&self.entry.bucket, first, beyond);
        if let Some(bucket) = second_bucket {
            self.charge(bucket, second, beyond);
        }
        true
    }

    /// A packet that a rate in shadow would have dropped is not charged to it, or the rate would seem exceeded for
    /// long after the device has slowed down.
    #[inline(always)]
    fn charge(&self, bucket: &Word64, meter: &Meter, beyond: u32) {
        if beyond & u32::from(meter.flags & rule_flag::SHADOW) == 0 {
            rate::charge(bucket, meter, self.length, self.now);
        }
    }

    /// An enforced rate is more severe than one in shadow.
    #[inline(always)]
    fn beyond(&self, meter: &Meter, conforms: bool) -> Ruling {
        if conforms {
            return Ruling::NOTHING;
        }
        let severity = if meter.flags & rule_flag::SHADOW == 0 { action::REJECT } else { action::THROTTLE };
        Ruling::new(severity, u32::from(meter.place), Some(Reason::RateExceeded))
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
    fn unsolicited(&self, protocols: Protocols) -> Outcome {
        self.entry.unsolicited.add(1);
        let reason = if self.drop_unsolicited {
            Reason::UnsolicitedDropped
        } else if self.is_of_active_alarm() {
            Reason::AlarmActive
        } else {
            protocols.ruling.reason().unwrap_or(Reason::UnsolicitedPassed)
        };
        let passes = matches!(reason, Reason::UnsolicitedPassed);
        let shadow = if passes { Shadow::of(protocols.shadow) } else { Shadow::NONE };
        Outcome { shadow, ..Outcome::of(reason) }
    }

    /// An alarm holds what the cache lets through; what the cache rejects it holds only if it comes before.
    #[inline(always)]
    fn held_or(&self, reject: Option<Reason>) -> Option<Reason> {
        if self.profile.alarm_order == alarm_order::BEFORE { None } else { reject }
    }

    /// The forbidden protocols, at any packet. A throttle replaces a limit, which a protocol has not: configured
    /// all the same, it stops the packet.
    #[inline(always)]
    fn protocol_rulings(&self) -> Protocols {
        let mut protocols = Protocols::NOTHING;
        if !self.classes.meets(Classes(self.profile.forbidden)) {
            return protocols;
        }
        for (place, rule) in self.profile.rules.iter().enumerate() {
            if rule.restricts == rule::FORBIDDEN_PROTOCOLS && self.classes.meets(Classes(rule.classes)) {
                let reason = match rule.action {
                    action::NONE => None,
                    action::RELEASE => Some(Reason::Released),
                    _ => Some(Reason::ForbiddenProtocol),
                };
                protocols.add(rule.flags, Ruling::new(rule.action, place as u32 + 1, reason));
            }
        }
        protocols
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

    /// What to tell of the alarm just raised. The entry keeps it too, for the agent's sweep, in case the ring is
    /// full.
    #[inline(always)]
    fn raised(&self, condition: u8, kind: AccessKind, access_held: bool) -> Raised {
        let protocol = condition == condition::PROTOCOL;
        let classes = if protocol { self.classes.0 & self.profile.alarm_classes } else { 0 };
        let held = if access_held { LAST_ALARM_HELD } else { 0 };
        let class = if classes == 0 { 0 } else { classes.trailing_zeros() } << LAST_ALARM_CLASS;
        self.entry.last_alarm.store(u32::from(condition) | (kind as u32) << 8 | held | class);
        Raised { condition, classes: Classes(classes), access_held }
    }

    #[inline(always)]
    fn note_rejection(&self, reason: Reason, rule: u32) {
        self.entry.last_rejection.store(reason as u32 | rule << 8);
    }
}
