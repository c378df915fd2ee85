//! What control must be told. The file it comes from is read elsewhere (`weir/src/config`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use weir_service_control as sc;

use crate::Error;
use crate::api::{self, Invalid};

/// Control's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The store's file.
    pub store: PathBuf,
    /// Where nodes attach: a Unix socket.
    pub stream_socket: PathBuf,
    /// Where the admin API listens: a Unix socket.
    pub admin_socket: PathBuf,
    /// Where metrics and health are shown: a loopback address.
    pub metrics: SocketAddr,
    /// Device types of the HSS that count as machines (R-D9).
    pub m2m_device_types: Vec<String>,
    /// After this time a rejected protocol alarm is looked at again (R-D13).
    pub protocol_alarm_hold: Duration,
    /// How long a node may believe that a device is not a machine.
    pub not_m2m_lifetime: Duration,
    /// An HSS or PCRF that has not answered by then has failed to answer.
    pub query_timeout: Duration,
    /// Subscribers for a store that does not know them yet.
    pub subscribers: Vec<api::Subscriber>,
    /// Policies for a store that does not know them yet.
    pub policies: Vec<api::Policy>,
}

impl Config {
    /// What service control is told of it.
    pub(crate) fn service_control(&self) -> sc::Config {
        sc::Config {
            m2m_device_types: self.m2m_device_types.iter().cloned().collect(),
            protocol_alarm_hold: self.protocol_alarm_hold,
            not_m2m_lifetime: self.not_m2m_lifetime,
            query_timeout: self.query_timeout,
            longest_window: api::MAX_WINDOW,
            ..sc::Config::default()
        }
    }

    /// The seed policies as service control judges by them.
    pub(crate) fn seed_policies(&self) -> Result<Vec<sc::Policy>, Error> {
        let checked = self.policies.iter().map(|policy| {
            policy.check().map_err(|invalid| seed_error(format!("policy {}", policy.id), invalid))
        });
        checked.collect()
    }
}

/// The first of the reasons; the configuration parser has shown all of them before.
pub(crate) fn seed_error(what: String, invalid: Vec<Invalid>) -> Error {
    let unnamed = || Invalid::new("seed", "is refused");
    Error::Seed { what, invalid: invalid.into_iter().next().unwrap_or_else(unnamed) }
}
