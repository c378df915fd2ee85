//! What a privileged test needs, looked for before it begins.
//!
//! Missing rights are a failure that says what is missing; only `WEIR_ALLOW_SKIP=1` turns it into a visible
//! skip. It must never let a test pass silently.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{CapabilitySet, UnshareFlags};

/// The variable that allows skipping.
pub const ALLOW_SKIP: &str = "WEIR_ALLOW_SKIP";
/// The variable that names the `weir` binary.
pub const BINARY: &str = "WEIR_BIN";

/// For tests that run `weir` in a world: rights for the world, for BPF, and the built binary. True if the
/// test may go on; false if it is to be skipped.
///
/// # Panics
/// If something is missing and skipping is not allowed.
pub fn require(test: &str) -> bool {
    decide(test, world().and_then(|()| gate()), skipping_is_allowed())
}

/// For tests of worlds alone, as [`require`] without BPF and binary.
///
/// # Panics
/// If something is missing and skipping is not allowed.
pub fn require_world(test: &str) -> bool {
    decide(test, world(), skipping_is_allowed())
}

/// The `weir` binary: `WEIR_BIN`, else beside this executable or in the directory above (tests run from `deps`).
pub fn weir_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(BINARY).map(PathBuf::from) {
        ensure!(path.is_file(), "{BINARY} names {}, which is no file", path.display());
        return Ok(path);
    }
    let own = std::env::current_exe().context("cannot tell where this executable is")?;
    let found = own.ancestors().skip(1).take(2).map(|place| place.join("weir")).find(|path| path.is_file());
    found.with_context(|| {
        format!(
            "no `weir` binary beside {} or above it: build it (`cargo build -p weir`) or set {BINARY}",
            own.display()
        )
    })
}

fn skipping_is_allowed() -> bool {
    std::env::var_os(ALLOW_SKIP).is_some_and(|allowed| allowed == "1")
}

fn decide(test: &str, rights: Result<()>, may_skip: bool) -> bool {
    let Err(reason) = rights else { return true };
    assert!(may_skip, "{test} cannot run: {reason:#} ({ALLOW_SKIP}=1 skips it)");
    println!("SKIPPED {test}: {reason:#}");
    false
}

/// Whether a world can be made here.
pub fn world() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "not root");
    demand(&[(CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"), (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN")])?;
    ensure!(
        Command::new("ip")
            .arg("-V")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success()),
        "the `ip` command (package iproute2) is missing"
    );
    // Tried on a thread of its own, whose namespace vanishes with it.
    // SAFETY: a network namespace is the thread's alone to leave; no memory or descriptor is unshared.
    let tried = std::thread::spawn(|| unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }).join();
    match tried {
        Ok(outcome) => outcome.context("cannot make a network namespace"),
        Err(_) => bail!("cannot make a network namespace: the thread that tried has ended"),
    }
}

/// Whether `weir` can load its program here, and is there.
pub fn gate() -> Result<()> {
    demand(&[(CapabilitySet::BPF, "CAP_BPF"), (CapabilitySet::PERFMON, "CAP_PERFMON")])?;
    weir_binary().map(drop)
}

fn demand(wanted: &[(CapabilitySet, &str)]) -> Result<()> {
    let held =
        rustix::thread::capabilities(None).context("cannot read this process's capabilities")?.effective;
    for (capability, name) in wanted {
        ensure!(held.contains(*capability), "{name} is missing");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_with_its_rights_runs() {
        assert!(decide("a test", Ok(()), false));
        assert!(decide("a test", Ok(()), true));
    }

    #[test]
    fn a_test_without_its_rights_is_skipped_where_that_is_allowed() {
        assert!(!decide("a test", Err(anyhow::anyhow!("not root")), true));
    }

    #[test]
    #[should_panic(expected = "a test cannot run: not root")]
    fn a_test_without_its_rights_fails_elsewhere() {
        decide("a test", Err(anyhow::anyhow!("not root")), false);
    }
}
