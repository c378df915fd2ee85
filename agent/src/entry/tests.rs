//! Writing entries: alone, and while the law judges packets over the same entry.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};

use weir_dataplane_common::{
    abi::{BY_WORDS, Profile, Rule, VALID, action, alarm_when, rule},
    admit::{Case, admit},
    inspect::Classes,
    reason::Reason,
};

use super::*;

const NOW: Tick = Tick(1_000_000);

fn instruction(fate: Fate) -> Instruction {
    Instruction { profile: 7, fate, ..Instruction::nothing_cached(3) }
}

/// An entry with its ledger, whose profiles all count alike.
#[derive(Default)]
struct Device {
    entry: Entry,
    ledger: Ledger,
}

impl Device {
    fn pair(&self) -> Pair<'_> {
        (&self.entry, &self.ledger)
    }

    fn write(&self, instruction: &Instruction) -> Control {
        let profile = Profile::default();
        write(self.pair(), instruction, [&profile, &profile], NOW)
    }

    fn control(&self) -> Control {
        Control(self.entry.control.load())
    }
}

fn device(bits: u64) -> Device {
    let device = Device::default();
    device.entry.control.store(VALID | bits);
    device
}

#[test]
fn a_cancel_changes_profile_status_alarm_and_redeem_at_once() {
    let device = device(ALARM_SEEN | HELD);
    let until = Some(NOW.after(90));
    device.write(&Instruction { throttled_until: until, ..instruction(Fate::Cancel) });
    let control = device.control();
    assert_eq!((control.profile(), control.generation()), (7, 3));
    assert!(control.has(STATUS_THROTTLED) && control.has(REDEEM) && control.has(VALID));
    assert!(!control.has(ALARM_ACTIVE | HELD));
    assert_eq!(device.ledger.throttled_until.load(), NOW.after(90).stored());
}

#[test]
fn a_cancel_without_a_held_access_redeems_nothing() {
    let device = device(ALARM_SEEN);
    device.write(&instruction(Fate::Cancel));
    assert!(!device.control().has(REDEEM | ALARM_ACTIVE));
}

#[test]
fn a_second_cancel_leaves_an_access_that_is_still_to_be_redeemed() {
    let device = device(ALARM_SEEN | HELD);
    (0..2).for_each(|_| _ = device.write(&instruction(Fate::Cancel)));
    assert!(device.control().has(REDEEM));
}

#[test]
fn a_reject_discards_the_held_access_and_leaves_the_alarm_active() {
    for before in [ALARM_SEEN | HELD, REDEEM, 0] {
        let device = device(before);
        device.write(&instruction(Fate::Reject));
        assert!(device.control().has(ALARM_SEEN) && !device.control().has(ALARM_UNSEEN | HELD | REDEEM));
    }
}

#[test]
fn no_answer_touches_an_alarm_that_nobody_has_seen() {
    for fate in [Fate::Unchanged, Fate::Cancel, Fate::Reject] {
        let device = device(ALARM_UNSEEN | HELD);
        device.write(&instruction(fate));
        assert!(device.control().has(ALARM_UNSEEN) && device.control().has(HELD), "{fate:?}");
        assert!(!device.control().has(ALARM_SEEN | REDEEM), "{fate:?}");
        assert_eq!(device.control().profile(), 7);
    }
}

#[test]
fn an_allowed_alarm_is_off_and_does_not_come_back() {
    let device = device(ALARM_SEEN | HELD | STATUS_THROTTLED | 7);
    allow(&device.entry);
    assert!(device.control().has(REDEEM) && device.control().has(NOT_M2M));
    assert!(!device.control().has(ALARM_ACTIVE | HELD));
    assert!(device.control().has(STATUS_THROTTLED) && device.control().profile() == 7);
}

#[test]
fn a_throttle_that_the_node_began_outlives_an_update_under_the_same_policies_only() {
    let throttled = device(STATUS_THROTTLED | 7);
    throttled.write(&instruction(Fate::Unchanged));
    assert!(throttled.control().has(STATUS_THROTTLED));
    let other = device(STATUS_THROTTLED | 8);
    other.write(&instruction(Fate::Unchanged));
    assert!(!other.control().has(STATUS_THROTTLED));
}

#[test]
fn the_longer_throttle_stands_unless_it_is_long_past() {
    let told = Instruction { throttled_until: Some(NOW.after(90)), ..instruction(Fate::Unchanged) };
    for (own, stands) in [(NOW.after(100), true), (NOW.after(80), false), (Tick(NOW.0 ^ 1 << 31), false)] {
        let device = device(STATUS_THROTTLED | 7);
        device.ledger.throttled_until.store(own.stored());
        device.write(&told);
        assert_eq!(
            device.ledger.throttled_until.load(),
            if stands { own.stored() } else { NOW.after(90).stored() }
        );
    }
}

#[test]
fn a_release_ends_an_open_session_and_leaves_one_that_is_over() {
    let release = Instruction { release_session: true, ..instruction(Fate::Unchanged) };
    let (before, ahead) = (NOW.0 - 9, NOW.0 + 9);
    for (start, end, left) in [(before, ahead, false), (before, NOW.0, true), (0, ahead, true), (0, 0, true)]
    {
        let (device, session) = (device(0), start << 32 | end);
        device.entry.session.store(session);
        device.write(&release);
        assert_eq!(device.entry.session.load(), if left { session } else { 0 });
    }
}

#[test]
fn an_alarm_is_noticed_once() {
    let device = device(ALARM_UNSEEN);
    assert!(notice_alarm(&device.entry) && !notice_alarm(&device.entry));
    assert!(device.control().has(ALARM_SEEN));
}

#[test]
fn statuses_that_have_lapsed_are_taken_back_and_others_are_not() {
    let statuses = STATUS_THROTTLED | STATUS_REJECT;
    for (until, lapsed) in [(NOW.after(10), false), (NOW, true), (Tick(NOW.0 - 5), true)] {
        let device = device(statuses);
        device.ledger.throttled_until.store(until.stored());
        device.ledger.rejected_until.store(until.stored());
        keep_old(device.pair(), &Profile::default(), NOW);
        assert_eq!(device.control().has(statuses), !lapsed);
    }
    let device = device(STATUS_REJECT);
    keep_old(device.pair(), &Profile::default(), NOW);
    assert!(device.control().has(STATUS_REJECT), "until further notice");
}

/// Packets of an idle device, each a new access, as fast as it goes: alarms raised and accesses redeemed.
fn packets(device: &Device, profile: &Profile) -> (usize, usize) {
    let (mut raised, mut redeemed, mut now) = (0, 0, NOW);
    for _ in 0..50_000 {
        now = now.after(3);
        let case = Case {
            entry: &device.entry,
            profile,
            control: device.control(),
            classes: Classes::NONE,
            length: 64,
            uplink: true,
            from_server: false,
            drop_unsolicited: true,
            now,
        };
        let outcome = admit(&case, || Some(&device.ledger));
        raised += usize::from(outcome.raised.is_some());
        redeemed += usize::from(outcome.reason == Reason::Redeemed);
        if outcome.reason == Reason::AlarmActive {
            // On a machine with one CPU to spare, the agent's turn.
            thread::yield_now();
        }
    }
    (raised, redeemed)
}

#[test]
fn while_packets_are_judged_every_alarm_is_noticed_once_and_no_accepted_access_is_lost() {
    let mut profile = Profile { inactivity: 1, max_age: 9, retry: 1, kinds: 1, ..Profile::default() };
    (profile.alarm_counts, profile.alarm_when) = (1, alarm_when::ALWAYS);
    (profile.alarm_permitted, profile.alarm_window) = (1, 50);
    let (device, enough) = (device(0), AtomicBool::new(false));
    let (noticed, accepted, (raised, redeemed)) = thread::scope(|scope| {
        let kernel = scope.spawn(|| {
            let counts = packets(&device, &profile);
            enough.store(true, SeqCst);
            counts
        });
        let (mut noticed, mut accepted, mut discarded) = (0, 0, 0);
        let mut random = fastrand::Rng::with_seed(1);
        while !enough.load(SeqCst) {
            let fates = [Fate::Cancel, Fate::Cancel, Fate::Unchanged, Fate::Reject];
            let fate = fates[random.usize(0..fates.len())];
            noticed += usize::from(notice_alarm(&device.entry));
            let generation = random.u16(..);
            let replaced = device.write(&Instruction { generation, ..instruction(fate) });
            let is_meant = !replaced.has(ALARM_UNSEEN);
            accepted += usize::from(is_meant && fate == Fate::Cancel && replaced.has(HELD));
            discarded += usize::from(is_meant && fate == Fate::Reject && replaced.has(REDEEM));
            if random.bool() {
                thread::yield_now();
            }
        }
        (noticed, accepted - discarded, kernel.join().expect("the packets' thread"))
    });
    assert_eq!(noticed + usize::from(notice_alarm(&device.entry)), raised);
    // The law may redeem once more when an update comes between its judgement and its swap.
    let left = usize::from(device.control().has(REDEEM));
    assert!(redeemed + left >= accepted, "{redeemed} redeemed and {left} left of {accepted}");
    assert!(device.control().has(VALID) && device.control().profile() == 7);
}

#[test]
fn large_limits_refuse_for_the_moment_in_which_they_are_written_anew() {
    let mut hundred = Profile { by_words: BY_WORDS | 1, ..Profile::default() };
    hundred.rules[0] = Rule {
        restricts: rule::ACCESS_LIMIT,
        action: action::REJECT,
        permitted: 100,
        window: 600,
        ..Rule::default()
    };
    let device = device(0);
    device.ledger.requests.record(NOW);
    write(device.pair(), &instruction(Fate::Unchanged), [&Profile::default(), &hundred], NOW);
    assert!(!device.control().has(UNSETTLED), "the moment is over");
    assert_eq!(device.ledger.words()[0].load() & 0xff_ffff_ffff, 0, "no attempt is taken for an admission");

    device.entry.control.set_bits(UNSETTLED);
    device.ledger.words()[0].store(u64::MAX);
    finish_settling(device.pair(), &hundred, NOW);
    assert!(!device.control().has(UNSETTLED), "what an agent that died had begun is finished");
    assert_eq!(device.ledger.words()[0].load() & 0xff_ffff_ffff, 0);
}
