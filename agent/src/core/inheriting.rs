//! What a start finds: entries that another agent left, and the last-known-good cache.
//!
//! Entries are the younger of the two: they are written before the journal is. So a record is applied to an entry
//! about which nothing is known, or which was last written by the same update (then for what a new configuration
//! makes of it). Alarms that are active are raised anew: whatever control answered to the agent before is for that
//! agent's alarms.

use weir_dataplane_common::abi::{ALARM_ACTIVE, Control, HELD};
use weir_proto::v1;

use super::{Core, Kernel};
use crate::{
    devices::{self, DeviceNumber},
    entry,
    known_good::Record,
    time::Instant,
};

/// What a start brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inherited {
    /// Devices whose last-known-good entry is in force.
    pub enforced: usize,
    /// Devices of which only the status is, since their policies do not fit this configuration.
    pub refused: usize,
    /// Alarms that are active, and unanswered for this agent.
    pub alarms: usize,
}

impl<K: Kernel> Core<K> {
    /// Takes up what is in the entries, and enforces what was known good. To be called before anything else, and
    /// before the program is attached to anything it was not attached to before. `incarnation` is how many agents
    /// have run on these maps before.
    ///
    /// # Errors
    /// A sentence for people, if the kernel does not say what its profiles are.
    pub fn inherit(
        &mut self,
        incarnation: u32,
        known_good: &[Record],
        now: Instant,
    ) -> Result<Inherited, String> {
        self.alarms.begin_after(u64::from(incarnation) << 32);
        for device in 0..self.devices.len() {
            let number = Control(self.entry(device).control.load()).profile();
            let kernel = &mut self.kernel;
            self.profiles.adopt(number, || kernel.read_profile(number))?;
            entry::finish_settling(self.pair(device), self.profile(number), now.tick);
        }
        let mut inherited = Inherited::default();
        for record in known_good {
            self.inherit_record(record, now, &mut inherited);
        }
        // Numbers of updates say something within one control's life only.
        self.revisions.clear();
        for device in 0..self.devices.len() {
            devices::open(self.entry(device));
            inherited.alarms += usize::from(self.inherit_alarm(device, now));
        }
        Ok(inherited)
    }

    fn inherit_record(&mut self, record: &Record, now: Instant, inherited: &mut Inherited) {
        let Some(device) = self.devices.number_of(&record.update.device) else { return };
        let entry = self.entry(device);
        let is_blank = devices::is_blank(entry);
        if !is_blank && Control(entry.control.load()).generation() != record.update.revision as u16 {
            return;
        }
        if is_blank && record.alarm != 0 {
            entry::restore_alarm(entry, record.alarm);
        }
        match self.apply(&record.update, now) {
            Ok(_) => inherited.enforced += 1,
            Err(reason) => {
                inherited.refused += 1;
                tracing::error!("last-known-good policies do not fit, only the status is enforced: {reason}");
                let status = v1::CacheUpdate { cached: false, policies: Vec::new(), ..record.update.clone() };
                // Without policies there is nothing that could not fit.
                let _ = self.apply(&status, now);
            }
        }
    }

    fn inherit_alarm(&mut self, device: DeviceNumber, now: Instant) -> bool {
        let entry = self.entry(device);
        let control = Control(entry.control.load());
        if !control.has(ALARM_ACTIVE) {
            return false;
        }
        entry::notice_alarm(entry);
        let mut cause = self.cause_as_written(device, entry.last_alarm.load(), now);
        cause.access_held &= control.has(HELD);
        self.alarms.raise(device, cause, None, now.tick);
        true
    }
}
