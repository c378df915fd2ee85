//! A pinned attachment, asked and changed through the kernel's own calls.
//!
//! aya makes and pins links, but it tells neither the interface of one, nor detaches it while it is pinned, nor lends
//! it. So here are the six commands of bpf(2) for that, each with the part of `union bpf_attr` that it reads
//! (`include/uapi/linux/bpf.h`). Needs Linux 5.9.

use std::{
    ffi::CString,
    fs,
    io::{Error, ErrorKind, Result},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    os::unix::ffi::OsStrExt,
    path::Path,
};

const OBJ_PIN: libc::c_int = 6;
const OBJ_GET: libc::c_int = 7;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const LINK_CREATE: libc::c_int = 28;
const LINK_UPDATE: libc::c_int = 29;
const LINK_DETACH: libc::c_int = 34;

/// Something that is pinned.
pub(crate) struct Object(OwnedFd);

/// What pinning and opening read.
#[repr(C)]
struct AtPath {
    path: u64,
    fd: u32,
    flags: u32,
}

/// What is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Link,
    Program,
    Map,
    Other,
}

/// What a link attaches to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// The program's number.
    pub program: u32,
    /// The interface's number in its network namespace; 0 if the interface is gone.
    pub ifindex: u32,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Program => "program",
            Self::Map => "map",
            Self::Other => "object",
        }
    }
}

impl Object {
    /// Opens what is pinned at `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let fd = bpf(OBJ_GET, &AtPath { path: path.as_ptr() as u64, fd: 0, flags: 0 })?;
        // SAFETY: the kernel has just made this descriptor for us; it closes on exec.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Pins it at `path`, where nothing may be.
    pub fn pin(&self, path: &Path) -> Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let fd = self.0.as_raw_fd() as u32;
        bpf(OBJ_PIN, &AtPath { path: path.as_ptr() as u64, fd, flags: 0 }).map(drop)
    }

    /// Attaches an XDP program to an interface, for as long as this or a pin of it lives. `flags` are those of
    /// `linux/if_link.h`.
    pub fn attach_xdp(program: BorrowedFd<'_>, ifindex: u32, flags: u32) -> Result<Self> {
        #[repr(C)]
        struct Request {
            program: u32,
            ifindex: u32,
            attach_type: u32,
            flags: u32,
        }
        const XDP: u32 = 37;
        let program = program.as_raw_fd() as u32;
        let fd = bpf(LINK_CREATE, &Request { program, ifindex, attach_type: XDP, flags })?;
        // SAFETY: the kernel has just made this descriptor for us; it closes on exec.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Another handle on it.
    pub fn another(&self) -> Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// What it is, by the name that the kernel gives its descriptor.
    pub fn kind(&self) -> Kind {
        let name = fs::read_link(format!("/proc/self/fd/{}", self.0.as_raw_fd())).unwrap_or_default();
        match name.to_str() {
            Some("anon_inode:bpf_link" | "anon_inode:bpf-link") => Kind::Link,
            Some("anon_inode:bpf-prog") => Kind::Program,
            Some("anon_inode:bpf-map") => Kind::Map,
            _ => Kind::Other,
        }
    }

    /// What this link attaches to what.
    pub fn attachment(&self) -> Result<Attachment> {
        /// The beginning of `struct bpf_link_info`, up to what an XDP link says.
        #[repr(C, align(8))]
        #[derive(Default)]
        struct Info {
            kind: u32,
            id: u32,
            program: u32,
            padding: u32,
            ifindex: u32,
            rest: [u32; 11],
        }
        #[repr(C)]
        struct Request {
            fd: u32,
            length: u32,
            info: u64,
        }
        const XDP: u32 = 6;
        let mut info = Info::default();
        let length = size_of::<Info>() as u32;
        let fd = self.0.as_raw_fd() as u32;
        bpf(OBJ_GET_INFO_BY_FD, &Request { fd, length, info: (&raw mut info) as u64 })?;
        if self.kind() != Kind::Link || info.kind != XDP {
            return Err(Error::new(ErrorKind::InvalidData, "this is no XDP link"));
        }
        Ok(Attachment { program: info.program, ifindex: info.ifindex })
    }

    /// Puts `program` in the place of the program that this link attaches. Each packet meets the one or the other.
    pub fn update(&self, program: BorrowedFd<'_>) -> Result<()> {
        #[repr(C)]
        struct Request {
            link: u32,
            program: u32,
            flags: u32,
            expected: u32,
        }
        let (link, program) = (self.0.as_raw_fd() as u32, program.as_raw_fd() as u32);
        bpf(LINK_UPDATE, &Request { link, program, flags: 0, expected: 0 }).map(drop)
    }

    /// Detaches at once, whoever else holds the link.
    pub fn detach(&self) -> Result<()> {
        bpf(LINK_DETACH, &(self.0.as_raw_fd() as u32)).map(drop)
    }
}

impl AsFd for Object {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One bpf(2) call. `request` is the part of `union bpf_attr` for `command`; the kernel takes the rest as zero.
fn bpf<T>(command: libc::c_int, request: &T) -> Result<libc::c_int> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a request laid out as it documents, and writes only where
    // the request's pointers lead: to an `Info` of the length that it is told.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(request), size_of::<T>() as libc::c_uint)
    };
    if answer < 0 { Err(Error::last_os_error()) } else { Ok(answer as libc::c_int) }
}
