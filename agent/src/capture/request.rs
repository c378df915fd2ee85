//! What a capture is asked for: the parameters of `GET /v1/capture`, and the kernel's filter that they become.
//!
//! What it must not do: name a device in an error or a `Debug` (R-X7). Both ends use this one type, so that the
//! command line and the node cannot disagree.

use serde::{Deserialize, Serialize};
use weir_dataplane_common::{
    abi::Side,
    capture::{ANY_ENTRY, Filter, LONGEST_SNAP, reason_bit, reasons_of},
    reason::{Reason, Verdict},
};

/// The most packets a second that may be asked for: what the ring and one reader bear, not what a node forwards.
pub const HIGHEST_RATE: u32 = 100_000;

/// Which verdicts are wanted, where no reasons are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    /// What was dropped.
    #[default]
    Dropped,
    /// What was passed.
    Passed,
    /// Everything.
    All,
}

/// A side of the gateway, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnSide {
    /// Where devices are.
    Access,
    /// Where servers are.
    Network,
}

/// What a capture is asked for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// Which verdicts, unless reasons are named.
    pub take: Take,
    /// Names of reasons, with commas between them.
    pub reason: Option<String>,
    /// One device's packets only.
    pub device: Option<String>,
    /// One side's only.
    pub side: Option<OnSide>,
    /// One packet in so many, at random.
    pub sample: u32,
    /// At most so many bytes of each.
    pub snap: u32,
    /// At most so many packets a second.
    pub rate: u32,
    /// The capture is over after so many packets.
    pub count: Option<u64>,
    /// The capture is over after so many milliseconds.
    pub for_ms: Option<u64>,
    /// Name devices by their identifiers.
    pub identifiers: bool,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            take: Take::default(),
            reason: None,
            device: None,
            side: None,
            sample: 1,
            snap: LONGEST_SNAP as u32,
            rate: 1000,
            count: None,
            for_ms: None,
            identifiers: false,
        }
    }
}

impl Request {
    /// As the query of a URL.
    pub fn query(&self) -> String {
        let mut query = format!("take={}", word(self.take));
        let mut add = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                query += &format!("&{key}={}", weir_socket::encoded(&value));
            }
        };
        add("reason", self.reason.clone());
        add("device", self.device.clone());
        add("side", self.side.map(word));
        add("sample", Some(self.sample.to_string()));
        add("snap", Some(self.snap.to_string()));
        add("rate", Some(self.rate.to_string()));
        add("count", self.count.map(|count| count.to_string()));
        add("for_ms", self.for_ms.map(|ms| ms.to_string()));
        add("identifiers", self.identifiers.then(|| "true".to_owned()));
        query
    }

    /// As the kernel looks at it; `entry` is the device's, if one was asked for.
    ///
    /// # Errors
    /// A sentence for people, if something cannot be captured so.
    pub fn filter(&self, entry: Option<u32>) -> Result<Filter, String> {
        if !(1..=HIGHEST_RATE).contains(&self.rate) {
            return Err(format!("rate: {} packets a second; choose 1 to {HIGHEST_RATE}", self.rate));
        }
        if self.sample == 0 {
            return Err("sample: one packet in 0 is none; 1 takes every one".to_owned());
        }
        if self.snap as usize > LONGEST_SNAP {
            return Err(format!("snap: {} bytes; a capture holds up to {LONGEST_SNAP}", self.snap));
        }
        Ok(Filter {
            reasons: self.reasons()?,
            entry: entry.unwrap_or(ANY_ENTRY),
            sides: match self.side {
                None => 1 << Side::Access as u32 | 1 << Side::Network as u32,
                Some(OnSide::Access) => 1 << Side::Access as u32,
                Some(OnSide::Network) => 1 << Side::Network as u32,
            },
            sample: self.sample,
            snap: self.snap,
            per_second: self.rate,
            ..Filter::default()
        })
    }

    fn reasons(&self) -> Result<u64, String> {
        let Some(names) = &self.reason else {
            return Ok(match self.take {
                Take::Dropped => reasons_of(Verdict::Drop),
                Take::Passed => reasons_of(Verdict::Pass),
                Take::All => u64::MAX,
            });
        };
        names.split(',').try_fold(0, |bits, name| match Reason::from_name(name) {
            Some(reason) => Ok(bits | reason_bit(reason)),
            None => Err(format!("reason: there is none named {name:?}; they are {}", all_names())),
        })
    }
}

fn all_names() -> String {
    Reason::ALL.iter().map(|reason| reason.name()).collect::<Vec<_>>().join(", ")
}

/// The word that stands for a choice in JSON and in a query.
fn word(choice: impl Serialize) -> String {
    match serde_json::to_value(choice) {
        Ok(serde_json::Value::String(word)) => word,
        // The choices above are words; anything else would be refused by the node.
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_unless_something_is_said_are_dropped_packets_of_anybody() {
        let filter = Request::default().filter(None).expect("a filter");
        assert_eq!((filter.reasons, filter.sides), (reasons_of(Verdict::Drop), 3));
        assert_eq!((filter.entry, filter.sample, filter.per_second), (ANY_ENTRY, 1, 1000));
    }

    #[test]
    fn named_reasons_are_taken_whatever_their_verdict() {
        let named = Request { reason: Some("throttled,admitted".to_owned()), ..Request::default() };
        let filter = named.filter(Some(7)).expect("a filter");
        let bits = reason_bit(Reason::Throttled) | reason_bit(Reason::Admitted);
        assert_eq!((filter.reasons, filter.entry), (bits, 7));
    }

    #[test]
    fn what_cannot_be_captured_is_refused_with_the_choice_there_is() {
        let plain = Request::default;
        for (request, words) in [
            (Request { reason: Some("throtled".to_owned()), ..plain() }, "throttled"),
            (Request { rate: 0, ..plain() }, "1 to 100000"),
            (Request { rate: HIGHEST_RATE + 1, ..plain() }, "1 to 100000"),
            (Request { sample: 0, ..plain() }, "1 takes every one"),
            (Request { snap: 5000, ..plain() }, "up to 4064"),
        ] {
            let error = request.filter(None).err().expect("refused");
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_node_understands_what_the_command_line_asks_for() {
        let asked = Request {
            take: Take::All,
            reason: Some("throttled,held".to_owned()),
            device: Some("a&rate=1 é+%".to_owned()),
            side: Some(OnSide::Network),
            sample: 10,
            snap: 96,
            rate: 50,
            count: Some(7),
            for_ms: Some(10_000),
            identifiers: true,
        };
        for request in [asked, Request::default()] {
            let uri = format!("/v1/capture?{}", request.query()).parse().expect("a path");
            let understood = axum::extract::Query::<Request>::try_from_uri(&uri).expect("a request");
            assert!(understood.0 == request, "{}", request.query());
        }
    }

    #[test]
    fn nothing_in_a_value_can_become_another_parameter() {
        let device = Some("a&rate=1 é".to_owned());
        let query = Request { device, side: Some(OnSide::Network), ..Request::default() }.query();
        assert!(query.contains("&device=a%26rate%3D1%20%C3%A9&side=network&"), "{query}");
    }
}
