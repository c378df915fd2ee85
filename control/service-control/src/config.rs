//! What an operator sets about service control. Holds values only; nothing here decides.

use std::{collections::BTreeSet, time::Duration};

/// Service control's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Device types that count as machines (R-D9); every other type is not M2M.
    pub m2m_device_types: BTreeSet<String>,
    /// How long a rejected protocol alarm, or one of a device that the HSS does not know, stays active (R-D13).
    pub protocol_alarm_hold: Duration,
    /// How long nodes remember that a device is not M2M, if its subscription does not change before.
    pub not_m2m_lifetime: Duration,
    /// How long an answer of HSS or PCRF may take before it counts as failed.
    pub query_timeout: Duration,
    /// The pause after a first failed query; it doubles with each further failure.
    pub retry_first: Duration,
    /// The longest such pause.
    pub retry_longest: Duration,
    /// The longest window any policy may have. Admissions are kept that long for devices whose policies are not
    /// known yet.
    pub longest_window: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            m2m_device_types: BTreeSet::new(),
            protocol_alarm_hold: Duration::from_secs(600),
            not_m2m_lifetime: Duration::from_secs(24 * 3600),
            query_timeout: Duration::from_secs(5),
            retry_first: Duration::from_secs(1),
            retry_longest: Duration::from_secs(60),
            longest_window: Duration::from_secs(24 * 3600),
        }
    }
}
