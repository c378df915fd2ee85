//! A place of its own for a test: a network namespace with a veth pair, and a BPF file system that nobody else
//! sees. Both belong to a thread and end with it, whatever becomes of the test.

use std::{ffi::CStr, fs, io, process::Command, ptr, thread};

/// Where the test's BPF file system is mounted.
pub const BPFFS: &str = "/sys/fs/bpf";

/// Runs in a fresh network namespace that has a veth pair, `left` and `right`, beside `lo`. Nothing but the test
/// sends anything there.
pub fn in_a_namespace(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        // SAFETY: concerns this thread only, which was made for it.
        let failed = unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) };
        assert_eq!(failed, 0, "namespaces: {}", io::Error::last_os_error());
        mount_bpffs();
        // Neighbour discovery would be counted among the test's packets.
        fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").expect("a setting of this namespace");
        fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").expect("a setting of this namespace");
        ip("link set lo up");
        add_pair();
        test();
    };
    thread::spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Makes the veth pair, and switches it on.
pub fn add_pair() {
    ip("link add left type veth peer name right");
    ip("link set left up");
    ip("link set right up");
}

/// Runs `ip` in this thread's namespaces.
pub fn ip(arguments: &str) {
    let ended = Command::new("ip").args(arguments.split(' ')).status().expect("`ip` is installed");
    assert!(ended.success(), "ip {arguments}");
}

fn mount_bpffs() {
    mount(c"none", c"/", None, libc::MS_REC | libc::MS_PRIVATE);
    mount(c"bpf", c"/sys/fs/bpf", Some(c"bpf"), 0);
}

fn mount(source: &CStr, target: &CStr, kind: Option<&CStr>, flags: libc::c_ulong) {
    let kind = kind.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: the names end with zero bytes and outlive the call; no data is given.
    let failed = unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind, flags, ptr::null()) };
    assert_eq!(failed, 0, "mounting {target:?}: {}", io::Error::last_os_error());
}
