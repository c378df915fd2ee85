//! Nobody answers an alarm in time: `on_outage` decides instead, and a late answer still counts, once.

use std::time::Duration;

use anyhow::{Result, ensure};
use weir_dataplane_common::reason::Reason;
use weir_tests::{
    deployment::Settings,
    stage::{Observed, Stage, until},
    story::tell,
    world::{A, Plan, World},
};

use super::story::{DEVICE, decided_alarms, metrics, the_decision, throttled_to_five, uplink};

fn settings(on_outage: &'static str) -> Settings {
    Settings { alarm_timeout: Duration::from_millis(100), on_outage, ..throttled_to_five(3) }
}

/// Without control three accesses pass, the fourth is held, and the node decides by itself.
fn until_outage_decides(stage: &mut Stage<'_>, world: &World) -> Result<Observed> {
    for _ in 0..3 {
        stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
    }
    let held = stage.access(A, DEVICE, uplink(), Reason::Held)?;
    until("on_outage decides", || {
        let decided = metrics(world, A)?.sum("weir_outage_decisions_total", &[]);
        Ok(((decided - 1.0).abs() < f64::EPSILON).then_some(()))
    })?;
    Ok(held)
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_unanswered_alarm_stands_where_on_outage_denies_and_a_late_answer_ends_it() {
    tell("on_outage = deny", &Plan::new("deny").nodes(1), |world| {
        let mut stage = Stage::open_without_control(world, &settings("deny"))?;
        let held = until_outage_decides(&mut stage, world)?;
        let denied = stage.access(A, DEVICE, uplink(), Reason::AlarmActive)?;
        ensure!(denied.entry.alarm && denied.entry.admitted == 3, "the alarm was to stand: {}", denied.entry);

        stage.weir.start_control()?;
        stage.held_access_gets_through(A, DEVICE, &held, uplink())?;
        ensure!(the_decision(&stage)?["fate"] == "cancelled", "4 are no more than 5");
        let entry = stage.entry(A, DEVICE)?;
        ensure!(entry.admitted == 4 && entry.throttled, "the late answer was to count: {entry}");
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_unanswered_alarm_is_cancelled_where_on_outage_allows_and_a_late_answer_brings_the_policies() {
    tell("on_outage = allow", &Plan::new("allow").nodes(1), |world| {
        let mut stage = Stage::open_without_control(world, &settings("allow"))?;
        let held = until_outage_decides(&mut stage, world)?;
        stage.held_access_gets_through(A, DEVICE, &held, uplink())?;
        // Above the alarm's limit, and nobody is alarmed again. It is the fifth admission of five.
        let free = stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
        ensure!(
            (free.entry.requests, free.entry.admitted) == (5, 5) && !free.entry.throttled,
            "until control answers nothing limits the device: {}",
            free.entry
        );

        stage.weir.start_control()?;
        let decision = the_decision(&stage)?;
        ensure!(decision["fate"] == "cancelled", "5 are no more than 5: {decision:#}");
        let answered = stage.wait_for_entry(A, DEVICE, "the policies arrive", |entry| entry.throttled)?;
        ensure!(!answered.alarm && !answered.redeem, "nothing is left to redeem: {answered}");
        let sixth = stage.send_when_idle(A, DEVICE, uplink())?;
        ensure!(
            matches!(sixth.reason, Reason::Throttled | Reason::StatusReject),
            "the limit was to hold from now on, not {}",
            sixth.reason.name()
        );
        ensure!(decided_alarms(&stage)?.len() == 1, "the late answer counts once");
        Ok(())
    });
}
