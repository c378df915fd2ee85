//! `weir node detach NAME`: removes all that a node has pinned in the kernel, which opens its gate.
//!
//! What this is: arguments in, a line for each thing removed on standard output. What it must not do: know what is
//! pinned and how; that is `weir_dataplane::pins`. It asks neither control nor a configuration file, for it must
//! work when both are gone.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use weir_dataplane::pins::{self, Removed};
use weir_dataplane::{Error, Pins};

/// Remove all that a node has left in the kernel: attachments to interfaces, programs, maps.
#[derive(Debug, clap::Args)]
#[command(after_help = "From then on packets pass unjudged, until the node starts again. \
                        Exit code: 0 also if there was nothing to remove.")]
pub struct Detach {
    /// The node's name, as its configuration has it.
    name: String,
    /// Where the BPF file system is mounted: `bpffs` in the node's configuration.
    #[arg(long, value_name = "DIR", default_value = pins::BPFFS)]
    bpffs: PathBuf,
    /// Remove it even if the node's agent is running; the agent goes on, and judges nothing.
    #[arg(long)]
    force: bool,
}

impl Detach {
    /// Removes, and says what.
    ///
    /// # Errors
    /// The node's agent is running; the kernel refuses; standard output cannot be written to.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        // Held until all is removed, so that no agent of this node starts meanwhile.
        let _claim = match pins::claim(&self.name) {
            Err(Error::NodeRuns { .. }) if self.force => None,
            claim => Some(claim?),
        };
        let pins = Pins::new(&self.bpffs, &self.name);
        let removed = pins.detach_all(self.force)?;
        let mut out = io::stdout().lock();
        for one in &removed {
            writeln!(out, "removed {one}")?;
        }
        writeln!(out, "{}", self.summary(&pins, &removed))?;
        Ok(ExitCode::SUCCESS)
    }

    fn summary(&self, pins: &Pins, removed: &[Removed]) -> String {
        let links = removed.iter().filter(|one| one.kind == "link").count();
        match (removed.len(), links) {
            (0, _) => format!("nothing is pinned for node {:?} in {}", self.name, pins.directory().display()),
            (_, 0) => "no interface was attached".to_owned(),
            (_, 1) => "1 interface is no longer judged".to_owned(),
            (_, links) => format!("{links} interfaces are no longer judged"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(kinds: &[&'static str]) -> String {
        let detach = Detach { name: "pgw-1".to_owned(), bpffs: "/bpf".into(), force: false };
        let removed: Vec<_> = kinds.iter().map(|kind| Removed { kind, path: "/bpf/x".into() }).collect();
        detach.summary(&Pins::new(&detach.bpffs, &detach.name), &removed)
    }

    #[test]
    fn what_is_open_now_is_said_in_the_end() {
        assert_eq!(summary(&[]), r#"nothing is pinned for node "pgw-1" in /bpf/weir/pgw-1"#);
        assert_eq!(summary(&["map", "directory"]), "no interface was attached");
        assert_eq!(summary(&["link", "map"]), "1 interface is no longer judged");
        assert_eq!(summary(&["link", "link"]), "2 interfaces are no longer judged");
    }

    #[test]
    fn a_node_whose_agent_runs_is_left_alone() {
        let name = format!("detached-{}", std::process::id());
        let claim = pins::claim(&name).expect("nobody has it");
        let detach = Detach { name, bpffs: "/nowhere".into(), force: false };
        let refused = detach.run().expect_err("the agent runs");
        assert!(refused.to_string().contains("is running"), "{refused}");
        drop(claim);
        detach.run().expect("nothing to do is no error");
    }
}
