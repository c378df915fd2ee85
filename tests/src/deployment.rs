//! weir itself in a world: control and one agent for each node, configured for a story.
//!
//! What it must not do: look into weir by any door that an operator does not have; a story observes the
//! kernel ([`crate::gate_view`]), the wire ([`crate::port`]) and the admin API.

use std::{fmt::Write, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    addresses::{
        APPLICATION_SERVER, APPLICATION_SERVER_V6, DEVICE_POOL, DEVICE_POOL_V6, device, device_prefix_v6,
    },
    admin::Admin,
    mount::Mount,
    process::Process,
    world::World,
};

/// Where control shows metrics, in its namespace.
pub const CONTROL_METRICS: u16 = 9180;
/// Where each node does, in its own.
pub const NODE_METRICS: u16 = 9181;
/// How long a role may take to be ready.
const READY: Duration = Duration::from_secs(20);

/// What a story wants configured. Times are short: a story does not wait for minutes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Silence that ends a session.
    pub inactivity: Duration,
    /// More requests than this many in this window are an alarm.
    pub alarm: (u32, Duration),
    /// When no answer has come by then, `on_outage` decides.
    pub alarm_timeout: Duration,
    /// `deny` or `allow`.
    pub on_outage: &'static str,
    /// How long control leaves a rejected protocol alarm, or a device that the HSS does not know, alone.
    pub protocol_alarm_hold: Duration,
    /// Every device has an IPv6 address beside its IPv4 address; for dual-stack worlds.
    pub dual_stack: bool,
    /// More of the `[node]` section, and sections of the node behind it, as TOML.
    pub node: &'static str,
    /// The policies, as `[[policy]]` tables.
    pub policies: String,
    /// Devices bound on every node, with their subscription: type (`None`: the HSS does not know it) and
    /// policies. The first is device 1.
    pub devices: Vec<(Option<&'static str>, Vec<u32>)>,
}

impl Settings {
    /// A meter with the policies 1 and 2, and an alarm above `limit` or on ESP.
    pub fn new(limit: u32, window: Duration) -> Self {
        Self {
            inactivity: Duration::from_millis(100),
            alarm: (limit, window),
            alarm_timeout: Duration::from_secs(10),
            on_outage: "deny",
            protocol_alarm_hold: Duration::from_secs(5),
            dual_stack: false,
            node: "",
            policies: String::new(),
            devices: vec![(Some("meter"), vec![1, 2])],
        }
    }

    /// Adds a policy: above `limit` in `window`, do `action` (a TOML value).
    #[must_use]
    pub fn access_policy(mut self, id: u32, limit: u32, window: Duration, action: &str) -> Self {
        let window = window.as_millis();
        let _ = writeln!(
            self.policies,
            "[[policy]]\nid = {id}\nscope = \"network\"\naccess_limit = {{ limit = {limit}, window = \
             \"{window}ms\", comparison = \"greater\" }}\naction = {action}\n"
        );
        self
    }

    /// Adds a policy: on these protocols, do `action`.
    #[must_use]
    pub fn protocol_policy(mut self, id: u32, protocol: &str, action: &str) -> Self {
        let _ = writeln!(
            self.policies,
            "[[policy]]\nid = {id}\nscope = \"node\"\nforbidden_protocols = [\"{protocol}\"]\naction = {action}\n"
        );
        self
    }
}

/// A throttle as an action.
pub fn throttle(limit: u32, window: Duration) -> String {
    format!("{{ throttle = {{ limit = {limit}, window = \"{}ms\" }} }}", window.as_millis())
}

/// The identifier of device `number`: a test network's IMSI.
pub fn device_id(number: u16) -> String {
    format!("0010100000{number:05}")
}

/// Control and agents, running.
pub struct Deployment<'w> {
    world: &'w World,
    /// Control; `None` while a story keeps it away.
    pub control: Option<Process>,
    /// The agents.
    pub nodes: Vec<Process>,
    files: Vec<PathBuf>,
}

impl<'w> Deployment<'w> {
    /// Writes the configurations and starts everything; returns when every role is ready.
    pub fn start(world: &'w World, settings: &Settings) -> Result<Self> {
        let mut deployment = Self::prepare(world, settings)?;
        deployment.start_control()?;
        for node in 0..world.nodes.len() {
            deployment.start_node(node)?;
        }
        deployment.wait_until_nodes_ready()?;
        Ok(deployment)
    }

    /// Writes the configurations; starts nothing.
    pub fn prepare(world: &'w World, settings: &Settings) -> Result<Self> {
        let mut files = vec![world.directory().join("control.toml")];
        std::fs::write(&files[0], control_file(world, settings))?;
        for node in 1..=world.nodes.len() {
            let file = world.directory().join(format!("node-{node}.toml"));
            std::fs::write(&file, node_file(world, settings, node))?;
            files.push(file);
        }
        Ok(Self { world, control: None, nodes: Vec::new(), files })
    }

    /// Starts control, on the store that an earlier one left if there was one.
    pub fn start_control(&mut self) -> Result<()> {
        let arguments = ["control", self.control_file()?];
        let mut control = self.world.weir(&self.world.internet, "control", &arguments)?;
        control.wait_ready(CONTROL_METRICS, READY)?;
        self.control = Some(control);
        Ok(())
    }

    /// Kills control as a power cut would.
    pub fn kill_control(&mut self) -> Result<()> {
        self.control.take().context("control is not running")?.kill()
    }

    /// Starts a node's agent; does not wait until it is ready.
    pub fn start_node(&mut self, node: usize) -> Result<()> {
        let (label, arguments) = (format!("node-{}", node + 1), ["node", self.node_file(node)?]);
        self.nodes.push(self.world.weir(&self.world.node(node).namespace, &label, &arguments)?);
        Ok(())
    }

    /// Every node is attached and synced.
    pub fn wait_until_nodes_ready(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(|node| node.wait_ready(NODE_METRICS, READY))
    }

    /// Changes a node's configuration before its agent is started.
    pub fn edit_node(&self, node: usize, edit: impl FnOnce(String) -> String) -> Result<()> {
        let file = &self.files[node + 1];
        std::fs::write(file, edit(std::fs::read_to_string(file)?))?;
        Ok(())
    }

    /// Has a node leave its program in this BPF file system when its agent ends.
    pub fn pin(&self, node: usize, bpffs: &Mount) -> Result<()> {
        let pinned = format!("pin = true\nbpffs = {:?}", bpffs.path());
        self.edit_node(node, |file| file.replace("pin = false", &pinned))
    }

    /// A node's configuration file.
    pub fn node_file(&self, node: usize) -> Result<&str> {
        self.files[node + 1].to_str().context("a path of ours")
    }

    /// Control's configuration file.
    pub fn control_file(&self) -> Result<&str> {
        self.files[0].to_str().context("a path of ours")
    }

    /// What control has decided about a device, newest first.
    pub fn decisions(&self, device: u16) -> Result<Vec<Value>> {
        let answer = self.admin().get(&format!("/v1/decisions?device={}", device_id(device)))?;
        Ok(answer.as_array().cloned().unwrap_or_default())
    }

    /// The admin API.
    pub fn admin(&self) -> Admin {
        Admin::at(self.world.directory().join("admin.sock"))
    }
}

fn control_file(world: &World, settings: &Settings) -> String {
    let directory = world.directory().display();
    let mut file = format!(
        "[control]\nstore = \"{directory}/control.redb\"\nstream_socket = \"{directory}/stream.sock\"\n\
         admin_socket = \"{directory}/admin.sock\"\nmetrics = \"127.0.0.1:{CONTROL_METRICS}\"\n\
         m2m_device_types = [\"meter\"]\nprotocol_alarm_hold = \"{}ms\"\n\n{}",
        settings.protocol_alarm_hold.as_millis(),
        settings.policies
    );
    for (number, (device_type, policies)) in (1..).zip(&settings.devices) {
        if let Some(device_type) = device_type {
            let _ = writeln!(
                file,
                "[[subscriber]]\ndevice = \"{}\"\ndevice_type = \"{device_type}\"\npolicies = {policies:?}\n",
                device_id(number)
            );
        }
    }
    file
}

fn node_file(world: &World, settings: &Settings, node: usize) -> String {
    let directory = world.directory().display();
    let (limit, window) = settings.alarm;
    let (mut pools, mut servers) = (vec![DEVICE_POOL], vec![format!("{APPLICATION_SERVER}/32")]);
    if settings.dual_stack {
        pools.push(DEVICE_POOL_V6);
        servers.push(format!("{APPLICATION_SERVER_V6}/128"));
    }
    let mut file = format!(
        "[node]\nname = \"node-{node}\"\nstream_socket = \"{directory}/stream.sock\"\n\
         local_socket = \"{directory}/node-{node}.sock\"\nmetrics = \"127.0.0.1:{NODE_METRICS}\"\n\
         access_interfaces = [\"access0\"]\nnetwork_interfaces = [\"network0\"]\n\
         pools = {pools:?}\nunpooled_devices = 16\n\
         application_servers = {servers:?}\ninactivity = \"{}ms\"\n\
         report_interval = \"50ms\"\nalarm_timeout = \"{}ms\"\non_outage = \"{}\"\n\
         pin = false\nstate_dir = \"{directory}/state-{node}\"\n{}\n\n\
         [node.alarm]\nlimit = {limit}\nwindow = \"{}ms\"\nprotocols = [\"esp\"]\n\n",
        settings.inactivity.as_millis(),
        settings.alarm_timeout.as_millis(),
        settings.on_outage,
        settings.node,
        window.as_millis(),
    );
    for number in (1..).take(settings.devices.len()) {
        let mut addresses = vec![device(number).to_string()];
        addresses.extend(settings.dual_stack.then(|| device_prefix_v6(number)));
        let _ =
            writeln!(file, "[[binding]]\ndevice = \"{}\"\naddresses = {addresses:?}\n", device_id(number));
    }
    file
}
