//! Values that several sections write alike: names, paths, socket addresses, devices, kinds, protocols.
//!
//! What this is: an [`Item`] in, a checked value out. What it must not do: repeat a device's identifier in a
//! fault; the line says which one is meant (R-X7).

use std::net::SocketAddr;
use std::path::PathBuf;

use weir_dataplane_common::{abi::AccessKind, inspect::Class};
use weir_server::api;
use weir_service_control::DeviceId;

use super::document::Item;

/// Longest path of a Unix socket: `sun_path` has 108 bytes, the last one zero.
const LONGEST_SOCKET_PATH: usize = 107;
/// Longest node name; it becomes a metric label.
const LONGEST_NAME: usize = 64;
/// Longest interface name: `IFNAMSIZ` less the terminating zero.
const LONGEST_INTERFACE: usize = 15;

/// A string that says something.
pub fn text(item: &Item<'_>) -> Option<String> {
    let text = item.text()?;
    if text.trim().is_empty() {
        return item.fault("this is empty", "write a value or remove the key");
    }
    Some(text.to_owned())
}

/// A file's path.
pub fn path(item: &Item<'_>) -> Option<PathBuf> {
    let path = text(item)?;
    if path.contains('\0') {
        return item.fault("a path cannot contain a zero byte", "write a plain path");
    }
    Some(PathBuf::from(path))
}

/// A Unix socket's path.
pub fn socket_path(item: &Item<'_>) -> Option<PathBuf> {
    let path = path(item)?;
    let length = path.as_os_str().len();
    if length > LONGEST_SOCKET_PATH {
        let what = format!("the path of a Unix socket cannot be {length} bytes long");
        return item.fault(what, format!("write at most {LONGEST_SOCKET_PATH}"));
    }
    Some(path)
}

/// Where metrics are served: this machine only, since they come without authentication.
pub fn loopback(item: &Item<'_>) -> Option<SocketAddr> {
    let text = item.text()?;
    let Ok(address) = text.parse::<SocketAddr>() else {
        let what = format!("{text:?} is not an address and a port");
        return item.fault(what, r#"write one such as "127.0.0.1:9180" or "[::1]:9180""#);
    };
    if !address.ip().is_loopback() {
        let what = format!("{} can be reached from outside this machine", address.ip());
        return item.fault(what, "write a loopback address, 127.0.0.1 or [::1]; let a collector run here");
    }
    Some(address)
}

/// A node's name.
pub fn node_name(item: &Item<'_>) -> Option<String> {
    let name = item.text()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(plain) {
        let remedy = format!("write 1 to {LONGEST_NAME} letters, digits, \"-\", \"_\" or \".\"");
        return item.fault(format!("{name:?} cannot be a node's name"), remedy);
    }
    Some(name.to_owned())
}

/// A network interface's name.
pub fn interface(item: &Item<'_>) -> Option<String> {
    let name = item.text()?;
    let odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > LONGEST_INTERFACE || name.contains(odd) || name == "." || name == ".."
    {
        let what = format!("{name:?} cannot be an interface's name");
        return item.fault(what, "write a name as `ip link` shows it");
    }
    Some(name.to_owned())
}

/// A device: its IMSI.
pub fn device(item: &Item<'_>) -> Option<DeviceId> {
    let imsi = item.text()?;
    let invalid = api::check_device_id("device", imsi);
    for api::Invalid { reason, .. } in &invalid {
        item.refuse(reason.clone());
    }
    invalid.is_empty().then(|| DeviceId(imsi.to_owned()))
}

/// Kinds of access, at least one, each once.
pub fn kinds(item: &Item<'_>) -> Option<Vec<AccessKind>> {
    let words = AccessKind::ALL.map(|kind| (kind.name(), kind));
    distinct(item, "kind of access", |item| item.choice(&words))
}

/// Security protocols, at least one, each once.
pub fn protocols(item: &Item<'_>) -> Option<Vec<Class>> {
    let words: Vec<_> = Class::ALL.iter().map(|class| (class.name(), *class)).collect();
    distinct(item, "protocol", |item| item.choice(&words))
}

/// A list of at least one element without repetitions.
pub fn distinct<'d, T: PartialEq>(
    list: &Item<'d>,
    noun: &str,
    read: impl Fn(&Item<'d>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut known: Vec<T> = Vec::new();
    let mut sound = true;
    let items = list.items()?;
    if items.is_empty() {
        return list.fault("the list is empty", format!("write at least one {noun}"));
    }
    for item in items {
        match read(&item) {
            Some(value) if known.contains(&value) => {
                item.fault::<()>(format!("this {noun} is listed twice"), "remove one");
                sound = false;
            }
            Some(value) => known.push(value),
            None => sound = false,
        }
    }
    sound.then_some(known)
}
