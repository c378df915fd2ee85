//! Frames in and out of an interface through a raw socket: for measurements that want to see both ends.
//!
//! Not the packet path: every frame is copied to or from user space. Needs `CAP_NET_RAW`. Read first: packet(7).

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::Duration,
};

use crate::Error;

/// Room for what arrives while nobody reads, bytes of kernel memory.
const BACKLOG: libc::c_int = 8 << 20;

/// A raw socket on one interface of the network namespace in which it was opened.
pub struct RawPort {
    socket: OwnedFd,
    interface: String,
}

impl RawPort {
    /// Opens it. It hears what comes in, not what goes out.
    ///
    /// # Errors
    /// [`Error::NoInterface`], [`Error::Raw`].
    pub fn open(interface: &str) -> Result<Self, Error> {
        let fault =
            |error: io::Error| Error::Raw { interface: interface.to_owned(), cause: error.to_string() };
        let index = index_of(interface)?;
        // Protocol 0 hears nothing until it is bound, so that nothing of other interfaces gets in.
        // SAFETY: a call with plain numbers; the descriptor, if there is one, is ours alone.
        let socket = unsafe {
            let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
            if socket < 0 {
                return Err(fault(io::Error::last_os_error()));
            }
            OwnedFd::from_raw_fd(socket)
        };
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &BACKLOG).map_err(fault)?;
        set(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1).map_err(fault)?;
        bind(&socket, index).map_err(fault)?;
        Ok(Self { socket, interface: interface.to_owned() })
    }

    /// Sends a frame as it is; false if the interface's queue is full.
    ///
    /// # Errors
    /// [`Error::Raw`].
    pub fn send(&self, frame: &[u8]) -> Result<bool, Error> {
        // SAFETY: the bytes are readable for the length given.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent >= 0 {
            return Ok(true);
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(false),
            error => Err(self.fault(&error)),
        }
    }

    /// Waits for a frame, at most this long, and puts it into `buffer`; its length, or `None` if none came.
    ///
    /// # Errors
    /// [`Error::Raw`].
    pub fn receive(&self, buffer: &mut [u8], within: Duration) -> Result<Option<usize>, Error> {
        let mut poll = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let milliseconds = within.as_millis().min(i32::MAX as u128) as libc::c_int;
        // SAFETY: one live pollfd, and its number; then a buffer that is writable for the length given.
        let length = unsafe {
            if libc::poll(&mut poll, 1, milliseconds) <= 0 {
                return Ok(None);
            }
            libc::recv(self.socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT)
        };
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) => match io::Error::last_os_error() {
                error if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    Ok(None)
                }
                error => Err(self.fault(&error)),
            },
        }
    }

    fn fault(&self, error: &io::Error) -> Error {
        Error::Raw { interface: self.interface.clone(), cause: error.to_string() }
    }
}

/// The number of an interface of this thread's network namespace.
///
/// # Errors
/// [`Error::NoInterface`].
pub fn index_of(interface: &str) -> Result<u32, Error> {
    let absent = || Error::NoInterface(interface.to_owned());
    let name = CString::new(interface).map_err(|_| absent())?;
    // SAFETY: the name ends with a zero byte.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 { Err(absent()) } else { Ok(index) }
}

fn set(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: &libc::c_int) -> io::Result<()> {
    let size = size_of_val(value) as libc::socklen_t;
    let value = std::ptr::from_ref(value).cast();
    // SAFETY: the option's value is an int, and its size is given.
    let outcome = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, size) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn bind(socket: &OwnedFd, interface: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: interface as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let size = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address is a complete sockaddr_ll, and its size is given.
    let outcome = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
