//! An XDP program that is not weir's: two instructions that pass every packet.
//!
//! What it must not do: use weir's or aya's loader; a stranger has neither. Read first: bpf(2).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};

const PROG_LOAD: i64 = 5;
const LINK_CREATE: i64 = 28;
const TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
const DRIVER_MODE: u32 = 1 << 2;
/// `r0 = XDP_PASS; exit`.
const PASS: [u64; 2] = [0x0000_0002_0000_00b7, 0x95];

/// The head of `union bpf_attr` for loading.
#[repr(C)]
struct Load {
    kind: u32,
    instructions: u32,
    program: u64,
    license: u64,
    rest: [u64; 13],
}

/// The head of `union bpf_attr` for a link.
#[repr(C)]
struct Link {
    program: u32,
    interface: u32,
    attach: u32,
    flags: u32,
    rest: [u64; 14],
}

/// Attaches the program to an interface of this thread's network namespace, until the link is dropped.
pub fn attach(interface: &str) -> Result<OwnedFd> {
    let load = Load {
        kind: TYPE_XDP,
        instructions: PASS.len() as u32,
        program: PASS.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        rest: [0; 13],
    };
    // SAFETY: program and licence outlive the call.
    let program = unsafe { bpf(PROG_LOAD, &load) }.context("loading a program of two instructions")?;
    let name = CString::new(interface)?;
    // SAFETY: the name is a string that ends with a zero.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    let program_number = program.as_raw_fd() as u32;
    let link = Link {
        program: program_number,
        interface: index,
        attach: ATTACH_XDP,
        flags: DRIVER_MODE,
        rest: [0; 14],
    };
    // SAFETY: the structure holds no pointers.
    unsafe { bpf(LINK_CREATE, &link) }.context("attaching it")
}

/// # Safety
/// `attributes` is what the command reads, and its pointers hold.
unsafe fn bpf<T>(command: i64, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's, and the kernel reads no more than the size it is given.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    match i32::try_from(answer) {
        // SAFETY: the kernel has just given it to us.
        Ok(number) if number >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(number) }),
        _ => Err(io::Error::last_os_error()),
    }
}
