//! Policies drawn at random, and what an agent does to entries between packets.

use weir_dataplane_common::{
    abi::{
        ALARM_ACTIVE, ALARM_SEEN, ALARM_UNSEEN, AccessKind, Control, Entry, HELD, NOT_M2M, Profile, REDEEM,
        RULES, Rule, STATUS_REJECT, STATUS_THROTTLED, action, rule,
    },
    tick::Tick,
};

use super::random::Random;

const SECOND: u64 = 954;

/// Profile 0 caches nothing, the others hold none to four policies.
pub fn profiles(random: &mut Random, count: usize) -> Vec<Profile> {
    (0..count).map(|number| profile(random, number != 0)).collect()
}

fn profile(random: &mut Random, cached: bool) -> Profile {
    let mut profile = Profile {
        inactivity: SECOND as u32,
        max_age: 40 * SECOND as u32,
        retry: SECOND as u32 / 2,
        kinds: *random.pick(&[3, 3, 3, 1, 2, 0]),
        cached: cached.into(),
        alarm_when: random.below(3) as u8,
        alarm_order: random.below(3) as u8,
        alarm_counts: random.once_in(2).into(),
        alarm_permitted: random.below(5) as u32,
        alarm_window: window(random),
        alarm_classes: if random.once_in(2) { 0 } else { random.below(4) },
        ..Profile::default()
    };
    if cached {
        let count = random.below(RULES as u64 + 1) as usize;
        for (place, rule) in profile.rules.iter_mut().enumerate().take(count) {
            *rule = draw_rule(random, place as u32 + 1);
        }
    }
    let forbids = |rule: &&Rule| rule.restricts == rule::FORBIDDEN_PROTOCOLS && rule.action != action::NONE;
    profile.forbidden = profile.rules.iter().filter(forbids).fold(0, |all, rule| all | rule.classes);
    profile
}

fn draw_rule(random: &mut Random, policy: u32) -> Rule {
    let limits = !random.once_in(3);
    let permitted = |random: &mut Random| {
        let most = if random.once_in(6) { 15 } else { 5 };
        random.below(most) as u32
    };
    Rule {
        policy,
        restricts: if limits { rule::ACCESS_LIMIT } else { rule::FORBIDDEN_PROTOCOLS },
        action: random.below(5) as u8,
        permitted: permitted(random),
        window: window(random),
        throttle_permitted: permitted(random),
        throttle_window: window(random),
        classes: if limits { 0 } else { 1 + random.below(3) },
        ..Rule::default()
    }
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
}

pub fn deed(random: &mut Random, profiles: usize, now: Tick) -> Deed {
    Deed {
        profile: random.below(profiles as u64) as u32,
        status: *random.pick(&[0, 0, STATUS_THROTTLED, STATUS_REJECT, STATUS_THROTTLED | STATUS_REJECT]),
        until: now.after(random.below(20 * SECOND) as u32),
        fate: random.below(6),
        not_a_machine: random.once_in(20),
        release: random.once_in(5),
    }
}

impl Deed {
    pub fn carry_out(&self, entry: &Entry) {
        let control = Control(entry.control.load());
        if self.status & STATUS_THROTTLED != 0 {
            entry.throttled_until.store(self.until.0);
        }
        if self.status & STATUS_REJECT != 0 {
            // Now and then until further notice.
            entry.rejected_until.store(if self.until.0.is_multiple_of(8) { 0 } else { self.until.0 });
        }
        entry.control.store(self.changed(control).0);
        if self.release {
            entry.session.store(0);
        }
    }

    fn changed(&self, old: Control) -> Control {
        let new = old
            .with_profile(self.profile)
            .without(STATUS_THROTTLED | STATUS_REJECT | NOT_M2M)
            .with(self.status | if self.not_a_machine { NOT_M2M } else { 0 });
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
