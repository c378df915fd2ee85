//! A ledger's first room, when a device's policies come to count in it in another way.
//!
//! A profile counts large limits by words that stand where the last attempts stand otherwise (see
//! `weir_dataplane_common::abi::Ledger`). When the profile changes, what the words shall hold is worked out here:
//! a limit over the same window goes on counting; another begins with what is known of the past, and where more
//! may have been than is known, with as much as there can have been. So a new limit is never wider than it says,
//! and a device that has hardly been seen is not locked out. The entry is marked unsettled meanwhile
//! ([`crate::entry::write`]); this room only does the sums.

use weir_dataplane_common::{
    abi::{ALARM_WORD, BUCKET_WORD, Ledger, Profile, THROTTLE_WORD, WORDS},
    atomic::Word64,
    subwindow::{LARGEST, SubWindows},
    tick::Tick,
    window::{History, SLOTS},
};

use crate::entry::Pair;

/// Windows in ticks by word; 0: the word counts nothing. The limit beside it.
fn windows(profile: &Profile) -> [(u32, u32); WORDS] {
    let mut windows = [(0, 0); WORDS];
    if profile.by_words == 0 {
        return windows;
    }
    for (word, place) in windows.iter_mut().enumerate().take(THROTTLE_WORD + 1) {
        if profile.by_words & 1 << word != 0 {
            let (permitted, window) = profile.word_limit(word);
            *place = (window, permitted);
        }
    }
    if profile.alarm_counts != 0 && profile.alarm_permitted > SLOTS as u32 {
        windows[ALARM_WORD] = (profile.alarm_window, profile.alarm_permitted);
    }
    windows
}

/// Whether both profiles use the room alike, so that nothing has to be written.
pub fn counts_alike(one: &Profile, other: &Profile) -> bool {
    let uses = |profile: &Profile| {
        let windows = windows(profile).map(|(window, _)| window);
        (profile.by_words != 0, windows, profile.second_meter.sides != 0)
    };
    uses(one) == uses(other)
}

/// Writes what the room holds under `new`, after `old`. The entry is unsettled: the kernel counts nothing here.
pub fn settle((entry, ledger): Pair<'_>, old: &Profile, new: &Profile, now: Tick) {
    if new.by_words == 0 {
        // A fresh ring: what was asked for before is forgotten, what was admitted is not.
        ledger.requests.clear();
        return;
    }
    let requests =
        if old.by_words == 0 { known(&ledger.requests, entry.requests.load(), now) } else { vec![] };
    let admissions = known(&ledger.admissions, entry.admitted.load(), now);
    let (before, after) = (windows(old), windows(new));
    let held: [u64; WORDS] = std::array::from_fn(|word| ledger.words()[word].load());
    for (word, (window, permitted)) in after.into_iter().enumerate() {
        let kin = |(window, _): (u32, u32), word: usize| (window, word == ALARM_WORD);
        let same =
            (0..WORDS).find(|other| window != 0 && kin(before[*other], *other) == kin((window, 0), word));
        let value = match same {
            Some(other) => held[other],
            None if window == 0 => 0,
            None => {
                let known = if word == ALARM_WORD { &requests } else { &admissions };
                begun(known, window, permitted, now).0
            }
        };
        ledger.words()[word].store(value);
    }
    let keeps_bucket = old.by_words != 0 && old.second_meter == new.second_meter;
    ledger.words()[BUCKET_WORD].store(if keeps_bucket { held[BUCKET_WORD] } else { 0 });
}

/// Ages and numbers of what happened: the last fourteen one by one, and all that may have been before them at the
/// age of the oldest of these.
fn known(history: &History, ever: u32, now: Tick) -> Vec<(u32, u32)> {
    let mut known: Vec<(u32, u32)> = history.ages(now).map(|age| (age, 1)).collect();
    let more = ever.saturating_sub(known.len() as u32);
    if let Some((oldest, _)) = known.last().copied().filter(|_| known.len() == SLOTS) {
        known.push((oldest, more));
    }
    known
}

/// A word that holds what is known, and not more than makes the limit full.
fn begun(known: &[(u32, u32)], window: u32, permitted: u32, now: Tick) -> SubWindows {
    let permitted = permitted.min(LARGEST);
    SubWindows::of_ages(now, window, known.iter().map(|(age, count)| (*age, (*count).min(permitted))))
}

/// Empties words whose windows are over, before their numbers look new again.
pub fn forget_old(ledger: &Ledger, profile: &Profile, now: Tick) {
    for (word, (window, _)) in windows(profile).into_iter().enumerate() {
        if window != 0 {
            forget(&ledger.words()[word], now, window);
        }
    }
}

fn forget(word: &Word64, now: Tick, window: u32) {
    let old = word.load();
    // A failed swap means that the word was just counted in: it is not old.
    word.replace(old, SubWindows(old).forget_old(now, window).0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_dataplane_common::{
        abi::{BY_WORDS, Entry, Rule, action, rule},
        subwindow::{is_full, take},
    };

    const NOW: Tick = Tick(10_000_000);
    const MINUTE: u32 = 57_221;

    fn slots() -> Profile {
        Profile::default()
    }

    fn hundred(window: u32) -> Profile {
        let mut profile = Profile { by_words: BY_WORDS | 1, bounded_words: 1, ..Profile::default() };
        profile.rules[0] = Rule {
            restricts: rule::ACCESS_LIMIT,
            action: action::REJECT,
            permitted: 100,
            window,
            ..Rule::default()
        };
        profile
    }

    fn admitted(count: u32, apart: u32) -> (Entry, Ledger) {
        let (entry, ledger) = (Entry::default(), Ledger::default());
        for number in (0..count).rev() {
            ledger.admissions.record(Tick(NOW.0 - u64::from(number * apart)));
            entry.admitted.add(1);
        }
        (entry, ledger)
    }

    fn room(ledger: &Ledger, window: u32) -> u32 {
        (0..200).filter(|_| take(&ledger.words()[0], NOW, window, 100)).count() as u32
    }

    #[test]
    fn a_new_limit_counts_what_is_known_of_the_past() {
        let (entry, ledger) = admitted(9, 10);
        settle((&entry, &ledger), &slots(), &hundred(MINUTE), NOW);
        assert_eq!(room(&ledger, MINUTE), 91);
    }

    #[test]
    fn what_may_have_been_more_than_is_known_counts_too() {
        let (entry, ledger) = admitted(60, 10);
        settle((&entry, &ledger), &slots(), &hundred(MINUTE), NOW);
        assert_eq!(room(&ledger, MINUTE), 40);
        let (entry, ledger) = admitted(4000, 1);
        settle((&entry, &ledger), &slots(), &hundred(MINUTE), NOW);
        assert!(is_full(&ledger.words()[0], NOW, 100, MINUTE));
    }

    #[test]
    fn what_was_long_ago_counts_no_longer_however_much_it_was() {
        let (entry, ledger) = admitted(500, 2 * MINUTE / 13);
        settle((&entry, &ledger), &slots(), &hundred(MINUTE), NOW);
        let room = room(&ledger, MINUTE);
        assert!((88..100).contains(&room), "{room}");
    }

    #[test]
    fn the_same_window_goes_on_counting_under_other_policies() {
        let (entry, ledger) = admitted(0, 1);
        assert_eq!(room(&ledger, MINUTE), 100);
        let mut other = hundred(MINUTE);
        other.rules.swap(0, 2);
        (other.by_words, other.bounded_words) = (BY_WORDS | 4, 4);
        assert!(!counts_alike(&hundred(MINUTE), &other) && counts_alike(&other, &other));
        settle((&entry, &ledger), &hundred(MINUTE), &other, NOW);
        assert!(is_full(&ledger.words()[2], NOW, 100, MINUTE) && ledger.words()[0].load() == 0);
    }

    #[test]
    fn back_to_slots_the_ring_of_requests_is_fresh() {
        let (entry, ledger) = admitted(5, 1);
        ledger.words()[0].store(u64::MAX);
        settle((&entry, &ledger), &hundred(MINUTE), &slots(), NOW);
        assert_eq!(ledger.requests.ages(NOW).count(), 0);
        assert_eq!(ledger.admissions.ages(NOW).count(), 5);
    }
}
