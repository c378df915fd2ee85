//! The agent's edge: the loaded program, the stream, timers and metrics around [`Core`].
//!
//! One task owns everything and takes events one after another, so the core needs no lock. How it comes to life is
//! told in `start`. From then on nothing but `shutdown` and a broken runtime ends this task: where the program is
//! not pinned, an agent that left would take it along and open the gate.
//!
//! What control says is acknowledged when it is enforced and on the disk, in this order: an agent killed in between
//! leaves an entry that is newer than the journal, and control says it again.

use std::{future::Future, time::Duration};

use prometheus::Registry;
use tokio::{
    io::unix::AsyncFd,
    sync::mpsc,
    time::{Instant as Timer, MissedTickBehavior, interval},
};
use weir_dataplane::{pins, ring::AlarmRing};
use weir_observe::{Condition, Listener, Readiness, Remark};
use weir_proto::v1::{from_node::Message as Up, to_node::Message as Down};

use crate::{
    Config, Error,
    audit::Queue,
    capture::Capture,
    core::Core,
    interfaces::Interfaces,
    kernel::LoadedGate,
    known_good::KnownGood,
    local::{self, Desk, LocalRequest, LocalSocket, Surroundings},
    metrics::{Metrics, Reading},
    shadows::Shadows,
    start::{self, Started},
    stream::{self, Event, Pace, Sender},
    tables::{self, Table},
    time::Instant,
};

/// Messages of control that are kept on disk together; an alarm waits no longer than they take.
const MOST_TOGETHER: usize = 256;
const SECOND: Duration = Duration::from_secs(1);
const HISTORY_INTERVAL: Duration = Duration::from_secs(6 * 3600);

/// Runs a node until `shutdown` resolves. A pinned program then goes on judging by what it holds; another one is
/// detached, and nothing is left behind.
///
/// # Errors
/// [`Error`] if the node cannot start. A missing or lost control is no error: the node goes on enforcing.
pub async fn run(mut config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    // First of all: a second agent of this node touches nothing of the first one's.
    let _claim = pins::claim(&config.name)?;
    let listener = Listener::bind(config.metrics).await?;
    let local = LocalSocket::bind(&config.local_socket).await?;
    let (registry, readiness) = (Registry::new(), Readiness::default());
    let metrics = Metrics::new(&registry).map_err(|error| Error::System {
        what: "registering metrics",
        source: std::io::Error::other(error),
    })?;
    let attached = readiness.condition("program attached");
    let synced = readiness.condition("synced with control");
    let kept = readiness.condition("last-known-good on disk");
    let (socket, report_interval) = (config.stream_socket.clone(), config.report_interval);
    let bindings = std::mem::take(&mut config.bindings);
    let Started { mut core, ring, known_good, interfaces, unpooled } =
        start::start(&config, &bindings, &readiness)?;
    attached.set(true);
    kept.set(known_good.is_kept());
    tracing::info!(node = config.name, metrics = %listener.address(), "node is judging");
    let desk = Desk::open(Queue::open(&config.audit_file()), &mut core, Instant::now());
    let (requests_in, requests) = local::requests();
    let remark = readiness.remark();
    let watching = "the node is in shadow: what it judges to be dropped passes".to_owned();
    readiness.remark().say(config.shadow.then_some(watching));
    let mut node = Node {
        core,
        known_good,
        interfaces,
        unpooled,
        desk,
        requests,
        remark,
        capture: Capture::default(),
        shadows: Shadows::default(),
        surroundings: Surroundings::of(&config),
        metrics,
        synced,
        kept,
        up: None,
        heard: Timer::now(),
    };

    let (events_in, events) = mpsc::channel(1024);
    let stream = tokio::spawn(stream::keep_open(socket, Pace::default(), events_in));
    let local = tokio::spawn(local.serve(requests_in));
    let pages = tokio::spawn(listener.serve(registry, readiness, std::future::pending()));
    let outcome = node.live(ring, events, report_interval, shutdown).await;
    stream.abort();
    local.abort();
    pages.abort();
    if config.pin {
        tracing::info!(
            "the program goes on judging without this agent; `weir node detach {}` ends that",
            config.name
        );
    }
    outcome
}

struct Node {
    core: Core<LoadedGate>,
    known_good: KnownGood,
    interfaces: Interfaces,
    /// How full the hash of addresses outside the pools is.
    unpooled: Table,
    desk: Desk,
    requests: mpsc::Receiver<LocalRequest>,
    /// What `/readyz` says of suspensions.
    remark: Remark,
    capture: Capture,
    shadows: Shadows,
    surroundings: Surroundings,
    metrics: Metrics,
    synced: Condition,
    kept: Condition,
    up: Option<Sender>,
    heard: Timer,
}

impl Node {
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
                () = &mut shutdown => {
                    self.capture.end_with_node(self.core.kernel().gate()).await;
                    return Ok(());
                }
                ready = ring.readable_mut() => {
                    let mut ready = ready.map_err(system)?;
                    self.drain(ready.get_inner_mut());
                    ready.clear_ready();
                }
                Some(event) = next_event(self.up.as_ref(), &mut events) => self.stream_events(event, &mut events),
                Some(request) = self.requests.recv() => self.local(request),
                wake = self.capture.wake() => self.capture.go_on(wake, &mut self.core),
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

    /// This event and those that wait behind it: their updates are kept on disk together.
    fn stream_events(&mut self, first: Event, waiting: &mut mpsc::Receiver<Event>) {
        let (mut next, mut answers) = (Some(first), Vec::new());
        for more in (0..MOST_TOGETHER).rev() {
            match next {
                None => break,
                Some(Event::Said(message)) => {
                    self.heard = Timer::now();
                    if let Down::AuditReceived(received) = &message {
                        self.desk.received(received.up_to_sequence);
                    }
                    answers.extend(self.core.control_said(message, Instant::now()));
                }
                Some(Event::Opened(up)) => {
                    self.answer(std::mem::take(&mut answers));
                    self.up = Some(up);
                    let mut greeting = self.core.greet(Instant::now());
                    greeting.extend(self.desk.greet());
                    self.send(greeting);
                }
                Some(Event::Lost) => {
                    self.answer(std::mem::take(&mut answers));
                    self.up = None;
                }
            }
            next = if more > 0 { waiting.try_recv().ok() } else { None };
        }
        self.answer(answers);
        self.synced.set(self.core.is_synced() && self.up.is_some());
    }

    /// Sends results of updates that are in force, once they are kept on disk; what could not be kept is said.
    fn answer(&mut self, mut answers: Vec<Up>) {
        let result = self.known_good.keep(&self.core.take_kept());
        if let Err(error) = &result {
            let results = answers.iter_mut().filter_map(|answer| match answer {
                Up::Result(result) if result.refused.is_empty() => Some(result),
                _ => None,
            });
            results.for_each(|result| {
                result.refused = format!("enforced, but could not be kept on disk: {error}");
            });
        }
        self.note_kept(result);
        self.send(answers);
    }

    /// Says once that the disk does not take the cache, and once that it does again.
    fn note_kept(&mut self, result: std::io::Result<()>) {
        let is_kept = result.is_ok();
        match result {
            Err(error) if self.kept.holds() => {
                tracing::error!("what control says is enforced, but not kept on disk: {error}");
            }
            Ok(()) if !self.kept.holds() => tracing::info!("the last-known-good cache is on disk again"),
            _ => {}
        }
        self.kept.set(is_kept);
    }

    /// An operator on this machine asks for something.
    fn local(&mut self, request: LocalRequest) {
        let request = match request {
            LocalRequest::Capture { request, answer } => {
                return self.capture.begin(&mut self.core, request, answer);
            }
            other => other,
        };
        let surroundings = Surroundings { connected: self.up.is_some(), ..self.surroundings.clone() };
        let lines = self.desk.serve(request, &mut self.core, surroundings, Instant::now());
        self.send(lines);
        self.remark.say(self.desk.glass().in_words());
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
        let mut tables = self.core.tables();
        let in_shadow = self.core.profiles_in_shadow();
        let gate = self.core.kernel().gate();
        let (reasons, lost_alarms) = (gate.reason_counts()?, gate.lost_alarms()?);
        let (without_place, flood) = tables::turned_away(&reasons);
        let lossy = [("alarms", lost_alarms), ("captures", gate.lost_copies()?), ("new-strangers", flood)];
        tables.extend(lossy.map(|(name, lost)| Table::lossy(name, lost)));
        tables.extend([self.unpooled, Table::lossy("strangers", without_place)]);
        let watched = in_shadow.iter().map(|(number, profile)| (*number, profile));
        self.shadows.read(watched, |number, place| gate.rule_shadows(number, place))?;
        self.metrics.show(&Reading {
            reasons,
            lost_alarms,
            figures,
            outstanding_alarms,
            connected: self.up.is_some(),
            silent_seconds: self.heard.elapsed().as_secs(),
            devices,
            profiles,
            is_bypassed: self.desk.glass().bypass().is_some(),
            exempt_devices: self.desk.glass().exempt().count(),
            audit_waiting: self.desk.audit_waiting(),
            known_good_failures: self.known_good.failures(),
            interfaces_missing: self.interfaces.missing(),
            tables,
            answers: gate.answer_counts()?,
            shadow: gate.shadow_counts()?,
            policy_shadow: self.shadows.sums().collect(),
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
        let lines = self.desk.time_passes(&mut self.core, now);
        self.send(lines);
        self.remark.say(self.desk.glass().in_words());
        self.interfaces.look(self.core.kernel().gate());
        self.capture.tell_losses();
        if !self.known_good.is_kept() {
            let result = self.known_good.retry();
            self.note_kept(result);
        }
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
