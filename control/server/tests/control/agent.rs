//! An agent that speaks the real contract and has no packets: tests say what it has counted.

use std::collections::VecDeque;
use std::path::Path;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Code, Status, Streaming};
use weir_proto::v1::node_stream_client::NodeStreamClient;
use weir_proto::v1::{
    AlarmId, AlarmRaised, CacheUpdate, CountCondition, CountReport, DeviceCounts, FromNode, Hello, ToNode,
    UpdateResult, alarm_raised, from_node, to_node,
};

use crate::world::{now_ms, within};

/// One stream of a node.
pub struct Agent {
    pub node: String,
    pub boot: String,
    say: mpsc::Sender<FromNode>,
    hear: Streaming<ToNode>,
    /// Updates that came while something else was awaited.
    early: VecDeque<CacheUpdate>,
}

impl Agent {
    /// Opens a stream, says Hello, and takes the snapshot.
    pub async fn attach(socket: &Path, node: &str, boot: &str) -> (Self, Vec<CacheUpdate>) {
        Self::attach_reporting(socket, node, boot, &["packet"]).await
    }

    /// The same for a node that reports these kinds of access.
    pub async fn attach_reporting(
        socket: &Path,
        node: &str,
        boot: &str,
        kinds: &[&str],
    ) -> (Self, Vec<CacheUpdate>) {
        let mut agent = Self::connect(socket, node, boot).await;
        agent
            .say(from_node::Message::Hello(Hello {
                node: node.to_owned(),
                boot: boot.to_owned(),
                abi_version: 1,
                kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            }))
            .await;
        let to_node::Message::Welcome(welcome) = agent.hear().await else { panic!("no Welcome") };
        let mut snapshot = Vec::new();
        for _ in 0..welcome.snapshot_entries {
            snapshot.push(agent.update().await);
        }
        (agent, snapshot)
    }

    /// Opens a stream and says nothing.
    pub async fn connect(socket: &Path, node: &str, boot: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).unwrap();
        let channel = within("a connection", endpoint.connect()).await.unwrap();
        let (say, messages) = mpsc::channel(16);
        let call = NodeStreamClient::new(channel).attach(ReceiverStream::new(messages)).await.unwrap();
        Self {
            node: node.to_owned(),
            boot: boot.to_owned(),
            say,
            hear: call.into_inner(),
            early: VecDeque::new(),
        }
    }

    pub async fn say(&self, message: from_node::Message) {
        self.say.send(FromNode { message: Some(message) }).await.unwrap();
    }

    /// The next message.
    pub async fn hear(&mut self) -> to_node::Message {
        let heard = within("a message from control", self.hear.message()).await;
        heard.unwrap().expect("the stream has ended").message.unwrap()
    }

    /// The next update, acknowledged.
    pub async fn update(&mut self) -> CacheUpdate {
        let update = match self.early.pop_front() {
            Some(update) => update,
            None => match self.hear().await {
                to_node::Message::Update(update) => update,
                other => panic!("an update was due, not {other:?}"),
            },
        };
        self.answer(&update, "").await;
        update
    }

    /// Says what became of an update; an empty reason means applied.
    pub async fn answer(&self, update: &CacheUpdate, refused: &str) {
        let (nonce, device, refused) = (update.nonce, update.device.clone(), refused.to_owned());
        self.say(from_node::Message::Result(UpdateResult { nonce, device, refused })).await;
    }

    /// Raises an alarm and waits until control has it.
    pub async fn alarm(&mut self, alarm: &AlarmRaised) {
        self.say(from_node::Message::Alarm(alarm.clone())).await;
        let received = loop {
            match self.hear().await {
                to_node::Message::Received(received) => break received,
                to_node::Message::Update(update) => self.early.push_back(update),
                other => panic!("nothing else was due, not {other:?}"),
            }
        };
        assert_eq!(received.id, alarm.id);
    }

    /// More than three requests, of which three were admitted and the fourth is held.
    pub fn count_alarm(&self, device: &str, sequence: u64) -> AlarmRaised {
        self.raised(device, sequence, counts(device, 4, 3), alarm_raised::Condition::Count(fourth()))
    }

    /// A first packet that carries ESP.
    pub fn esp_alarm(&self, device: &str, sequence: u64) -> AlarmRaised {
        let condition = alarm_raised::Condition::Protocol("esp".to_owned());
        self.raised(device, sequence, counts(device, 1, 0), condition)
    }

    fn raised(
        &self,
        device: &str,
        sequence: u64,
        counts: DeviceCounts,
        condition: alarm_raised::Condition,
    ) -> AlarmRaised {
        AlarmRaised {
            id: Some(AlarmId { node: self.node.clone(), boot: self.boot.clone(), sequence }),
            device: device.to_owned(),
            condition: Some(condition),
            kind: "packet".to_owned(),
            counts: Some(counts),
            access_held: true,
        }
    }

    /// Reports a device's counts.
    pub async fn report(&self, counts: DeviceCounts) {
        self.say(from_node::Message::Counts(CountReport { devices: vec![counts] })).await;
    }

    /// Waits for control to end the stream.
    pub async fn ended(mut self) -> Status {
        loop {
            match within("the stream to end", self.hear.message()).await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::new(Code::Ok, ""),
                Err(status) => return status,
            }
        }
    }
}

fn fourth() -> CountCondition {
    CountCondition { requests: 4, window_ms: 60_000 }
}

/// So many requests and admissions, the latest just now; what was not admitted is rejected or held.
pub fn counts(device: &str, requests: u64, admitted: u64) -> DeviceCounts {
    let now = now_ms();
    let ago = |n: u64| now - 200 * i64::try_from(n).unwrap();
    DeviceCounts {
        device: device.to_owned(),
        requests,
        admitted,
        admissions_ms: (0..admitted).rev().map(ago).collect(),
        ..DeviceCounts::default()
    }
}
