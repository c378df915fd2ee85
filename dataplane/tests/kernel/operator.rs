//! Policies drawn at random, and what an agent does to entries between packets.

use weir_dataplane_common::{
    abi::{
        ALARM_ACTIVE, ALARM_SEEN, ALARM_UNSEEN, AccessKind, BY_WORDS, Control, EXEMPT, Entry, HELD, Ledger,
        Meter, NOT_M2M, Profile, REDEEM, RULES, Rule, STATUS_REJECT, STATUS_THROTTLED, THROTTLE_WORD,
        UNSETTLED, action, rule, rule_flag,
    },
    tick::Tick,
    window::SLOTS,
};

use super::random::Random;

const SECOND: u64 = 954;

/// What strangers are judged by: so few that the test's packets fill it.
pub fn stranger_profile() -> Profile {
    let limit = Rule {
        policy: 1,
        restricts: rule::ACCESS_LIMIT,
        action: action::REJECT,
        permitted: 3,
        window: 10 * SECOND as u32,
        ..Rule::default()
    };
    let mut profile =
        Profile { inactivity: 100, max_age: 1000, retry: 50, kinds: 3, cached: 1, ..Profile::default() };
    profile.rules[0] = limit;
    profile
}

/// Profile 0 caches nothing, the others hold none to four policies. Of two ways to use the ledger's first room, one for all profiles: nothing here settles entries anew.
pub fn profiles(random: &mut Random, count: usize, by_words: bool) -> Vec<Profile> {
    (0..count).map(|number| profile(random, number != 0, by_words)).collect()
}

fn profile(random: &mut Random, cached: bool, by_words: bool) -> Profile {
    let mut profile = Profile {
        inactivity: SECOND as u32,
        max_age: 40 * SECOND as u32,
        retry: SECOND as u32 / 2,
        kinds: *random.pick(&[3, 3, 3, 1, 2, 0]),
        cached: cached.into(),
        alarm_when: random.below(3) as u8,
        alarm_order: random.below(3) as u8,
        alarm_counts: random.once_in(2).into(),
        alarm_permitted: if by_words { 15 + random.below(5) as u32 } else { random.below(5) as u32 },
        alarm_window: window(random),
        alarm_classes: if random.once_in(2) { 0 } else { random.below(4) },
        by_words: if by_words { BY_WORDS } else { 0 },
        ..Profile::default()
    };
    if cached {
        draw_rules(random, &mut profile);
    }
    let forbids = |rule: &&Rule| rule.restricts == rule::FORBIDDEN_PROTOCOLS && rule.action != action::NONE;
    profile.forbidden = profile.rules.iter().filter(forbids).fold(0, |all, rule| all | rule.classes);
    profile
}

fn draw_rules(random: &mut Random, profile: &mut Profile) {
    let by_words = profile.by_words != 0;
    for place in 0..random.below(RULES as u64 + 1) as usize {
        let rule = draw_rule(random, place as u32 + 1, by_words);
        profile.rules[place] = rule;
        if rule.restricts == rule::ACCESS_LIMIT && by_words {
            count_by_words(profile, place);
        }
    }
    if random.once_in(3) {
        profile.meter = meter(random);
        profile.second_meter = if by_words && random.once_in(2) { meter(random) } else { Meter::default() };
        // The second is asked only where the first is.
        profile.second_meter.sides &= profile.meter.sides;
    }
}

/// As the agent decides it.
fn count_by_words(profile: &mut Profile, place: usize) {
    let rule = profile.rules[place];
    let throttles = rule.action == action::THROTTLE;
    if rule.permitted > SLOTS as u32 {
        profile.by_words |= 1 << place;
        let binds = rule.flags & rule_flag::SHADOW == 0 && rule.action > action::THROTTLE;
        profile.bounded_words |= u8::from(binds) << place;
    }
    if throttles {
        (profile.throttle_permitted, profile.throttle_window) =
            (rule.throttle_permitted, rule.throttle_window);
        profile.by_words |= u8::from(rule.throttle_permitted > SLOTS as u32) << THROTTLE_WORD;
    }
}

fn meter(random: &mut Random) -> Meter {
    let bytes = random.once_in(2);
    Meter {
        byte_cost: if bytes { random.below(100_000) << 16 } else { 0 },
        packet_cost: if bytes { 0 } else { random.below(1 << 26) as u32 },
        burst: random.below(100_000) as u32,
        sides: 1 + random.below(3) as u8,
        place: 1 + random.below(RULES as u64) as u8,
        flags: if random.once_in(3) { rule_flag::SHADOW } else { 0 },
        ..Meter::default()
    }
}

fn draw_rule(random: &mut Random, policy: u32, by_words: bool) -> Rule {
    let limits = !random.once_in(3);
    let permitted = |random: &mut Random| {
        let most = if random.once_in(6) { 15 } else { 5 };
        let large = by_words && random.once_in(2);
        if large { 15 + random.below(3) as u32 } else { random.below(most) as u32 }
    };
    let shadow = if random.once_in(4) { rule_flag::SHADOW } else { 0 };
    let requests = limits && !by_words && random.once_in(4);
    let rule = Rule {
        policy,
        restricts: if limits { rule::ACCESS_LIMIT } else { rule::FORBIDDEN_PROTOCOLS },
        action: random.below(5) as u8,
        flags: shadow | if requests { rule_flag::REQUESTS } else { 0 },
        permitted: permitted(random),
        window: window(random),
        throttle_permitted: permitted(random),
        throttle_window: window(random),
        classes: if limits { 0 } else { 1 + random.below(3) },
        ..Rule::default()
    };
    // The attempt itself takes a slot.
    Rule { permitted: if requests { rule.permitted.min(SLOTS as u32 - 1) } else { rule.permitted }, ..rule }
}

fn window(random: &mut Random) -> u32 {
    (SECOND + random.below(30 * SECOND)) as u32
}

/// One thing done to an entry; the same on both sides.
#[derive(Clone, Copy)]
pub struct Deed {
    profile: u32,
    status: u64,
    until: Tick,
    fate: u64,
    not_a_machine: bool,
    release: bool,
    exempt: bool,
    unsettled: bool,
}

pub fn deed(random: &mut Random, profiles: usize, now: Tick) -> Deed {
    Deed {
        profile: random.below(profiles as u64) as u32,
        status: *random.pick(&[0, 0, STATUS_THROTTLED, STATUS_REJECT, STATUS_THROTTLED | STATUS_REJECT]),
        until: now.after(random.below(20 * SECOND) as u32),
        fate: random.below(6),
        not_a_machine: random.once_in(20),
        release: random.once_in(5),
        exempt: random.once_in(20),
        unsettled: random.once_in(30),
    }
}

impl Deed {
    pub fn carry_out(&self, entry: &Entry, ledger: &Ledger) {
        let control = Control(entry.control.load());
        let until = self.until.stored();
        if self.status & STATUS_THROTTLED != 0 {
            ledger.throttled_until.store(until);
        }
        if self.status & STATUS_REJECT != 0 {
            // Now and then until further notice.
            ledger.rejected_until.store(if until.is_multiple_of(8) { 0 } else { until });
        }
        if self.exempt {
            entry.exempt_until.store(until);
        }
        entry.control.store(self.changed(control).0);
        if self.release {
            entry.session.store(0);
        }
    }

    fn changed(&self, old: Control) -> Control {
        let new = old
            .with_profile(self.profile)
            .without(STATUS_THROTTLED | STATUS_REJECT | NOT_M2M | UNSETTLED)
            .with(self.status | if self.not_a_machine { NOT_M2M } else { 0 })
            .with(if self.exempt { EXEMPT } else { 0 } | if self.unsettled { UNSETTLED } else { 0 });
        match self.fate {
            0 => old,
            1 if old.has(ALARM_UNSEEN) => old.without(ALARM_UNSEEN).with(ALARM_SEEN),
            2 => new.without(HELD),
            _ if old.has(HELD) => new.without(ALARM_ACTIVE | HELD).with(REDEEM),
            _ => new.without(ALARM_ACTIVE),
        }
    }
}

/// The kinds as their mask, so that the numbers above cannot drift from the ABI's.
const _: () = assert!(1 << AccessKind::Packet as u32 | 1 << AccessKind::Trigger as u32 == 3);
