//! What policies in shadow would have dropped, by policy (R-X5).
//!
//! The kernel counts by the place of a rule in a profile; profiles come and go and share policies. Here the
//! differences are added up by the policy's identifier. Nothing here decides, and nothing is enforced.

use std::collections::{BTreeMap, HashMap};

use weir_dataplane_common::abi::{Profile, rule_flag};

/// Sums by policy since the agent began.
#[derive(Debug, Default)]
pub(crate) struct Shadows {
    /// What the kernel's counter of a place said last; numbers of profiles are used again, counters go on.
    read: HashMap<(u32, u32), u64>,
    sums: BTreeMap<u32, u64>,
}

impl Shadows {
    /// Reads the counters of all rules in shadow among these profiles.
    ///
    /// # Errors
    /// What reading a counter failed with.
    pub(crate) fn read<'p, E>(
        &mut self,
        profiles: impl Iterator<Item = (u32, &'p Profile)>,
        mut counter: impl FnMut(u32, u32) -> Result<u64, E>,
    ) -> Result<(), E> {
        for (number, profile) in profiles {
            for (place, rule) in (0..).zip(&profile.rules) {
                if is_watched(profile, place, rule.flags) {
                    let now = counter(number, place)?;
                    let before = self.read.insert((number, place), now).unwrap_or(0);
                    *self.sums.entry(rule.policy).or_default() += now.saturating_sub(before);
                }
            }
        }
        Ok(())
    }

    /// Packets that would have been dropped, by policy.
    pub(crate) fn sums(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.sums.iter().map(|(policy, packets)| (*policy, *packets))
    }
}

/// Whether a profile has a rule in shadow.
pub(crate) fn has_any(profile: &Profile) -> bool {
    (0..).zip(&profile.rules).any(|(place, rule)| is_watched(profile, place, rule.flags))
}

/// In shadow, or a rate that is only watched: its meter bears the mark.
fn is_watched(profile: &Profile, place: u32, flags: u8) -> bool {
    let meters = [&profile.meter, &profile.second_meter];
    let by_meter = meters.iter().any(|meter| {
        meter.sides != 0 && u32::from(meter.place) == place + 1 && meter.flags & rule_flag::SHADOW != 0
    });
    flags & rule_flag::SHADOW != 0 || by_meter
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_dataplane_common::abi::{Meter, Rule};

    fn profile(policies: &[(u32, u8)]) -> Profile {
        let mut profile = Profile::default();
        for (place, (policy, flags)) in profile.rules.iter_mut().zip(policies) {
            *place = Rule { policy: *policy, flags: *flags, ..Rule::default() };
        }
        profile
    }

    #[test]
    fn counts_of_a_policy_add_up_over_the_profiles_that_hold_it() {
        let (one, two) = (profile(&[(7, 0), (8, rule_flag::SHADOW)]), profile(&[(8, rule_flag::SHADOW)]));
        let mut shadows = Shadows::default();
        for factor in [1, 2] {
            let counter = |number: u32, _| Ok::<_, ()>(u64::from(number) * 100 * factor);
            shadows.read([(1, &one), (2, &two)].into_iter(), counter).expect("read");
        }
        assert_eq!(shadows.sums().collect::<Vec<_>>(), [(8, 600)], "an enforced policy has no shadow");
    }

    #[test]
    fn a_number_that_is_used_again_goes_on_from_what_its_counter_says() {
        let (one, other) = (profile(&[(7, rule_flag::SHADOW)]), profile(&[(9, rule_flag::SHADOW)]));
        let mut shadows = Shadows::default();
        shadows.read([(1, &one)].into_iter(), |_, _| Ok::<_, ()>(40)).expect("read");
        shadows.read([(1, &other)].into_iter(), |_, _| Ok::<_, ()>(45)).expect("read");
        assert_eq!(shadows.sums().collect::<Vec<_>>(), [(7, 40), (9, 5)]);
    }

    #[test]
    fn a_rate_that_is_only_watched_counts_too() {
        let mut watched = profile(&[(5, 0)]);
        watched.meter = Meter { sides: 1, place: 1, flags: rule_flag::SHADOW, ..Meter::default() };
        let mut shadows = Shadows::default();
        shadows.read([(3, &watched)].into_iter(), |_, _| Ok::<_, ()>(2)).expect("read");
        assert_eq!(shadows.sums().collect::<Vec<_>>(), [(5, 2)]);
    }
}
