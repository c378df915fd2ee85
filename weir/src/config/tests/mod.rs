//! What the configuration accepts and refuses, and where it says so.
//!
//! `refused` changes one thing in a sound file and expects exactly one fault, at a marked place.

mod devices;
mod example;
mod measures;
mod mutations;
mod policies;
mod sections;
mod strangers;
mod syntax;

use super::{Configuration, read};

/// A sound file that uses every section, small enough to be changed by replacement.
pub const SOUND: &str = r#"
[control]
store = "control.redb"
metrics = "127.0.0.1:9180"
m2m_device_types = ["meter"]

[node]
name = "pgw-1"
kinds = ["packet", "trigger"]
access_interfaces = ["access0"]
network_interfaces = ["network0"]
pools = ["10.45.0.0/16", "2001:db8:45::/48"]
unpooled_devices = 1
application_servers = ["192.0.2.10/32"]
inactivity = "10s"
metrics = "127.0.0.1:9181"
# more of the node

[node.alarm]
limit = 3
window = "1m"
protocols = ["esp"]

[[binding]]
device = "001010000000001"
addresses = ["10.45.0.7", "2001:db8:45:7::/64"]

[[subscriber]]
device = "001010000000001"
device_type = "meter"
policies = [1, 2]

[[policy]]
id = 1
kinds = ["packet"]
access_limit = { limit = 3, window = "1m" }
action = { throttle = { limit = 5, window = "1m" } }

[[policy]]
id = 2
forbidden_protocols = ["esp"]
action = "reject"

# the end
"#;

/// Where a fault is expected in a changed text; it is taken out before reading.
const MARK: char = '»';

/// `SOUND` with the one occurrence of `from` replaced.
#[track_caller]
fn changed(from: &str, to: &str) -> String {
    assert_eq!(SOUND.matches(from).count(), 1, "{from:?} must stand once in the sound file");
    SOUND.replace(from, to)
}

/// The faults of a text, one line each.
fn faults_of(text: &str) -> Vec<String> {
    read(text).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// Expects that changing `from` to `to` is refused once: at the mark in `to`, with this key and reason.
#[track_caller]
fn refused(from: &str, to: &str, key: &str, reason: &str) {
    let text = changed(from, to);
    let before = text.split(MARK).next().unwrap();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let expected = format!("{line}:{column}: {key}: {reason}");
    assert_eq!(faults_of(&text.replace(MARK, "")), [expected]);
}

/// Expects that changing `from` to `to` leaves the file sound.
#[track_caller]
fn accepted(from: &str, to: &str) -> Configuration {
    let text = changed(from, to);
    read(&text).unwrap_or_else(|_| panic!("{:?}", faults_of(&text)))
}
