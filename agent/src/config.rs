//! What an agent is configured to. The file format is not known here.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use weir_dataplane::{
    Mode,
    layout::{StrangerTable, Strangers},
};
use weir_dataplane_common::{abi::AccessKind, inspect::Class};

/// A node's configuration, already checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name, unique in the network.
    pub name: String,
    /// Control's stream.
    pub stream_socket: PathBuf,
    /// Where metrics and health are served; loopback.
    pub metrics: SocketAddr,
    /// How the program is attached.
    pub mode: Mode,
    /// Kinds of access this node judges and reports.
    pub kinds: Vec<AccessKind>,
    /// Devices are behind these.
    pub access_interfaces: Vec<String>,
    /// Servers and the internet are behind these.
    pub network_interfaces: Vec<String>,
    /// Address pools.
    pub pools: Vec<IpNet>,
    /// Room for devices outside the pools.
    pub unpooled_devices: u32,
    /// Servers that may wake a device.
    pub application_servers: Vec<IpNet>,
    /// What happens to packets that are nobody's access.
    pub strangers: Strangers,
    /// How addresses that no device is bound to are judged, each by itself; `None`: `strangers` says what becomes of
    /// all of them.
    pub stranger_limit: Option<StrangerLimit>,
    /// Answers to refused packets in a second, at most; 0: they are dropped in silence.
    pub answers_per_second: u32,
    /// The session's times.
    pub timings: Timings,
    /// The alarm condition; `None`: never.
    pub alarm: Option<AlarmCondition>,
    /// How often counters go up.
    pub report_interval: Duration,
    /// How long an alarm may stay unanswered.
    pub alarm_timeout: Duration,
    /// What decides then.
    pub on_outage: OnOutage,
    /// Which addresses are which device's.
    pub bindings: Vec<Binding>,
    /// Where operators of this machine are listened to: a Unix socket.
    pub local_socket: PathBuf,
    /// Whether the node only watches: it judges, counts and alarms, and drops nothing.
    pub shadow: bool,
    /// Whether program and maps outlive the agent.
    pub pin: bool,
    /// The BPF file system they are pinned in.
    pub bpffs: PathBuf,
    /// Where the last-known-good cache is kept; made if it is not there.
    pub state_dir: PathBuf,
}

impl Config {
    /// Where the audit of what operators do here waits for control.
    pub(crate) fn audit_file(&self) -> PathBuf {
        self.state_dir.join(format!("{}.audit", self.name))
    }

    /// The alarm's limit and window, if it counts.
    pub(crate) fn alarm_limit(&self) -> Option<(u32, Duration)> {
        self.alarm.as_ref()?.count
    }
}

/// What each stranger is judged by, and how many of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrangerLimit {
    /// Strangers at once: a power of two, up to [`weir_dataplane::layout::MOST_STRANGERS`].
    pub places: u32,
    /// Accesses permitted in `window`.
    pub permitted: u32,
    /// The limit's window.
    pub window: Duration,
    /// Silence of a stranger that ends its session.
    pub inactivity: Duration,
    /// New strangers that an interface may bring in a second.
    pub new_per_second: u32,
    /// Whether a stranger for whom there is no place passes.
    pub pass_when_full: bool,
}

impl StrangerLimit {
    /// The table that a layout has room for. With the same `seed` the same strangers have the same places.
    pub fn table(&self, seed: u64) -> StrangerTable {
        let Self { places, new_per_second, pass_when_full, .. } = *self;
        StrangerTable { places, new_per_second, pass_when_full, seed }
    }
}

/// The times that make a session and a request.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// Silence of the device that ends its session.
    pub inactivity: Duration,
    /// Age at which a session ends whatever happens.
    pub max_session_age: Duration,
    /// How long a dropped packet's repeats are the same request.
    pub retry_interval: Duration,
}

/// A node's alarm condition (R-D7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmCondition {
    /// More requests than this many in this window; the comparison is already folded in.
    pub count: Option<(u32, Duration)>,
    /// Packets of these classes.
    pub protocols: Vec<Class>,
    /// One of [`weir_dataplane_common::abi::alarm_when`].
    pub when: u8,
    /// One of [`weir_dataplane_common::abi::alarm_order`].
    pub order: u8,
}

/// What decides about an alarm that control has not answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOutage {
    /// It stays active.
    Deny,
    /// The held access is accepted and the device raises no alarm until control answers. What is cached for
    /// the device stays in force.
    Allow,
}

/// A device and its addresses.
#[derive(Clone)]
pub struct Binding {
    /// The device's identifier; never logged.
    pub device: String,
    /// IPv4 addresses, or any address of an IPv6 /64.
    pub addresses: Vec<IpAddr>,
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Binding").field("addresses", &self.addresses.len()).finish_non_exhaustive()
    }
}
