//! Rules about the machine as a whole: kernel, rights, program, clock of the day.
//!
//! What it must not do: know interfaces or configuration.

use std::time::Duration;

use super::Finding;
use super::Severity::{Note, Problem, Warning};
use crate::doctor::machine::Clock;

/// `bpf_xdp_load_bytes`, which copies a held frame, is of this version.
const OLDEST_KERNEL: (u32, u32) = (5, 18);
/// What nodes' clocks may differ by: half of the shortest window in seconds is not to be lost to it.
const TOLERATED_ERROR: Duration = Duration::from_millis(500);

pub fn kernel(release: &str) -> Finding {
    const CHECK: &str = "kernel";
    let (major, minor) = OLDEST_KERNEL;
    match version(release) {
        Some(version) if version >= OLDEST_KERNEL => {
            Finding::ok(CHECK, format!("Linux {release} is new enough ({major}.{minor} is needed)"))
        }
        Some(_) => Finding::new(
            Problem,
            CHECK,
            format!("Linux {release} is too old: the XDP program needs {major}.{minor}"),
            "boot a newer kernel; distributions keep one in their backports",
        ),
        None => Finding::new(
            Warning,
            CHECK,
            format!("the kernel's release {release:?} begins with no version"),
            format!("see to it that it is Linux {major}.{minor} or later"),
        ),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

pub fn capabilities(missing: &[&str]) -> Finding {
    const CHECK: &str = "capabilities";
    if missing.is_empty() {
        return Finding::ok(CHECK, "this process may load and attach XDP programs");
    }
    Finding::new(
        Problem,
        CHECK,
        format!("this process may not load and attach XDP programs: {} missing", missing.join(", ")),
        "run the node (and this) as root, or give the binary the rights: \
         `setcap cap_net_admin,cap_perfmon,cap_bpf+ep` with its path",
    )
}

pub fn program(is_embedded: bool) -> Finding {
    const CHECK: &str = "program";
    if is_embedded {
        return Finding::ok(CHECK, "this binary carries the XDP program");
    }
    Finding::new(
        Problem,
        CHECK,
        "this binary was built without the XDP program",
        "run `cargo xtask build-ebpf` and build it again, or install a package",
    )
}

pub fn jit(is_on: Option<bool>) -> Finding {
    const CHECK: &str = "jit";
    match is_on {
        Some(true) => Finding::ok(CHECK, "the kernel compiles BPF programs"),
        Some(false) => Finding::new(
            Warning,
            CHECK,
            "the kernel interprets BPF programs, which costs many times the time for each packet",
            "`sysctl net.core.bpf_jit_enable=1`, and a line in /etc/sysctl.d so that it lasts",
        ),
        None => Finding::ok(
            CHECK,
            "the kernel does not show here whether it compiles BPF programs; where nothing shows, it usually does",
        ),
    }
}

pub fn type_information(is_there: bool) -> Finding {
    const CHECK: &str = "btf";
    if is_there {
        return Finding::ok(CHECK, "the kernel carries its type information");
    }
    Finding::new(
        Note,
        CHECK,
        "the kernel carries no type information (/sys/kernel/btf/vmlinux)",
        "nothing: weir does not need it; tools such as bpftool show less without it",
    )
}

pub fn bpf_file_system(is_mounted: bool) -> Finding {
    const CHECK: &str = "bpffs";
    if is_mounted {
        return Finding::ok(CHECK, "the BPF file system is mounted");
    }
    Finding::new(
        Note,
        CHECK,
        "the BPF file system is not mounted at /sys/fs/bpf: nothing can be kept there when the node ends",
        "`mount -t bpf bpf /sys/fs/bpf`; systemd does it at boot",
    )
}

pub fn clock(clock: &Result<Clock, String>) -> Finding {
    const CHECK: &str = "clock";
    const ADVICE: &str =
        "run chrony, systemd-timesyncd or another NTP or PTP client on control and on every node";
    match clock {
        Err(words) => Finding::new(
            Note,
            CHECK,
            format!("the kernel does not tell whether the clock is synchronised: {words}"),
            "look with `timedatectl` or `chronyc tracking`: nodes' counts are added up by their clocks",
        ),
        Ok(Clock { synchronised: false, .. }) => Finding::new(
            Warning,
            CHECK,
            "the clock is not synchronised: counts of several nodes are added up by their clocks, and deadlines \
             from control are instants of its clock",
            ADVICE,
        ),
        Ok(Clock { max_error, .. }) if *max_error > TOLERATED_ERROR => Finding::new(
            Warning,
            CHECK,
            format!("the clock is synchronised, but may be wrong by {} ms", max_error.as_millis()),
            format!("{ADVICE}; see why its sources are poor (`chronyc sources`)"),
        ),
        Ok(Clock { max_error, .. }) => Finding::ok(
            CHECK,
            format!("the clock is synchronised and wrong by {} ms at most", max_error.as_millis()),
        ),
    }
}
