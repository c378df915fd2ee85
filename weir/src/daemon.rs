//! Running roles until the operator ends them.
//!
//! What this is: runtime, signals, and the order of the ends. What it must not do: know what a role does.

use std::{future::Future, path::Path};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Configuration};

/// Reads a configuration; every fault is in the error.
pub fn configuration(file: &Path) -> anyhow::Result<Configuration> {
    Ok(config::load(file)?)
}

/// Runs until all roles have ended. SIGINT and SIGTERM cancel the token; so should a role that fails.
pub fn run<F>(roles: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let ended = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            ended.cancel();
        });
        roles(shutdown).await
    })
}
