//! Break-glass: an operator's hand on the node, past control, and the trace it leaves (R-X8).
//!
//! The desk that answers the local socket, over a kernel in memory; once with the real socket before it. An agent
//! that dies is one whose desk is dropped: maps and queue stay, as they do where they are pinned.

use std::{fs, path::PathBuf, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::oneshot,
};
use weir_agent::{
    audit::{Line, Queue, What, Who},
    local::{Desk, LocalRequest, LocalSocket, Refusal, Surroundings, api, requests},
};
use weir_dataplane_common::{
    abi::{Control, EXEMPT},
    reason::Reason,
};
use weir_proto::v1::{self, from_node::Message as Up};

use crate::{
    control::{Amended, entry},
    world::{DEVICES, MINUTE, SECOND, World},
};

/// A node with a desk, and the directory of its queue.
struct Office {
    world: World,
    desk: Desk,
    directory: TempDir,
}

impl Office {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut world = World::new();
        let desk = desk(&mut world, &directory);
        Self { world, desk, directory }
    }

    fn file(&self) -> PathBuf {
        file(&self.directory)
    }

    /// The agent is killed and another one takes over maps and queue.
    fn next_agent(&mut self) {
        self.desk = desk(&mut self.world, &self.directory);
    }

    fn ask<T>(
        &mut self,
        request: impl FnOnce(oneshot::Sender<T>) -> LocalRequest,
    ) -> (T, Vec<v1::AuditLine>) {
        let (answer, mut answered) = oneshot::channel();
        let now = self.world.now();
        let said = self.desk.serve(request(answer), &mut self.world.core, Surroundings::default(), now);
        (answered.try_recv().expect("every request is answered at once"), lines(said))
    }

    fn suspend(&mut self, device: Option<usize>, millis: u64) -> Result<api::Done, Refusal> {
        let (device, length) =
            (device.map(|device| DEVICES[device].to_owned()), Duration::from_millis(millis));
        let (reason, who) = ("meter recall".to_owned(), Some(root()));
        let (done, said) = self.ask(|answer| LocalRequest::Suspend { device, length, reason, who, answer });
        assert_eq!(said.len(), usize::from(done.is_ok()), "an act is said at once, a refusal is not");
        done
    }

    fn resume(&mut self, device: Option<usize>) -> Result<api::Done, Refusal> {
        let device = device.map(|device| DEVICES[device].to_owned());
        self.ask(|answer| LocalRequest::Resume { device, who: Some(root()), answer }).0
    }

    fn status(&mut self) -> api::Status {
        self.ask(LocalRequest::Status).0
    }

    fn waiting(&mut self) -> Vec<Line> {
        self.ask(LocalRequest::Audit).0
    }

    fn deeds(&mut self) -> Vec<What> {
        self.waiting().iter().map(|line| line.what).collect()
    }

    /// So much time passes, and the agent looks around once a second.
    fn seconds(&mut self, count: u64) -> Vec<v1::AuditLine> {
        let second = |_| {
            self.world.wait(SECOND);
            let now = self.world.now();
            lines(self.desk.time_passes(&mut self.world.core, now))
        };
        (0..count).flat_map(second).collect()
    }
}

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("pgw-1.audit")
}

fn desk(world: &mut World, directory: &TempDir) -> Desk {
    let now = world.now();
    Desk::open(Queue::open(&file(directory)), &mut world.core, now)
}

fn root() -> Who {
    Who { uid: 0, name: Some("root".to_owned()), pid: 7 }
}

fn lines(said: Vec<Up>) -> Vec<v1::AuditLine> {
    let lines = said.into_iter().flat_map(|message| match message {
        Up::Audit(lines) => lines.lines,
        other => panic!("{other:?} is no audit"),
    });
    lines.collect()
}

fn is_marked_exempt(world: &mut World, device: usize) -> bool {
    Control(world.entry(device).control.load()).has(EXEMPT)
}

#[test]
fn a_rejected_device_passes_while_it_is_exempt_and_no_other_does() {
    let mut office = Office::new();
    for device in [0, 1] {
        let reject = entry(device, 1, vec![]).rejected_until(-1);
        office.world.apply(reject);
    }
    assert_eq!(office.world.uplink(0), Reason::StatusReject);
    let done = office.suspend(Some(0), MINUTE).expect("the device is bound");
    assert!(done.on_disk);
    assert_eq!(done.until_ms, office.world.unix_ms() + MINUTE as i64);
    assert_eq!((office.world.uplink(0), office.world.unsolicited(0)), (Reason::Exempt, Reason::Exempt));
    assert_eq!(office.world.uplink(1), Reason::StatusReject);

    office.resume(Some(0)).expect("it is exempt");
    office.world.wait(2 * SECOND);
    assert_eq!(office.world.uplink(0), Reason::StatusReject);
    assert_eq!(office.deeds(), [What::ExemptionBegun, What::ExemptionEnded]);
}

#[test]
fn under_a_bypass_everything_passes_until_it_is_ended() {
    let mut office = Office::new();
    office.world.apply(entry(0, 1, vec![]).rejected_until(-1));
    office.suspend(None, MINUTE).expect("it can be bypassed");
    assert_eq!((office.world.uplink(0), office.world.unsolicited(2)), (Reason::Bypassed, Reason::Bypassed));
    let status = office.status();
    assert_eq!(status.bypass.expect("it shows").reason, "meter recall");
    office.resume(None).expect("it is bypassed");
    assert_eq!(office.world.uplink(0), Reason::StatusReject);
    assert_eq!(office.resume(None), Err(Refusal::Absent("the node is not bypassed".to_owned())));
}

#[test]
fn a_suspension_lapses_in_the_kernel_though_no_agent_lives() {
    let mut office = Office::new();
    office.world.apply(entry(0, 1, vec![]).rejected_until(-1));
    office.suspend(Some(0), MINUTE).expect("the device is bound");
    office.suspend(None, MINUTE / 2).expect("it can be bypassed");
    office.world.wait(MINUTE / 2 - SECOND);
    assert_eq!(office.world.uplink(0), Reason::Bypassed);
    office.world.wait(2 * SECOND);
    assert_eq!(office.world.uplink(0), Reason::Exempt);
    office.world.wait(MINUTE / 2);
    assert_eq!(office.world.uplink(0), Reason::StatusReject);
    assert!(is_marked_exempt(&mut office.world, 0), "nobody has tidied");
}

#[test]
fn what_is_over_is_tidied_and_written_down_within_a_second() {
    let mut office = Office::new();
    office.suspend(Some(0), 3 * SECOND).expect("the device is bound");
    assert!(office.seconds(2).is_empty());
    let said = office.seconds(2);
    assert_eq!(said.len(), 1);
    assert_eq!((said[0].what.as_str(), said[0].who.is_none()), ("exemption-ended", true));
    assert_eq!(said[0].device, DEVICES[0]);
    assert!(!is_marked_exempt(&mut office.world, 0));
    assert!(office.status().exemptions.is_empty());
}

#[test]
fn the_next_agent_takes_over_what_is_in_force_with_its_reason_and_prolongs_nothing() {
    let mut office = Office::new();
    let exempt = office.suspend(Some(2), MINUTE).expect("the device is bound");
    let bypass = office.suspend(None, MINUTE).expect("it can be bypassed");
    // Control has the beginnings: they are kept all the same.
    office.desk.received(bypass.audit_line);
    office.world.wait(MINUTE / 2);
    office.next_agent();
    let status = office.status();
    let [exemption] = &status.exemptions[..] else { panic!("{status:?}") };
    assert_eq!(
        (exemption.device.as_str(), exemption.suspended.reason.as_str()),
        (DEVICES[2], "meter recall")
    );
    assert_eq!(exemption.suspended.who, Some(root()));
    assert!((exemption.suspended.until_ms - exempt.until_ms).abs() <= 2, "ticks are a millisecond");
    assert!(office.waiting().iter().all(|line| line.what.begins()), "nothing has ended");

    assert_eq!(office.seconds(31).len(), 2, "both end when they were to");
    assert_eq!(office.world.uplink(2), Reason::Admitted);
}

#[test]
fn what_lapsed_while_no_agent_lived_is_written_down_by_the_next() {
    let mut office = Office::new();
    office.suspend(Some(2), MINUTE).expect("the device is bound");
    office.suspend(None, MINUTE).expect("it can be bypassed");
    office.world.wait(2 * MINUTE);
    office.next_agent();
    assert!(!is_marked_exempt(&mut office.world, 2));
    use What::{BypassBegun, BypassEnded, ExemptionBegun, ExemptionEnded};
    assert_eq!(office.deeds(), [ExemptionBegun, BypassBegun, ExemptionEnded, BypassEnded]);
    office.next_agent();
    assert_eq!(office.deeds().len(), 4, "once");
}

#[test]
fn a_new_stream_is_told_every_line_that_control_does_not_have() {
    let mut office = Office::new();
    let first = office.suspend(None, MINUTE).expect("it can be bypassed").audit_line;
    let second = office.resume(None).expect("it is bypassed").audit_line;
    let told = |office: &Office| -> Vec<u64> {
        lines(office.desk.greet()).iter().map(|line| line.sequence).collect()
    };
    assert_eq!(told(&office), [first, second]);
    office.desk.received(first);
    assert_eq!(told(&office), [second]);
    office.next_agent();
    // What was acknowledged and what not is not kept: control knows a line that it is told again.
    assert_eq!(told(&office).last(), Some(&second));
    office.desk.received(second);
    assert_eq!(fs::read_to_string(office.file()).expect("the queue"), "");
}

#[test]
fn what_is_refused_changes_nothing_and_leaves_no_line() {
    let mut office = Office::new();
    let too_long = office.suspend(None, 25 * 60 * MINUTE).expect_err("more than a day");
    assert!(matches!(too_long, Refusal::Invalid(words) if words.contains("within a day")));
    let (length, who) = (Duration::from_secs(60), Some(root()));
    for (device, reason) in [(None, " "), (Some("001010000000099"), "recall")] {
        let (device, reason, who) = (device.map(str::to_owned), reason.to_owned(), who.clone());
        let request = |answer| LocalRequest::Suspend { device, length, reason, who, answer };
        let (refused, said) = office.ask::<Result<api::Done, Refusal>>(request);
        assert!(refused.is_err() && said.is_empty());
    }
    assert!(office.resume(Some(1)).is_err());
    assert_eq!(office.world.uplink(0), Reason::Admitted);
    assert!(office.waiting().is_empty());
}

#[test]
fn a_full_disk_keeps_no_operator_from_acting_and_is_said() {
    let mut office = Office::new();
    fs::remove_dir_all(office.directory.path()).expect("the disk goes");
    fs::write(office.directory.path(), "").expect("and nothing can be made there");
    office.next_agent();
    let done = office.suspend(Some(0), MINUTE).expect("it must work");
    assert!(!done.on_disk && !office.status().audit_on_disk);
    assert_eq!(office.world.uplink(0), Reason::Exempt);
    fs::remove_file(office.directory.path()).expect("the disk comes back");
    office.seconds(1);
    assert!(office.status().audit_on_disk);
    office.next_agent();
    assert_eq!(office.deeds(), [What::ExemptionBegun]);
}

#[test]
fn an_update_of_control_leaves_an_exemption_as_it_is() {
    let mut office = Office::new();
    office.suspend(Some(0), MINUTE).expect("the device is bound");
    office.world.apply(entry(0, 1, vec![]).rejected_until(-1));
    assert_eq!(office.world.uplink(0), Reason::Exempt);
    office.resume(Some(0)).expect("it is exempt");
    assert_eq!(office.world.uplink(0), Reason::StatusReject);
}

/// One request on the socket: the status line's number and the body.
async fn exchange(
    socket: &std::path::Path,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, serde_json::Value) {
    let mut stream = UnixStream::connect(socket).await.expect("the node listens");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("the node takes it");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the node answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|number| number.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or(serde_json::Value::Null))
}

#[tokio::test]
async fn the_socket_knows_who_calls_and_says_why_not() {
    let mut office = Office::new();
    let path = office.directory.path().join("run/node.sock");
    let socket = LocalSocket::bind(&path).await.expect("a socket");
    let (requests_in, mut requests) = requests();
    let served = tokio::spawn(socket.serve(requests_in));
    let operator = tokio::spawn(async move {
        let exemption = format!("/v1/devices/{}/exemption", DEVICES[0]);
        let sound = r#"{"for_seconds": 60, "reason": "recall"}"#;
        let mut answers = Vec::new();
        for (method, at, body) in [
            ("PUT", exemption.as_str(), sound),
            ("GET", "/v1/status", ""),
            ("GET", "/v1/audit", ""),
            ("PUT", "/v1/devices/001010000000099/exemption", sound),
            ("PUT", "/v1/bypass", r#"{"for_seconds": 60}"#),
            ("PUT", "/v1/bypass", r#"{"for_seconds": 86401, "reason": "recall"}"#),
            ("DELETE", "/v1/bypass", ""),
            ("POST", "/v1/bypass", ""),
            ("DELETE", exemption.as_str(), ""),
        ] {
            answers.push(exchange(&path, method, at, body).await);
        }
        answers
    });
    while !operator.is_finished() {
        tokio::select! {
            Some(request) = requests.recv() => {
                let now = office.world.now();
                office.desk.serve(request, &mut office.world.core, Surroundings::default(), now);
            }
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    let answers = operator.await.expect("the operator is done");
    served.abort();
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 200, 404, 422, 422, 404, 405, 200]);
    assert_eq!(answers[1].1["exemptions"][0]["device"], DEVICES[0]);
    let line = &answers[2].1[0];
    assert_eq!(line["what"], "exemption-begun");
    assert_eq!(line["who"]["pid"], std::process::id());
    assert!(answers[4].1["detail"].as_str().is_some_and(|detail| detail.contains("reason")));
}
