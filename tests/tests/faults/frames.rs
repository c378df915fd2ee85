//! Frames that end too soon, as a device's radio or a fuzzer may send them: each is judged and counted, none is a
//! fault, and the node lives on. (Below 14 bytes there is no frame that an interface would send.)

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weir_dataplane_common::reason::{Reason, Verdict};
use weir_tests::{
    addresses::{INTERNET_HOST, INTERNET_HOST_V6, device, device_v6},
    deployment::Settings,
    packet::{Packet, TcpFlags},
    stage::{Stage, Way},
    story::tell,
    world::{A, Plan, World},
};

use super::story::{DEVICE, throttled_to_five, uplink};

/// The lengths at which frames are cut.
const LENGTHS: std::ops::RangeInclusive<usize> = 14..=60;

/// A kind of frame, and from which length on its headers are whole.
struct Kind {
    name: &'static str,
    frame: Vec<u8>,
    headers: usize,
    /// What is counted where they are not.
    cut: Reason,
}

fn kinds(world: &World) -> Result<Vec<Kind>> {
    let cable = &world.node(A).access;
    let frame = |packet: Packet| packet.payload(vec![0; 60]).frame(cable.far.mac, cable.near.mac);
    let udp = frame(Packet::udp(device(DEVICE), INTERNET_HOST))?;
    let tcp = frame(Packet::tcp(device(DEVICE), INTERNET_HOST, 1, TcpFlags::default()))?;
    let v6 = frame(Packet::udp(device_v6(DEVICE), INTERNET_HOST_V6))?;
    let of_type = |ether_type: [u8; 2]| {
        let mut frame = udp.clone();
        frame[12..14].copy_from_slice(&ether_type);
        frame
    };
    let (arp, tagged, tunnelled) = (of_type([0x08, 0x06]), of_type([0x81, 0x00]), of_type([0x88, 0x64]));
    let kind = |name, frame, headers, cut| Kind { name, frame, headers, cut };
    Ok(vec![
        kind("UDP over IPv4", udp, 14 + 20 + 8, Reason::UnparsableDropped),
        kind("TCP over IPv4", tcp, 14 + 20 + 20, Reason::UnparsableDropped),
        kind("UDP over IPv6", v6, 14 + 40 + 8, Reason::UnparsableDropped),
        kind("ARP", arp, usize::MAX, Reason::NotIp),
        kind("802.1Q", tagged, usize::MAX, Reason::UnparsableDropped),
        kind("PPPoE", tunnelled, usize::MAX, Reason::UnparsableDropped),
    ])
}

#[test]
#[ignore = "needs root and the BPF program: run `cargo xtask test`"]
fn truncated_frames_of_every_length_are_counted_and_the_node_lives_on() {
    tell("truncated frames", &Plan::new("cut").nodes(1), |world| {
        // One session for all that can be read, so that the first of them is the only access.
        let settings = Settings { inactivity: Duration::from_secs(10), ..throttled_to_five(3) };
        let mut stage = Stage::open(world, &settings)?;
        stage.access(A, DEVICE, uplink(), Reason::Admitted)?;
        let kinds = kinds(world)?;
        let before = stage.view(A).tally()?;
        for kind in &kinds {
            for length in LENGTHS {
                let judged = cut(&mut stage, kind, length)
                    .with_context(|| format!("{}, cut to {length} bytes", kind.name))?;
                let whole = length >= kind.headers;
                let expected = if whole { Reason::InSession } else { kind.cut };
                ensure!(judged == expected, "{}, {length} bytes: {}", kind.name, judged.name());
            }
        }
        let counted = stage.view(A).tally()?.since(&before).len();
        ensure!(counted == kinds.len() * LENGTHS.count(), "{counted} were counted");

        let entry = stage.entry(A, DEVICE)?;
        ensure!((entry.requests, entry.admitted, entry.alarm) == (1, 1, false), "{entry}");
        let whole = stage.send(A, Way::Up, DEVICE, uplink())?;
        ensure!(whole.reason.verdict() == Verdict::Pass, "not {}", whole.reason.name());
        let stray = stage.far_end(A, Way::Up).arrived()?;
        ensure!(stray.is_empty(), "no marked packet was cut: {stray:?}");
        Ok(())
    });
}

fn cut(stage: &mut Stage<'_>, kind: &Kind, length: usize) -> Result<Reason> {
    stage.send_frame(A, Way::Up, kind.frame.get(..length).context("the frame is longer")?)
}
