//! Break-glass: where an operator's hand has suspended the law, for how long and why (R-X8).
//!
//! What this is: the rules of it and what is in force, as values. What it must not do: read a clock, write an
//! entry, or prolong anything. The end is the kernel's own: it compares the tick that stands in the map, so an
//! agent that dies or hangs suspends nothing for longer. What is kept here is for people: who, why, until when.

use std::{collections::BTreeMap, time::Duration};

use weir_dataplane_common::tick::{Tick, length_ticks};

use crate::{audit::Who, devices::DeviceNumber, time::Instant};

/// The longest time anything can be suspended for: what lasts longer is a change of policy.
pub const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// The longest reason, bytes.
pub const LONGEST_REASON: usize = 400;

/// What the law is suspended for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Every packet of the node: a bypass.
    Node,
    /// Every packet of a device: an exemption.
    Device(DeviceNumber),
}

/// A suspension in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// Until then, as the kernel has it.
    pub until: Tick,
    /// The same for people, Unix ms.
    pub until_ms: i64,
    /// Who began it, as far as that is known.
    pub who: Option<Who>,
    /// Why, in the operator's words.
    pub reason: String,
}

/// Everything that is suspended on a node.
#[derive(Debug, Default)]
pub struct Glass {
    suspensions: BTreeMap<Subject, Suspension>,
}

/// Checks what an operator wants; the moment at which it would end.
///
/// # Errors
/// A sentence that says what is missing and why it is wanted.
pub fn check(length: Duration, reason: &str, now: Instant) -> Result<(Tick, i64), String> {
    if length.is_zero() || length > LONGEST {
        return Err(
            "for_seconds: must be from 1 to 86400: whatever is suspended comes back by itself within a day; \
                    what must last longer is a change of policy"
                .to_owned(),
        );
    }
    if reason.trim().is_empty() {
        return Err(
            "reason: is required: whoever reads the audit must learn why the law was suspended".to_owned()
        );
    }
    if reason.len() > LONGEST_REASON || reason.chars().any(char::is_control) {
        return Err(format!("reason: must be one line of at most {LONGEST_REASON} bytes"));
    }
    let until = now.tick.after(length_ticks(length.as_nanos() as u64));
    Ok((until, now.unix_ms + length.as_millis() as i64))
}

impl Glass {
    /// Takes a suspension; one of the same subject is replaced.
    pub fn begin(&mut self, subject: Subject, suspension: Suspension) {
        self.suspensions.insert(subject, suspension);
    }

    /// Forgets a suspension; `None` if there was none.
    pub fn end(&mut self, subject: Subject) -> Option<Suspension> {
        self.suspensions.remove(&subject)
    }

    /// Takes out what is over.
    pub fn lapsed(&mut self, now: Tick) -> Vec<(Subject, Suspension)> {
        self.suspensions.extract_if(.., |_, suspension| suspension.until <= now).collect()
    }

    /// The bypass, if there is one.
    pub fn bypass(&self) -> Option<&Suspension> {
        self.suspensions.get(&Subject::Node)
    }

    /// The exempt devices.
    pub fn exempt(&self) -> impl Iterator<Item = (DeviceNumber, &Suspension)> {
        self.suspensions.iter().filter_map(|(subject, suspension)| match subject {
            Subject::Node => None,
            Subject::Device(device) => Some((*device, suspension)),
        })
    }

    /// What is suspended, in a sentence without names; `None` if nothing is.
    pub fn in_words(&self) -> Option<String> {
        let exempt = self.exempt().count();
        let exempt = match exempt {
            0 => None,
            1 => Some("1 device is exempt".to_owned()),
            more => Some(format!("{more} devices are exempt")),
        };
        let bypass = self.bypass().map(|_| "the node is bypassed, no packet is judged".to_owned());
        let parts: Vec<String> = bypass.into_iter().chain(exempt).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant { tick: Tick(5_000_000), unix_ms: 1_000_000 };

    fn until(tick: u64) -> Suspension {
        Suspension { until: Tick(tick), until_ms: 0, who: None, reason: "storm".to_owned() }
    }

    #[test]
    fn a_suspension_needs_a_length_within_a_day_and_a_reason_of_one_line() {
        let hour = Duration::from_secs(3600);
        let (tick, unix_ms) = check(hour, "meter recall", NOW).expect("both are given");
        assert_eq!(unix_ms, NOW.unix_ms + 3_600_000);
        let nanos = (tick.0 - NOW.tick.0) << 20;
        assert!((3_600_000_000_000..3_600_000_000_000 + (1 << 20)).contains(&nanos));
        assert!(check(LONGEST, "x", NOW).is_ok());

        for length in [Duration::ZERO, LONGEST + Duration::from_secs(1)] {
            assert!(check(length, "x", NOW).expect_err("not so long").contains("a change of policy"));
        }
        for reason in ["", "  \t", "two\nlines", &"x".repeat(LONGEST_REASON + 1)] {
            assert!(check(hour, reason, NOW).expect_err("no reason").starts_with("reason:"));
        }
    }

    #[test]
    fn what_is_over_is_taken_out_once_and_the_rest_stays() {
        let mut glass = Glass::default();
        glass.begin(Subject::Node, until(10));
        glass.begin(Subject::Device(3), until(20));
        assert!(glass.lapsed(Tick(9)).is_empty());
        let lapsed = glass.lapsed(Tick(10));
        assert_eq!(lapsed, [(Subject::Node, until(10))]);
        assert!(glass.lapsed(Tick(10)).is_empty() && glass.bypass().is_none());
        assert_eq!(glass.exempt().map(|(device, _)| device).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_second_suspension_of_the_same_takes_the_place_of_the_first() {
        let mut glass = Glass::default();
        glass.begin(Subject::Device(3), until(20));
        glass.begin(Subject::Device(3), until(15));
        assert_eq!(glass.lapsed(Tick(15)).len(), 1, "a shorter one too");
        assert_eq!(glass.end(Subject::Device(3)), None);
    }

    #[test]
    fn what_is_suspended_is_said_without_names() {
        let mut glass = Glass::default();
        assert_eq!(glass.in_words(), None);
        glass.begin(Subject::Device(3), until(20));
        assert_eq!(glass.in_words().as_deref(), Some("1 device is exempt"));
        glass.begin(Subject::Device(4), until(20));
        glass.begin(Subject::Node, until(20));
        let words = "the node is bypassed, no packet is judged; 2 devices are exempt";
        assert_eq!(glass.in_words().as_deref(), Some(words));
    }
}
