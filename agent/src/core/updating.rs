//! The way down: entries as control wants them, one by one or as a snapshot.
//!
//! An update is applied whole or refused whole. What it says of alarms is taken for the alarm it names, so
//! that an answer that crosses a new alarm on its way, or comes twice, does not answer the wrong one.

use std::collections::HashSet;

use weir_dataplane_common::{
    abi::{Control, LAST_ALARM_HELD, NOT_M2M, Profile, STATUS_REJECT, STATUS_THROTTLED, action},
    tick::{LONGEST_AHEAD, Tick},
};
use weir_proto::v1::{self, from_node::Message as Up};

use super::{Core, Kernel, Snapshot};
use crate::{
    alarms::Phase,
    devices::DeviceNumber,
    entry::{self, Fate, Instruction},
    known_good::{Keep, Record},
    profile,
    time::Instant,
    translate,
};

/// What an update did that was not refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// What it says stands.
    Stands,
    /// Something newer stood already.
    Outdated,
}

/// A profile that an entry is about to name.
struct Chosen {
    number: u32,
    /// The longest time that a throttle under it can be told for, ticks.
    throttle_window: u32,
}

impl<K: Kernel> Core<K> {
    /// A new control, or a new stream of the same: it may count its revisions anew.
    pub(super) fn begin_snapshot(&mut self, welcome: &v1::Welcome, now: Instant) -> Vec<Up> {
        self.revisions.clear();
        self.synced = false;
        self.keep.push(Keep::SnapshotBegins);
        self.snapshot = Some(Snapshot { remaining: welcome.snapshot_entries, named: HashSet::new() });
        self.finish_snapshot(now)
    }

    /// Takes an update; its result, and what follows from a snapshot that it completes.
    pub(super) fn update(&mut self, update: &v1::CacheUpdate, now: Instant) -> Vec<Up> {
        let refused = match self.apply(update, now) {
            Ok(effect) => {
                self.figures.updates_applied += 1;
                if effect == Effect::Stands {
                    self.keep.push(Keep::Record(self.record_of(update)));
                }
                String::new()
            }
            Err(reason) => {
                self.figures.updates_refused += 1;
                self.keep.push(Keep::Named(update.device.clone()));
                reason
            }
        };
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.remaining = snapshot.remaining.saturating_sub(1);
            snapshot.named.extend(self.devices.number_of(&update.device));
        }
        let result = v1::UpdateResult { nonce: update.nonce, device: update.device.clone(), refused };
        let mut messages = vec![Up::Result(result)];
        messages.extend(self.finish_snapshot(now));
        messages
    }

    /// A device bound elsewhere is none of our business, and no error. A refused update changes nothing.
    pub(super) fn apply(&mut self, update: &v1::CacheUpdate, now: Instant) -> Result<Effect, String> {
        let Some(device) = self.devices.number_of(&update.device) else { return Ok(Effect::Stands) };
        let known = self.revisions.get(&device).copied();
        if known.is_some_and(|known| update.revision < known) {
            return Ok(Effect::Outdated);
        }
        let fate = self.fate(device, update, known == Some(update.revision));
        let chosen = self.profile_for(update)?;
        let status = update.status.unwrap_or_default();
        let throttled_until = now.tick_of(status.throttled_until_ms);
        let instruction = Instruction {
            profile: chosen.number,
            throttled_until: throttled_until.map(|until| earlier(until, chosen.throttle_window, now.tick)),
            rejected: translate::rejected(&status, now),
            not_m2m: update.not_m2m,
            fate,
            release_session: status.release_session,
            generation: update.revision as u16,
        };
        self.write(device, instruction, now);
        self.remember_status(device, status);
        self.revisions.insert(device, update.revision);
        match fate {
            Fate::Unchanged => tracing::debug!(update.revision, "{}", update.explanation),
            _ => tracing::info!(update.revision, ?fate, "{}", update.explanation),
        }
        Ok(Effect::Stands)
    }

    /// What an applied update leaves standing, for the next start: also for a device that is not bound here now and
    /// may be then.
    fn record_of(&self, update: &v1::CacheUpdate) -> Record {
        let device = self.devices.number_of(&update.device);
        let rejected = device
            .filter(|device| self.alarms.get(*device).is_some_and(|alarm| alarm.phase == Phase::Rejected));
        let alarm = rejected.map_or(0, |device| self.entry(device).last_alarm.load() & !LAST_ALARM_HELD);
        Record::of(update, alarm)
    }

    /// What an update says of the alarm that the device has now. One that names another alarm says nothing of
    /// it, nor does a repetition of one that names none.
    fn fate(&self, device: DeviceNumber, update: &v1::CacheUpdate, repeated: bool) -> Fate {
        let Some(alarm) = self.alarms.get(device) else { return Fate::Unchanged };
        let is_meant = match &update.answers {
            Some(id) => id.node == self.config.name && id.boot == self.boot && id.sequence == alarm.sequence,
            None => !repeated,
        };
        if is_meant { translate::fate(update) } else { Fate::Unchanged }
    }

    /// The profile of an update's policies, written if it is new.
    fn profile_for(&mut self, update: &v1::CacheUpdate) -> Result<Chosen, String> {
        if !update.cached {
            return Ok(Chosen { number: 0, throttle_window: LONGEST_AHEAD });
        }
        let (policies, config) = (translate::policies(update)?, &self.config);
        let profile =
            profile::compile(Some(&policies), &config.kinds, &config.timings, config.alarm.as_ref())
                .map_err(|misfit| misfit.to_string())?;
        let Some(assigned) = self.profiles.take(&profile) else {
            self.figures.profiles_full += 1;
            return Err("more distinct combinations of policies than a node holds".to_owned());
        };
        if assigned.is_new
            && let Err(reason) = self.kernel.write_profile(assigned.number, &profile)
        {
            self.profiles.give_back(assigned.number);
            return Err(reason);
        }
        Ok(Chosen { number: assigned.number, throttle_window: throttle_window(&profile) })
    }

    /// Writes an entry, gives back the profile that it named before, and does with its alarm as is said.
    fn write(&mut self, device: DeviceNumber, instruction: Instruction, now: Instant) {
        // Until its alarm is answered, an allowed device raises no other.
        let quiet = instruction.fate == Fate::Unchanged && self.alarms.is_allowed(device);
        let instruction = Instruction { not_m2m: instruction.not_m2m || quiet, ..instruction };
        let named = Control(self.entry(device).control.load()).profile();
        let profiles = [self.profile(named), self.profile(instruction.profile)];
        let replaced = entry::write(self.pair(device), &instruction, profiles, now.tick);
        self.profiles.give_back(replaced.profile());
        match instruction.fate {
            Fate::Unchanged => {}
            Fate::Cancel => {
                let frame = self.alarms.cancel(device, now.tick);
                self.deliver(frame);
            }
            Fate::Reject => self.alarms.reject(device, now.tick),
        }
    }

    /// When a snapshot is complete, devices it does not name are not cached. Their alarms stay, and one that
    /// was rejected is raised again: a control that has forgotten it would never cancel it.
    fn finish_snapshot(&mut self, now: Instant) -> Vec<Up> {
        let complete = self.snapshot.take_if(|snapshot| snapshot.remaining == 0);
        let Some(snapshot) = complete else { return Vec::new() };
        self.synced = true;
        self.keep.push(Keep::SnapshotComplete);
        let mut messages = Vec::new();
        for device in (0..self.devices.len()).filter(|device| !snapshot.named.contains(device)) {
            let control = Control(self.entry(device).control.load());
            if control.profile() != 0 || control.has(NOT_M2M | STATUS_THROTTLED | STATUS_REJECT) {
                self.write(device, Instruction::nothing_cached(control.generation()), now);
            }
            self.statuses.remove(&device);
            if self.alarms.reopen(device, now.tick) {
                messages.extend(self.alarm_message(device, now));
            }
        }
        messages
    }
}

/// An instant, at most so much ahead: the law takes a throttle's end that lies further ahead than the throttle's
/// window for one long past, and control's clock may be ahead of ours.
fn earlier(until: Tick, length: u32, now: Tick) -> Tick {
    until.min(now.after(length))
}

fn throttle_window(profile: &Profile) -> u32 {
    let throttles = profile.rules.iter().filter(|rule| rule.action == action::THROTTLE);
    throttles.map(|rule| rule.throttle_window).max().unwrap_or(LONGEST_AHEAD)
}
