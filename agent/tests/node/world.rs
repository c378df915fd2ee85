//! A node with three devices, a clock that the test turns, and frames as devices and servers send them.

use std::{net::Ipv4Addr, time::Duration};

use etherparse::{IpNumber, PacketBuilder};
use tempfile::TempDir;
use weir_agent::{
    Config,
    config::{AlarmCondition, Binding, OnOutage, Timings},
    core::{Core, Inherited},
    devices::{Adopted, Plan},
    known_good::{KnownGood, Record},
    time::Instant,
};
use weir_dataplane::{Layout, Mode, layout::Strangers};
use weir_dataplane_common::{
    abi::{AccessKind, Control, Entry, Ledger, Profile, Settings, Side, alarm_order, alarm_when},
    admit::Outcome,
    inspect::Class,
    reason::Reason,
    tick::Tick,
};
use weir_proto::v1::{self, from_node::Message as Up, to_node::Message as Down};

use crate::kernel::MemoryKernel;

pub const NODE: &str = "pgw-1";
pub const BOOT: &str = "boot-1";
pub const DEVICES: [&str; 3] = ["001010000000001", "001010000000002", "001010000000003"];
pub const SECOND: u64 = 1000;
pub const MINUTE: u64 = 60 * SECOND;

/// The test's beginning on the world's clock, Unix ms; the node's own clock begins elsewhere.
const EPOCH: i64 = 1_800_000_000_000;
const MONOTONIC: u64 = 5_000_000_000_000;
const POOL: &str = "10.45.0.0/28";
const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const STRANGER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);

/// A node.
pub struct World {
    pub core: Core<MemoryKernel>,
    millis: u64,
    /// How far the world's clock was set, ms.
    set: i64,
    serial: u32,
}

/// What a node says on a new stream.
#[derive(Debug, Default)]
pub struct Greeting {
    pub hello: Option<v1::Hello>,
    pub counts: Vec<v1::DeviceCounts>,
    pub alarms: Vec<v1::AlarmRaised>,
}

/// The configuration of the worked examples: an alarm on more than 3 requests per minute or on ESP.
pub fn config() -> Config {
    Config {
        name: NODE.to_owned(),
        stream_socket: "unused".into(),
        metrics: ([127, 0, 0, 1], 0).into(),
        mode: Mode::Native,
        kinds: vec![AccessKind::Packet, AccessKind::Trigger],
        access_interfaces: vec![],
        network_interfaces: vec![],
        pools: vec![POOL.parse().expect("a prefix")],
        unpooled_devices: 0,
        application_servers: vec![
            SERVER.to_string().parse().map(|it: std::net::IpAddr| it.into()).expect("an address"),
        ],
        strangers: Strangers { drop_unknown: true, drop_unparsable: true, drop_unsolicited: true },
        answers_per_second: 0,
        timings: Timings {
            inactivity: Duration::from_secs(1),
            max_session_age: Duration::from_secs(3600),
            retry_interval: Duration::from_secs(1),
        },
        alarm: Some(AlarmCondition {
            count: Some((3, Duration::from_secs(60))),
            protocols: vec![Class::Esp],
            when: alarm_when::NO_POLICY_CACHED,
            order: alarm_order::WITH,
        }),
        report_interval: Duration::from_secs(1),
        alarm_timeout: Duration::from_secs(10),
        on_outage: OnOutage::Deny,
        stranger_limit: None,
        local_socket: "unused".into(),
        shadow: false,
        pin: false,
        bpffs: "unused".into(),
        state_dir: "unused".into(),
        bindings: DEVICES
            .iter()
            .enumerate()
            .map(|(number, device)| Binding {
                device: (*device).to_owned(),
                addresses: vec![address(number).into()],
            })
            .collect(),
    }
}

/// A device's address.
pub fn address(device: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 45, 0, device as u8 + 1)
}

/// The table of strangers is scattered alike in every test.
fn layout(config: &Config) -> Layout {
    let layout = Layout::new(&config.pools, config.unpooled_devices).expect("a layout");
    match &config.stranger_limit {
        Some(limit) => layout.with_strangers(limit.table(1)).expect("room for strangers"),
        None => layout,
    }
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// With a changed configuration.
    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        Self::of(config)
    }

    fn of(config: Config) -> Self {
        let layout = layout(&config);
        let settings = layout.settings(&config.application_servers, config.strangers);
        let plan = Plan::new(&config.bindings, &layout).expect("a plan");
        let kernel = MemoryKernel::new(layout.entries(), settings);
        plan.install(&kernel.tables.entries);
        let core = Core::new(kernel, config, BOOT.to_owned(), plan.devices).expect("a core");
        let mut world = Self { core, millis: 0, set: 0, serial: 0 };
        world.wait(0);
        world
    }

    /// The world's clock is set, ahead or back; a machine that was suspended sees the same.
    pub fn set_clock(&mut self, millis: i64) {
        self.set += millis;
    }

    /// The agent is killed; the next one takes over the maps, with what was known good and perhaps another
    /// configuration. The ring goes on.
    pub fn taken_over(
        mut self,
        incarnation: u32,
        known_good: &[Record],
        change: impl FnOnce(&mut Config),
    ) -> (Self, Adopted, Inherited) {
        let mut config = config();
        change(&mut config);
        let kernel = std::mem::replace(self.core.kernel(), MemoryKernel::new(1, Settings::empty()));
        let layout = layout(&config);
        let plan = Plan::new(&config.bindings, &layout).expect("a plan");
        let adopted = plan.adopt(&kernel.tables.entries, &kernel.tables.ledgers);
        let core = Core::new(kernel, config, BOOT.to_owned(), plan.devices).expect("a core");
        let mut world = Self { core, ..self };
        let now = world.now();
        let inherited = world.core.inherit(incarnation, known_good, now).expect("readable profiles");
        (world, adopted, inherited)
    }

    /// The machine starts anew: other maps, the same clock; nothing is left but what was known good.
    pub fn rebooted(self, known_good: &[Record]) -> (Self, Inherited) {
        let mut world =
            Self { millis: self.millis, set: self.set, serial: self.serial, ..Self::of(config()) };
        world.wait(0);
        let now = world.now();
        let inherited = world.core.inherit(0, known_good, now).expect("readable profiles");
        (world, inherited)
    }

    /// What the agent has on disk by now, if it had nothing before.
    pub fn known_good(&mut self, disk: &TempDir) -> Vec<Record> {
        let (mut journal, _) = KnownGood::open(disk.path(), NODE).expect("nobody else has it");
        journal.keep(&self.core.take_kept()).expect("room");
        journal.records()
    }

    pub fn now(&self) -> Instant {
        Instant { tick: Tick::from_nanos(self.nanos()), unix_ms: self.unix_ms() }
    }

    fn nanos(&self) -> u64 {
        MONOTONIC + self.millis * 1_000_000
    }

    pub fn unix_ms(&self) -> i64 {
        EPOCH + self.millis as i64 + self.set
    }

    /// Both clocks go on.
    pub fn wait(&mut self, millis: u64) {
        self.millis += millis;
        let nanos = self.nanos();
        self.core.kernel().nanos = nanos;
    }

    /// A frame of its own: no two are alike.
    pub fn frame(&mut self, from: Ipv4Addr, to: Ipv4Addr, esp: bool) -> Vec<u8> {
        self.serial += 1;
        let headers = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let headers = headers.ipv4(from.octets(), to.octets(), 64);
        let (payload, mut frame) = (self.serial.to_be_bytes(), Vec::new());
        let written = if esp {
            headers.write(&mut frame, IpNumber::ENCAPSULATING_SECURITY_PAYLOAD, &payload)
        } else {
            headers.udp(40_000, 5683).write(&mut frame, &payload)
        };
        written.expect("a Vec takes any packet");
        frame
    }

    pub fn receive(&mut self, side: Side, frame: &[u8]) -> Outcome {
        self.core.kernel().receive(side, frame)
    }

    /// The device sends something ordinary.
    pub fn uplink(&mut self, device: usize) -> Reason {
        let frame = self.frame(address(device), SERVER, false);
        self.receive(Side::Access, &frame).reason
    }

    /// The device sends ESP.
    pub fn uplink_esp(&mut self, device: usize) -> Reason {
        let frame = self.frame(address(device), SERVER, true);
        self.receive(Side::Access, &frame).reason
    }

    /// An application server sends something ordinary.
    pub fn trigger(&mut self, device: usize) -> Reason {
        let frame = self.frame(SERVER, address(device), false);
        self.receive(Side::Network, &frame).reason
    }

    /// An application server sends ESP.
    pub fn trigger_esp(&mut self, device: usize) -> Reason {
        let frame = self.frame(SERVER, address(device), true);
        self.receive(Side::Network, &frame).reason
    }

    /// Somebody else sends something.
    pub fn unsolicited(&mut self, device: usize) -> Reason {
        let frame = self.frame(STRANGER, address(device), false);
        self.receive(Side::Network, &frame).reason
    }

    /// Accesses two seconds apart, so that each finds the session closed and is no repeat.
    pub fn accesses(&mut self, device: usize, count: usize) -> Vec<Reason> {
        let access = |_| {
            self.wait(2 * SECOND);
            self.uplink(device)
        };
        (0..count).map(access).collect()
    }

    /// Four accesses, of which the fourth raises an alarm that the agent takes up.
    pub fn raise_count_alarm(&mut self, device: usize) -> v1::AlarmRaised {
        use Reason::{Admitted, Held};
        assert_eq!(self.accesses(device, 4), [Admitted, Admitted, Admitted, Held]);
        self.one_alarm()
    }

    /// The agent reads the ring.
    pub fn alarms(&mut self) -> Vec<v1::AlarmRaised> {
        let now = self.now();
        let mut said = Vec::new();
        while let Some(record) = self.core.kernel().ring.pop_front() {
            said.extend(self.core.kernel_alarm(record, now));
        }
        alarms_of(said)
    }

    /// The agent reads the ring and finds one new alarm.
    pub fn one_alarm(&mut self) -> v1::AlarmRaised {
        let mut alarms = self.alarms();
        assert_eq!(alarms.len(), 1, "{alarms:?}");
        alarms.remove(0)
    }

    /// What the agent does every second; alarms that it finds.
    pub fn each_second(&mut self) -> Vec<v1::AlarmRaised> {
        let now = self.now();
        self.core.time_passes(now);
        alarms_of(self.core.sweep(now))
    }

    /// So many seconds pass.
    pub fn seconds(&mut self, count: u64) -> Vec<v1::AlarmRaised> {
        let second = |_| {
            self.wait(SECOND);
            self.each_second()
        };
        (0..count).flat_map(second).collect()
    }

    pub fn greeting(&mut self) -> Greeting {
        let now = self.now();
        let mut greeting = Greeting::default();
        for (place, message) in self.core.greet(now).into_iter().enumerate() {
            match message {
                Up::Hello(hello) => {
                    assert_eq!(place, 0, "Hello is first");
                    greeting.hello = Some(hello);
                }
                Up::Counts(report) => greeting.counts.extend(report.devices),
                Up::Alarm(alarm) => greeting.alarms.push(alarm),
                other => panic!("{other:?} is no greeting"),
            }
        }
        greeting
    }

    /// The sequence numbers of the alarms in a new greeting.
    pub fn greeted_alarms(&mut self) -> Vec<u64> {
        self.greeting().alarms.iter().map(sequence).collect()
    }

    /// Control sends one update; empty if it was applied, otherwise why not.
    pub fn update(&mut self, update: v1::CacheUpdate) -> String {
        self.update_and_alarms(update).0
    }

    /// The same, and the alarms that the node raises if this completes a snapshot.
    pub fn update_and_alarms(&mut self, update: v1::CacheUpdate) -> (String, Vec<v1::AlarmRaised>) {
        let (nonce, device) = (update.nonce, update.device.clone());
        let now = self.now();
        let mut answers = self.core.control_said(Down::Update(update), now).into_iter();
        let Some(Up::Result(result)) = answers.next() else { panic!("every update has a result") };
        assert_eq!((result.nonce, result.device), (nonce, device));
        (result.refused, alarms_of(answers))
    }

    /// Control sends an update that fits.
    pub fn apply(&mut self, update: v1::CacheUpdate) {
        assert_eq!(self.update(update), "");
    }

    /// Control announces a snapshot; alarms that the node raises upon its completion.
    pub fn welcome(&mut self, entries: u32) -> Vec<v1::AlarmRaised> {
        let now = self.now();
        let welcome = v1::Welcome { server: "test".to_owned(), snapshot_entries: entries };
        alarms_of(self.core.control_said(Down::Welcome(welcome), now))
    }

    pub fn report(&mut self) -> Vec<v1::DeviceCounts> {
        let now = self.now();
        let report = |message| match message {
            Up::Counts(report) => report.devices,
            other => panic!("{other:?} is no report"),
        };
        self.core.report(now).into_iter().flat_map(report).collect()
    }

    pub fn entry(&mut self, device: usize) -> &Entry {
        &self.core.kernel().tables.entries[device + 1]
    }

    pub fn ledger(&mut self, device: usize) -> &Ledger {
        &self.core.kernel().tables.ledgers[device + 1]
    }

    pub fn control(&mut self, device: usize) -> Control {
        Control(self.entry(device).control.load())
    }

    /// The profile that the device's entry names.
    pub fn profile(&mut self, device: usize) -> Profile {
        let number = self.control(device).profile();
        self.core.kernel().tables.profiles[number as usize]
    }

    /// The device's requests and admissions so far.
    pub fn requests_and_admissions(&mut self, device: usize) -> (u32, u32) {
        let entry = self.entry(device);
        (entry.requests.load(), entry.admitted.load())
    }

    /// How often a frame got through.
    pub fn delivered(&mut self, frame: &[u8]) -> usize {
        self.core.kernel().delivered.iter().filter(|passed| *passed == frame).count()
    }

    pub fn injected(&mut self) -> Vec<Reason> {
        self.core.kernel().injected.iter().map(|(outcome, _)| outcome.reason).collect()
    }
}

/// An alarm's number.
pub fn sequence(alarm: &v1::AlarmRaised) -> u64 {
    alarm.id.as_ref().expect("an alarm has a name").sequence
}

fn alarms_of(said: impl IntoIterator<Item = Up>) -> Vec<v1::AlarmRaised> {
    let alarm = |message| match message {
        Up::Alarm(alarm) => alarm,
        other => panic!("{other:?} is no alarm"),
    };
    said.into_iter().map(alarm).collect()
}
