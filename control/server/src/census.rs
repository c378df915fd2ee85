//! How many devices are cached, and how many have an active alarm: counted as things change, because a
//! count over all devices would hold up the brain.
//!
//! A device is remembered by a hash of its identifier, eight bytes instead of a second copy of the text. Two
//! devices that share one would be counted as one, which a gauge survives.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use weir_service_control::{DeviceId, ServiceControl};

use crate::metrics::Metrics;

/// The devices that count, and the gauges that show how many they are.
#[derive(Debug)]
pub(crate) struct Census {
    cached: HashSet<u64>,
    alarmed: HashSet<u64>,
    hasher: RandomState,
    metrics: Arc<Metrics>,
}

impl Census {
    /// Counts what a restored service control knows.
    pub(crate) fn of(control: &ServiceControl, metrics: Arc<Metrics>) -> Self {
        let (cached, alarmed, hasher) = Default::default();
        let mut census = Self { cached, alarmed, hasher, metrics };
        for device in control.devices() {
            census.put(&device.device, device.cached, device.alarm_active);
        }
        census.show();
        census
    }

    /// Looks again at a device that may have changed.
    pub(crate) fn look_at(&mut self, device: &DeviceId, control: &ServiceControl) {
        let (cached, alarmed) =
            control.device(device).map_or((false, false), |seen| (seen.cached, seen.alarm_active));
        self.put(device, cached, alarmed);
        self.show();
    }

    fn put(&mut self, device: &DeviceId, cached: bool, alarmed: bool) {
        let device = self.hasher.hash_one(device);
        for (set, member) in [(&mut self.cached, cached), (&mut self.alarmed, alarmed)] {
            if member {
                set.insert(device)
            } else {
                set.remove(&device)
            };
        }
    }

    fn show(&self) {
        self.metrics.devices_cached.set(i64::try_from(self.cached.len()).unwrap_or(i64::MAX));
        self.metrics.alarms_active.set(i64::try_from(self.alarmed.len()).unwrap_or(i64::MAX));
    }
}
