//! Two questions to the kernel about an interface: what is it, and what does its driver's XDP do?
//!
//! What this is: one request and one reply each, over rtnetlink (`RTM_GETLINK`) and over the generic netlink
//! family `netdev` (`NETDEV_CMD_DEV_GET`, kernel 6.3 and later). What it must not do: dump, listen or change.
//! Read first: netlink(7), rtnetlink(7), and `Documentation/netlink/specs/netdev.yaml` of the kernel.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// The kernel answers at once; a kernel that does not answer must not hang whoever asks.
const PATIENCE: Duration = Duration::from_secs(2);
const REQUEST: u16 = 1;
const SEQUENCE: u32 = 1;
/// Bytes before a message's own: length, kind, flags, sequence, port.
const HEADER: usize = 16;
const ERROR: u16 = 2;
const GET_LINK: u16 = 18;
const CONTROLLER: u16 = 16;

/// What rtnetlink says of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in this network namespace.
    pub index: u32,
    /// The kind of its frames: 1 is Ethernet (`ARPHRD_*`).
    pub hardware: u16,
    /// Whether it is switched on.
    pub is_up: bool,
    /// The largest packet it takes, bytes without the Ethernet header.
    pub mtu: u32,
    /// XDP programs on it: where (`XDP_ATTACHED_*`: 1 driver, 2 stack, 3 adapter) and which.
    pub programs: Vec<(u8, u32)>,
}

/// Asks for an interface by its name; `None` if there is none of this name.
///
/// # Errors
/// Netlink cannot be used, or the reply cannot be read.
pub fn link(name: &str) -> io::Result<Option<Link>> {
    // struct ifinfomsg: any family, any index; then the name. Longer names exist, for aliases only.
    let mut body = vec![0; 16];
    if name.len() > 15 {
        return Ok(None);
    }
    put(&mut body, 3, &[name.as_bytes(), &[0]].concat());
    match ask(None, GET_LINK, &body) {
        Ok(reply) => read_link(&reply).map(Some).ok_or_else(unreadable),
        Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Asks what XDP an interface's driver offers: bits of `NETDEV_XDP_ACT_*`, of which the lowest means that it
/// runs programs at all. `None` from a kernel that does not tell.
///
/// # Errors
/// Netlink cannot be used, or the reply cannot be read.
pub fn xdp_features(index: u32) -> io::Result<Option<u64>> {
    // struct genlmsghdr: CTRL_CMD_GETFAMILY, version 1; then the family's name.
    let mut body = vec![3, 1, 0, 0];
    put(&mut body, 2, b"netdev\0");
    let family = match ask(Some(netlink::GENERIC), CONTROLLER, &body) {
        Ok(reply) => read_family(&reply).ok_or_else(unreadable)?,
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => return Ok(None),
        Err(error) => return Err(error),
    };
    // NETDEV_CMD_DEV_GET, version 1; then the interface's number.
    let mut body = vec![1, 1, 0, 0];
    put(&mut body, 1, &index.to_ne_bytes());
    let reply = ask(Some(netlink::GENERIC), family, &body)?;
    read_features(&reply).map(Some).ok_or_else(unreadable)
}

/// Sends a request and returns the body of the reply.
fn ask(protocol: Option<Protocol>, kind: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    let socket: OwnedFd =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend([kind.to_ne_bytes(), REQUEST.to_ne_bytes()].concat());
    message.extend([SEQUENCE.to_ne_bytes(), [0; 4]].concat());
    message.extend(body);
    send(&socket, &message, SendFlags::empty())?;
    let mut reply = vec![0; 1 << 16];
    let (length, _) = recv(&socket, reply.as_mut_slice(), RecvFlags::empty())?;
    reply.truncate(length);
    Ok(read_message(&reply)?.to_vec())
}

/// The body of a message, or the error that it is.
fn read_message(message: &[u8]) -> io::Result<&[u8]> {
    let length = u32_at(message, 0).ok_or_else(unreadable)? as usize;
    let kind = u16_at(message, 4).ok_or_else(unreadable)?;
    let body = message.get(HEADER..length).ok_or_else(unreadable)?;
    if kind == ERROR {
        let number = u32_at(body, 0).ok_or_else(unreadable)? as i32;
        return Err(io::Error::from_raw_os_error(number.saturating_neg()));
    }
    Ok(body)
}

fn read_link(body: &[u8]) -> Option<Link> {
    // struct ifinfomsg: family, padding, hardware, index, flags, change.
    let (hardware, index, flags) = (u16_at(body, 2)?, u32_at(body, 4)?, u32_at(body, 8)?);
    let attributes = || attributes(body.get(16..).unwrap_or_default());
    let mtu = attributes().find(|(kind, _)| *kind == 4).and_then(|(_, value)| u32_at(value, 0))?;
    let xdp = attributes().find(|(kind, _)| *kind == 43).map_or(&[][..], |(_, value)| value);
    Some(Link { index, hardware, is_up: flags & 1 != 0, mtu, programs: read_programs(xdp) })
}

/// Programs by where they are attached. With one program its place stands beside its number, with several each
/// place has a number of its own.
fn read_programs(xdp: &[u8]) -> Vec<(u8, u32)> {
    let number = |wanted: u16| attributes(xdp).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let own = |(place, kind): (u8, u16)| Some((place, u32_at(number(kind)?, 0)?));
    let each: Vec<_> = [(1, 5), (2, 6), (3, 7)].into_iter().filter_map(own).collect();
    if !each.is_empty() {
        return each;
    }
    match (number(2).and_then(|place| place.first()), number(4).and_then(|value| u32_at(value, 0))) {
        (Some(place), Some(program)) if *place != 0 => vec![(*place, program)],
        _ => Vec::new(),
    }
}

fn read_family(body: &[u8]) -> Option<u16> {
    u16_at(attributes(body.get(4..)?).find(|(kind, _)| *kind == 1)?.1, 0)
}

fn read_features(body: &[u8]) -> Option<u64> {
    let (_, value) = attributes(body.get(4..)?).find(|(kind, _)| *kind == 3)?;
    Some(u64::from_ne_bytes(value.get(..8)?.try_into().ok()?))
}

/// Kind and value of each attribute; ends where the bytes make no more sense.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = (usize::from(u16_at(bytes, 0)?), u16_at(bytes, 2)?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        // The two highest bits say how the value is to be read, not what it is.
        Some((kind & 0x3fff, value))
    })
}

fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = 4 + value.len();
    body.extend([(length as u16).to_ne_bytes(), kind.to_ne_bytes()].concat());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's netlink reply cannot be read")
}

#[cfg(test)]
mod tests;
