//! Captures: judged packets, copied to whoever asks on the node's socket, for as long as they listen.
//!
//! A capture is a guest of the run loop: `Capture::wake` waits for its program to be loaded (elsewhere, since the
//! verifier takes its time), for packets, the listener or the end, and the loop hands what came to
//! `Capture::go_on`. A listener who does not keep up fills the ring, never the agent: what finds no room is counted,
//! and judging does not wait. There is one capture at a time; when its listener leaves, the time is over or there are
//! packets enough, the live program takes its place again.
//!
//! What this must not do: name a device to a log, or to a listener who has not asked for identifiers (R-X7).
//! Read first: `dataplane/src/capture.rs`.

mod message;
mod request;

use std::{collections::HashMap, iter, time::Duration};

use tokio::{
    io::unix::AsyncFd,
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until, timeout},
};
use weir_dataplane::{
    Gate,
    capture::{CaptureRing, Captured, Loaded, Prepared, interface_name},
};
use weir_dataplane_common::{abi::Side, capture::Filter};

use crate::{
    core::Core,
    kernel::LoadedGate,
    local::{Answer, Refusal},
};

pub use message::{Decoder, Losses, Malformed, Message, Packet, Why};
pub use request::{HIGHEST_RATE, OnSide, Request, Take};

/// Packets that are passed on at once.
const BATCH: usize = 64;
/// Batches that may wait for a listener.
const QUEUE: usize = 16;

/// How long a node that ends waits for the listener.
const MOMENT: Duration = Duration::from_millis(200);

/// The node's capture, if there is one.
#[derive(Default)]
pub(crate) enum Capture {
    #[default]
    None,
    /// Its program is being loaded.
    Loading(Loading),
    UnderWay(Box<Session>),
}

/// Who waits for a program.
pub(crate) struct Loading {
    task: JoinHandle<Result<Loaded, weir_dataplane::Error>>,
    request: Request,
    filter: Filter,
    answer: Answer<Result<Heard, Refusal>>,
}

/// A capture under way.
pub(crate) struct Session {
    ring: AsyncFd<CaptureRing>,
    listener: mpsc::Sender<Vec<u8>>,
    /// Packets until it is over.
    left: Option<u64>,
    deadline: Option<Instant>,
    identifiers: bool,
    /// Names of interfaces, by their numbers.
    interfaces: HashMap<u32, String>,
    /// The losses that the listener has heard of.
    told: Losses,
}

/// What a listener is to hear: messages, see [`Message`], some at a time.
pub type Heard = mpsc::Receiver<Vec<u8>>;

/// What a capture waited for.
pub(crate) enum Wake {
    /// Its program.
    Loaded(Result<Loaded, String>),
    /// Packets, and room to say them.
    Packets(Vec<Captured>),
    /// The time is over.
    Time,
    /// The listener has left, or the ring cannot be watched.
    Gone,
}

/// Whether a capture goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    GoesOn,
    /// It is over, and the listener has been told, if there still is one.
    Over,
}

impl Capture {
    /// Begins one. Whoever asks is answered now if it is refused, and otherwise when the program is in place.
    pub(crate) fn begin(
        &mut self,
        core: &mut Core<LoadedGate>,
        request: Request,
        answer: Answer<Result<Heard, Refusal>>,
    ) {
        match self.prepare(core, &request) {
            Ok((prepared, filter)) => {
                let task = spawn_blocking(|| prepared.load());
                *self = Self::Loading(Loading { task, request, filter, answer });
            }
            // Whoever asked may have left.
            Err(refusal) => drop(answer.send(Err(refusal))),
        }
    }

    fn prepare(&self, core: &mut Core<LoadedGate>, request: &Request) -> Result<(Prepared, Filter), Refusal> {
        if !matches!(self, Self::None) {
            let words = "there is a capture on this node already; one at a time";
            return Err(Refusal::InTheWay(words.to_owned()));
        }
        let entry = request.device.as_deref().map(|id| {
            let absent = "no such device is bound on this node; is it another node's?";
            core.entry_of(id).ok_or_else(|| Refusal::Absent(absent.to_owned()))
        });
        let filter = request.filter(entry.transpose()?).map_err(Refusal::Invalid)?;
        let prepared = core.kernel().gate().prepare_capture();
        Ok((prepared.map_err(|error| Refusal::InTheWay(error.to_string()))?, filter))
    }

    /// Waits for what comes first, if there is a capture. Nothing is lost if the wait is given up.
    pub(crate) async fn wake(&mut self) -> Wake {
        match self {
            Self::None => std::future::pending().await,
            Self::Loading(loading) => Wake::Loaded(match (&mut loading.task).await {
                Ok(loaded) => loaded.map_err(|error| error.to_string()),
                Err(error) => Err(format!("loading the capturing program: {error}")),
            }),
            Self::UnderWay(session) => session.wake().await,
        }
    }

    /// Takes what came.
    pub(crate) fn go_on(&mut self, wake: Wake, core: &mut Core<LoadedGate>) {
        *self = match (std::mem::take(self), wake) {
            (Self::Loading(loading), Wake::Loaded(loaded)) => loading.finish(loaded, core.kernel().gate()),
            (Self::UnderWay(mut session), wake) => {
                let id = |entry| core.device_at(entry).map(str::to_owned);
                match session.step(wake, id) {
                    Progress::GoesOn => Self::UnderWay(session),
                    Progress::Over => {
                        stop(core.kernel().gate());
                        Self::None
                    }
                }
            }
            (other, _) => other,
        }
    }

    /// Every second: tells the listener what was lost. It is a sign of life, too.
    pub(crate) fn tell_losses(&self) {
        if let Self::UnderWay(session) = self {
            session.tell_losses();
        }
    }

    /// The node ends: the live program is put back, and the listener told, if that takes no longer than a moment.
    pub(crate) async fn end_with_node(&mut self, gate: &mut Gate) {
        if let Self::UnderWay(mut session) = std::mem::take(self) {
            stop(gate);
            session.end(Why::Node);
            let _ = timeout(MOMENT, session.listener.closed()).await;
        }
    }
}

impl Loading {
    fn finish(self, loaded: Result<Loaded, String>, gate: &mut Gate) -> Capture {
        let begun = loaded.map_err(Refusal::InTheWay).and_then(|loaded| {
            let ring = gate.begin_capture(loaded, self.filter);
            Session::start(ring.map_err(|error| Refusal::InTheWay(error.to_string()))?, &self.request)
        });
        match begun {
            Ok((session, heard)) => {
                tracing::info!("a capture begins");
                // One who has left meanwhile is found gone at the next wake.
                drop(self.answer.send(Ok(heard)));
                Capture::UnderWay(Box::new(session))
            }
            Err(refusal) => {
                stop(gate);
                drop(self.answer.send(Err(refusal)));
                Capture::None
            }
        }
    }
}

impl Session {
    fn start(ring: CaptureRing, request: &Request) -> Result<(Self, Heard), Refusal> {
        // SAFETY: the ring owns its descriptor, which stays the same and open until the ring is dropped.
        let ring = unsafe { AsyncFd::register(ring) }.map_err(|error| {
            let error = std::io::Error::from(error);
            Refusal::InTheWay(format!("the ring of packets cannot be watched: {error}"))
        })?;
        let (listener, heard) = mpsc::channel(QUEUE);
        let session = Self {
            ring,
            listener,
            left: request.count,
            deadline: request.for_ms.map(|ms| Instant::now() + Duration::from_millis(ms)),
            identifiers: request.identifiers,
            interfaces: HashMap::new(),
            told: Losses::default(),
        };
        Ok((session, heard))
    }

    async fn wake(&mut self) -> Wake {
        let deadline = self.deadline;
        let time = async move {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.listener.closed() => Wake::Gone,
            () = time => Wake::Time,
            packets = packets(&self.listener, &mut self.ring) => packets,
        }
    }

    /// Takes what came; `id` knows the device of an entry.
    fn step(&mut self, wake: Wake, id: impl Fn(u32) -> Option<String>) -> Progress {
        match wake {
            Wake::Loaded(_) => Progress::GoesOn,
            Wake::Packets(packets) => self.pass_on(packets, id),
            Wake::Time => self.end(Why::Time),
            Wake::Gone => Progress::Over,
        }
    }

    fn pass_on(&mut self, mut packets: Vec<Captured>, id: impl Fn(u32) -> Option<String>) -> Progress {
        if let Some(left) = &mut self.left {
            packets.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= packets.len() as u64;
        }
        let mut said = Vec::new();
        if !packets.is_empty() && self.losses() != self.told {
            self.told = self.losses();
            Message::Losses(self.told).encode(&mut said);
        }
        for captured in packets {
            let device = captured.entry.filter(|_| self.identifiers).and_then(&id);
            let interface = self.interface(captured.ifindex);
            Message::Packet(packet(captured, interface, device)).encode(&mut said);
        }
        // There was room, and nobody else takes it.
        let is_gone = !said.is_empty() && self.listener.try_send(said).is_err();
        match self.left {
            _ if is_gone => Progress::Over,
            Some(0) => self.end(Why::Count),
            _ => Progress::GoesOn,
        }
    }

    fn tell_losses(&self) {
        let mut said = Vec::new();
        Message::Losses(self.losses()).encode(&mut said);
        // One who is behind hears it next time.
        let _ = self.listener.try_send(said);
    }

    /// The last thing that the listener hears.
    fn end(&mut self, why: Why) -> Progress {
        let mut said = Vec::new();
        Message::End { why, losses: self.losses() }.encode(&mut said);
        let listener = self.listener.clone();
        // A listener who is behind hears it later; one who has left, never.
        tokio::spawn(async move { listener.send(said).await });
        Progress::Over
    }

    /// What cannot be read is taken for nothing: the counters are mapped by a capture that has begun.
    fn losses(&self) -> Losses {
        let losses = self.ring.get_ref().losses().unwrap_or_default();
        Losses { ring_full: losses.ring_full, over_rate: losses.over_rate }
    }

    fn interface(&mut self, ifindex: u32) -> String {
        let name = || interface_name(ifindex).unwrap_or_else(|| format!("interface {ifindex}"));
        self.interfaces.entry(ifindex).or_insert_with(name).clone()
    }
}

/// Puts the live program back in its place.
fn stop(gate: &mut Gate) {
    match gate.stop_capture() {
        Ok(()) => tracing::info!("the capture is over"),
        Err(error) => tracing::error!("the capture is over, but its program goes on judging: {error}"),
    }
}

/// Packets, once there is room to say them: those that wait meanwhile wait in the ring.
async fn packets(listener: &mpsc::Sender<Vec<u8>>, ring: &mut AsyncFd<CaptureRing>) -> Wake {
    // The place is given back at once: only this task sends.
    if listener.reserve().await.is_err() {
        return Wake::Gone;
    }
    let Ok(mut ready) = ring.readable_mut().await else { return Wake::Gone };
    let ring = ready.get_inner_mut();
    let packets: Vec<Captured> = iter::from_fn(|| ring.next_packet()).take(BATCH).collect();
    if packets.len() < BATCH {
        ready.clear_ready();
    }
    Wake::Packets(packets)
}

fn packet(captured: Captured, interface: String, device: Option<String>) -> Packet {
    Packet {
        at_ns: captured.at_ns,
        interface,
        entry: captured.entry,
        device,
        side: match captured.side {
            Side::Access => "access",
            Side::Network => "network",
        }
        .to_owned(),
        verdict: captured.reason.verdict().name().to_owned(),
        reason: captured.reason.name().to_owned(),
        in_earnest: captured.in_earnest.map(|reason| reason.name().to_owned()),
        length: captured.frame_length,
        captured: captured.frame.len() as u32,
        bytes: captured.frame,
    }
}
