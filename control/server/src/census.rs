//! How many devices are cached, and how many have an active alarm: counted as things change, because a
//! count over all devices would hold up the brain.

use std::collections::HashSet;
use std::sync::Arc;

use weir_service_control::{DeviceId, ServiceControl};

use crate::metrics::Metrics;

/// The devices that count, and the gauges that show how many they are.
#[derive(Debug)]
pub(crate) struct Census {
    cached: HashSet<DeviceId>,
    alarmed: HashSet<DeviceId>,
    metrics: Arc<Metrics>,
}

impl Census {
    /// Counts what a restored service control knows.
    pub(crate) fn of(control: &ServiceControl, metrics: Arc<Metrics>) -> Self {
        let mut census = Self { cached: HashSet::new(), alarmed: HashSet::new(), metrics };
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
        set(&mut self.cached, device, cached);
        set(&mut self.alarmed, device, alarmed);
    }

    fn show(&self) {
        self.metrics.devices_cached.set(i64::try_from(self.cached.len()).unwrap_or(i64::MAX));
        self.metrics.alarms_active.set(i64::try_from(self.alarmed.len()).unwrap_or(i64::MAX));
    }
}

fn set(devices: &mut HashSet<DeviceId>, device: &DeviceId, member: bool) {
    if !member {
        devices.remove(device);
    } else if !devices.contains(device) {
        devices.insert(device.clone());
    }
}
