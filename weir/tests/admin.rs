//! The commands that ask control, as a person meets them, against a real control server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use weir_server::{Config, Server};

const DEVICE: &str = "001010000000001";

/// A control server in a directory of its own. Its parts end with the runtime.
struct Control {
    directory: TempDir,
    socket: PathBuf,
    _runtime: Runtime,
}

fn control() -> Control {
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
        subscribers: Vec::new(),
        policies: Vec::new(),
    };
    let socket = config.admin_socket.clone();
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::bind(config)).unwrap();
    runtime.spawn(server.run(CancellationToken::new()));
    Control { directory, socket, _runtime: runtime }
}

/// Exit code, standard output, standard error.
fn weir(socket: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let socket = ["--socket", socket.to_str().unwrap()];
    let command = Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments).args(socket).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (command.status.code(), text(command.stdout), text(command.stderr))
}

impl Control {
    fn done(&self, arguments: &[&str]) -> String {
        let (code, out, err) = weir(&self.socket, arguments);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}: {out}");
        out
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[arguments, &["--json"]].concat())).unwrap()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let (code, out, err) = weir(&self.socket, arguments);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments:?}");
        err
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[test]
fn policies_and_subscribers_are_set_shown_and_deleted() {
    let control = control();
    let toml = "id = 1\naccess_limit = { limit = 3, window = \"1m\" }\n\
                action = { throttle = { limit = 5, window = \"1m\" } }\n";
    let kept = control.done(&["policy", "set", &control.file("throttle.toml", toml)]);
    assert!(kept.contains("more than 3 in 1m  throttle to 5 in 1m"), "{kept}");
    let json = json!({"id": 2, "scope": "network", "forbidden_protocols": ["esp"], "action": "reject"});
    let path = control.file("esp.json", &json.to_string());
    assert_eq!(control.json(&["policy", "set", &path]), json);
    assert_eq!(control.done(&["policy", "list"]).lines().count(), 3);
    assert_eq!(control.json(&["policy", "show", "2"]), json);

    let kept = control.done(&["subscriber", "set", DEVICE, "--type", "meter", "--policies", "1,2"]);
    assert_eq!(kept, format!("DEVICE           TYPE   POLICIES\n{DEVICE}  meter  1,2\n"));
    let subscriber = json!({"device": DEVICE, "device_type": "meter", "policies": [1, 2]});
    assert_eq!(control.json(&["subscriber", "list"]), json!([subscriber]));
    let shown = control.done(&["device", "show", DEVICE]);
    assert!(shown.contains("subscribed as meter"), "{shown}");
    assert_eq!(control.json(&["device", "list"]), json!([]));

    let refused = control.refused(&["policy", "delete", "2"]);
    assert!(refused.contains("1 subscriber(s)"), "{refused}");
    assert_eq!(control.done(&["policy", "delete", "2", "--detach"]), "policy 2 deleted\n");
    assert_eq!(control.json(&["subscriber", "show", DEVICE])["policies"], json!([1]));
    control.done(&["subscriber", "delete", DEVICE]);
    assert!(control.refused(&["subscriber", "show", DEVICE]).contains("no such subscriber"));
}

#[test]
fn what_control_refuses_is_said_in_its_words() {
    let control = control();
    let toml = "id = 1\naccess_limit = { limit = 1024, window = \"1m\" }\naction = \"reject\"\n";
    let refused = control.refused(&["policy", "set", &control.file("too-much.toml", toml)]);
    assert!(refused.contains("access_limit.limit") && refused.contains("at most 1023"), "{refused}");
    let refused = control.refused(&["policy", "set", &control.file("no.json", "{\"id\": 1, \"limt\": 2}")]);
    assert!(refused.contains("no.json") && refused.contains("limt"), "{refused}");
    let refused = control.refused(&["subscriber", "set", DEVICE, "--type", "meter", "--policies", "7"]);
    assert!(refused.contains("there is no policy 7"), "{refused}");
    assert!(control.refused(&["alarm", "cancel", DEVICE]).contains("never heard"));
    assert!(control.refused(&["node", "show", "pgw-1"]).contains("no node named \"pgw-1\""));
}

#[test]
fn nothing_is_a_table_with_a_heading_only() {
    let control = control();
    assert_eq!(control.done(&["alarm", "list"]).lines().count(), 1);
    assert!(control.done(&["node", "list"]).starts_with("NODE  CONNECTED"));
    assert_eq!(control.done(&["audit", "list", "--node", "pgw-1"]).lines().count(), 1);
}

#[test]
fn where_nobody_listens_the_error_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (code, _, err) = weir(&directory.path().join("admin.sock"), &["device", "list"]);
    assert_eq!(code, Some(1));
    assert!(err.starts_with("control is not running, or "), "{err}");
    let (code, _, err) = weir(&directory.path().join("node.sock"), &["node", "status"]);
    assert_eq!(code, Some(1));
    assert!(err.starts_with("the node is not running, or ") && err.contains("node.local_socket"), "{err}");
}
