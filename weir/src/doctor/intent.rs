//! What a machine is to do, as far as the doctor's rules care.
//!
//! What this is: the few values of a configuration that make a fact good or bad. What it must not do: look at
//! the machine; without a configuration most of it is simply unknown.

use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_dataplane::{Layout, Mode};

use super::machine::{Purpose, Wanted};
use crate::config::{Configuration, NodeSection, UnknownDevices};

/// What the machine is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Whether packets are to be judged here: by a configured node, or for all we know.
    pub judges: bool,
    /// How the program is to be attached, if that is known.
    pub mode: Option<Mode>,
    /// What the entries are to hold, if that is known.
    pub room: Option<Room>,
    /// The node's inactivity time. No other time that it measures is shorter: an access lasts at least so
    /// long, and windows that cannot hold their limit of accesses are refused at configuration.
    pub inactivity: Option<Duration>,
    /// What to ask the machine for.
    pub wanted: Wanted,
}

/// Room for devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Entries in all, the strangers' places included.
    pub entries: u32,
    /// Of which outside the pools, found through a hash.
    pub unpooled: u32,
}

impl Intent {
    /// What `configuration` wants, with `interfaces` beside those that it names.
    pub fn new(configuration: Option<&Configuration>, interfaces: &[String]) -> Self {
        let node = configuration.and_then(|configuration| configuration.node.as_ref());
        let mut wanted = Wanted { interfaces: Vec::new(), directories: directories(configuration) };
        let configured =
            node.into_iter().flat_map(|n| n.access_interfaces.iter().chain(&n.network_interfaces));
        for interface in configured.chain(interfaces) {
            if !wanted.interfaces.contains(interface) {
                wanted.interfaces.push(interface.clone());
            }
        }
        Self {
            judges: configuration.is_none() || node.is_some() || !interfaces.is_empty(),
            mode: configuration.and_then(Configuration::node_role).map(|role| role.mode),
            room: node.and_then(room),
            inactivity: node.map(|node| node.inactivity),
            wanted,
        }
    }
}

fn directories(configuration: Option<&Configuration>) -> Vec<(Purpose, PathBuf)> {
    let Some(control) = configuration.and_then(|configuration| configuration.control.as_ref()) else {
        return Vec::new();
    };
    let files = [
        (Purpose::Sockets, &control.stream_socket),
        (Purpose::Sockets, &control.admin_socket),
        (Purpose::Store, &control.store),
    ];
    let mut found = Vec::new();
    for (purpose, file) in files {
        let directory = match file.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let place = (purpose, directory.to_owned());
        if !found.contains(&place) {
            found.push(place);
        }
    }
    found
}

/// `None` for pools that cannot be laid out, which a checked configuration does not have.
fn room(node: &NodeSection) -> Option<Room> {
    let layout = Layout::new(&node.pools, node.unpooled_devices).ok()?;
    let strangers = match node.unknown_devices {
        UnknownDevices::Limit(section) => section.places,
        _ => 0,
    };
    Some(Room { entries: layout.entries() + strangers, unpooled: node.unpooled_devices })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURATION: &str = r#"
        [control]
        m2m_device_types = ["meter"]
        store = "control.redb"
        [node]
        name = "pgw-1"
        access_interfaces = ["access0", "access1"]
        network_interfaces = ["network0"]
        pools = ["10.45.0.0/24"]
        unpooled_devices = 4
        inactivity = "3s"
        xdp_mode = "generic"
    "#;

    fn read(text: &str) -> Configuration {
        crate::config::read(text).expect("a sound configuration")
    }

    #[test]
    fn a_configuration_says_what_the_machine_is_to_do() {
        let intent = Intent::new(Some(&read(CONFIGURATION)), &["access1".into(), "spare0".into()]);
        assert_eq!((intent.judges, intent.mode), (true, Some(Mode::Generic)));
        assert_eq!(intent.room, Some(Room { entries: 260, unpooled: 4 }));
        assert_eq!(intent.wanted.interfaces, ["access0", "access1", "network0", "spare0"]);
        let places = intent.wanted.directories.iter().map(|(_, path)| path.to_str().expect("text"));
        assert_eq!(places.collect::<Vec<_>>(), ["/run/weir", "."]);
        assert_eq!(intent.inactivity, Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_machine_for_control_alone_judges_nothing() {
        let control = read("[control]\nm2m_device_types = [\"meter\"]\n");
        assert!(!Intent::new(Some(&control), &[]).judges);
        assert!(Intent::new(None, &[]).judges);
        assert!(Intent::new(Some(&control), &["eth0".into()]).judges);
    }
}
