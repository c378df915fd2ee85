//! A subscriber as the embedded HSS and PCRF keep it.

use serde::{Deserialize, Serialize};
use weir_service_control::{self as sc, DeviceId};

use super::{Invalid, check_device_policies};

/// A subscribed device, its type, and its policies' identifiers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscriber {
    /// The device's IMSI.
    #[serde(with = "super::views::device_text")]
    pub device: DeviceId,
    /// The type the operator gave it, e.g. `meter`; which types are machines is configured (R-D9).
    pub device_type: String,
    /// Its policies.
    #[serde(default)]
    pub policies: Vec<u32>,
}

impl Subscriber {
    /// Checks what can be checked without knowing the policies.
    pub fn check(&self) -> Vec<Invalid> {
        let mut invalid = check_device_id("device", &self.device.0);
        if self.device_type.is_empty() || self.device_type.len() > 64 {
            invalid.push(Invalid::new("device_type", "must have 1 to 64 characters"));
        }
        let mut named = self.policies.clone();
        named.sort_unstable();
        for pair in named.windows(2).filter(|pair| pair[0] == pair[1]) {
            invalid.push(Invalid::new("policies", format!("names policy {} twice", pair[0])));
        }
        invalid
    }

    /// Checks everything; `policy` finds those that exist.
    pub fn check_against(&self, policy: impl Fn(u32) -> Option<sc::Policy>) -> Vec<Invalid> {
        let mut invalid = self.check();
        let mut held: Vec<sc::Policy> = Vec::new();
        for id in &self.policies {
            match policy(*id) {
                // Named twice has been said.
                Some(policy) if held.iter().any(|other| other.id == policy.id) => {}
                Some(policy) => held.push(policy),
                None => invalid.push(Invalid::new("policies", format!("there is no policy {id}"))),
            }
        }
        invalid.extend(check_device_policies(&held));
        invalid
    }
}

/// An IMSI has 6 to 15 decimal digits (TS 23.003 §2.2).
pub fn check_device_id(key: &str, text: &str) -> Vec<Invalid> {
    if (6..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Vec::new();
    }
    // The text itself is not repeated: it may be most of somebody's IMSI.
    vec![Invalid::new(key, "is no IMSI; write 6 to 15 decimal digits")]
}
