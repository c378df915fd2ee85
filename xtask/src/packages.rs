//! Debian packages: whether they can be installed here, and installing them. It removes nothing: a
//! package that conflicts with an installed one is an error for people to resolve.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{last_line, run_quietly, say};
use crate::survey::{find_program, is_root};

/// The package manager, which brings its lists up to date once, before the first installation.
#[derive(Default)]
pub struct Packages {
    updated: bool,
}

impl Packages {
    /// Whether [`Packages::install`] can do anything: `apt-get` is there, and this is root.
    pub fn possible() -> bool {
        is_root() && find_program("apt-get").is_some()
    }

    /// Installs `names`, saying why.
    ///
    /// # Errors
    /// If this is not root or `apt-get` is missing or fails, for example without network.
    pub fn install(&mut self, names: &[&str], why: &str) -> Result<()> {
        let list = names.join(" ");
        if !Self::possible() {
            bail!("{why} needs the package {list}. As root on Debian or Ubuntu: apt-get install {list}");
        }
        if !self.updated {
            self.updated = true;
            // Old lists may still do: the installation itself tells.
            if let Err(error) =
                run_quietly("updating the package lists (apt-get update)", apt_get().arg("update"))
            {
                say(&format!("  not possible: {}", last_line(&error.to_string())));
            }
        }
        run_quietly(
            &format!("installing {list} ({why})"),
            apt_get().args(["install", "--yes", "--no-remove", "--no-install-recommends"]).args(names),
        )?;
        Ok(())
    }
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    // No questions, and patience with another apt-get that holds the lock.
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=120"]);
    command
}
