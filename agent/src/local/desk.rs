//! The agent's side of the local socket: an act is written down, then done, shown, and in time undone.
//!
//! The line comes before the act, so that nothing is done of which no trace is left; a disk that does not take
//! it is said in the answer and keeps nobody from acting. The kernel ends a suspension by itself; what happens
//! here after it is tidying: the bit goes, and a line says that it is over.

use std::time::Duration;

use weir_dataplane::Pins;
use weir_proto::v1::from_node::Message as Up;

use super::{
    api,
    request::{LocalRequest, Refusal},
};
use crate::{
    Config,
    audit::{Deed, Kept, Line, Queue, What, Who},
    core::{Core, Kernel},
    glass::{self, Glass, Subject, Suspension},
    time::Instant,
};

/// How often the log reminds of what is suspended, seconds.
const REMIND: u32 = 60;

/// What a status says of the node that the core does not know.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// A stream to control is open.
    pub connected: bool,
    /// Where program and maps are pinned.
    pub pins: Option<String>,
}

impl Surroundings {
    /// What the configuration says of them.
    pub fn of(config: &Config) -> Self {
        let pins =
            config.pin.then(|| Pins::new(&config.bpffs, &config.name).directory().display().to_string());
        Self { connected: false, pins }
    }
}

/// Who answers the local socket.
pub struct Desk {
    glass: Glass,
    queue: Queue,
    seconds: u32,
}

impl Desk {
    /// Takes up what stands in the kernel's maps and in the queue that the last agent left, and writes down what
    /// ended meanwhile.
    pub fn open<K: Kernel>(mut queue: Queue, core: &mut Core<K>, now: Instant) -> Self {
        let (mut glass, begun) = (Glass::default(), queue.begun());
        for (subject, until) in core.suspended(now) {
            let Some(until) = until else {
                core.reinstate(subject);
                continue;
            };
            let line = begun.iter().find(|line| core.subject(line.device.as_deref()) == Some(subject));
            let suspension = Suspension {
                until,
                until_ms: now.unix_ms_of(until),
                who: line.and_then(|line| line.who.clone()),
                reason: line.map_or_else(|| "begun before this agent".to_owned(), |line| line.reason.clone()),
            };
            glass.begin(subject, suspension);
        }
        let in_force = |line: &Line| match core.subject(line.device.as_deref()) {
            Some(Subject::Node) => glass.bypass().is_some(),
            Some(Subject::Device(device)) => glass.exempt().any(|(exempt, _)| exempt == device),
            None => false,
        };
        for line in begun.iter().filter(|line| !in_force(line)) {
            let what = ended(line.device.as_deref());
            queue.append(Deed {
                at_ms: now.unix_ms,
                who: None,
                what,
                device: line.device.clone(),
                until_ms: line.until_ms,
                reason: line.reason.clone(),
            });
        }
        if let Some(words) = glass.in_words() {
            tracing::warn!("taken over from the last agent: {words}");
        }
        Self { glass, queue, seconds: 0 }
    }

    /// Answers a request; what is to be said to control about it.
    pub fn serve<K: Kernel>(
        &mut self,
        request: LocalRequest,
        core: &mut Core<K>,
        surroundings: Surroundings,
        now: Instant,
    ) -> Vec<Up> {
        // Whoever asked may have left.
        match request {
            LocalRequest::Status(answer) => {
                let _ = answer.send(self.status(core, surroundings));
                Vec::new()
            }
            LocalRequest::Audit(answer) => {
                let _ = answer.send(self.queue.waiting().cloned().collect());
                Vec::new()
            }
            // The run loop's own: it needs the gate, and outlives its answer.
            LocalRequest::Capture { .. } => Vec::new(),
            LocalRequest::Suspend { device, length, reason, who, answer } => {
                let done = self.suspend(device, length, reason, who, core, now);
                let said = self.said(&done);
                let _ = answer.send(done);
                said
            }
            LocalRequest::Resume { device, who, answer } => {
                let done = self.resume(device.as_deref(), who, core, now);
                let said = self.said(&done);
                let _ = answer.send(done);
                said
            }
        }
    }

    /// What a new stream is told: every line that control does not have.
    pub fn greet(&self) -> Vec<Up> {
        self.queue.messages()
    }

    /// Control has written down every line up to this one.
    pub fn received(&mut self, up_to_sequence: u64) {
        self.queue.acknowledged(up_to_sequence);
    }

    /// Every second: what is over is tidied away, and who watches is reminded of what is not.
    pub fn time_passes<K: Kernel>(&mut self, core: &mut Core<K>, now: Instant) -> Vec<Up> {
        let mut lines = Vec::new();
        for (subject, suspension) in self.glass.lapsed(now.tick) {
            core.reinstate(subject);
            lines.push(self.write_end(subject, &suspension, None, core, now).0);
            tracing::warn!("over: {}", in_words(subject));
        }
        self.queue.retry();
        self.seconds = (self.seconds + 1) % REMIND;
        if self.seconds == 0
            && let Some(words) = self.glass.in_words()
        {
            tracing::warn!("{words}; see `weir node status`");
        }
        lines.iter().map(audit).collect()
    }

    /// What is suspended.
    pub fn glass(&self) -> &Glass {
        &self.glass
    }

    /// Lines that control does not have yet.
    pub fn audit_waiting(&self) -> usize {
        self.queue.waiting().count()
    }

    fn suspend<K: Kernel>(
        &mut self,
        device: Option<String>,
        length: Duration,
        reason: String,
        who: Option<Who>,
        core: &mut Core<K>,
        now: Instant,
    ) -> Result<api::Done, Refusal> {
        let subject = known(core, device.as_deref())?;
        let (until, until_ms) = glass::check(length, &reason, now).map_err(Refusal::Invalid)?;
        let what = if device.is_some() { What::ExemptionBegun } else { What::BypassBegun };
        let deed =
            Deed { at_ms: now.unix_ms, who: who.clone(), what, device, until_ms, reason: reason.clone() };
        let (line, kept) = self.queue.append(deed);
        let done = done(line, kept);
        core.suspend(subject, until);
        self.glass.begin(subject, Suspension { until, until_ms, who, reason });
        let (seconds, uid) = (length.as_secs(), line.who.as_ref().map(|who| who.uid));
        tracing::warn!(seconds, uid, audit_line = done.audit_line, "begun: {}", in_words(subject));
        Ok(done)
    }

    fn resume<K: Kernel>(
        &mut self,
        device: Option<&str>,
        who: Option<Who>,
        core: &mut Core<K>,
        now: Instant,
    ) -> Result<api::Done, Refusal> {
        let subject = known(core, device)?;
        let Some(suspension) = self.glass.end(subject) else {
            let what = if device.is_some() { "the device is not exempt" } else { "the node is not bypassed" };
            return Err(Refusal::Absent(what.to_owned()));
        };
        let uid = who.as_ref().map(|who| who.uid);
        let (line, kept) = self.write_end(subject, &suspension, who, core, now);
        core.reinstate(subject);
        tracing::warn!(uid, audit_line = line.sequence, "ended: {}", in_words(subject));
        Ok(done(&line, kept))
    }

    fn write_end<K: Kernel>(
        &mut self,
        subject: Subject,
        suspension: &Suspension,
        who: Option<Who>,
        core: &Core<K>,
        now: Instant,
    ) -> (Line, Kept) {
        let device = core.device_of(subject).map(str::to_owned);
        let deed = Deed {
            at_ms: now.unix_ms,
            who,
            what: ended(device.as_deref()),
            device,
            until_ms: suspension.until_ms,
            reason: suspension.reason.clone(),
        };
        let (line, kept) = self.queue.append(deed);
        (line.clone(), kept)
    }

    /// The line of an act, for control.
    fn said(&self, done: &Result<api::Done, Refusal>) -> Vec<Up> {
        let Ok(done) = done else { return Vec::new() };
        self.queue.waiting().filter(|line| line.sequence == done.audit_line).map(audit).collect()
    }

    fn status<K: Kernel>(&self, core: &Core<K>, surroundings: Surroundings) -> api::Status {
        let exemption = |(device, suspension)| api::Exemption {
            device: core.device_of(Subject::Device(device)).unwrap_or_default().to_owned(),
            suspended: shown(suspension),
        };
        api::Status {
            connected: surroundings.connected,
            pins: surroundings.pins,
            bypass: self.glass.bypass().map(shown),
            exemptions: self.glass.exempt().map(exemption).collect(),
            audit_waiting: self.audit_waiting(),
            audit_on_disk: self.queue.is_on_disk(),
            ..core.status()
        }
    }
}

fn known<K: Kernel>(core: &Core<K>, device: Option<&str>) -> Result<Subject, Refusal> {
    core.subject(device).ok_or_else(|| {
        Refusal::Absent("no such device is bound on this node; is it another node's?".to_owned())
    })
}

fn ended(device: Option<&str>) -> What {
    if device.is_some() { What::ExemptionEnded } else { What::BypassEnded }
}

fn done(line: &Line, kept: Kept) -> api::Done {
    api::Done { until_ms: line.until_ms, audit_line: line.sequence, on_disk: kept == Kept::OnDisk }
}

fn shown(suspension: &Suspension) -> api::Suspended {
    api::Suspended {
        until_ms: suspension.until_ms,
        who: suspension.who.clone(),
        reason: suspension.reason.clone(),
    }
}

fn audit(line: &Line) -> Up {
    Up::Audit(weir_proto::v1::AuditLines { lines: vec![line.message()] })
}

fn in_words(subject: Subject) -> &'static str {
    match subject {
        Subject::Node => "the bypass of the node, under which no packet is judged",
        Subject::Device(_) => "the exemption of a device, all of whose packets pass",
    }
}
