//! What policies can say beside small limits, end to end: limits above fourteen over two nodes, rates, requests,
//! shadow. The real binary, real packets, the kernel's own counters.
//!
//! Every test has a world of its own and needs root and the BPF program, so all are ignored under a plain
//! `cargo test`; `cargo xtask test` runs them.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weir_dataplane_common::reason::{Reason, Verdict};
use weir_tests::{
    addresses::{INTERNET_HOST, device},
    deployment::Settings,
    packet::Packet,
    stage::{Stage, Way},
    story::tell,
    world::{A, B, Plan},
};

/// The device that the stories are about.
const DEVICE: u16 = 1;
/// A window that does not pass while a story is told.
const LONG: Duration = Duration::from_secs(60);

fn uplink() -> Packet {
    Packet::udp(device(DEVICE), INTERNET_HOST)
}

/// A meter with this one policy; its first access raises an alarm.
fn with_policy(policy: &str) -> Settings {
    let mut settings = Settings::new(0, LONG);
    let _ = writeln!(settings.policies, "[[policy]]\nid = 1\n{policy}\n");
    settings.devices = vec![(Some("meter"), vec![1])];
    settings
}

/// The policy is cached on both nodes, and the one access that this took is admitted on the first.
fn cached_on_both_nodes(stage: &mut Stage<'_>) -> Result<()> {
    let held = stage.access(A, DEVICE, uplink(), Reason::Held)?;
    stage.held_access_gets_through(A, DEVICE, &held, uplink())?;
    stage.wait_for_entry(B, DEVICE, "the second node caches the policy", |entry| entry.profile != 0)?;
    Ok(())
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn twenty_accesses_over_two_nodes_are_all_there_is_under_a_limit_of_twenty() {
    tell("a limit of twenty", &Plan::new("twenty"), |world| {
        let policy = "access_limit = { limit = 20, window = \"60s\" }\naction = \"reject\"";
        let mut stage = Stage::open(world, &with_policy(policy))?;
        cached_on_both_nodes(&mut stage)?;
        for node in [[B; 10].as_slice(), &[A; 9]].concat() {
            stage.access(node, DEVICE, uplink(), Reason::Admitted)?;
        }
        for node in [A, B] {
            stage
                .wait_for_entry(node, DEVICE, "the node is told that all is used", |entry| entry.rejecting)?;
            stage.access(node, DEVICE, uplink(), Reason::StatusReject)?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_node_keeps_a_limit_of_twenty_by_itself() {
    tell("a node's limit of twenty", &Plan::new("own20"), |world| {
        let policy = "scope = \"node\"\naccess_limit = { limit = 20, window = \"60s\" }\naction = \"reject\"";
        let mut stage = Stage::open(world, &with_policy(policy))?;
        cached_on_both_nodes(&mut stage)?;
        for _ in 0..20 {
            stage.access(B, DEVICE, uplink(), Reason::Admitted)?;
        }
        stage.access(B, DEVICE, uplink(), Reason::LimitExceeded)?;
        stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn ten_packets_a_second_are_what_passes_of_a_flood() {
    tell("ten packets a second", &Plan::new("rate"), |world| {
        let policy = "rate = { packets_per_second = 10 }\naction = \"reject\"";
        let mut stage = Stage::open(world, &with_policy(policy))?;
        cached_on_both_nodes(&mut stage)?;
        let (begin, mut passed, mut dropped) = (Instant::now(), 0_u32, 0_u32);
        while begin.elapsed() < Duration::from_secs(2) {
            match stage.send(B, Way::Up, DEVICE, uplink())?.reason {
                Reason::RateExceeded => dropped += 1,
                reason if reason.verdict() == Verdict::Pass => passed += 1,
                other => anyhow::bail!("a rate was to drop it, not {}", other.name()),
            }
        }
        // The burst is a tenth of a second: one packet more.
        let most = begin.elapsed().as_secs_f64() * 10.0 + 3.0;
        ensure!(
            dropped > 0 && (18.0..=most).contains(&f64::from(passed)),
            "{passed} passed, {dropped} dropped"
        );
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_policy_in_shadow_stops_nothing_and_the_decision_says_what_it_would_have_done() {
    tell("shadow", &Plan::new("shadow"), |world| {
        let policy = "shadow = true\naccess_limit = { limit = 0, window = \"60s\" }\naction = \"reject\"";
        let mut stage = Stage::open(world, &with_policy(policy))?;
        cached_on_both_nodes(&mut stage)?;
        for node in [A, B, A] {
            stage.access(node, DEVICE, uplink(), Reason::Admitted)?;
        }
        let decisions = stage.weir.decisions(DEVICE)?;
        let said = |decision: &serde_json::Value| {
            decision["explanation"]
                .as_str()
                .is_some_and(|text| text.contains("In shadow: policy 1 permits no access"))
        };
        ensure!(decisions.iter().any(said), "{decisions:#?}");
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn refused_attempts_use_up_a_limit_that_counts_requests() {
    tell("a limit of requests", &Plan::new("requests"), |world| {
        let policy = "scope = \"node\"\ncounts = \"requests\"\naccess_limit = { limit = 3, window = \"5s\" }\n\
                      action = \"reject\"";
        let mut stage = Stage::open(world, &with_policy(policy))?;
        cached_on_both_nodes(&mut stage)?;
        for _ in 0..3 {
            stage.access(B, DEVICE, uplink(), Reason::Admitted)?;
        }
        // For longer than the window the device asks again before it has room; each time that is a request.
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(6) {
            stage.access(B, DEVICE, uplink(), Reason::LimitExceeded)?;
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    });
}
