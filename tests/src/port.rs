//! A raw socket on one interface of a world: sends frames, and tells which marked packets have come.
//!
//! Arrival is awaited with a deadline. Absence is never waited for: [`Port::arrivals_before`] sends a *fence*, a
//! packet that the gate surely passes, on the same path; what has not come before it will not come any more.
//! That holds because a world keeps order: one queue per cable end, and every send from the same CPU, whose
//! backlog carries a packet through all hops. Read packet(7) first.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::cable::{End, Mac};
use crate::packet::{Marker, Packet};
use crate::remains::readable_by;

/// Room for what arrives while nobody reads, in bytes of kernel memory.
const BACKLOG: usize = 8 << 20;
/// Larger than any frame, merged segments included.
const LARGEST_FRAME: usize = 1 << 17;
/// "Local Experimental Ethertype 1" (IEEE 802): no host forwards or answers it.
const EXPERIMENTAL: [u8; 2] = [0x88, 0xb5];
/// How long a probe frame may take before another is sent.
const PROBE_INTERVAL: Duration = Duration::from_millis(5);

/// A marked packet that came in.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Which one.
    pub marker: Marker,
    /// The frame it came in, from the Ethernet header on.
    pub frame: Vec<u8>,
}

/// One end of a cable, to send from and to listen at.
#[derive(Debug)]
pub struct Port {
    socket: OwnedFd,
    own: Mac,
    peer: Mac,
    place: String,
    /// Arrived, and not yet asked for.
    waiting: VecDeque<Arrival>,
}

impl Port {
    /// Opens a raw socket at a cable's end; packets will be addressed to `peer` at the other.
    pub fn open(end: &End, peer: Mac) -> Result<Self> {
        let place = format!("{} in {}", end.interface, end.namespace.name());
        let socket = end
            .namespace
            .enter(|| Ok(listen(&end.interface)?))
            .with_context(|| format!("cannot open a raw socket on {place}"))?;
        Ok(Self { socket, own: end.mac, peer, place, waiting: VecDeque::new() })
    }

    /// Sends a packet to the other end of the cable.
    pub fn send(&self, packet: &Packet) -> Result<()> {
        self.send_frame(&packet.frame(self.own, self.peer)?)
    }

    /// Sends a frame as it is.
    pub fn send_frame(&self, frame: &[u8]) -> Result<()> {
        let sent = on_the_path_cpu(|| rustix::net::send(&self.socket, frame, SendFlags::empty()))?
            .with_context(|| format!("cannot send {} bytes on {}", frame.len(), self.place))?;
        ensure!(sent == frame.len(), "only {sent} of {} bytes were sent on {}", frame.len(), self.place);
        Ok(())
    }

    /// Waits for this packet; what came before it stays available. An error if it has not come in time.
    pub fn expect(&mut self, marker: Marker, within: Duration) -> Result<Arrival> {
        let deadline = Instant::now() + within;
        let mut known = 0;
        loop {
            if let Some(at) = self.waiting.iter().skip(known).position(|arrival| arrival.marker == marker) {
                return self.waiting.remove(known + at).context("its position was just found");
            }
            known = self.waiting.len();
            ensure!(
                self.read_by(deadline)?,
                "{marker} did not arrive at {} within {within:?}; others that did: {:?}",
                self.place,
                self.waiting.iter().map(|arrival| arrival.marker.0).collect::<Vec<_>>()
            );
        }
    }

    /// The packets that have arrived so far and were not asked for yet, in order. Does not wait.
    pub fn arrived(&mut self) -> Result<Vec<Marker>> {
        while self.read_by(Instant::now())? {}
        Ok(self.waiting.drain(..).map(|arrival| arrival.marker).collect())
    }

    /// What arrived before the fence, and was not asked for yet. `send_fence` sends `fence` on the path in
    /// question (same cables, same direction) and must be sure to pass the gate: a device that is exempt,
    /// or has an open session. An error if the fence itself does not arrive.
    pub fn arrivals_before(
        &mut self,
        fence: Marker,
        within: Duration,
        send_fence: impl FnOnce() -> Result<()>,
    ) -> Result<Vec<Marker>> {
        send_fence().context("the fence was not sent")?;
        self.expect(fence, within).context("the fence did not arrive, so that silence proves nothing")?;
        Ok(self.waiting.drain(..).map(|arrival| arrival.marker).collect())
    }

    /// As [`Port::arrivals_before`]; an error if anything arrived at all.
    pub fn expect_silence(
        &mut self,
        fence: Marker,
        within: Duration,
        send_fence: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let arrived = self.arrivals_before(fence, within, send_fence)?;
        ensure!(arrived.is_empty(), "{} should have been silent, but {arrived:?} arrived", self.place);
        Ok(())
    }

    /// Sends frames that no host takes for traffic until one arrives at `other`; false if none does in time.
    pub(crate) fn reaches(&self, other: &mut Self, deadline: Instant) -> Result<bool> {
        let mut probe = [&self.peer.0[..], &self.own.0, &EXPERIMENTAL, b"probe"].concat();
        probe.resize(60, 0);
        let mut buffer = vec![0; LARGEST_FRAME];
        while Instant::now() < deadline {
            self.send_frame(&probe)?;
            while readable_by(&other.socket, Instant::now() + PROBE_INTERVAL)? {
                if other.receive(&mut buffer)?.is_some_and(|frame| frame == probe) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Takes one frame, marked or not; false if none came by the deadline.
    fn read_by(&mut self, deadline: Instant) -> Result<bool> {
        if !readable_by(&self.socket, deadline).with_context(|| format!("cannot listen on {}", self.place))? {
            return Ok(false);
        }
        let mut buffer = vec![0; LARGEST_FRAME];
        if let Some(frame) = self.receive(&mut buffer)? {
            let arrivals = Marker::all_in(frame).into_iter();
            self.waiting.extend(arrivals.map(|marker| Arrival { marker, frame: frame.to_vec() }));
        }
        Ok(true)
    }

    fn receive<'b>(&self, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>> {
        match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((length, _)) => Ok(Some(&buffer[..length])),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot receive on {}", self.place)),
        }
    }
}

/// A raw socket that hears everything that comes in on an interface of the calling thread's namespace.
fn listen(interface: &str) -> std::io::Result<OwnedFd> {
    // Protocol 0 hears nothing until it is bound, so that nothing of other interfaces gets in.
    let socket = rustix::net::socket_with(
        AddressFamily::PACKET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None::<Protocol>,
    )?;
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, BACKLOG)?;
    ignore_outgoing(&socket)?;
    let index = rustix::net::netdevice::name_to_index(&socket, interface)?;
    bind(&socket, index)?;
    Ok(socket)
}

/// What the socket's own side sends is not an arrival.
fn ignore_outgoing(socket: &OwnedFd) -> std::io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is an int, and its size is given.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_IGNORE_OUTGOING,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn bind(socket: &OwnedFd, interface: u32) -> std::io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: interface as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the address is a complete sockaddr_ll, and its size is given.
    let outcome = unsafe {
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as libc::socklen_t)
    };
    if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Runs `send` on the one CPU from which all packets start, and lets the thread go where it may afterwards.
fn on_the_path_cpu<T>(send: impl FnOnce() -> T) -> Result<T> {
    static PATH: OnceLock<Option<usize>> = OnceLock::new();
    let allowed = sched_getaffinity(None).context("cannot read this thread's CPUs")?;
    let first = || (0..CpuSet::MAX_CPU).find(|&cpu| allowed.is_set(cpu));
    let path = PATH.get_or_init(first).context("this thread may run on no CPU")?;
    let mut only = CpuSet::new();
    only.set(path);
    sched_setaffinity(None, &only).with_context(|| format!("cannot run on CPU {path}"))?;
    let outcome = send();
    sched_setaffinity(None, &allowed).context("cannot give this thread its CPUs back")?;
    Ok(outcome)
}
