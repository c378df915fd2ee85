//! Sessions under packets that nobody asked for, that are forbidden, or that come by another address.

use std::time::Duration;

use anyhow::ensure;
use weir_dataplane_common::reason::Reason;
use weir_tests::{
    addresses::{INTERNET_HOST, INTERNET_HOST_V6, device, device_v6},
    deployment::Settings,
    packet::Packet,
    stage::{Stage, Way, until},
    story::tell,
    world::{A, Plan},
};

use super::story::{DEVICE, LONG, throttled_to_five, uplink};

/// Longer than any pause between two packets of a story.
const UNHURRIED: Duration = Duration::from_secs(2);

fn unasked() -> Packet {
    Packet::udp(INTERNET_HOST, device(DEVICE))
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn an_unsolicited_packet_is_dropped_counted_apart_and_opens_nothing() {
    tell("unsolicited", &Plan::new("unasked").nodes(1), |world| {
        let mut stage = Stage::open(world, &throttled_to_five(3))?;
        for unsolicited in 1..=5 {
            let observed = stage.send(A, Way::Down, DEVICE, unasked())?;
            let entry = observed.entry;
            ensure!(observed.reason == Reason::UnsolicitedDropped, "not {}", observed.reason.name());
            ensure!(entry.unsolicited == unsolicited, "{} were counted", entry.unsolicited);
            let charged = (entry.requests, entry.admitted, entry.rejected);
            ensure!(charged == (0, 0, 0) && !entry.session && !entry.alarm, "{entry}");
        }
        // More of them than the alarm's limit have not raised it.
        let own = stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
        ensure!((own.entry.requests, own.entry.admitted) == (1, 1), "{}", own.entry);
        let stray = stage.far_end(A, Way::Down).arrived()?;
        ensure!(stray.is_empty(), "dropped packets arrived: {stray:?}");
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn downlink_packets_pass_in_an_open_session_and_do_not_keep_it_open() {
    tell("downlink in session", &Plan::new("downlink").nodes(1), |world| {
        let settings = Settings { inactivity: Duration::from_secs(1), ..throttled_to_five(3) };
        let mut stage = Stage::open(world, &settings)?;
        stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
        let mut passed = 0;
        // If they kept it open there would be no end to this.
        let last = until("the session ends under downlink packets", || {
            let observed = stage.send(A, Way::Down, DEVICE, unasked())?;
            match observed.reason {
                Reason::InSession => passed += 1,
                Reason::UnsolicitedDropped => return Ok(Some(observed)),
                other => anyhow::bail!("not {}", other.name()),
            }
            Ok(None)
        })?;
        ensure!(passed > 0, "the answers to the device's packet were to pass");
        let entry = last.entry;
        ensure!((entry.requests, entry.admitted, entry.unsolicited) == (1, 1, 1), "{entry}");
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_forbidden_protocol_is_dropped_inside_an_open_session_and_the_rest_of_it_passes() {
    tell("ESP in session", &Plan::new("esp").nodes(1), |world| {
        let settings = Settings { inactivity: UNHURRIED, ..throttled_to_five(0) };
        let mut stage = Stage::open(world, &settings)?;
        let held = stage.access(A, DEVICE, uplink(), Reason::Held)?;
        stage.held_access_gets_through(A, DEVICE, &held, uplink())?;
        for sequence in 1..=3 {
            let esp = Packet::esp(device(DEVICE), INTERNET_HOST, 7, sequence);
            let forbidden = stage.send(A, Way::Up, DEVICE, esp)?;
            ensure!(forbidden.reason == Reason::ForbiddenProtocol, "not {}", forbidden.reason.name());
            ensure!(forbidden.entry.session && !forbidden.entry.alarm, "{}", forbidden.entry);
            let other = stage.send(A, Way::Up, DEVICE, uplink())?;
            ensure!(other.reason == Reason::InSession, "not {}", other.reason.name());
        }
        let to_device = Packet::esp(INTERNET_HOST, device(DEVICE), 7, 1);
        let downlink = stage.send(A, Way::Down, DEVICE, to_device)?;
        ensure!(downlink.reason == Reason::ForbiddenProtocol, "not {}", downlink.reason.name());
        let entry = downlink.entry;
        ensure!((entry.requests, entry.admitted) == (1, 1), "it is all one access: {entry}");
        let stray = [stage.far_end(A, Way::Up).arrived()?, stage.far_end(A, Way::Down).arrived()?].concat();
        ensure!(stray.is_empty(), "no ESP was to arrive: {stray:?}");
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn a_device_has_one_limit_whichever_of_its_addresses_it_uses() {
    tell("dual stack", &Plan::new("dual").nodes(1).dual_stack(), |world| {
        let mut settings = Settings::new(0, LONG).access_policy(1, 2, LONG, "\"reject\"");
        settings.devices = vec![(Some("meter"), vec![1])];
        settings.inactivity = Duration::from_secs(1);
        let mut stage = Stage::open(world, &Settings { dual_stack: true, ..settings })?;
        let v6 = || Packet::udp(device_v6(DEVICE), INTERNET_HOST_V6);

        let held = stage.access(A, DEVICE, v6(), Reason::Held)?;
        ensure!(held.entry.requests == 1, "it was to be counted at the device: {}", held.entry);
        stage.held_access_gets_through(A, DEVICE, &held, v6())?;
        let other = stage.send(A, Way::Up, DEVICE, uplink())?;
        ensure!(other.reason == Reason::InSession, "not {}: one session is for both", other.reason.name());

        let second = stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
        ensure!(second.entry.admitted == 2, "{}", second.entry);
        stage.access(A, DEVICE, v6(), Reason::LimitExceeded)?;
        let last = stage.access(A, DEVICE, uplink(), Reason::LimitExceeded)?;
        ensure!(last.entry.admitted == 2 && last.entry.requests >= 3, "{}", last.entry);
        Ok(())
    });
}
