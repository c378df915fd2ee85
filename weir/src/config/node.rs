//! The `[node]` section.
//!
//! What this is: what one node judges, where its packets pass, and what it does by itself. What it must not
//! do: look whether interfaces exist; a file is checked on any machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use weir_dataplane::pins::BPFFS;
use weir_dataplane_common::{
    abi::{AccessKind, SERVERS},
    tick::LONGEST_WINDOW_NS,
};

use super::alarm::{self, AlarmCondition};
use super::control::STREAM_SOCKET;
use super::document::{Item, Table};
use super::pool::{self, PlacedPool};
use super::strangers::{self, Beside, UnknownDevices};
use super::words;

const METRICS: SocketAddr = super::local(9181);
const LOCAL_SOCKET: &str = "/run/weir/node.sock";
const STATE_DIR: &str = "/var/lib/weir";
const ANSWERS_PER_SECOND: u32 = 100;
const MOST_ANSWERS_PER_SECOND: u32 = 10_000;
const KINDS: [AccessKind; 2] = [AccessKind::Packet, AccessKind::Trigger];
const UNPOOLED_DEVICES: u32 = 1024;
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// The longest time an entry keeps a session for.
const DAY: Duration = Duration::from_nanos(LONGEST_WINDOW_NS);

/// What a node is configured to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSection {
    /// The name under which it reports.
    pub name: String,
    /// The Unix socket of control's stream.
    pub stream_socket: PathBuf,
    /// The Unix socket on which the node listens to operators of its machine.
    pub local_socket: PathBuf,
    /// Where metrics and health are served; a loopback address.
    pub metrics: SocketAddr,
    /// How the program is attached.
    pub xdp_mode: XdpMode,
    /// Kinds of access the node judges and reports.
    pub kinds: Vec<AccessKind>,
    /// Devices are behind these.
    pub access_interfaces: Vec<String>,
    /// The internet and the application servers are behind these.
    pub network_interfaces: Vec<String>,
    /// Address pools; IPv6 ones are counted in /64.
    pub pools: Vec<IpNet>,
    /// Entries for devices whose addresses are in no pool.
    pub unpooled_devices: u32,
    /// Servers that may wake a device.
    pub application_servers: Vec<IpNet>,
    /// Silence of the device that ends its session.
    pub inactivity: Duration,
    /// Age at which a session ends whatever happens.
    pub max_session_age: Duration,
    /// How long a dropped packet's repeats are the same request.
    pub retry_interval: Duration,
    /// What happens to packets of addresses no device is bound to.
    pub unknown_devices: UnknownDevices,
    /// What happens to packets weir cannot read.
    pub unparsable: Treatment,
    /// What happens to packets for idle devices that are no trigger.
    pub unsolicited: Treatment,
    /// Answers to refused packets in a second, at most; `None`: they are dropped in silence.
    pub answers_per_second: Option<u32>,
    /// How often counters go up.
    pub report_interval: Duration,
    /// How long an alarm may stay unanswered.
    pub alarm_timeout: Duration,
    /// What decides then.
    pub on_outage: OnOutage,
    /// When service control is asked; `None`: never.
    pub alarm: Option<AlarmCondition>,
    /// Whether the node only watches: it judges, counts and alarms, and drops nothing (R-X5).
    pub shadow: bool,
    /// What outlives the agent.
    pub keeping: Keeping,
}

/// What outlives the agent, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Program and maps are pinned.
    pub pin: bool,
    /// The BPF file system they are pinned in.
    pub bpffs: PathBuf,
    /// Where the last-known-good cache is.
    pub state_dir: PathBuf,
}

/// How the XDP program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the kernel's stack, for drivers without XDP.
    Generic,
}

/// What becomes of packets that nobody answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// They go on.
    Pass,
    /// They end here.
    Drop,
}

/// What decides about an alarm that nobody answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOutage {
    /// It stays active.
    Deny,
    /// The held access is accepted.
    Allow,
}

/// What the other sections are checked against. Each part is absent where it could not be read.
#[derive(Default)]
pub struct Frame {
    /// The shortest time an access takes.
    pub inactivity: Option<Duration>,
    /// Kinds of access that reach the node.
    pub kinds: Option<Vec<AccessKind>>,
    /// The pools; `None` unless all of them are sound.
    pub pools: Option<Vec<PlacedPool>>,
    /// Room for addresses outside them.
    pub unpooled_devices: Option<u32>,
    /// When the node raises an alarm, if it does.
    pub alarm: Option<AlarmCondition>,
}

/// Reads the section; `None` if something in it is at fault.
pub fn read(table: &Table<'_>) -> (Option<NodeSection>, Frame) {
    let mut frame = read_frame(table);
    let identity = read_identity(table);
    let interfaces = read_interfaces(table);
    let servers = table.or("application_servers", Vec::new(), |item| read_servers(&item));
    let times = read_times(table, frame.inactivity);
    let treatments = ["unparsable", "unsolicited"].map(|name| read_treatment(table, name));
    let unknown_devices = strangers::read(table, beside_strangers(&frame, times.as_ref()));
    let answers_per_second = read_answers(table);
    let on_outage = table.or("on_outage", OnOutage::Deny, |item| {
        item.choice(&[("deny", OnOutage::Deny), ("allow", OnOutage::Allow)])
    });
    let alarm = alarm::read(table, frame.inactivity);
    frame.alarm = alarm.clone().flatten();
    let shadow = table.or("shadow", false, |item| item.boolean());
    let keeping = read_keeping(table);
    let section = || {
        let (name, stream_socket, local_socket, metrics, xdp_mode) = identity?;
        let (access_interfaces, network_interfaces) = interfaces?;
        let Times { max_session_age, retry_interval, report_interval, alarm_timeout } = times?;
        let [unparsable, unsolicited] = treatments;
        Some(NodeSection {
            name,
            stream_socket,
            local_socket,
            metrics,
            xdp_mode,
            kinds: frame.kinds.clone()?,
            access_interfaces,
            network_interfaces,
            pools: frame.pools.as_ref()?.iter().map(|pool| pool.prefix).collect(),
            unpooled_devices: frame.unpooled_devices?,
            application_servers: servers?,
            inactivity: frame.inactivity?,
            max_session_age,
            retry_interval,
            unknown_devices: unknown_devices?,
            unparsable: unparsable?,
            unsolicited: unsolicited?,
            answers_per_second: answers_per_second?,
            report_interval,
            alarm_timeout,
            on_outage: on_outage?,
            alarm: alarm?,
            shadow: shadow?,
            keeping: keeping?,
        })
    };
    (section(), frame)
}

fn read_frame(table: &Table<'_>) -> Frame {
    let unpooled_devices = table.or("unpooled_devices", UNPOOLED_DEVICES, |item| {
        let number = item.number()?;
        if u64::from(number) > pool::MOST_ENTRIES {
            return item.fault("this is too much room", format!("write at most {}", pool::MOST_ENTRIES));
        }
        Some(number)
    });
    let pools = table
        .require("pools", r#"list the devices' prefixes, e.g. ["10.45.0.0/16"]"#)
        .map(|item| pool::read_all(&item));
    if let Some((pools, _)) = &pools {
        pool::check_together(table.faults(), pools, unpooled_devices.unwrap_or_default());
    }
    Frame {
        inactivity: table.or("inactivity", 10 * SECOND, |item| item.duration_within(100 * MILLISECOND, DAY)),
        kinds: table.or("kinds", KINDS.to_vec(), |item| words::kinds(&item)),
        pools: pools.and_then(|(pools, all_sound)| all_sound.then_some(pools)),
        unpooled_devices,
        alarm: None,
    }
}

type Identity = (String, PathBuf, PathBuf, SocketAddr, XdpMode);

fn read_identity(table: &Table<'_>) -> Option<Identity> {
    let name = table
        .require("name", r#"name the node, e.g. name = "pgw-1""#)
        .and_then(|item| words::node_name(&item));
    let stream = table.or("stream_socket", STREAM_SOCKET.into(), |item| words::socket_path(&item));
    let local = table.or("local_socket", LOCAL_SOCKET.into(), |item| {
        let path = words::socket_path(&item)?;
        if Some(&path) == stream.as_ref() {
            return item
                .fault("this is also node.stream_socket, where control listens", "give each its own path");
        }
        Some(path)
    });
    let metrics = table.or("metrics", METRICS, |item| words::loopback(&item));
    let mode = table.or("xdp_mode", XdpMode::Native, |item| {
        item.choice(&[("native", XdpMode::Native), ("generic", XdpMode::Generic)])
    });
    Some((name?, stream?, local?, metrics?, mode?))
}

fn read_keeping(table: &Table<'_>) -> Option<Keeping> {
    let pin = table.or("pin", true, |item| item.boolean());
    let bpffs = table.or("bpffs", BPFFS.into(), |item| words::path(&item));
    let state_dir = table.or("state_dir", STATE_DIR.into(), |item| words::path(&item));
    Some(Keeping { pin: pin?, bpffs: bpffs?, state_dir: state_dir? })
}

fn read_interfaces(table: &Table<'_>) -> Option<(Vec<String>, Vec<String>)> {
    let side = |name| {
        let item = table.require(name, "list the interfaces on that side of the gateway")?;
        words::distinct(&item, "interface", words::interface)
    };
    let (access, network) = (side("access_interfaces"), side("network_interfaces"));
    let (access, network) = (access?, network?);
    let items = table.get("network_interfaces")?.items()?;
    let both = items.iter().filter(|item| item.text().is_some_and(|name| access.iter().any(|a| a == name)));
    let shared = both.map(|item| {
        let remedy = "an interface is on one side of the gateway: remove it from one of the lists";
        item.fault::<()>("this is also one of access_interfaces", remedy);
    });
    (shared.count() == 0).then_some((access, network))
}

fn read_servers(list: &Item<'_>) -> Option<Vec<IpNet>> {
    let servers = list.list(|item| pool::prefix(&item))?;
    if servers.len() > SERVERS {
        let what = format!("there are {} application servers", servers.len());
        return list.fault(what, format!("write at most {SERVERS} prefixes, shorter ones if they adjoin"));
    }
    Some(servers)
}

struct Times {
    max_session_age: Duration,
    retry_interval: Duration,
    report_interval: Duration,
    alarm_timeout: Duration,
}

fn read_times(table: &Table<'_>, inactivity: Option<Duration>) -> Option<Times> {
    let age = table.or("max_session_age", DAY, |item| {
        let age = item.duration_within(MILLISECOND, DAY)?;
        if inactivity.is_some_and(|inactivity| age < inactivity) {
            let what = "a session would end before its inactivity time";
            return item.fault(what, "write at least what node.inactivity is");
        }
        Some(age)
    });
    let retry = table.or("retry_interval", SECOND, |item| item.duration_within(MILLISECOND, MINUTE));
    let report =
        table.or("report_interval", SECOND, |item| item.duration_within(10 * MILLISECOND, 60 * MINUTE));
    let alarm =
        table.or("alarm_timeout", 10 * SECOND, |item| item.duration_within(10 * MILLISECOND, 60 * MINUTE));
    Some(Times {
        max_session_age: age?,
        retry_interval: retry?,
        report_interval: report?,
        alarm_timeout: alarm?,
    })
}

/// What the strangers' section is checked against.
fn beside_strangers(frame: &Frame, times: Option<&Times>) -> Beside {
    let pools =
        frame.pools.as_ref().map(|pools| pools.iter().map(|pool| pool::entries(pool.prefix)).sum::<u128>());
    let devices = pools.zip(frame.unpooled_devices).map(|(pools, unpooled)| pools + u128::from(unpooled));
    Beside {
        inactivity: frame.inactivity,
        max_session_age: times.map(|times| times.max_session_age),
        devices,
    }
}

/// What cannot be judged is dropped, unless written otherwise.
fn read_treatment(table: &Table<'_>, name: &str) -> Option<Treatment> {
    table.or(name, Treatment::Drop, |item| {
        item.choice(&[("pass", Treatment::Pass), ("drop", Treatment::Drop)])
    })
}

/// How many refused packets are answered in a second, if they are at all.
fn read_answers(table: &Table<'_>) -> Option<Option<u32>> {
    let answers = table.or("answers", false, |item| item.choice(&[("none", false), ("reject", true)]));
    let per_second = table.or("answers_per_second", ANSWERS_PER_SECOND, |item| {
        let number = item.number()?;
        if !(1..=MOST_ANSWERS_PER_SECOND).contains(&number) {
            let remedy = format!("write 1 to {MOST_ANSWERS_PER_SECOND}; answers = \"none\" sends none");
            return item.fault(format!("{number} answers in a second cannot be chosen"), remedy);
        }
        Some(number)
    });
    let (answers, per_second) = (answers?, per_second?);
    Some(answers.then_some(per_second))
}
