//! The `/metrics` page of a process under test, read as a monitoring system would.
//!
//! Only what tests need: samples by name and labels. Read the Prometheus text exposition format, 0.0.4.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::http;
use crate::namespace::Namespace;

type Labels = BTreeMap<String, String>;

/// One reading of all samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    samples: BTreeMap<(String, Labels), f64>,
}

impl Metrics {
    /// Reads `/metrics` from a loopback port inside a namespace.
    pub fn fetch(namespace: &Namespace, port: u16) -> Result<Self> {
        let response = http::get(namespace, port, "/metrics")?;
        ensure!(response.status == 200, "/metrics answered {}: {}", response.status, response.body.trim());
        Self::parse(&response.body)
    }

    /// Reads the text format. Comments are skipped; anything else that is no sample is an error.
    pub fn parse(text: &str) -> Result<Self> {
        let mut samples = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) =
                sample(line).with_context(|| format!("metrics line {}: {line}", number + 1))?;
            samples.insert(key, value);
        }
        Ok(Self { samples })
    }

    /// The sample with exactly these labels.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    /// The sum of all samples of this name that have at least these labels; 0 if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |(own, has): &(String, Labels)| {
            own == name && labels.iter().all(|(label, value)| has.get(*label).is_some_and(|own| own == value))
        };
        self.samples.iter().filter(|(key, _)| fits(key)).map(|(_, value)| value).sum()
    }

    /// All samples: name, labels, value.
    pub fn samples(&self) -> impl Iterator<Item = (&str, &BTreeMap<String, String>, f64)> {
        self.samples.iter().map(|((name, labels), value)| (name.as_str(), labels, *value))
    }
}

fn sample(line: &str) -> Result<((String, Labels), f64)> {
    let end = line.find(['{', ' ', '\t']).context("no value")?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Labels::new(), rest),
    };
    let value = rest.split_ascii_whitespace().next().context("no value")?;
    let value = value.parse().with_context(|| format!("{value:?} is no number"))?;
    Ok(((name.to_owned(), labels), value))
}

/// Reads `a="x",b="y"}`; returns what follows the brace.
fn labels(mut text: &str) -> Result<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (label, rest) = text.split_once("=\"").context("a label has no value")?;
        let (value, rest) = quoted(rest)?;
        labels.insert(label.trim().to_owned(), value);
        text = rest;
    }
}

/// Reads up to the closing quote, undoing `\\`, `\"` and `\n`.
fn quoted(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match letters.next().context("a label's value ends in a backslash")?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    anyhow::bail!("a label's value has no end")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"# HELP weir_verdicts_total Packets by verdict.
# TYPE weir_verdicts_total counter
weir_verdicts_total{reason="throttled",verdict="drop"} 2
weir_verdicts_total{reason="held",verdict="drop",} 1 1700000000000
weir_verdicts_total{ reason = "none", verdict="pass"} 40
odd{path="a\"b\\c\nd, e}"} +Inf
up 1
"#;

    #[test]
    fn a_sample_is_found_by_its_labels_in_any_order() {
        let metrics = Metrics::parse(PAGE.replace(" = ", "=").as_str()).expect("the page is well formed");
        assert_eq!(
            metrics.get("weir_verdicts_total", &[("verdict", "drop"), ("reason", "throttled")]),
            Some(2.0)
        );
        assert_eq!(metrics.get("weir_verdicts_total", &[("verdict", "drop")]), None);
        assert_eq!(metrics.get("up", &[]), Some(1.0));
        assert_eq!(metrics.get("odd", &[("path", "a\"b\\c\nd, e}")]), Some(f64::INFINITY));
        assert_eq!(metrics.samples().count(), 5);
    }

    #[test]
    fn samples_are_summed_over_the_labels_not_named() {
        let metrics = Metrics::parse(PAGE.replace(" = ", "=").as_str()).expect("the page is well formed");
        assert!((metrics.sum("weir_verdicts_total", &[("verdict", "drop")]) - 3.0).abs() < f64::EPSILON);
        assert!((metrics.sum("weir_verdicts_total", &[]) - 43.0).abs() < f64::EPSILON);
        assert!(metrics.sum("absent", &[]).abs() < f64::EPSILON);
    }

    #[test]
    fn a_broken_line_is_an_error_that_names_it() {
        for line in ["up", "up x", "up{a=\"b\" 1", "up{a} 1", "up{a=\"b"] {
            let error = Metrics::parse(&format!("ok 1\n{line}\n")).expect_err(line);
            assert!(format!("{error:#}").contains("line 2"), "{error:#}");
        }
    }
}
