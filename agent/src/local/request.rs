//! What the local socket asks of the agent's task. Whoever asks waits for the answer; one that has left is no
//! error.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::api;
use crate::{
    audit::{Line, Who},
    capture,
};

/// Requests that may wait for the agent; more of them wait at the socket.
const WAITING: usize = 16;

/// Where an answer goes.
pub type Answer<T> = oneshot::Sender<T>;

/// A request.
pub enum LocalRequest {
    /// What the node is doing.
    Status(Answer<api::Status>),
    /// Audit lines that control does not have yet.
    Audit(Answer<Vec<Line>>),
    /// The law is to be suspended.
    Suspend {
        /// For this device; `None`: for all packets.
        device: Option<String>,
        /// For so long.
        length: Duration,
        /// Because of this.
        reason: String,
        /// By them.
        who: Option<Who>,
        /// What came of it.
        answer: Answer<Result<api::Done, Refusal>>,
    },
    /// Judged packets are to be copied to whoever asks, for as long as they listen.
    Capture {
        /// Which.
        request: capture::Request,
        /// What they are to hear.
        answer: Answer<Result<capture::Heard, Refusal>>,
    },
    /// It is to be in force again.
    Resume {
        /// For this device; `None`: for all packets.
        device: Option<String>,
        /// By them.
        who: Option<Who>,
        /// What came of it.
        answer: Answer<Result<api::Done, Refusal>>,
    },
}

/// Why a request is not carried out, in sentences for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such thing here.
    Absent(String),
    /// It says something that cannot be.
    Invalid(String),
    /// Something else stands in its way.
    InTheWay(String),
}

/// A channel to the agent's task.
pub fn requests() -> (mpsc::Sender<LocalRequest>, mpsc::Receiver<LocalRequest>) {
    mpsc::channel(WAITING)
}
