//! Strangers: addresses that no device is bound to, on a node that judges each of them by itself (R-D8).
//!
//! The kernel gives them places behind the devices' entries, takes them back, and judges all of them by one profile
//! that has a number of its own. What is left to user space: to write that profile, to empty the places when it comes
//! to mean something else, to keep what is old from looking new, and to say how full the table is. A stranger has no
//! identifier, no policies and no alarm, and control never hears of one.
//!
//! Read first: `weir_dataplane_common::node`, `stranger`.

use std::ops::Range;

use weir_dataplane_common::{
    abi::{Entry, Ledger, Profile, STRANGER_PROFILE},
    node,
    tick::{Tick, window_ticks},
};

use crate::{
    config::{Config, StrangerLimit, Timings},
    core::Kernel,
    entry,
    profile::{self, Action, Limit, Misfit, Policy, Restriction},
};

/// Of how many parts of the table one is counted at a time.
const PARTS: usize = 16;
const THREE_DAYS: u32 = window_ticks(3 * 24 * 3_600 * 1_000_000_000);

/// The table of strangers as the agent sees it.
#[derive(Debug)]
pub struct Strangers {
    places: Range<usize>,
    profile: Profile,
    /// Places in use by part of the table, as they were last counted.
    used: [usize; PARTS],
    next_part: usize,
}

/// What strangers are judged by: so many accesses in a window, and no more.
///
/// # Errors
/// [`Misfit`], if an entry cannot count so many.
pub fn profile_of(config: &Config, limit: &StrangerLimit) -> Result<Profile, Misfit> {
    let restriction = Restriction::Accesses(Limit { permitted: limit.permitted, window: limit.window });
    let timings = Timings { inactivity: limit.inactivity, ..config.timings };
    let policy = Policy::new(0, restriction, Action::Reject);
    profile::compile(Some(&[policy]), &config.kinds, &timings, None)
}

impl Strangers {
    /// Writes what strangers are judged by; `None` if they are not judged one by one. Where an earlier agent judged
    /// them by something else, all begin anew.
    ///
    /// # Errors
    /// A sentence for people.
    pub(crate) fn install<K: Kernel>(kernel: &mut K, config: &Config) -> Result<Option<Self>, String> {
        let Some(limit) = &config.stranger_limit else { return Ok(None) };
        let profile = profile_of(config, limit).map_err(|misfit| format!("node.strangers: {misfit}"))?;
        let end = kernel.entries().len();
        let begin =
            end.checked_sub(limit.places as usize).ok_or("there are fewer entries than strangers' places")?;
        let strangers = Self { places: begin..end, profile, used: [0; PARTS], next_part: 0 };
        if kernel.read_profile(STRANGER_PROFILE)? != profile {
            kernel.write_profile(STRANGER_PROFILE, &profile)?;
            // What stands there was counted by the other profile.
            strangers.pairs(kernel).for_each(vacate);
        }
        Ok(Some(strangers))
    }

    /// Places in all.
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// Places whose stranger has something that counts, as of the last sixteen looks.
    pub fn used(&self) -> usize {
        self.used.iter().sum()
    }

    /// Counts the next part of the table.
    pub(crate) fn look<K: Kernel>(&mut self, kernel: &K, now: Tick) {
        let (length, part) = (self.places.len(), self.next_part);
        let bound = |part: usize| self.places.start + length * part / PARTS;
        let remembered = node::remembered(&self.profile);
        let entries = &kernel.entries()[bound(part)..bound(part + 1)];
        let used = entries.iter().filter(|entry| !node::is_free(entry, now, remembered)).count();
        self.used[part] = used;
        self.next_part = (part + 1) % PARTS;
    }

    /// Keeps what is old from looking new when the clock wraps.
    pub(crate) fn keep_old<K: Kernel>(&self, kernel: &K, now: Tick) {
        for pair in self.pairs(kernel) {
            entry::keep_old(pair, &self.profile, now);
            if node::is_free(pair.0, now, THREE_DAYS) {
                // A failed swap means that the stranger has just come back.
                let session = pair.0.session.load();
                pair.0.session.replace(session, 0);
            }
        }
    }

    fn pairs<'k, K: Kernel>(&self, kernel: &'k K) -> impl Iterator<Item = (&'k Entry, &'k Ledger)> {
        kernel.entries()[self.places.clone()].iter().zip(&kernel.ledgers()[self.places.clone()])
    }
}

/// Empties a place. The kernel may be taking it meanwhile: then its stranger's first access is not counted.
fn vacate((entry, ledger): entry::Pair<'_>) {
    entry.owner.store(0);
    entry.session.store(0);
    entry.retry_until.store(0);
    ledger.requests.clear();
    ledger.admissions.clear();
}
