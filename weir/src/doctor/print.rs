//! Findings for people.
//!
//! What this is: one aligned line for each finding and one below it for what to do, the worst last. What it
//! must not do: leave a finding out; programs take `--json`.

use std::fmt::{self, Display, Formatter};

use super::findings::{Finding, Severity};

/// Displays findings in their order, and their number.
pub struct Report<'f>(pub &'f [Finding]);

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let subject = |finding: &Finding| match &finding.about {
            Some(about) => format!("{} {about}", finding.check),
            None => finding.check.to_owned(),
        };
        let width = self.0.iter().map(|finding| subject(finding).chars().count()).max().unwrap_or(0);
        for finding in self.0 {
            let (word, subject) = (word(finding.severity), subject(finding));
            writeln!(f, "{word:7}  {subject:width$}  {}", finding.finding)?;
            if let Some(advice) = &finding.advice {
                writeln!(f, "{:7}  {:width$}  → {advice}", "", "")?;
            }
        }
        let number = |severity| self.0.iter().filter(|finding| finding.severity == severity).count();
        let counted = |severity, noun: &str| match number(severity) {
            1 => format!("1 {noun}"),
            count => format!("{count} {noun}s"),
        };
        let (problems, warnings) =
            (counted(Severity::Problem, "problem"), counted(Severity::Warning, "warning"));
        writeln!(f, "{problems}, {warnings}, {}", counted(Severity::Note, "note"))
    }
}

/// Capitals for what must not be overlooked.
fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "ok",
        Severity::Note => "note",
        Severity::Warning => "WARNING",
        Severity::Problem => "PROBLEM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_aligned_and_counted() {
        let finding = |severity, check, about: Option<&str>, advice: Option<&str>| Finding {
            severity,
            check,
            about: about.map(str::to_owned),
            finding: "so it is".to_owned(),
            advice: advice.map(str::to_owned),
        };
        let findings = [
            finding(Severity::Ok, "kernel", None, None),
            finding(Severity::Problem, "interface", Some("eth0"), Some("mend it")),
        ];
        let expected = "\
ok       kernel          so it is
PROBLEM  interface eth0  so it is
                         → mend it
1 problem, 0 warnings, 0 notes
";
        assert_eq!(Report(&findings).to_string(), expected);
    }
}
