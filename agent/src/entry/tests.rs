//! Writing entries: alone, and while the law judges packets over the same entry.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};

use weir_dataplane_common::{
    abi::{Profile, VALID, alarm_when},
    admit::{Case, admit},
    inspect::Classes,
    reason::Reason,
};

use super::*;

const NOW: Tick = Tick(1_000_000);

fn instruction(fate: Fate) -> Instruction {
    Instruction { profile: 7, fate, ..Instruction::nothing_cached(3) }
}

fn entry(bits: u64) -> Entry {
    let entry = Entry::default();
    entry.control.store(VALID | bits);
    entry
}

fn control(entry: &Entry) -> Control {
    Control(entry.control.load())
}

#[test]
fn a_cancel_changes_profile_status_alarm_and_redeem_at_once() {
    let entry = entry(ALARM_SEEN | HELD);
    let until = Some(NOW.after(90));
    write(&entry, &Instruction { throttled_until: until, ..instruction(Fate::Cancel) }, NOW);
    let control = control(&entry);
    assert_eq!((control.profile(), control.generation()), (7, 3));
    assert!(control.has(STATUS_THROTTLED) && control.has(REDEEM) && control.has(VALID));
    assert!(!control.has(ALARM_ACTIVE | HELD));
    assert_eq!(entry.throttled_until.load(), NOW.0 + 90);
}

#[test]
fn a_cancel_without_a_held_access_redeems_nothing() {
    let entry = entry(ALARM_SEEN);
    write(&entry, &instruction(Fate::Cancel), NOW);
    assert!(!control(&entry).has(REDEEM | ALARM_ACTIVE));
}

#[test]
fn a_second_cancel_leaves_an_access_that_is_still_to_be_redeemed() {
    let entry = entry(ALARM_SEEN | HELD);
    (0..2).for_each(|_| _ = write(&entry, &instruction(Fate::Cancel), NOW));
    assert!(control(&entry).has(REDEEM));
}

#[test]
fn a_reject_discards_the_held_access_and_leaves_the_alarm_active() {
    for before in [ALARM_SEEN | HELD, REDEEM, 0] {
        let entry = entry(before);
        write(&entry, &instruction(Fate::Reject), NOW);
        assert!(control(&entry).has(ALARM_SEEN) && !control(&entry).has(ALARM_UNSEEN | HELD | REDEEM));
    }
}

#[test]
fn no_answer_touches_an_alarm_that_nobody_has_seen() {
    for fate in [Fate::Unchanged, Fate::Cancel, Fate::Reject] {
        let entry = entry(ALARM_UNSEEN | HELD);
        write(&entry, &instruction(fate), NOW);
        assert!(control(&entry).has(ALARM_UNSEEN) && control(&entry).has(HELD), "{fate:?}");
        assert!(!control(&entry).has(ALARM_SEEN | REDEEM), "{fate:?}");
        assert_eq!(control(&entry).profile(), 7);
    }
}

#[test]
fn an_allowed_alarm_is_off_and_does_not_come_back() {
    let entry = entry(ALARM_SEEN | HELD | STATUS_THROTTLED | 7);
    allow(&entry);
    assert!(control(&entry).has(REDEEM) && control(&entry).has(NOT_M2M));
    assert!(!control(&entry).has(ALARM_ACTIVE | HELD));
    assert!(control(&entry).has(STATUS_THROTTLED) && control(&entry).profile() == 7);
}

#[test]
fn a_throttle_that_the_node_began_outlives_an_update_under_the_same_policies_only() {
    let throttled = entry(STATUS_THROTTLED | 7);
    write(&throttled, &instruction(Fate::Unchanged), NOW);
    assert!(control(&throttled).has(STATUS_THROTTLED));
    let other = entry(STATUS_THROTTLED | 8);
    write(&other, &instruction(Fate::Unchanged), NOW);
    assert!(!control(&other).has(STATUS_THROTTLED));
}

#[test]
fn the_longer_throttle_stands_unless_it_is_long_past() {
    let told = Instruction { throttled_until: Some(NOW.after(90)), ..instruction(Fate::Unchanged) };
    for (own, stands) in [(NOW.after(100), true), (NOW.after(80), false), (Tick(NOW.0 ^ 1 << 31), false)] {
        let entry = entry(STATUS_THROTTLED | 7);
        entry.throttled_until.store(own.0);
        write(&entry, &told, NOW);
        assert_eq!(entry.throttled_until.load(), if stands { own.0 } else { NOW.0 + 90 });
    }
}

#[test]
fn a_release_ends_an_open_session_and_leaves_one_that_is_over() {
    let release = Instruction { release_session: true, ..instruction(Fate::Unchanged) };
    let (before, ahead) = (NOW.0 - 9, NOW.0 + 9);
    for (start, end, left) in [(before, ahead, false), (before, NOW.0, true), (0, ahead, true), (0, 0, true)]
    {
        let (entry, session) = (entry(0), u64::from(start) << 32 | u64::from(end));
        entry.session.store(session);
        write(&entry, &release, NOW);
        assert_eq!(entry.session.load(), if left { session } else { 0 });
    }
}

#[test]
fn an_alarm_is_noticed_once() {
    let entry = entry(ALARM_UNSEEN);
    assert!(notice_alarm(&entry) && !notice_alarm(&entry));
    assert!(control(&entry).has(ALARM_SEEN));
}

#[test]
fn statuses_that_have_lapsed_are_taken_back_and_others_are_not() {
    let statuses = STATUS_THROTTLED | STATUS_REJECT;
    for (until, lapsed) in [(NOW.after(10).0, false), (NOW.0, true), (NOW.0 - 5, true)] {
        let entry = entry(statuses);
        entry.throttled_until.store(until);
        entry.rejected_until.store(until);
        keep_old(&entry, NOW);
        assert_eq!(control(&entry).has(statuses), !lapsed);
    }
    let entry = entry(STATUS_REJECT);
    keep_old(&entry, NOW);
    assert!(control(&entry).has(STATUS_REJECT), "until further notice");
}

/// Packets of an idle device, each a new access, as fast as it goes: alarms raised and accesses redeemed.
fn packets(entry: &Entry, profile: &Profile) -> (usize, usize) {
    let (mut raised, mut redeemed, mut now) = (0, 0, NOW);
    for _ in 0..50_000 {
        now = now.after(3);
        let outcome = admit(&Case {
            entry,
            profile,
            control: control(entry),
            classes: Classes::NONE,
            uplink: true,
            from_server: false,
            drop_unsolicited: true,
            now,
        });
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
    let (entry, enough) = (entry(0), AtomicBool::new(false));
    let (noticed, accepted, (raised, redeemed)) = thread::scope(|scope| {
        let kernel = scope.spawn(|| {
            let counts = packets(&entry, &profile);
            enough.store(true, SeqCst);
            counts
        });
        let (mut noticed, mut accepted, mut discarded) = (0, 0, 0);
        let mut random = fastrand::Rng::with_seed(1);
        while !enough.load(SeqCst) {
            let fates = [Fate::Cancel, Fate::Cancel, Fate::Unchanged, Fate::Reject];
            let fate = fates[random.usize(0..fates.len())];
            noticed += usize::from(notice_alarm(&entry));
            let generation = random.u16(..);
            let replaced = write(&entry, &Instruction { generation, ..instruction(fate) }, NOW);
            let is_meant = !replaced.has(ALARM_UNSEEN);
            accepted += usize::from(is_meant && fate == Fate::Cancel && replaced.has(HELD));
            discarded += usize::from(is_meant && fate == Fate::Reject && replaced.has(REDEEM));
            if random.bool() {
                thread::yield_now();
            }
        }
        (noticed, accepted - discarded, kernel.join().expect("the packets' thread"))
    });
    assert_eq!(noticed + usize::from(notice_alarm(&entry)), raised);
    // The law may redeem once more when an update comes between its judgement and its swap.
    let left = usize::from(control(&entry).has(REDEEM));
    assert!(redeemed + left >= accepted, "{redeemed} redeemed and {left} left of {accepted}");
    assert!(control(&entry).has(VALID) && control(&entry).profile() == 7);
}
