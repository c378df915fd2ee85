//! The agent's edge: the loaded program, the stream, timers and metrics around [`Core`].
//!
//! One task owns everything and takes events one after another, so the core needs no lock. What is done at
//! start is in the order in which nothing can slip through: profile and entries are written before the
//! program is attached. Once it is, nothing but `shutdown` and a broken runtime ends this task: an agent that
//! left would take the program with it and open the gate.

use std::{future::Future, time::Duration};

use prometheus::Registry;
use tokio::{
    io::unix::AsyncFd,
    sync::mpsc,
    time::{Instant as Timer, MissedTickBehavior, interval},
};
use weir_dataplane::{Gate, Layout, gate::Options, layout, ring::AlarmRing};
use weir_dataplane_common::abi::Side;
use weir_observe::{Condition, Listener, Readiness};
use weir_proto::v1::from_node::Message as Up;

use crate::{
    Config, Error,
    config::Binding,
    core::Core,
    devices::Plan,
    kernel::LoadedGate,
    metrics::{Metrics, Reading},
    stream::{self, Event, Pace, Sender},
    time::Instant,
};

/// Room for alarms in the kernel's ring: some five hundred held frames.
const RING_BYTES: u32 = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);
const HISTORY_INTERVAL: Duration = Duration::from_secs(6 * 3600);

/// Runs a node until `shutdown` resolves; then the program is detached and nothing is left behind.
///
/// # Errors
/// [`Error`] if the node cannot start. A missing or lost control is no error: the node goes on enforcing.
pub async fn run(mut config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let listener = Listener::bind(config.metrics).await?;
    let (registry, readiness) = (Registry::new(), Readiness::default());
    let metrics = Metrics::new(&registry).map_err(|error| Error::System {
        what: "registering metrics",
        source: std::io::Error::other(error),
    })?;
    let attached = readiness.condition("program attached");
    let synced = readiness.condition("synced with control");
    let (socket, report_interval) = (config.stream_socket.clone(), config.report_interval);
    let bindings = std::mem::take(&mut config.bindings);
    let (mut node, ring) = Node::start(&config, &bindings, metrics, synced)?;
    attached.set(true);
    tracing::info!(node = config.name, metrics = %listener.address(), "node is judging");

    let (events_in, events) = mpsc::channel(1024);
    let stream = tokio::spawn(stream::keep_open(socket, Pace::default(), events_in));
    let pages = tokio::spawn(listener.serve(registry, readiness, std::future::pending()));
    let outcome = node.live(ring, events, report_interval, shutdown).await;
    stream.abort();
    pages.abort();
    outcome
}

struct Node {
    core: Core<LoadedGate>,
    metrics: Metrics,
    synced: Condition,
    up: Option<Sender>,
    heard: Timer,
}

impl Node {
    fn start(
        config: &Config,
        bindings: &[Binding],
        metrics: Metrics,
        synced: Condition,
    ) -> Result<(Self, AlarmRing), Error> {
        let layout = Layout::new(&config.pools, config.unpooled_devices)?;
        layout::check_servers(&config.application_servers)?;
        let plan = Plan::new(bindings, &layout)?;
        let mut gate = Gate::load(&Options {
            entries: layout.entries(),
            unpooled: config.unpooled_devices,
            ring_bytes: RING_BYTES,
            settings: layout.settings(&config.application_servers, config.strangers),
        })?;
        let ring = gate.take_alarms()?;
        for (key, entry) in &plan.unpooled {
            gate.put_unpooled(*key, *entry)?;
        }
        plan.install(&gate.entries());
        let mut core =
            Core::new(LoadedGate::new(gate), config.clone(), boot_id()?, plan.devices).map_err(|reason| {
                Error::System { what: "writing the first profile", source: std::io::Error::other(reason) }
            })?;
        attach(core.kernel().gate(), config)?;
        Ok((Self { core, metrics, synced, up: None, heard: Timer::now() }, ring))
    }

    async fn live(
        &mut self,
        ring: AlarmRing,
        mut events: mpsc::Receiver<Event>,
        report_interval: Duration,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let system = |source| Error::System { what: "watching the alarm ring", source };
        // SAFETY: the ring owns its descriptor, which stays the same and open until the ring is dropped.
        let mut ring = unsafe { AsyncFd::register(ring) }.map_err(|error| system(error.into()))?;
        let [mut reports, mut seconds, mut histories] =
            [report_interval, SECOND, HISTORY_INTERVAL].map(interval);
        for timer in [&mut reports, &mut seconds, &mut histories] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return Ok(()),
                ready = ring.readable_mut() => {
                    let mut ready = ready.map_err(system)?;
                    self.drain(ready.get_inner_mut());
                    ready.clear_ready();
                }
                Some(event) = next_event(self.up.as_ref(), &mut events) => self.stream_event(event),
                _ = reports.tick() => self.report(),
                _ = seconds.tick() => self.second(ring.get_mut()),
                _ = histories.tick() => self.core.keep_histories_old(Instant::now()),
            }
        }
    }

    fn drain(&mut self, ring: &mut AlarmRing) {
        while let Some(alarm) = ring.next_alarm() {
            let message = self.core.kernel_alarm(alarm, Instant::now());
            self.send(message.into_iter().collect());
        }
    }

    fn stream_event(&mut self, event: Event) {
        match event {
            Event::Opened(up) => {
                self.up = Some(up);
                let greeting = self.core.greet(Instant::now());
                self.send(greeting);
            }
            Event::Said(message) => {
                self.heard = Timer::now();
                let answers = self.core.control_said(message, Instant::now());
                self.send(answers);
            }
            Event::Lost => self.up = None,
        }
        self.synced.set(self.core.is_synced() && self.up.is_some());
    }

    /// Counts wait while control is behind: the next report says what this one would have.
    fn report(&mut self) {
        if self.up.as_ref().is_some_and(|up| !up.is_behind()) {
            let report = self.core.report(Instant::now());
            self.send(report);
        }
        if let Err(error) = self.show() {
            tracing::warn!("metrics are out of date: {error}");
        }
    }

    fn show(&mut self) -> Result<(), weir_dataplane::Error> {
        let (devices, profiles) = self.core.device_figures();
        let (figures, outstanding_alarms) = (self.core.figures(), self.core.outstanding_alarms());
        let gate = self.core.kernel().gate();
        self.metrics.show(&Reading {
            reasons: gate.reason_counts()?,
            lost_alarms: gate.lost_alarms()?,
            figures,
            outstanding_alarms,
            connected: self.up.is_some(),
            silent_seconds: self.heard.elapsed().as_secs(),
            devices,
            profiles,
        });
        Ok(())
    }

    /// What the ring holds is no lost alarm, so it is read before the sweep.
    fn second(&mut self, ring: &mut AlarmRing) {
        self.drain(ring);
        let now = Instant::now();
        self.core.time_passes(now);
        let swept = self.core.sweep(now);
        self.send(swept);
    }

    /// A full queue means that control does not keep up: the stream is given up, and the greeting of the
    /// next one says everything again.
    fn send(&mut self, batch: Vec<Up>) {
        if self.up.as_ref().is_some_and(|up| !up.send(batch)) {
            tracing::warn!("control does not take what this node sends; the stream is given up");
            self.up = None;
        }
    }
}

/// What the stream tells next, once there is room for the answer to it.
async fn next_event(up: Option<&Sender>, events: &mut mpsc::Receiver<Event>) -> Option<Event> {
    if let Some(up) = up {
        up.has_room().await;
    }
    events.recv().await
}

fn attach(gate: &mut Gate, config: &Config) -> Result<(), Error> {
    let sides = [(Side::Access, &config.access_interfaces), (Side::Network, &config.network_interfaces)];
    for (side, interfaces) in sides {
        for interface in interfaces {
            gate.attach(interface, side, config.mode)?;
        }
    }
    Ok(())
}

/// Drawn by the kernel, so that no two starts of any node share one.
fn boot_id() -> Result<String, Error> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid");
    let id = id.map_err(|source| Error::System { what: "drawing a boot identifier", source })?;
    Ok(id.trim().to_owned())
}
