//! A stage for stories: a world with weir in it, and one packet at a time sent and observed.
//!
//! An observation is what the kernel counted for this packet and what arrived at the far end; nothing here
//! knows what was expected.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use weir_dataplane_common::reason::{Reason, Verdict};

use crate::{
    deployment::{Deployment, Settings},
    gate_view::{EntryView, GateView, attached_program},
    packet::{Marker, Packet},
    port::Port,
    world::World,
};

/// How long anything that must happen may take.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long a held frame may take from the cancel to its injection.
const INJECTION: Duration = Duration::from_millis(500);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A world with weir in it, and ports on all its cables.
pub struct Stage<'w> {
    /// The world.
    pub world: &'w World,
    /// weir.
    pub weir: Deployment<'w>,
    /// Where devices are, by node.
    pub devices: Vec<Port>,
    /// Where servers are, by node.
    pub internet: Vec<Port>,
    views: Vec<GateView>,
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a device.
    Up,
    /// To a device.
    Down,
}

/// What became of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Which packet.
    pub marker: Marker,
    /// What the kernel counted it as. It has arrived at the far end if this passes.
    pub reason: Reason,
    /// The device's entry afterwards.
    pub entry: EntryView,
}

impl<'w> Stage<'w> {
    /// Starts weir in a world.
    pub fn open(world: &'w World, settings: &Settings) -> Result<Self> {
        let weir = Deployment::start(world, settings)?;
        Self::around(world, weir)
    }

    /// Starts the nodes of a world without control: they are attached, and not ready.
    pub fn open_without_control(world: &'w World, settings: &Settings) -> Result<Self> {
        Self::reopen(world, Deployment::prepare(world, settings)?)
    }

    /// Starts the nodes of a deployment that has none running; returns when they are attached.
    pub fn reopen(world: &'w World, mut weir: Deployment<'w>) -> Result<Self> {
        for node in 0..world.nodes.len() {
            weir.start_node(node)?;
        }
        for node in &world.nodes {
            // The network side is attached last.
            until("the node attaches its program", || attached_program(&node.namespace, "network0"))?;
        }
        Self::around(world, weir)
    }

    /// Opens ports around a deployment whose nodes are attached.
    pub fn around(world: &'w World, weir: Deployment<'w>) -> Result<Self> {
        let nodes = 0..world.nodes.len();
        let view = |node| GateView::of(&world.node(node).namespace, "access0");
        Ok(Self {
            world,
            weir,
            devices: nodes.clone().map(|node| world.device_side(node)).collect::<Result<_>>()?,
            internet: nodes.clone().map(|node| world.internet_side(node)).collect::<Result<_>>()?,
            views: nodes.map(view).collect::<Result<_>>()?,
        })
    }

    /// A device's entry on a node.
    pub fn entry(&self, node: usize, device: u16) -> Result<EntryView> {
        self.views[node].entry(u32::from(device))
    }

    /// A node's maps.
    pub fn view(&self, node: usize) -> &GateView {
        &self.views[node]
    }

    /// Sends one packet through a node and observes what becomes of it.
    pub fn send(&mut self, node: usize, way: Way, device: u16, packet: Packet) -> Result<Observed> {
        let marker = self.world.next_marker();
        let cable = match way {
            Way::Up => &self.world.node(node).access,
            Way::Down => &self.world.node(node).network,
        };
        let frame = packet.marked(marker).frame(cable.far.mac, cable.near.mac)?;
        let reason = self.send_frame(node, way, &frame)?;
        if reason.verdict() == Verdict::Pass {
            self.far_end(node, way).expect(marker, PATIENCE)?;
        }
        Ok(Observed { marker, reason, entry: self.entry(node, device)? })
    }

    /// Sends any bytes as a frame; what the kernel counted them as.
    pub fn send_frame(&mut self, node: usize, way: Way, frame: &[u8]) -> Result<Reason> {
        let view = &self.views[node];
        let before = view.tally()?;
        match way {
            Way::Up => self.devices[node].send_frame(frame)?,
            Way::Down => self.internet[node].send_frame(frame)?,
        }
        until("the kernel counts the packet", || view.tally()?.one_since(&before))
    }

    /// Where packets that go this way arrive.
    pub fn far_end(&mut self, node: usize, way: Way) -> &mut Port {
        match way {
            Way::Up => &mut self.internet[node],
            Way::Down => &mut self.devices[node],
        }
    }

    /// Sends an access: an uplink packet of a device that has no open session.
    pub fn send_when_idle(&mut self, node: usize, device: u16, packet: Packet) -> Result<Observed> {
        self.wait_until_idle(node, device)?;
        self.send(node, Way::Up, device, packet)
    }

    /// Sends an access and holds what the kernel counted against `expected`.
    pub fn access(&mut self, node: usize, device: u16, packet: Packet, expected: Reason) -> Result<Observed> {
        let observed = self.send_when_idle(node, device, packet)?;
        let (reason, entry) = (observed.reason.name(), &observed.entry);
        ensure!(observed.reason == expected, "not {} but {reason}; {entry}", expected.name());
        Ok(observed)
    }

    /// The alarm is cancelled and the uplink access that it held gets through, once: as the frame that was
    /// held, or, if that was too old, with `next`.
    pub fn held_access_gets_through(
        &mut self,
        node: usize,
        device: u16,
        held: &Observed,
        next: Packet,
    ) -> Result<()> {
        self.wait_for_entry(node, device, "the alarm is cancelled", |entry| !entry.alarm)?;
        let patience = Instant::now() + INJECTION;
        while self.entry(node, device)?.redeem && Instant::now() < patience {
            std::thread::sleep(LOOK_AGAIN);
        }
        if self.entry(node, device)?.redeem {
            let reason = self.send(node, Way::Up, device, next)?.reason;
            if reason == Reason::Redeemed {
                return Ok(());
            }
            ensure!(reason == Reason::InSession, "the next packet was to redeem, not {}", reason.name());
        }
        self.far_end(node, Way::Up).expect(held.marker, PATIENCE).map(drop)
    }

    /// Waits until the device has no open session on a node: its next packet is a new access.
    pub fn wait_until_idle(&self, node: usize, device: u16) -> Result<()> {
        until("the session ends", || Ok((!self.entry(node, device)?.session).then_some(())))
    }

    /// Waits until the entry is as wanted.
    pub fn wait_for_entry(
        &self,
        node: usize,
        device: u16,
        what: &str,
        wanted: impl Fn(&EntryView) -> bool,
    ) -> Result<EntryView> {
        let mut last = None;
        let found = until(what, || {
            let entry = self.entry(node, device)?;
            last = Some(entry);
            Ok(wanted(&entry).then_some(entry))
        });
        found.map_err(|error| match last {
            Some(entry) => error.context(format!("the entry was last: {entry}")),
            None => error,
        })
    }
}

/// Looks until there is something to see; an error if there is not in time.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if Instant::now() > deadline {
            bail!("waited {PATIENCE:?} in vain until {what}");
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
