//! The clock the kernel program reads, read from user space.

use weir_dataplane_common::tick::Tick;

/// The coarse monotonic clock, ns: what `bpf_ktime_get_coarse_ns` returns.
pub fn coarse_nanos() -> u64 {
    nanos_of(libc::CLOCK_MONOTONIC_COARSE)
}

/// The monotonic clock, ns: what `bpf_ktime_get_ns` returns.
pub fn monotonic_nanos() -> u64 {
    nanos_of(libc::CLOCK_MONOTONIC)
}

fn nanos_of(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec.
    let failed = unsafe { libc::clock_gettime(clock, &mut time) };
    assert_eq!(failed, 0, "the monotonic clocks exist on every kernel that runs the program");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The same as a tick.
pub fn now() -> Tick {
    Tick::from_nanos(coarse_nanos())
}
