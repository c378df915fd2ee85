//! `weir doctor [FILE]`: is this machine fit for what the file wants, and what is to be done if not?
//!
//! What this is: arguments in, findings on standard output. What it must not do: judge; that is
//! `crate::doctor`. It changes nothing and may run beside a node.

use std::path::PathBuf;
use std::process::ExitCode;

use super::show::print;
use crate::config::{self, LoadError};
use crate::doctor::{self, Intent, Severity, print::Report};

/// Examine this machine: what is fit for judging packets, what is not, and what to do.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 no problem, 1 a problem, 2 FILE unreadable. Notes and warnings are no problem."
)]
pub struct Doctor {
    /// The TOML file that control or the node is to run with; without one the machine is examined in general.
    file: Option<PathBuf>,
    /// Look at this interface too, whether or not FILE names it; may be repeated.
    #[arg(long = "interface", value_name = "NAME")]
    interfaces: Vec<String>,
    /// Print a JSON array: severity, check, about, finding and advice of each finding.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Examines and reports.
    ///
    /// # Errors
    /// FILE has faults, or standard output could not be written to.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let configuration = match self.file.as_deref().map(config::load).transpose() {
            Ok(configuration) => configuration,
            Err(error @ LoadError::Unreadable { .. }) => {
                eprintln!("{error}");
                return Ok(ExitCode::from(2));
            }
            Err(error) => return Err(error.into()),
        };
        let intent = Intent::new(configuration.as_ref(), &self.interfaces);
        let findings = doctor::examine(&doctor::gather(&intent.wanted), &intent);
        print(self.json, &findings, |findings| Report(findings).to_string())?;
        let has_problem = findings.iter().any(|finding| finding.severity == Severity::Problem);
        Ok(if has_problem { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
