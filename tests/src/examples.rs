//! The worked examples R-D17 and R-D18, told with real packets: what a test asserts and the demo prints.
//!
//! Each step is sent, observed and told; then the observation is held against what must be. What is told
//! is the observation, never the expectation. Read first: requirements R-D17, R-D18, and the state trace in
//! ARCHITECTURE.md.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_dataplane_common::reason::Reason;

use crate::{
    addresses::{APPLICATION_SERVER, INTERNET_HOST, device},
    deployment::{Settings, throttle},
    forecast::{Fate, Forecast, Numbers},
    gate_view::EntryView,
    packet::Packet,
    process::Process,
    stage::{Observed, PATIENCE, Stage, Way, until},
    world::{A, B, World},
};

/// Who listens to a story: the demo prints, a test's output is captured.
pub type Listener<'l> = &'l mut dyn FnMut(&str);

/// The device of the stories.
const DEVICE: u16 = 1;
/// The example's window, shortened from a minute: five gaps and a decision fit many times over.
pub const WINDOW: Duration = Duration::from_secs(4);

/// R-D17: an alarm above three accesses, a throttle to five, and who decides.
pub fn worked_example_one(world: &World, tell: Listener<'_>) -> Result<()> {
    let numbers = Numbers { alarm: 3, rule: 3, throttle: 5 };
    let mut stage = Stage::open(world, &settings(numbers, WINDOW))?;
    let forecast = burst(&mut stage, numbers, 7, tell)?;
    ensure!(forecast.admitted() == 5, "five were to be admitted, {} were", forecast.admitted());
    tell("the other node, which has seen no packet of this device:");
    let entry = stage.wait_for_entry(B, DEVICE, "the second node follows", |entry| {
        entry.profile != 0 && entry.throttled && entry.rejecting
    })?;
    tell(&format!("    node-2 entry   {entry}"));
    let packet = Packet::udp(device(DEVICE), INTERNET_HOST);
    let elsewhere = stage.send(B, Way::Up, DEVICE, packet)?;
    tell_packet(tell, "access at node-2", &elsewhere);
    ensure!(elsewhere.reason == Reason::StatusReject, "node-2 was to reject by status");
    recovers(&mut stage, tell)
}

/// The same with numbers drawn at random, beside the model that says what must come.
pub fn drawn_example(world: &World, numbers: Numbers, window: Duration, tell: Listener<'_>) -> Result<()> {
    let mut stage = Stage::open(world, &settings(numbers, window))?;
    let accesses = numbers.alarm.max(numbers.rule).max(numbers.throttle) + 2;
    burst(&mut stage, numbers, accesses, tell)?;
    recovers(&mut stage, tell)
}

/// R-D18, the packet half: a trigger that carries ESP, under policies that take no action or reject.
pub fn worked_example_two(world: &World, esp_is_rejected: bool, tell: Listener<'_>) -> Result<()> {
    let action = if esp_is_rejected { "\"reject\"" } else { "\"none\"" };
    let settings =
        Settings::new(3, WINDOW).access_policy(1, 3, WINDOW, "\"none\"").protocol_policy(2, "esp", action);
    let mut stage = Stage::open(world, &settings)?;
    let first = stage.send(A, Way::Down, DEVICE, trigger(1))?;
    tell_packet(tell, "trigger 1, ESP", &first);
    ensure!(first.reason == Reason::Held, "the first trigger was to be held");
    tell_decision(&stage, tell)?;
    if esp_is_rejected {
        let entry = stage.wait_for_entry(A, DEVICE, "the alarm stands", |entry| entry.profile != 0)?;
        tell(&format!("    node-1 entry   {entry}"));
        ensure!(
            entry.alarm && !entry.held && !entry.redeem,
            "the alarm was to stand, nothing to be redeemed"
        );
        let second = stage.send(A, Way::Down, DEVICE, trigger(2))?;
        tell_packet(tell, "trigger 2, ESP", &second);
        ensure!(second.reason == Reason::AlarmActive, "no trigger was to pass while the alarm is active");
        return nothing_stray(&mut stage, Way::Down);
    }
    delivered(&mut stage, Way::Down, &first, tell)?;
    stage.wait_until_idle(A, DEVICE)?;
    let asked = stage.weir.decisions(DEVICE)?.len();
    let second = stage.send(A, Way::Down, DEVICE, trigger(2))?;
    tell_packet(tell, "trigger 2, ESP", &second);
    ensure!(second.reason == Reason::Admitted, "the second trigger was to be admitted");
    ensure!(!second.entry.alarm && stage.weir.decisions(DEVICE)?.len() == asked, "nobody was to be asked");
    nothing_stray(&mut stage, Way::Down)
}

fn trigger(sequence: u32) -> Packet {
    Packet::esp(APPLICATION_SERVER, device(DEVICE), 0x1234_5678, sequence)
}

/// What is configured for R-D17 with these numbers.
pub fn settings(numbers: Numbers, window: Duration) -> Settings {
    Settings::new(numbers.alarm, window)
        .access_policy(1, numbers.rule, window, &throttle(numbers.throttle, window))
        .protocol_policy(2, "esp", "\"reject\"")
}

/// One access after another, each after the session of the last delivered one has ended.
fn burst(stage: &mut Stage<'_>, numbers: Numbers, accesses: u32, tell: Listener<'_>) -> Result<Forecast> {
    let mut forecast = Forecast::new(numbers);
    let mut dropped = None;
    for access in 1..=accesses {
        stage.wait_until_idle(A, DEVICE)?;
        let observed = stage.send(A, Way::Up, DEVICE, Packet::udp(device(DEVICE), INTERNET_HOST))?;
        tell_packet(tell, &format!("access {access}"), &observed);
        let fate = forecast.next_access();
        let throttled = forecast.is_throttled();
        hold_against(stage, fate, throttled, &observed, tell)
            .with_context(|| format!("access {access} of {numbers:?}, which was to be {fate:?}"))?;
        ensure!(
            stage.entry(A, DEVICE)?.admitted == forecast.admitted(),
            "access {access}: {} were to be admitted by now",
            forecast.admitted()
        );
        // A repeat within the retry interval would be the same request.
        if observed.reason != Reason::Admitted && dropped.replace(observed.reason) == Some(observed.reason) {
            break;
        }
    }
    nothing_stray(stage, Way::Up)?;
    Ok(forecast)
}

fn hold_against(
    stage: &mut Stage<'_>,
    fate: Fate,
    throttled: bool,
    observed: &Observed,
    tell: Listener<'_>,
) -> Result<()> {
    let expected = match fate {
        Fate::Admitted => Reason::Admitted,
        Fate::HeldThenDelivered | Fate::HeldThenRejected => Reason::Held,
        Fate::Throttled => Reason::Throttled,
        Fate::AlarmActive => Reason::AlarmActive,
    };
    ensure!(observed.reason == expected, "the kernel counted it as {}", observed.reason.name());
    match fate {
        Fate::HeldThenDelivered => {
            ensure!(observed.entry.profile == 0 || !observed.entry.alarm, "it was judged by a cached policy");
            tell_decision(stage, tell)?;
            delivered(stage, Way::Up, observed, tell)?;
            let entry = stage.entry(A, DEVICE)?;
            ensure!(entry.throttled == throttled, "throttled was to be {throttled}: {entry}");
            ensure!(entry.requests == entry.admitted, "the held access is one request: {entry}");
        }
        Fate::HeldThenRejected => {
            tell_decision(stage, tell)?;
            let entry =
                stage.wait_for_entry(A, DEVICE, "the rejection arrives", |entry| entry.profile != 0)?;
            tell(&format!("    node-1 entry   {entry}"));
            ensure!(entry.alarm && !entry.redeem, "the alarm was to stand: {entry}");
        }
        Fate::Throttled => {
            ensure!(observed.entry.throttled && !observed.entry.alarm, "nobody was to be asked");
        }
        Fate::Admitted | Fate::AlarmActive => {}
    }
    Ok(())
}

/// The held packet arrives at the far end, once, and is redeemed in the kernel.
fn delivered(stage: &mut Stage<'_>, way: Way, held: &Observed, tell: Listener<'_>) -> Result<()> {
    let far_end = match way {
        Way::Up => &mut stage.internet[A],
        Way::Down => &mut stage.devices[A],
    };
    far_end.expect(held.marker, PATIENCE).context("the held packet was not delivered")?;
    let entry = stage.wait_for_entry(A, DEVICE, "the held access is redeemed", |entry| {
        entry.profile != 0 && !entry.alarm && !entry.redeem
    })?;
    ensure!(stage.view(A).tally()?.of(Reason::Redeemed) == 1, "the kernel was to redeem it once");
    tell(&format!("    the held packet {} arrived at the far end", held.marker));
    tell(&format!("    node-1 entry   {entry}"));
    Ok(())
}

/// When the window has passed, the device is admitted again: nobody is locked out for ever.
fn recovers(stage: &mut Stage<'_>, tell: Listener<'_>) -> Result<()> {
    let ready = |entry: &EntryView| !entry.alarm && !entry.rejecting;
    stage.wait_for_entry(A, DEVICE, "no alarm stands any more", ready)?;
    let admitted = until("the window has room again", || {
        let packet = Packet::udp(device(DEVICE), INTERNET_HOST);
        let observed = stage.send(A, Way::Up, DEVICE, packet)?;
        Ok((observed.reason == Reason::Admitted).then_some(observed))
    })?;
    tell_packet(tell, "after the window", &admitted);
    nothing_stray(stage, Way::Up)
}

/// Nothing but what was expected arrived.
fn nothing_stray(stage: &mut Stage<'_>, way: Way) -> Result<()> {
    let far_end = match way {
        Way::Up => &mut stage.internet[A],
        Way::Down => &mut stage.devices[A],
    };
    let stray = far_end.arrived()?;
    ensure!(stray.is_empty(), "packets arrived that were dropped or were delivered before: {stray:?}");
    Ok(())
}

fn tell_packet(tell: Listener<'_>, name: &str, observed: &Observed) {
    let (reason, verdict) = (observed.reason, observed.reason.verdict().name());
    tell(&format!("{name:<18} {verdict}: {:<16} {}", reason.name(), observed.entry));
}

/// What control wrote down about it: who decided, and why.
fn tell_decision(stage: &Stage<'_>, tell: Listener<'_>) -> Result<()> {
    let decisions = until("control decides", || {
        let decisions = stage.weir.decisions(DEVICE)?;
        Ok((!decisions.is_empty()).then_some(decisions))
    })?;
    let newest = &decisions[0];
    let log = stage.weir.control.as_ref().map(Process::log).unwrap_or_default();
    for peer in ["HSS answered", "PCRF answered"] {
        let line = log.lines().rev().find_map(|line| Some(&line[line.find(peer)?..]));
        let line = line.with_context(|| format!("control's log says nothing of \"{peer}\""))?;
        tell(&format!("    control's log  {line}"));
    }
    tell(&format!("    decision       {}", text(&newest["explanation"])));
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
