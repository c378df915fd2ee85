//! Which profile number means what: equal profiles share a number, unused numbers are used again.
//!
//! A number is handed out again only after every entry that named it has been written anew, so a profile
//! never changes while an entry names it. A packet that is just being judged may have read the entry before,
//! so a number rests while there are others: fresh ones go first, then those that are free for longest.
//! Number 0 is "nothing cached" and always there. In maps taken over numbers are in use already: they are adopted
//! before any is taken.

use std::collections::{HashMap, VecDeque};

use weir_dataplane_common::abi::{PROFILES, Profile};

/// The numbers in use.
#[derive(Debug)]
pub struct Profiles {
    numbers: HashMap<Profile, u32>,
    uses: HashMap<u32, (Profile, u32)>,
    free: VecDeque<u32>,
}

/// A number for a profile, and whether it has to be written first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The number.
    pub number: u32,
    /// The kernel does not have it yet.
    pub is_new: bool,
}

impl Default for Profiles {
    fn default() -> Self {
        Self { numbers: HashMap::new(), uses: HashMap::new(), free: (1..PROFILES).collect() }
    }
}

impl Profiles {
    /// Takes a number for one more entry; `None` if there are more distinct profiles than numbers.
    pub fn take(&mut self, profile: &Profile) -> Option<Assigned> {
        if let Some(number) = self.numbers.get(profile).copied() {
            self.uses.entry(number).and_modify(|(_, uses)| *uses += 1);
            return Some(Assigned { number, is_new: false });
        }
        let number = self.free.pop_front()?;
        self.numbers.insert(*profile, number);
        self.uses.insert(number, (*profile, 1));
        Some(Assigned { number, is_new: true })
    }

    /// Notes that one more entry names a number, which `written` says. To be called before anything is taken.
    ///
    /// # Errors
    /// What reading the profile failed with.
    pub fn adopt<E>(&mut self, number: u32, written: impl FnOnce() -> Result<Profile, E>) -> Result<(), E> {
        if number == 0 {
            return Ok(());
        }
        if let Some((_, uses)) = self.uses.get_mut(&number) {
            *uses += 1;
            return Ok(());
        }
        let profile = written()?;
        self.free.retain(|free| *free != number);
        self.uses.insert(number, (profile, 1));
        self.numbers.entry(profile).or_insert(number);
        Ok(())
    }

    /// Gives a number back after an entry was written to name another.
    pub fn give_back(&mut self, number: u32) {
        let Some((profile, uses)) = self.uses.get_mut(&number) else { return };
        *uses -= 1;
        if *uses == 0 {
            if self.numbers.get(profile) == Some(&number) {
                self.numbers.remove(profile);
            }
            self.uses.remove(&number);
            self.free.push_back(number);
        }
    }

    /// The profile behind a number in use.
    pub fn get(&self, number: u32) -> Option<&Profile> {
        self.uses.get(&number).map(|(profile, _)| profile)
    }

    /// The profiles in use, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Profile)> {
        self.uses.iter().map(|(number, (profile, _))| (*number, profile))
    }

    /// Distinct profiles in use.
    pub fn len(&self) -> usize {
        self.uses.len()
    }

    /// Whether no device has a policy.
    pub fn is_empty(&self) -> bool {
        self.uses.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(retry: u32) -> Profile {
        Profile { retry, ..Profile::default() }
    }

    #[test]
    fn equal_profiles_share_a_number_and_unequal_ones_do_not() {
        let mut profiles = Profiles::default();
        let one = profiles.take(&profile(1)).expect("room");
        assert_eq!(profiles.take(&profile(1)), Some(Assigned { is_new: false, ..one }));
        assert_ne!(profiles.take(&profile(2)).expect("room").number, one.number);
        assert_ne!(one.number, 0, "zero is nothing cached");
    }

    #[test]
    fn a_number_is_used_again_only_after_the_last_entry_gave_it_back() {
        let mut profiles = Profiles::default();
        let number = profiles.take(&profile(1)).expect("room").number;
        profiles.take(&profile(1));
        profiles.give_back(number);
        assert_ne!(profiles.take(&profile(2)).expect("room").number, number);
        profiles.give_back(number);
        assert_eq!(profiles.get(number), None);
    }

    #[test]
    fn a_number_rests_until_all_others_have_been_used_since() {
        let mut profiles = Profiles::default();
        for retry in 1..3 * PROFILES {
            let number = profiles.take(&profile(retry)).expect("room").number;
            assert_eq!(number, (retry - 1) % (PROFILES - 1) + 1);
            profiles.give_back(number);
        }
    }

    #[test]
    fn a_number_that_entries_named_before_this_agent_came_is_theirs_until_they_gave_it_back() {
        let mut profiles = Profiles::default();
        for _ in 0..2 {
            profiles.adopt(2, || Ok::<_, ()>(profile(7))).expect("read");
        }
        profiles.adopt(3, || Ok::<_, ()>(profile(7))).expect("read");
        assert_eq!(profiles.adopt(4, || Err("unreadable")), Err("unreadable"));
        assert_eq!(profiles.take(&profile(7)), Some(Assigned { number: 2, is_new: false }));
        profiles.give_back(3);
        assert_eq!(profiles.take(&profile(7)), Some(Assigned { number: 2, is_new: false }));
        let others: Vec<u32> =
            (10..13).filter_map(|retry| profiles.take(&profile(retry))).map(|it| it.number).collect();
        assert_eq!(others, [1, 4, 5]);
        (0..4).for_each(|_| profiles.give_back(2));
        assert_eq!(profiles.get(2), None);
    }

    #[test]
    fn running_out_of_numbers_is_said() {
        let mut profiles = Profiles::default();
        for retry in 1..PROFILES {
            assert!(profiles.take(&profile(retry)).is_some());
        }
        assert_eq!(profiles.take(&profile(PROFILES)), None);
        profiles.give_back(7);
        assert_eq!(profiles.take(&profile(PROFILES)), Some(Assigned { number: 7, is_new: true }));
    }
}
