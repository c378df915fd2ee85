//! What control writes to its log, kept from all tests of this program (R-X7).

use std::io;
use std::sync::{Mutex, Once};

use weir_proto::v1::{AuditLine, AuditLines, from_node, to_node};

use crate::agent::Agent;
use crate::world::{IMSI1, IMSI2, World};

static KEPT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Keeper;

impl io::Write for Keeper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        KEPT.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps everything that is logged from now on.
pub fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter = "info,weir_server=trace,weir_service_control=trace,weir_store=trace";
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(|| Keeper).init();
    });
}

#[tokio::test]
async fn the_log_explains_decisions_and_names_no_device() {
    let world = World::new();
    let control = world.start();
    let (mut agent, _) = Agent::attach(&control.nodes, "pgw-log", "boot-1").await;
    agent.alarm(&agent.count_alarm(IMSI1, 1)).await;
    let update = agent.update().await;
    agent.answer(&update, &format!("no room for {IMSI1}")).await;
    let exempted = AuditLine { sequence: 1, device: IMSI1.to_owned(), ..AuditLine::default() };
    agent.say(from_node::Message::Audit(AuditLines { lines: vec![exempted] })).await;
    assert!(matches!(agent.hear().await, to_node::Message::AuditReceived(_)));
    agent.alarm(&agent.esp_alarm(IMSI2, 2)).await;
    let refused = agent.update().await;
    control.stop().await.unwrap();

    let log = String::from_utf8(KEPT.lock().unwrap().clone()).unwrap();
    for explanation in [&update.explanation, &refused.explanation] {
        let line = log.lines().find(|line| line.contains("pgw-log/boot-1/") && line.contains(explanation));
        assert!(line.is_some(), "{explanation:?} is not in the log");
    }
    assert!(!log.contains(IMSI1) && !log.contains(IMSI2), "an identifier is in the log");
}
