//! What a driver says of itself and of the offloads that change frames before XDP sees them.
//!
//! What this is: two ioctls of ethtool, which every kernel has and which need no rights. What it must not do:
//! set anything. The old flags tell of VLAN tags and of LRO; merging by `rx-gro-hw` is not among them.
//! Read first: `include/uapi/linux/ethtool.h`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

const GET_DRIVER_INFO: u32 = 0x03;
const GET_FLAGS: u32 = 0x25;
const RECEIVE_VLAN: u32 = 1 << 8;
const LARGE_RECEIVE: u32 = 1 << 15;
/// Words of the largest of the two structures, `struct ethtool_drvinfo`; it begins with command and driver.
const WORDS: usize = 49;

/// Asks for facts of one network namespace's interfaces, by their names.
pub struct Ethtool(OwnedFd);

/// Offloads that are switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// The adapter takes VLAN tags off and hands them over beside the frame.
    pub receive_vlan: bool,
    /// The adapter merges packets (LRO).
    pub large_receive: bool,
}

impl Ethtool {
    /// Opens the socket that the questions go through.
    ///
    /// # Errors
    /// The kernel refuses a socket.
    pub fn open() -> io::Result<Self> {
        Ok(Self(socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?))
    }

    /// The name of the interface's driver.
    ///
    /// # Errors
    /// There is no such interface, or it has no driver that answers.
    pub fn driver(&self, interface: &str) -> io::Result<String> {
        let answer = self.ask(interface, GET_DRIVER_INFO)?;
        let name: Vec<u8> = answer[1..9].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    /// The interface's offloads.
    ///
    /// # Errors
    /// As [`Ethtool::driver`].
    pub fn offloads(&self, interface: &str) -> io::Result<Offloads> {
        let flags = self.ask(interface, GET_FLAGS)?[1];
        Ok(Offloads { receive_vlan: flags & RECEIVE_VLAN != 0, large_receive: flags & LARGE_RECEIVE != 0 })
    }

    fn ask(&self, interface: &str, command: u32) -> io::Result<[u32; WORDS]> {
        let mut words = [0; WORDS];
        words[0] = command;
        // SAFETY: an `ifreq` of zeros is a valid one.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if interface.len() >= request.ifr_name.len() {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        for (place, byte) in request.ifr_name.iter_mut().zip(interface.bytes()) {
            *place = byte as libc::c_char;
        }
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        // SAFETY: the name ends with a zero, and `words` has room for what either command writes.
        let answer = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SIOCETHTOOL, &mut request) };
        if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(words) }
    }
}
