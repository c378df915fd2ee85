//! The doctor's rules: facts and intent in, findings out.
//!
//! What this is: for each rule a function of values; [`system`] for the machine as a whole, [`interface`] for
//! each interface, [`capacity`] for what the configuration asks of memory, clock and directories. What it must
//! not do: ask the machine anything. Every finding above *ok* says what to do.

mod capacity;
mod interface;
mod system;
#[cfg(test)]
mod tests;

use serde::Serialize;

use super::intent::Intent;
use super::machine::Facts;

/// How bad a finding is, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing; weir works.
    Note,
    /// weir works, and something of it may not be as expected.
    Warning,
    /// weir cannot do what it is to do.
    Problem,
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The rule's name, which stays the same: programs may look for it.
    pub check: &'static str,
    /// The interface or directory that it is about, if it is about one.
    pub about: Option<String>,
    /// What was found, in a sentence.
    pub finding: String,
    /// What to do, if anything.
    pub advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, finding: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, check, about: None, finding: finding.into(), advice: None }
    }

    /// A finding above *ok*, which therefore says what to do.
    fn new(
        severity: Severity,
        check: &'static str,
        finding: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { severity, check, about: None, finding: finding.into(), advice: Some(advice.into()) }
    }

    fn about(mut self, what: &str) -> Self {
        self.about = Some(what.to_owned());
        self
    }
}

/// Judges the facts. Problems come last, where a terminal shows them; otherwise the order is the rules'.
pub fn examine(facts: &Facts, intent: &Intent) -> Vec<Finding> {
    let mut findings = Vec::new();
    if intent.judges {
        findings.extend([
            system::kernel(&facts.kernel),
            system::capabilities(&facts.missing_capabilities),
            system::program(facts.program_embedded),
            system::jit(facts.jit),
            system::type_information(facts.type_information),
            system::bpf_file_system(facts.bpf_file_system),
            capacity::clock_step(facts.clock_step, intent.inactivity),
        ]);
        findings.extend(intent.room.map(|room| capacity::memory(room, facts)));
        findings.extend(facts.interfaces.iter().flat_map(|found| interface::examine(found, intent.mode)));
        if facts.interfaces.is_empty() {
            findings.push(interface::none_named());
        }
    }
    findings.push(system::clock(&facts.clock));
    findings.extend(facts.directories.iter().map(capacity::directory));
    findings.sort_by_key(|finding| finding.severity);
    findings
}
