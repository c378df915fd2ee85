//! A veth pair between two namespaces of a world.
//!
//! Neither end is ever in a namespace that was not made for the world: both are created where they belong.
//! One queue per end, so that packets on a cable stay in the order in which they were sent (see `port`).

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::namespace::Namespace;
use crate::port::Port;

/// A fixed, locally administered Ethernet address, so that nobody need ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// One end of a cable.
#[derive(Clone, Debug)]
pub struct End {
    /// Where the interface is.
    pub namespace: Namespace,
    /// The interface's name there.
    pub interface: String,
    /// The interface's Ethernet address.
    pub mac: Mac,
}

/// Which of a node's two cables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Towards the devices: `access0`.
    Access,
    /// Towards the internet: `network0`.
    Network,
}

impl Side {
    /// The name of the node's interface on this side.
    pub fn interface(self) -> &'static str {
        match self {
            Self::Access => "access0",
            Self::Network => "network0",
        }
    }
}

/// A veth pair: the node's end and the end in the devices' or the internet's namespace.
#[derive(Clone, Debug)]
pub struct Cable {
    /// The end at the node.
    pub near: End,
    /// The end at the devices or in the internet.
    pub far: End,
}

impl Cable {
    /// Lays the cable and brings both ends up. `node` numbers the node from 1.
    pub(crate) fn lay(node: u8, side: Side, near: &Namespace, far: &Namespace) -> Result<Self> {
        let cable = match side {
            Side::Access => 1,
            Side::Network => 2,
        };
        let end = |namespace: &Namespace, interface: String, number| End {
            namespace: namespace.clone(),
            interface,
            mac: Mac([0x02, 0x45, node, cable, 0, number]),
        };
        let near = end(near, side.interface().to_owned(), 1);
        let far = end(far, format!("node{node}"), 2);
        let cable = Self { near, far };
        cable.lay_again()?;
        Ok(cable)
    }

    /// Lays a cable that was taken away once more: other interfaces, with the same names and addresses. Ports opened
    /// before stay with the old ones.
    pub fn lay_again(&self) -> Result<()> {
        let Self { near, far } = self;
        far.namespace.ip(&format!(
            "link add {} address {} numtxqueues 1 numrxqueues 1 type veth \
             peer name {} address {} numtxqueues 1 numrxqueues 1 netns {}\nlink set {0} up",
            far.interface,
            far.mac,
            near.interface,
            near.mac,
            near.namespace.name(),
        ))?;
        near.namespace.ip(&format!("link set {} up", near.interface))
    }

    /// Takes the cable away: both interfaces are gone.
    pub fn take_away(&self) -> Result<()> {
        self.near.namespace.ip(&format!("link delete {}", self.near.interface))
    }

    /// A port at the far end, whose frames go to the node.
    pub fn far_port(&self) -> Result<Port> {
        Port::open(&self.far, self.near.mac)
    }

    /// Waits until frames pass in both directions.
    ///
    /// The kernel attaches an interface's queue some time after its carrier came up, on a worker of
    /// its own, and drops frames until then without an error; nothing but a frame can tell.
    pub(crate) fn prove(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        let (mut far, mut near) = (self.far_port()?, Port::open(&self.near, self.far.mac)?);
        let passed = near.reaches(&mut far, deadline)? && far.reaches(&mut near, deadline)?;
        let (near, far) = (&self.near, &self.far);
        ensure!(
            passed,
            "no frame passed between {} in {} and {} in {} within {within:?}",
            near.interface,
            near.namespace.name(),
            far.interface,
            far.namespace.name()
        );
        Ok(())
    }
}
