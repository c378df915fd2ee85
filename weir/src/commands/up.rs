//! `weir up FILE`: control and one node in one process, for a single gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::daemon;

/// Run control and a node in one process.
#[derive(Debug, clap::Args)]
pub struct Up {
    /// The TOML file, with a `control` and a `node` section.
    file: PathBuf,
}

impl Up {
    /// Runs until SIGINT or SIGTERM, or until one of the two fails; the other is then ended as well.
    ///
    /// # Errors
    /// The configuration is faulty, or one of the roles cannot start or go on.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let configuration = daemon::configuration(&self.file)?;
        let file = self.file.display();
        let control =
            configuration.control_role().with_context(|| format!("{file}: there is no [control] section"))?;
        let node =
            configuration.node_role().with_context(|| format!("{file}: there is no [node] section"))?;
        daemon::run(|shutdown| async move {
            let (for_control, for_node) = (shutdown.clone(), shutdown.clone());
            let control = async {
                let ended = weir_server::serve(control, for_control).await;
                shutdown.cancel();
                ended
            };
            let node = async {
                let ended = weir_agent::run(node, for_node.cancelled()).await;
                shutdown.cancel();
                ended
            };
            let (control, node) = tokio::join!(control, node);
            control.context("control ended")?;
            node.context("the node ended")
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
