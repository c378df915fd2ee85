//! A world: devices, nodes and an internet, each a network namespace, joined by cables.
//!
//! The far ends are *silent* unless told otherwise: they hear everything and their stacks have no way back, so
//! that no answer of theirs (an ICMP error, a reset) becomes an access nobody sent. Nodes forward; next
//! hops and Ethernet addresses are fixed, so that nothing is asked for on the cables. Anything a world adds must
//! keep that: one stray packet is one access too many (architecture.md, "what breaks it in a test world").

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::addresses::{
    APPLICATION_SERVER, DEVICE_GATEWAY, DEVICE_HALF, DEVICE_POOL, DEVICE_POOL_V6, FAR_SIDE_V6, INTERNET_HOST,
    internet_side, node_access, node_network,
};
use crate::cable::{Cable, Side};
use crate::names::WorldName;
use crate::namespace::Namespace;
use crate::packet::Marker;
use crate::port::Port;
use crate::process::{self, Process, Program};
use crate::remains::{self, Claim, Remnant};
use crate::rights;

/// How long a new cable may take until frames pass.
const CABLE_PATIENCE: Duration = Duration::from_secs(5);
/// How many lines of each log a failure shows.
const LOG_TAIL: usize = 40;
const MOST_NODES: u8 = 8;

/// The index of the first node.
pub const A: usize = 0;
/// The index of the second node.
pub const B: usize = 1;

/// What a world shall be like.
#[derive(Clone, Debug)]
pub struct Plan {
    label: String,
    nodes: u8,
    dual_stack: bool,
    answering: bool,
}

impl Plan {
    /// Two nodes, IPv4 only, silent far ends. The label is part of the world's names.
    pub fn new(label: &str) -> Self {
        Self { label: label.to_owned(), nodes: 2, dual_stack: false, answering: false }
    }

    /// Another number of nodes, 1 to 8.
    pub fn nodes(mut self, nodes: u8) -> Self {
        self.nodes = nodes;
        self
    }

    /// Nodes forward IPv6 too.
    pub fn dual_stack(mut self) -> Self {
        self.dual_stack = true;
        self
    }

    /// The far ends' IPv4 stacks have routes through node A and answer, for stories with real sockets. A
    /// closed port then answers as well: an ICMP error or a reset is a packet like any other.
    pub fn answering(mut self) -> Self {
        self.answering = true;
        self
    }
}

/// A node: one namespace with `access0` towards the devices and `network0` towards the internet.
#[derive(Debug)]
pub struct Node {
    /// Where `weir node` runs.
    pub namespace: Namespace,
    /// The cable to the devices.
    pub access: Cable,
    /// The cable to the internet.
    pub network: Cable,
}

/// A world; dropping it removes everything, and while panicking prints the logs first.
#[derive(Debug)]
pub struct World {
    // Dropped in this order: names of namespaces first, logs last.
    /// The nodes, in the order of [`A`], [`B`].
    pub nodes: Vec<Node>,
    /// Where the devices' ends of the access cables are.
    pub devices: Namespace,
    /// Where the internet's ends of the network cables are.
    pub internet: Namespace,
    directory: Directory,
    markers: AtomicU32,
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    _claim: Claim,
}

impl World {
    /// Makes a world and waits until frames pass on all its cables.
    pub fn build(plan: &Plan) -> Result<Self> {
        ensure!(
            (1..=MOST_NODES).contains(&plan.nodes),
            "a world has 1 to {MOST_NODES} nodes, not {}",
            plan.nodes
        );
        let name = WorldName::next();
        let directory = Directory::create(&name.part(&plan.label))?;
        let devices = far_end(name, &format!("{}-devices", plan.label))?;
        let internet = far_end(name, &format!("{}-internet", plan.label))?;
        let nodes = (1..=plan.nodes)
            .map(|number| Node::build(name, plan, number, &devices, &internet))
            .collect::<Result<Vec<_>>>()?;
        devices.ip(&format!("route add local {DEVICE_HALF} dev lo"))?;
        internet
            .ip(&format!("addr add {APPLICATION_SERVER}/32 dev lo\naddr add {INTERNET_HOST}/32 dev lo"))?;
        let world = Self { nodes, devices, internet, directory, markers: AtomicU32::new(1) };
        if plan.answering {
            world.let_answer()?;
        }
        for node in &world.nodes {
            node.access.prove(CABLE_PATIENCE)?;
            node.network.prove(CABLE_PATIENCE)?;
        }
        Ok(world)
    }

    /// A node; [`A`] and [`B`] are the first two.
    ///
    /// # Panics
    /// If the plan has no such node.
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// A port where the devices are, towards a node: uplink packets start here, downlink ones arrive.
    pub fn device_side(&self, node: usize) -> Result<Port> {
        self.node(node).access.far_port()
    }

    /// A port in the internet, towards a node: downlink packets start here, uplink ones arrive.
    pub fn internet_side(&self, node: usize) -> Result<Port> {
        self.node(node).network.far_port()
    }

    /// A marker that no other packet of this world bears.
    pub fn next_marker(&self) -> Marker {
        Marker(self.markers.fetch_add(1, Ordering::Relaxed))
    }

    /// A directory for configuration, sockets and logs, removed with the world. Only root may read it.
    pub fn directory(&self) -> &Path {
        &self.directory.path
    }

    /// Starts the built `weir` in a namespace of this world. Its logs are in the world's directory.
    pub fn weir(&self, namespace: &Namespace, label: &str, arguments: &[&str]) -> Result<Process> {
        self.start(namespace, Program::new(label, rights::weir_binary()?).args(arguments.iter().copied()))
    }

    /// Starts any program in a namespace of this world.
    pub fn start(&self, namespace: &Namespace, program: Program) -> Result<Process> {
        Process::start(namespace, self.directory(), program)
    }

    /// The last lines of every log, for a failure.
    pub fn logs(&self) -> String {
        let mut logs: Vec<PathBuf> = std::fs::read_dir(self.directory())
            .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
            .unwrap_or_default();
        logs.retain(|path| path.extension().is_some_and(|kind| kind == "out" || kind == "err"));
        logs.sort();
        let show = |path: &PathBuf| {
            let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            format!("--- {name}\n{}\n", process::tail(&text, LOG_TAIL))
        };
        logs.iter().map(show).collect()
    }

    /// Gives the far ends' stacks routes through node A.
    fn let_answer(&self) -> Result<()> {
        let Node { access, network, .. } = self.node(A);
        let (gateway, device_cable) = (node_access(1), &access.far.interface);
        self.devices.ip(&format!(
            "neigh replace {gateway} lladdr {} nud permanent dev {device_cable}\n\
             route add default via {gateway} dev {device_cable} onlink",
            access.near.mac
        ))?;
        let (gateway, internet_cable) = (node_network(1), &network.far.interface);
        self.internet.ip(&format!("route add {DEVICE_POOL} via {gateway} dev {internet_cable}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

impl Node {
    fn build(
        world: WorldName,
        plan: &Plan,
        number: u8,
        devices: &Namespace,
        internet: &Namespace,
    ) -> Result<Self> {
        let namespace = Namespace::create(world, &format!("{}-node{number}", plan.label))?;
        // Forwarding first: it resets the others.
        namespace.set(&[("ipv4/ip_forward", "1")])?;
        namespace.set(QUIET)?;
        if plan.dual_stack {
            namespace.set(FORWARD_V6)?;
        } else {
            without_v6(&namespace)?;
        }
        let access = Cable::lay(number, Side::Access, &namespace, devices)?;
        let network = Cable::lay(number, Side::Network, &namespace, internet)?;
        let node = Self { namespace, access, network };
        node.route(number)?;
        if plan.dual_stack {
            node.route_v6()?;
        }
        Ok(node)
    }

    fn route(&self, number: u8) -> Result<()> {
        let (own_access, own_network, next_hop) =
            (node_access(number), node_network(number), internet_side(number));
        self.namespace.ip(&format!(
            "addr add {own_access}/32 dev access0\n\
             addr add {own_network}/30 dev network0\n\
             neigh replace {DEVICE_GATEWAY} lladdr {} nud permanent dev access0\n\
             neigh replace {next_hop} lladdr {} nud permanent dev network0\n\
             route add {DEVICE_POOL} via {DEVICE_GATEWAY} dev access0 onlink\n\
             route add default via {next_hop} dev network0",
            self.access.far.mac, self.network.far.mac
        ))?;
        let far = &self.network.far;
        far.namespace.ip(&format!(
            "addr add {next_hop}/30 dev {0}\nneigh replace {own_network} lladdr {1} nud permanent dev {0}",
            far.interface, self.network.near.mac
        ))
    }

    fn route_v6(&self) -> Result<()> {
        self.namespace.ip(&format!(
            "neigh replace {FAR_SIDE_V6} lladdr {} nud permanent dev access0\n\
             neigh replace {FAR_SIDE_V6} lladdr {} nud permanent dev network0\n\
             route add {DEVICE_POOL_V6} via {FAR_SIDE_V6} dev access0\n\
             route add ::/0 via {FAR_SIDE_V6} dev network0",
            self.access.far.mac, self.network.far.mac
        ))
    }
}

impl Directory {
    fn create(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(name);
        let ((), claim) = remains::make(|| {
            // Fails if it exists: whoever made it could have put something there for root to follow.
            DirBuilder::new()
                .mode(0o700)
                .create(&path)
                .with_context(|| format!("cannot make {}", path.display()))?;
            Ok(((), Remnant::Directory(path.clone())))
        })?;
        Ok(Self { path, _claim: claim })
    }
}

/// Parameters that keep an IPv4 stack from speaking unasked or refusing what the story sends.
const QUIET: &[(&str, &str)] = &[
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/conf/all/accept_redirects", "0"),
    ("ipv4/conf/default/accept_redirects", "0"),
];

/// IPv6 forwarding without link-local addresses, duplicate address detection and solicitations.
const FORWARD_V6: &[(&str, &str)] = &[
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/default/forwarding", "1"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/autoconf", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/dad_transmits", "0"),
    ("ipv6/conf/default/addr_gen_mode", "1"),
];

/// A namespace at the end of cables. Its IPv6 stack is off even in a dual-stack world: its ports hear and
/// send IPv6 all the same, and the stack would announce itself.
fn far_end(world: WorldName, label: &str) -> Result<Namespace> {
    let namespace = Namespace::create(world, label)?;
    namespace.set(QUIET)?;
    without_v6(&namespace)?;
    Ok(namespace)
}

fn without_v6(namespace: &Namespace) -> Result<()> {
    if !Path::new("/proc/sys/net/ipv6").exists() {
        return Ok(()); // this kernel has none
    }
    namespace.set(&[("ipv6/conf/all/disable_ipv6", "1"), ("ipv6/conf/default/disable_ipv6", "1")])
}
