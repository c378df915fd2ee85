//! The stream against a control that appears late, dies, refuses, or does not listen. On real sockets.

use std::future::Future;

use tempfile::TempDir;
use tokio::{
    net::UnixListener,
    runtime::{Builder, Runtime},
    task::JoinHandle,
};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Streaming, transport::Server};
use weir_proto::v1::{
    AlarmReceived, Hello, ToNode, Welcome,
    node_stream_server::{NodeStream, NodeStreamServer},
};

use super::*;

/// A pause that no test waits for a second time.
const PACE: Pace = Pace { first: Duration::from_millis(20), longest: Duration::from_secs(3600) };

/// Far more than anything here takes.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it happens soon")
}

/// Control's end of a node's stream.
struct Attached {
    up: Streaming<FromNode>,
    down: mpsc::Sender<Result<ToNode, Status>>,
}

/// Hands the streams over to the test, or refuses them.
struct FakeControl {
    streams: mpsc::Sender<Attached>,
    refuses: bool,
}

#[tonic::async_trait]
impl NodeStream for FakeControl {
    type AttachStream = ReceiverStream<Result<ToNode, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<FromNode>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        if self.refuses {
            return Err(Status::unavailable("not yet"));
        }
        let (down, answers) = mpsc::channel(16);
        let attached = Attached { up: request.into_inner(), down };
        self.streams.send(attached).await.map_err(|_| Status::aborted("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

/// A node's stream task, and the place where control's socket is or is not.
struct Bench {
    directory: TempDir,
    events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
}

/// A control that runs, on a runtime of its own so that all of it can die.
struct Running {
    streams: mpsc::Receiver<Attached>,
    runtime: Option<Runtime>,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (sender, events) = mpsc::channel(1024);
        let task = tokio::spawn(keep_open(directory.path().join("control"), PACE, sender));
        Self { directory, events, task }
    }

    fn start_control(&self, refuses: bool) -> Running {
        let socket = self.directory.path().join("control");
        if socket.exists() {
            std::fs::remove_file(&socket).expect("the last control's socket");
        }
        let listener = std::os::unix::net::UnixListener::bind(socket).expect("a socket");
        listener.set_nonblocking(true).expect("a socket's mode");
        let (streams, attached) = mpsc::channel(16);
        let service = NodeStreamServer::new(FakeControl { streams, refuses });
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        runtime.spawn(async {
            let listener = UnixListener::from_std(listener).expect("a socket");
            let incoming = UnixListenerStream::new(listener);
            Server::builder().add_service(service).serve_with_incoming(incoming).await
        });
        Running { streams: attached, runtime: Some(runtime) }
    }

    async fn event(&mut self) -> Event {
        soon(self.events.recv()).await.expect("the stream's task runs")
    }

    async fn opened(&mut self) -> Sender {
        match self.event().await {
            Event::Opened(sender) => sender,
            _ => panic!("something else than an open stream"),
        }
    }

    async fn lost(&mut self) {
        assert!(matches!(self.event().await, Event::Lost));
    }
}

impl Running {
    async fn attached(&mut self) -> Attached {
        soon(self.streams.recv()).await.expect("control runs")
    }

    /// Dies without a word.
    fn die(self) {}
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Attached {
    async fn hears(&mut self) -> Option<Up> {
        soon(self.up.message()).await.expect("the stream stands").and_then(|message| message.message)
    }

    async fn welcomes(&self) {
        let welcome = Down::Welcome(Welcome { server: "test".to_owned(), snapshot_entries: 0 });
        self.down.send(Ok(ToNode { message: Some(welcome) })).await.expect("the stream stands");
    }
}

fn hello(node: &str) -> Up {
    Up::Hello(Hello { node: node.to_owned(), ..Hello::default() })
}

#[tokio::test]
async fn a_node_that_starts_first_finds_control_when_it_appears() {
    let mut bench = Bench::new();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(bench.events.try_recv().is_err(), "nobody is there");
    let _control = bench.start_control(false);
    bench.opened().await;
}

#[tokio::test]
async fn messages_go_up_and_down_in_their_order_the_greeting_first() {
    let mut bench = Bench::new();
    let mut control = bench.start_control(false);
    let sender = bench.opened().await;
    let greeting: Vec<Up> = (0..10_000).map(|place| hello(&place.to_string())).collect();
    assert!(sender.send(greeting.clone()), "a greeting of any size has room");
    assert!(sender.send(vec![]) && sender.send(vec![hello("later")]));
    let mut attached = control.attached().await;
    for message in greeting {
        assert_eq!(attached.hears().await, Some(message));
    }
    assert_eq!(attached.hears().await, Some(hello("later")));
    attached.welcomes().await;
    assert!(matches!(bench.event().await, Event::Said(Down::Welcome(_))));
}

#[tokio::test]
async fn a_control_that_dies_again_and_again_is_found_again_without_a_longer_pause() {
    let mut bench = Bench::new();
    // With pauses that double each time this would take until tomorrow.
    for _ in 0..20 {
        let mut control = bench.start_control(false);
        let sender = bench.opened().await;
        assert!(sender.send(vec![hello("node")]));
        let mut attached = control.attached().await;
        assert_eq!(attached.hears().await, Some(hello("node")));
        attached.welcomes().await;
        assert!(matches!(bench.event().await, Event::Said(_)));
        control.die();
        bench.lost().await;
        assert!(!sender.send(vec![hello("too late")]));
    }
}

#[tokio::test]
async fn a_control_that_refuses_or_ends_the_stream_has_lost_it() {
    let mut bench = Bench::new();
    let control = bench.start_control(true);
    let _refused = bench.opened().await;
    bench.lost().await;
    control.die();
    let mut control = bench.start_control(false);
    let _sender = bench.opened().await;
    drop(control.attached().await);
    bench.lost().await;
}

#[tokio::test]
async fn a_control_that_takes_nothing_fills_the_queue_and_is_given_up_though_it_stays_silent() {
    let mut bench = Bench::new();
    let mut control = bench.start_control(false);
    let sender = bench.opened().await;
    let deaf = control.attached().await;
    assert!(!sender.is_behind());
    let long = "n".repeat(1000);
    while sender.send(vec![hello(&long)]) {
        tokio::task::yield_now().await;
    }
    assert!(sender.is_behind());
    let room = tokio::time::timeout(Duration::from_millis(50), sender.has_room()).await;
    assert!(room.is_err(), "there is none while control does not listen");
    drop(sender);
    bench.lost().await;
    let _next = bench.opened().await;
    drop(deaf);
}

#[tokio::test]
async fn waiting_for_room_ends_when_control_listens_again_or_is_gone() {
    let mut bench = Bench::new();
    let mut control = bench.start_control(false);
    let sender = bench.opened().await;
    let mut attached = control.attached().await;
    let long = "n".repeat(1000);
    let mut sent = 0;
    while sender.send(vec![hello(&long)]) {
        sent += 1;
        tokio::task::yield_now().await;
    }
    let listen = async {
        for _ in 0..sent {
            attached.hears().await;
        }
    };
    tokio::join!(soon(sender.has_room()), listen);
    assert!(!sender.is_behind());
    while sender.send(vec![hello(&long)]) {
        tokio::task::yield_now().await;
    }
    control.die();
    drop(attached);
    soon(sender.has_room()).await;
}

#[tokio::test]
async fn answers_to_a_long_snapshot_leave_room_for_alarms_though_control_listens_late() {
    const ENTRIES: usize = 5 * QUEUE;
    let mut bench = Bench::new();
    let mut control = bench.start_control(false);
    let sender = bench.opened().await;
    let Attached { mut up, down } = control.attached().await;
    let (blocked, late) = oneshot::channel();
    let snapshot = async {
        for _ in 0..ENTRIES {
            let received = Down::Received(AlarmReceived { id: None });
            down.send(Ok(ToNode { message: Some(received) })).await.expect("the stream stands");
        }
    };
    let node = async {
        let mut blocked = Some(blocked);
        for _ in 0..ENTRIES {
            if sender.batches.capacity() < QUEUE / 2 {
                assert!(sender.send(vec![hello("an alarm")]), "there is room");
                blocked.take().into_iter().for_each(|blocked| blocked.send(()).expect("control waits"));
            }
            sender.has_room().await;
            assert!(matches!(bench.event().await, Event::Said(Down::Received(_))));
            assert!(sender.send(vec![hello(&"n".repeat(500))]), "an answer has room");
        }
        drop(sender);
    };
    let listening = async {
        late.await.expect("the node comes to a halt");
        while let Ok(Some(_)) = up.message().await {
            // Slower than the node.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    };
    soon(async { tokio::join!(snapshot, node, listening) }).await;
}

#[tokio::test]
async fn the_task_ends_when_nobody_takes_its_events() {
    let bench = Bench::new();
    drop(bench.events);
    soon(bench.task).await.expect("it ends by itself");
}

#[test]
fn pauses_double_up_to_the_longest_and_begin_anew() {
    let pace = Pace { first: Duration::from_millis(100), longest: Duration::from_millis(900) };
    let mut pauses = Pauses::new(pace);
    for _ in 0..2 {
        for longest in [100, 200, 400, 800, 900, 900] {
            let pause = pauses.next().as_millis();
            assert!((longest / 2..=longest).contains(&pause), "{pause} ms");
        }
        pauses.begin_anew();
    }
}
