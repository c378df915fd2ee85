//! A control server as tests see it: real sockets and a real store in a directory of its own, and agents that
//! speak the real contract. Nothing sleeps: whoever waits, waits for something to come true, with a deadline.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use weir_server::{Config, Error, Peers, Server, api};

use crate::log;

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// The device of the worked examples.
pub const IMSI1: &str = "001010000000001";
/// Another one.
pub const IMSI2: &str = "001010000000002";

/// A directory with a store, in which control servers can live one after the other.
pub struct World {
    directory: TempDir,
    pub config: Config,
}

/// A running control server, on threads of its own so that it can be killed.
pub struct Control {
    runtime: Option<Runtime>,
    shutdown: CancellationToken,
    ended: Option<tokio::task::JoinHandle<Result<(), Error>>>,
    pub metrics: SocketAddr,
    pub admin: PathBuf,
    pub nodes: PathBuf,
}

impl World {
    /// With policies 1 and 2 of R-D17, which [`IMSI1`] and [`IMSI2`] have.
    pub fn new() -> Self {
        log::keep();
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let config = Config {
            store: path("control.redb"),
            stream_socket: path("stream.sock"),
            admin_socket: path("admin.sock"),
            metrics: "127.0.0.1:0".parse().unwrap(),
            m2m_device_types: vec!["meter".to_owned()],
            protocol_alarm_hold: Duration::from_secs(600),
            not_m2m_lifetime: Duration::from_secs(86_400),
            query_timeout: Duration::from_secs(2),
            subscribers: [IMSI1, IMSI2].map(|device| subscriber(device, "meter", &[1, 2])).to_vec(),
            policies: vec![throttling_policy(), esp_policy("reject")],
        };
        Self { directory, config }
    }

    /// A path in the world's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts a control server with its embedded peers.
    pub fn start(&self) -> Control {
        self.start_with(|peers| peers)
    }

    /// Starts a control server that asks these peers.
    pub fn start_with(&self, peers: impl FnOnce(Peers) -> Peers + Send) -> Control {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let shutdown = CancellationToken::new();
        let server = std::thread::scope(|scope| {
            let bind = || runtime.block_on(Server::bind(self.config.clone())).unwrap();
            scope.spawn(bind).join().unwrap()
        });
        let metrics = server.metrics_address();
        let ended = runtime.spawn(server.with_peers(peers).run(shutdown.clone()));
        let (admin, nodes) = (self.config.admin_socket.clone(), self.config.stream_socket.clone());
        Control { runtime: Some(runtime), shutdown, ended: Some(ended), metrics, admin, nodes }
    }
}

impl Control {
    /// Ends it as a crash would: nothing more is done, nothing is said to anybody.
    pub fn kill(mut self) {
        end(self.runtime.take().unwrap());
    }

    /// Ends it as an operator would.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.shutdown.cancel();
        let ended = self.ended.take().unwrap();
        let outcome = within("control to stop", ended).await.unwrap();
        end(self.runtime.take().unwrap());
        outcome
    }

    /// Asks the admin API; a body that is not JSON comes back as a string.
    pub async fn ask(&self, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
        let stream = UnixStream::connect(&self.admin).await.unwrap();
        let (status, body) = exchange(stream, method, path, body).await;
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, "").await;
        assert_eq!(status, StatusCode::OK, "GET {path}: {body}");
        body
    }

    pub async fn put(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.ask(Method::PUT, path, &body.to_string()).await
    }

    /// A page of the observability listener.
    pub async fn page(&self, path: &str) -> (StatusCode, String) {
        exchange(TcpStream::connect(self.metrics).await.unwrap(), Method::GET, path, "").await
    }

    /// Waits until a sample of the metrics page has this value.
    pub async fn metric(&self, sample: &str, value: f64) {
        eventually(&format!("{sample} to be {value}"), async || {
            let (_, page) = self.page("/metrics").await;
            let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
            (line?.parse::<f64>().unwrap() == value).then_some(())
        })
        .await;
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            end(runtime);
        }
    }
}

/// A runtime may not be ended from within another, so a thread does it. Returns when its tasks are gone, so
/// that what they held (the store's lock) is free.
fn end(runtime: Runtime) {
    let (done, ended) = channel();
    std::thread::spawn(move || {
        runtime.shutdown_timeout(DEADLINE);
        done.send(()).unwrap();
    });
    ended.recv_timeout(DEADLINE + Duration::from_secs(5)).unwrap();
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    method: Method,
    path: &str,
    body: &str,
) -> (StatusCode, String) {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let body = Full::new(Bytes::from(body.to_owned()));
    let request = Request::builder().method(method).uri(path).header("host", "weir").body(body).unwrap();
    let answer = within("an HTTP answer", sender.send_request(request)).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Waits for something, but not for ever.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Looks again and again until there is something.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// The wall clock, as nodes state it.
pub fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

pub fn subscriber(device: &str, device_type: &str, policies: &[u32]) -> api::Subscriber {
    let value = json!({"device": device, "device_type": device_type, "policies": policies});
    serde_json::from_value(value).unwrap()
}

/// Policy 1: above 3 a minute, throttle to 5 a minute.
pub fn throttling_policy() -> api::Policy {
    let value = json!({
        "id": 1,
        "access_limit": {"limit": 3, "window": "1m"},
        "action": {"throttle": {"limit": 5, "window": "1m"}}
    });
    serde_json::from_value(value).unwrap()
}

/// Policy 2: no ESP.
pub fn esp_policy(action: &str) -> api::Policy {
    let value = json!({"id": 2, "forbidden_protocols": ["esp"], "action": action});
    serde_json::from_value(value).unwrap()
}
