//! `weir capture` as a person or a script meets it, with a node that only speaks: no rights are needed.
//!
//! What this is: the command line's end of a capture. What it must not do: test a node; `tests/tests/capture.rs` does.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};
use std::thread::{JoinHandle, spawn};

use pcap_file::pcapng::{Block, PcapNgReader};
use weir_agent::capture::{Losses, Message, Packet, Why};

/// A node that answers one question with these bytes; gives the question's first line.
fn node(socket: &Path, answer: Vec<u8>) -> JoinHandle<String> {
    let listener = UnixListener::bind(socket).expect("a socket");
    spawn(move || {
        let (stream, _) = listener.accept().expect("a question");
        let mut lines = BufReader::new(&stream).lines().map(|line| line.expect("text"));
        let first = lines.next().expect("a request");
        // Up to the empty line.
        lines.find(String::is_empty).expect("a whole request");
        (&stream).write_all(&answer).expect("somebody listens");
        first
    })
}

fn answer(status: &str, messages: &[Message]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n").into_bytes();
    messages.iter().for_each(|message| message.encode(&mut bytes));
    bytes
}

fn packet() -> Message {
    let [interface, side, verdict, reason] = ["eth0", "access", "drop", "throttled"].map(str::to_owned);
    let (bytes, entry) = (vec![0x5a; 60], Some(7));
    Message::Packet(Packet {
        at_ns: 1,
        interface,
        entry,
        side,
        verdict,
        reason,
        length: 60,
        captured: 60,
        bytes,
        ..Packet::default()
    })
}

/// Runs `weir capture` in this directory.
fn capture(directory: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.current_dir(directory).args(["capture", "--socket", "node.sock"]).args(words);
    command.env_remove("RUST_LOG").output().expect("weir runs")
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn packets(file: &[u8]) -> usize {
    let mut reader = PcapNgReader::new(file).expect("a pcapng");
    let mut packets = 0;
    while let Some(block) = reader.next_block() {
        packets += usize::from(matches!(block.expect("whole"), Block::EnhancedPacket(_)));
    }
    packets
}

#[test]
fn what_the_node_says_is_written_and_what_it_lost_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let end = Message::End { why: Why::Time, losses: Losses { ring_full: 3, over_rate: 4 } };
    let answer = answer("200 OK", &[packet(), Message::Losses(Losses::default()), packet(), end]);
    let node = node(&directory.path().join("node.sock"), answer);
    let output = capture(directory.path(), &["--for", "5s", "--rate", "50/s", "--passed"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(packets(&output.stdout), 2);
    let expected =
        "2 packets written; 3 lost because they came faster than they were read, 4 left out above 50 a";
    assert!(said(&output).starts_with(expected), "{}", said(&output));
    let question = node.join().expect("the node was asked");
    assert!(question.starts_with("GET /v1/capture?take=passed&"), "{question}");
    assert!(question.contains("&rate=50&for_ms=5000 "), "{question}");
}

#[test]
fn a_capture_that_breaks_off_is_kept_and_is_a_failure() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = node(&directory.path().join("node.sock"), answer("200 OK", &[packet()]));
    let output = capture(directory.path(), &["--write", "kept.pcapng"]);
    node.join().expect("the node was asked");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("1 packets written") && said(&output).contains("broke off"));
    let file = std::fs::read(directory.path().join("kept.pcapng")).expect("a file");
    assert_eq!(packets(&file), 1);
}

#[test]
fn where_there_is_no_node_or_it_refuses_nothing_is_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let absent = capture(directory.path(), &["--write", "nothing.pcapng"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(said(&absent).contains("node.local_socket"), "{}", said(&absent));
    let body = br#"{"title":"in the way","detail":"one at a time"}"#;
    let refusal = [answer("409 Conflict", &[]), body.to_vec()].concat();
    let node = node(&directory.path().join("node.sock"), refusal);
    let refused = capture(directory.path(), &["--write", "nothing.pcapng"]);
    node.join().expect("the node was asked");
    assert!(said(&refused).contains("in the way: one at a time"), "{}", said(&refused));
    assert!(!directory.path().join("nothing.pcapng").exists());
}
