//! The clock, read once per packet that needs one.
//!
//! The live program reads the kernel's coarse monotonic clock, whose step is a timer tick and whose cost is a
//! few nanoseconds. The private copy reads what user space set: the capture's time.

use weir_dataplane_common::tick::Tick;

#[cfg(not(feature = "replay"))]
#[inline(always)]
pub fn now() -> Tick {
    // SAFETY: a helper without arguments.
    Tick::from_nanos(unsafe { aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns() })
}

#[cfg(feature = "replay")]
#[inline(always)]
pub fn now() -> Tick {
    Tick::from_nanos(crate::maps::REPLAY_CLOCK.get(0).copied().unwrap_or(0))
}
