//! A stage for stories: a world with weir in it, and one packet at a time sent and observed.
//!
//! An observation is what the kernel counted for this packet and what arrived at the far end; nothing here
//! knows what was expected.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use weir_dataplane_common::reason::{Reason, Verdict};

use crate::{
    deployment::{Deployment, Settings},
    gate_view::{EntryView, GateView},
    packet::{Marker, Packet},
    port::Port,
    world::World,
};

/// How long anything that must happen may take.
pub const PATIENCE: Duration = Duration::from_secs(10);
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
        let before = self.views[node].tally()?;
        let (from, to) = match way {
            Way::Up => (&self.devices[node], &mut self.internet[node]),
            Way::Down => (&self.internet[node], &mut self.devices[node]),
        };
        from.send(&packet.marked(marker))?;
        let view = &self.views[node];
        let reason = until("the kernel counts the packet", || view.tally()?.one_since(&before))?;
        if reason.verdict() == Verdict::Pass {
            to.expect(marker, PATIENCE)?;
        }
        Ok(Observed { marker, reason, entry: self.entry(node, device)? })
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
