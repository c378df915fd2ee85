//! The `[control]` section.
//!
//! What this is: where control keeps, listens and how long it waits. What it must not do: open any of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::document::{Item, Table};
use super::words;

/// Where the agents' stream is, unless configured.
pub const STREAM_SOCKET: &str = "/run/weir/stream.sock";
const STORE: &str = "/var/lib/weir/control.redb";
const ADMIN_SOCKET: &str = "/run/weir/admin.sock";
const METRICS: SocketAddr = super::local(9180);

/// What control is configured to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlSection {
    /// The file that keeps subscribers, policies and decisions.
    pub store: PathBuf,
    /// The Unix socket of the agents' stream.
    pub stream_socket: PathBuf,
    /// The Unix socket of the admin API.
    pub admin_socket: PathBuf,
    /// Where metrics and health are served; a loopback address.
    pub metrics: SocketAddr,
    /// Device types of the HSS that count as machines (R-D9).
    pub m2m_device_types: Vec<String>,
    /// After what time a rejected protocol alarm is looked at again (R-D13).
    pub protocol_alarm_hold: Duration,
    /// How long a node may believe that a device is no machine.
    pub not_m2m_lifetime: Duration,
    /// How long HSS and PCRF may take to answer.
    pub query_timeout: Duration,
}

/// Reads the section; `None` if something in it is at fault.
pub fn read(table: &Table<'_>) -> Option<ControlSection> {
    let stream_socket = table.or("stream_socket", STREAM_SOCKET.into(), |item| words::socket_path(&item));
    let admin_socket = table.or("admin_socket", ADMIN_SOCKET.into(), |item| {
        let path = words::socket_path(&item)?;
        refuse_same_socket(&item, path, stream_socket.as_ref())
    });
    let store = table.or("store", STORE.into(), |item| words::path(&item));
    let metrics = table.or("metrics", METRICS, |item| words::loopback(&item));
    let types = table
        .require("m2m_device_types", r#"list the HSS's types that are machines, e.g. ["meter"]"#)
        .and_then(|item| words::distinct(&item, "device type", words::text));
    let hold = table
        .or("protocol_alarm_hold", minutes(10), |item| item.duration_within(SECOND, minutes(7 * 24 * 60)));
    let lifetime = table.or("not_m2m_lifetime", minutes(24 * 60), |item| item.duration_within(SECOND, YEAR));
    let timeout = table
        .or("query_timeout", 2 * SECOND, |item| item.duration_within(Duration::from_millis(10), minutes(1)));
    Some(ControlSection {
        store: store?,
        stream_socket: stream_socket?,
        admin_socket: admin_socket?,
        metrics: metrics?,
        m2m_device_types: types?,
        protocol_alarm_hold: hold?,
        not_m2m_lifetime: lifetime?,
        query_timeout: timeout?,
    })
}

const SECOND: Duration = Duration::from_secs(1);
const YEAR: Duration = minutes(365 * 24 * 60);

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

fn refuse_same_socket(item: &Item<'_>, path: PathBuf, stream: Option<&PathBuf>) -> Option<PathBuf> {
    if Some(&path) == stream {
        return item.fault("this is also control.stream_socket", "give each its own path");
    }
    Some(path)
}
