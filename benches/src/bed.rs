//! The test bed: a sender's and a node's namespace, and a lane between them for each contender.
//!
//! A lane is a veth pair of its own, so that nothing is attached or detached between rounds. Whatever comes back
//! on a lane is dropped, and nothing in the namespaces speaks by itself. Both ends of every pair are in
//! namespaces made here, which go away with the bed, after Ctrl-C too (see `weir_tests::remains`).

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use weir_dataplane::raw::index_of;
use weir_tests::{cable::Mac, names::WorldName, namespace::Namespace};

use crate::floors::{self, Floor};
use crate::frames::{NODE_MAC, SENDER_MAC};

/// The two namespaces.
pub struct Bed {
    /// The kernel generates frames only for an interface that has a program; this one drops what comes back.
    silence: Mutex<Floor>,
    /// Where frames are generated.
    pub sender: Namespace,
    /// Where contenders receive them.
    pub node: Namespace,
}

/// A veth pair.
#[derive(Clone, Debug)]
pub struct Lane {
    /// The interface's name, the same at both ends.
    pub name: String,
    /// The index of the sender's end, in the sender's namespace.
    pub ifindex: u32,
}

impl Bed {
    /// Makes the namespaces.
    ///
    /// # Errors
    /// Without the rights, or without `ip`.
    pub fn make(objects: &Path) -> Result<Self> {
        let name = WorldName::next();
        let bed = Self {
            silence: Mutex::new(Floor::load(objects, floors::Kind::Drop)?),
            sender: Namespace::create(name, "bench-sender")?,
            node: Namespace::create(name, "bench-node")?,
        };
        // Nobody but the generator sends: no router solicitation, no duplicate address detection.
        for namespace in [&bed.sender, &bed.node] {
            namespace.set(&[("ipv6/conf/default/disable_ipv6", "1"), ("ipv6/conf/all/disable_ipv6", "1")])?;
        }
        Ok(bed)
    }

    /// Lays a lane whose sender drops what comes back.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn lane(&self, name: &str) -> Result<Lane> {
        let lane = self.two_way_lane(name)?;
        self.sender
            .enter(|| self.silence.lock().unwrap_or_else(PoisonError::into_inner).attach_here(name))?;
        Ok(lane)
    }

    /// Lays a lane whose sender hears what comes back.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn two_way_lane(&self, name: &str) -> Result<Lane> {
        let (near, far) = (Mac(SENDER_MAC), Mac(NODE_MAC));
        self.sender.ip(&format!(
            "link add {name} address {near} numtxqueues 1 numrxqueues 1 type veth peer name {name} address {far} \
             numtxqueues 1 numrxqueues 1 netns {}\nlink set {name} up",
            self.node.name()
        ))?;
        self.node.ip(&format!("link set {name} up"))?;
        let ifindex = self.sender.enter(|| Ok(index_of(name)?))?;
        Ok(Lane { name: name.to_owned(), ifindex })
    }
}

/// The CPUs this process may use.
///
/// # Errors
/// If the kernel does not tell.
pub fn cpus() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(None).context("cannot read this thread's CPUs")?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect())
}

/// Keeps the calling thread on one CPU.
///
/// # Errors
/// If it may not run there.
pub fn pin(cpu: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).with_context(|| format!("cannot run on CPU {cpu}"))
}
