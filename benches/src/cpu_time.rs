//! What a run cost the processor, to fractions of a nanosecond per packet.
//!
//! The time of this thread on its processor, what interrupts did meanwhile included, what other threads did not;
//! and of the kernel's thread that receives packets when there are too many at once. Steadier on a shared machine
//! than a clock on the wall, and finer than the kernel's own figure, which is whole nanoseconds. Read first:
//! clock_gettime(2), `CLOCK_THREAD_CPUTIME_ID`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Measures threads that stay on one processor.
pub struct CpuTime {
    receiver: PathBuf,
}

impl CpuTime {
    /// For a thread pinned to this processor.
    ///
    /// # Errors
    /// If the kernel's receiving thread of that processor is not to be found in `/proc`.
    pub fn on(cpu: usize) -> Result<Self> {
        let name = format!("ksoftirqd/{cpu}\n");
        let is_it = |path: &PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm == name);
        let processes = fs::read_dir("/proc").context("cannot read /proc")?;
        let found = processes.filter_map(Result::ok).map(|entry| entry.path()).find(is_it);
        Ok(Self { receiver: found.with_context(|| format!("no thread {}", name.trim()))?.join("schedstat") })
    }

    /// Nanoseconds so far. Only differences mean anything.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn now(&self) -> Result<u64> {
        let told = fs::read_to_string(&self.receiver).context("cannot read schedstat")?;
        let receiver: u64 = told.split_whitespace().next().unwrap_or_default().parse()?;
        Ok(receiver + this_thread())
    }
}

/// Nanoseconds this thread has run.
pub fn this_thread() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "every Linux has CLOCK_THREAD_CPUTIME_ID");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
