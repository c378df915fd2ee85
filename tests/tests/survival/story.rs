//! What the stories of survival share: a pinned deployment, a device that is shut out, and traffic that never stops.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use weir_dataplane_common::reason::Reason;
use weir_tests::{
    addresses::{INTERNET_HOST, device},
    deployment::{Deployment, NODE_METRICS, Settings},
    gate_view::attached_program,
    http,
    metrics::Metrics,
    mount::Mount,
    packet::{Marker, Packet},
    port::Port,
    stage::{Stage, Way, until},
    world::{A, World},
};

/// A device that may do as it likes while its session is open.
pub const FREE: u16 = 1;
/// A device that control has shut out, for longer than any story lasts.
pub const SHUT_OUT: u16 = 2;
/// A device whose policy an operator changes.
pub const CHANGED: u16 = 3;
/// A window that does not pass while a story is told.
pub const LONG: Duration = Duration::from_secs(600);
/// The first marker of the traffic: the world gives no others so large.
pub const FIRST: u32 = 1 << 24;
/// Between two rounds of traffic.
const PAUSE: Duration = Duration::from_micros(400);

/// ESP is forbidden, and a device that sends it stays shut out. Sessions stay open however slow the machine is.
pub fn settings() -> Settings {
    let settings = Settings::new(1000, LONG).protocol_policy(2, "esp", "\"reject\"").access_policy(
        3,
        1000,
        LONG,
        "\"reject\"",
    );
    Settings {
        alarm: (10, LONG),
        inactivity: Duration::from_secs(20),
        protocol_alarm_hold: LONG,
        devices: [vec![2], vec![2], vec![3]].map(|policies| (Some("meter"), policies)).into(),
        ..settings
    }
}

/// Control and the first node of a world, pinned, with [`SHUT_OUT`] shut out.
pub fn open_pinned<'w>(world: &'w World, bpf: &Mount) -> Result<Stage<'w>> {
    let mut weir = Deployment::prepare(world, &settings())?;
    weir.pin(A, bpf)?;
    weir.start_control()?;
    weir.start_node(A)?;
    weir.wait_until_nodes_ready()?;
    let mut stage = Stage::around(world, weir)?;
    shut_out(&mut stage)?;
    Ok(stage)
}

/// The device sends ESP, control rejects, and nothing of the device passes any more.
pub fn shut_out(stage: &mut Stage<'_>) -> Result<()> {
    let esp = Packet::esp(device(SHUT_OUT), INTERNET_HOST, 7, 1);
    let held = stage.send(A, Way::Up, SHUT_OUT, esp)?.reason;
    ensure!(held == Reason::Held, "ESP was to be held, not {}", held.name());
    stage.wait_for_entry(A, SHUT_OUT, "control rejects", |entry| entry.profile != 0 && !entry.held)?;
    let refused = stage.send(A, Way::Up, SHUT_OUT, uplink(SHUT_OUT))?.reason;
    ensure!(refused == Reason::AlarmActive, "it was to be shut out, not {}", refused.name());
    Ok(())
}

/// What a device sends.
pub fn uplink(number: u16) -> Packet {
    Packet::udp(device(number), INTERNET_HOST)
}

/// Waits until a program is attached on both sides of the first node.
pub fn wait_until_attached(world: &World) -> Result<()> {
    for interface in ["access0", "network0"] {
        until("a program is attached", || attached_program(&world.node(A).namespace, interface))?;
    }
    Ok(())
}

/// The first node's `/readyz`: status, and what is outstanding.
pub fn readiness(world: &World) -> Result<(u16, String)> {
    let answer = http::get(&world.node(A).namespace, NODE_METRICS, "/readyz")?;
    Ok((answer.status, answer.body))
}

/// What the first node says of itself.
pub fn metrics(world: &World) -> Result<Metrics> {
    Metrics::fetch(&world.node(A).namespace, NODE_METRICS)
}

/// Numbered packets of both devices through the first node, one after another, until it is ended.
pub struct Traffic {
    is_over: Arc<AtomicBool>,
    sender: JoinHandle<Result<u32>>,
}

/// What was sent: markers of [`FREE`] are even from [`FIRST`] on, those of [`SHUT_OUT`] odd.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Of each of the two devices.
    pub each: u32,
}

impl Traffic {
    /// Begins to send.
    pub fn begin(world: &World) -> Result<Self> {
        let port = world.device_side(A)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&is_over);
        let sender = std::thread::spawn(move || send_until(&port, &end));
        Ok(Self { is_over, sender })
    }

    /// Ends it.
    pub fn end(self) -> Result<Sent> {
        self.is_over.store(true, Ordering::Relaxed);
        let each = self.sender.join().map_err(|_| anyhow!("the sender panicked"))??;
        Ok(Sent { each })
    }
}

fn send_until(port: &Port, is_over: &AtomicBool) -> Result<u32> {
    let mut round = 0;
    while !is_over.load(Ordering::Relaxed) {
        port.send(&uplink(FREE).marked(Marker(FIRST + 2 * round)))?;
        port.send(&uplink(SHUT_OUT).marked(Marker(FIRST + 2 * round + 1)))?;
        round += 1;
        std::thread::sleep(PAUSE);
    }
    Ok(round)
}

/// Every packet of the free device has arrived, once and in order, and none of the one that is shut out.
pub fn all_arrived_that_may(stage: &mut Stage<'_>, sent: Sent) -> Result<()> {
    let last = Marker(FIRST + 2 * (sent.each - 1));
    let far = stage.far_end(A, Way::Up);
    let end = far.expect(last, weir_tests::stage::PATIENCE)?;
    let mut arrived: Vec<u32> = far.arrived()?.into_iter().map(|marker| marker.0).collect();
    arrived.push(end.marker.0);
    arrived.retain(|marker| *marker >= FIRST);
    let passed = arrived.iter().filter(|marker| **marker % 2 == 1).count();
    ensure!(passed == 0, "{passed} packets of a device that is shut out passed");
    let missing =
        (0..sent.each).map(|round| FIRST + 2 * round).filter(|marker| arrived.binary_search(marker).is_err());
    let missing: Vec<u32> = missing.collect();
    ensure!(missing.is_empty(), "{} of {} packets are missing: {missing:?}", missing.len(), sent.each);
    ensure!(arrived.len() == sent.each as usize, "{} arrived of {}", arrived.len(), sent.each);
    Ok(())
}
