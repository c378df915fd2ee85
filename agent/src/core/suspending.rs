//! The operator's hand on the kernel's maps: a tick until which the law is suspended, for all or for a device.
//!
//! The kernel compares the tick by itself, so nothing here has to happen in time for a suspension to end. The tick
//! is written before the bit that makes it count, and the bit goes before the tick.

use weir_dataplane_common::{
    abi::{ABI_VERSION, Control, EXEMPT},
    tick::{LONGEST_AHEAD, Tick},
};

use super::{Core, Kernel};
use crate::{entry, glass::Subject, local::api, time::Instant};

impl<K: Kernel> Core<K> {
    /// The device with this identifier, or all of the node; `None` if no such device is bound here.
    pub fn subject(&self, device: Option<&str>) -> Option<Subject> {
        match device {
            None => Some(Subject::Node),
            Some(id) => self.devices.number_of(id).map(Subject::Device),
        }
    }

    /// The device's identifier, if it is one.
    pub fn device_of(&self, subject: Subject) -> Option<&str> {
        match subject {
            Subject::Node => None,
            Subject::Device(device) => Some(self.devices.id(device)),
        }
    }

    /// Suspends the law until then.
    pub fn suspend(&mut self, subject: Subject, until: Tick) {
        match subject {
            Subject::Node => self.kernel.switches().bypass_until.store(until.stored()),
            Subject::Device(device) => {
                let entry = self.entry(device);
                entry.exempt_until.store(until.stored());
                entry::exempt(entry, true);
            }
        }
    }

    /// Puts the law in force again.
    pub fn reinstate(&mut self, subject: Subject) {
        match subject {
            Subject::Node => self.kernel.switches().bypass_until.store(0),
            Subject::Device(device) => {
                let entry = self.entry(device);
                entry::exempt(entry, false);
                entry.exempt_until.store(0);
            }
        }
    }

    /// What the maps say is suspended, and until when; `None`: that is over, and the mark is still there.
    pub fn suspended(&self, now: Instant) -> Vec<(Subject, Option<Tick>)> {
        let mut found = Vec::new();
        let until = |stored: u32| {
            let ahead = stored.wrapping_sub(now.tick.0 as u32);
            now.tick.before(stored, LONGEST_AHEAD).then(|| now.tick.after(ahead))
        };
        let bypass = self.kernel.switches().bypass_until.load();
        if bypass != 0 {
            found.push((Subject::Node, until(bypass)));
        }
        for device in 0..self.devices.len() {
            let entry = self.entry(device);
            if Control(entry.control.load()).has(EXEMPT) {
                found.push((Subject::Device(device), until(entry.exempt_until.load())));
            }
        }
        found
    }

    /// What the core knows of the node's status; the rest is empty.
    pub fn status(&self) -> api::Status {
        api::Status {
            node: self.config.name.clone(),
            boot: self.boot.clone(),
            abi_version: ABI_VERSION,
            incarnation: self.kernel.switches().incarnation.load(),
            access_interfaces: self.config.access_interfaces.clone(),
            network_interfaces: self.config.network_interfaces.clone(),
            connected: false,
            synced: self.is_synced(),
            pins: None,
            state_dir: self.config.state_dir.display().to_string(),
            bypass: None,
            exemptions: Vec::new(),
            audit_waiting: 0,
            audit_on_disk: false,
        }
    }
}
