//! Switches generic receive offload on: a veth end without an XDP program takes XDP frames only with it.
//!
//! Read first: ethtool's `ETHTOOL_SGRO` in `linux/ethtool.h`, netdevice(7) for `ifreq`.

use std::io;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_SGRO: u32 = 0x2c;

#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Switches it on for an interface of the calling thread's namespace.
///
/// # Errors
/// If the driver refuses.
pub fn receive_offload_on(interface: &str) -> Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    let mut value = Value { command: ETHTOOL_SGRO, data: 1 };
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(interface.bytes().take(libc::IFNAMSIZ - 1)) {
        *place = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request names an interface and points to a value that outlives the call.
    let failed = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if failed == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
        .with_context(|| format!("cannot switch on receive offload of {interface}"))
}
