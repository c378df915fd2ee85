//! The one task that owns service control: everything that happens passes here, one thing at a time.
//!
//! That is what makes control's decisions an order ("one writer"). So nothing here may wait for a node, an HSS
//! or a PCRF; the one thing it waits for is the store, because a decision is durable before it is sent. If
//! the store fails, control stops: what memory says and what would be read after a restart must not
//! differ, and nodes go on enforcing what they hold meanwhile (R-X4).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use weir_service_control::{Decision, Input, NodeName, Output, ServiceControl};
use weir_store::Store;

use crate::directory::{Directory, Hello, SessionId};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::peers::Questions;
use crate::{Error, clock};

/// Messages that may wait for the brain before their senders do.
const INBOX: usize = 1024;
/// The longest sleep: bounds how late a timer is after the wall clock was set.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// A question about service control's state, put to the task that owns it.
type Question = Box<dyn FnOnce(&ServiceControl) + Send>;

enum Message {
    Attach { hello: Hello, session: SessionId, outbox: Outbox },
    Detach { node: NodeName, session: SessionId },
    FromNode { node: NodeName, session: SessionId, input: Input },
    Told { input: Input, done: oneshot::Sender<()> },
    Asked(Question),
}

/// How everybody else reaches the brain.
#[derive(Clone, Debug)]
pub(crate) struct BrainHandle(mpsc::Sender<Message>);

/// Control is shutting down.
#[derive(Debug, thiserror::Error)]
#[error("control is shutting down")]
pub(crate) struct Gone;

/// Service control and what it needs to have its outputs carried out.
pub(crate) struct Brain {
    pub(crate) control: ServiceControl,
    pub(crate) store: Arc<Store>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) questions: Questions,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) sessions: HashMap<NodeName, SessionId>,
    pub(crate) answers: JoinSet<Input>,
}

impl BrainHandle {
    /// A new handle and the inbox that [`Brain::run`] reads.
    pub(crate) fn new() -> (Self, Inbox) {
        let (sender, receiver) = mpsc::channel(INBOX);
        (Self(sender), Inbox(receiver))
    }

    pub(crate) async fn attach(&self, hello: Hello, session: SessionId, outbox: Outbox) -> Result<(), Gone> {
        self.send(Message::Attach { hello, session, outbox }).await
    }

    pub(crate) async fn detach(&self, node: NodeName, session: SessionId) -> Result<(), Gone> {
        self.send(Message::Detach { node, session }).await
    }

    /// Something a node said. Ignored if a newer stream has replaced the one it was said on.
    pub(crate) async fn hear(&self, node: &NodeName, session: SessionId, input: Input) -> Result<(), Gone> {
        self.send(Message::FromNode { node: node.clone(), session, input }).await
    }

    /// Something an operator did; returns when its outputs have been carried out.
    pub(crate) async fn tell(&self, input: Input) -> Result<(), Gone> {
        let (done, told) = oneshot::channel();
        self.send(Message::Told { input, done }).await?;
        told.await.map_err(|_| Gone)
    }

    /// Looks at service control's state.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&ServiceControl) -> T + Send + 'static,
    ) -> Result<T, Gone> {
        let (answer, answered) = oneshot::channel();
        let question: Question = Box::new(move |control| {
            // Whoever asked may have left.
            let _ = answer.send(question(control));
        });
        self.send(Message::Asked(question)).await?;
        answered.await.map_err(|_| Gone)
    }

    async fn send(&self, message: Message) -> Result<(), Gone> {
        self.0.send(message).await.map_err(|_| Gone)
    }
}

/// The receiving end of [`BrainHandle`]s.
pub(crate) struct Inbox(mpsc::Receiver<Message>);

impl Brain {
    /// Runs until `shutdown`; open questions are dropped and asked again after the next start.
    pub(crate) async fn run(mut self, mut inbox: Inbox, shutdown: CancellationToken) -> Result<(), Error> {
        loop {
            let timer = sleep(self.until_timeout());
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                Some(answer) = self.answers.join_next() => self.handle(answer?).await?,
                () = timer => self.time_passed().await?,
                Some(message) = inbox.0.recv() => self.take(message).await?,
            }
        }
    }

    async fn take(&mut self, message: Message) -> Result<(), Error> {
        match message {
            Message::Attach { hello, session, outbox } => {
                self.sessions.insert(hello.node.clone(), session);
                self.directory.attach(&hello, session, outbox);
                self.handle(Input::NodeConnected { node: hello.node, boot: hello.boot }).await
            }
            Message::Detach { node, session } if self.sessions.get(&node) == Some(&session) => {
                self.sessions.remove(&node);
                self.directory.detach(&node, session);
                self.handle(Input::NodeDisconnected { node }).await
            }
            Message::FromNode { node, session, input } if self.sessions.get(&node) == Some(&session) => {
                self.handle(input).await
            }
            Message::Detach { .. } | Message::FromNode { .. } => Ok(()),
            Message::Told { input, done } => {
                self.handle(input).await?;
                // Whoever told may have left.
                let _ = done.send(());
                Ok(())
            }
            Message::Asked(question) => {
                question(&self.control);
                Ok(())
            }
        }
    }

    fn until_timeout(&self) -> Duration {
        let Some(at) = self.control.next_timeout() else { return LONGEST_SLEEP };
        let ahead = u64::try_from(at.0.saturating_sub(clock::now().0)).unwrap_or(0);
        // Never zero, so that a timer can at no time keep the inbox from being read.
        Duration::from_millis(ahead.max(1)).min(LONGEST_SLEEP)
    }

    async fn time_passed(&mut self) -> Result<(), Error> {
        if self.control.next_timeout().is_some_and(|at| at <= clock::now()) {
            self.handle(Input::TimePassed).await?;
        }
        Ok(())
    }

    async fn handle(&mut self, input: Input) -> Result<(), Error> {
        let outputs = self.control.handle(input, clock::now());
        self.metrics.count_devices(&self.control);
        for output in outputs {
            self.carry_out(output).await?;
        }
        Ok(())
    }

    async fn carry_out(&mut self, output: Output) -> Result<(), Error> {
        match output {
            Output::AlarmReceived { node, id } => self.directory.alarm_received(&node, id),
            Output::QuerySubscription { device } => {
                self.answers.spawn(self.questions.clone().subscription(device));
            }
            Output::QueryPolicies { device, event } => {
                self.answers.spawn(self.questions.clone().policies(device, event));
            }
            Output::Update { node, update } => self.directory.update(&node, update),
            Output::Snapshot { node, entries } => self.directory.snapshot(&node, entries),
            Output::Record(decision) => self.record(decision).await?,
        }
        Ok(())
    }

    async fn record(&mut self, decision: Decision) -> Result<(), Error> {
        let store = self.store.clone();
        let written = tokio::task::spawn_blocking(move || store.record(&decision).map(|()| decision));
        let decision = written.await??;
        self.metrics.decided(&decision);
        tracing::info!(
            device = ?decision.device,
            alarm = decision.alarm.as_ref().map(|id| format!("{}/{}/{}", id.node.0, id.boot, id.sequence)),
            fate = ?decision.fate,
            revision = decision.entry.revision,
            "{}",
            decision.entry.explanation
        );
        Ok(())
    }
}
