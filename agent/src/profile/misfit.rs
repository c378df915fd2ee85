//! Why policies do not fit into a profile, in words for whoever wrote them. Decides nothing.

use std::time::Duration;

use weir_dataplane_common::{abi::RULES, subwindow::LARGEST, window::SLOTS};

/// Why policies do not fit into a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// More policies than rules.
    #[error("{0} policies; an entry holds {RULES}")]
    TooManyPolicies(usize),
    /// A limit that nothing in an entry can count.
    #[error("policy {policy}: {permitted} accesses per window; an entry counts at most {LARGEST}")]
    LimitTooLarge {
        /// The policy.
        policy: u32,
        /// Its limit.
        permitted: u32,
    },
    /// A limit of requests that the slots cannot hold.
    #[error("policy {policy}: {permitted} requests per window; an entry judges at most {}", SLOTS - 1)]
    TooManyRequests {
        /// The policy.
        policy: u32,
        /// Its limit.
        permitted: u32,
    },
    /// A window of zero or more than a day.
    #[error("policy {policy}: a window of {window:?}; an entry judges windows above zero and up to 24 hours")]
    Window {
        /// The policy.
        policy: u32,
        /// Its window.
        window: Duration,
    },
    /// A window of less than a second for a limit that is counted by sub-windows.
    #[error(
        "policy {policy}: {permitted} accesses in {window:?}; above {SLOTS} an entry judges windows from a second on"
    )]
    WindowTooShort {
        /// The policy.
        policy: u32,
        /// Its limit.
        permitted: u32,
        /// Its window.
        window: Duration,
    },
    /// The node's alarm limit cannot be counted.
    #[error(
        "the alarm condition of this node permits {permitted} requests in {window:?}; an entry counts at most \
         {LARGEST}, and above {SLOTS} in windows from a second on"
    )]
    Alarm {
        /// Its limit.
        permitted: u32,
        /// Its window.
        window: Duration,
    },
    /// The throttle's end is kept once.
    #[error("policies {0} and {1} both throttle; an entry keeps one throttle")]
    TwoThrottles(u32, u32),
    /// The history is kept once.
    #[error("policies {0} and {1} count different kinds of access; an entry keeps one history")]
    TwoHistories(u32, u32),
    /// A rate that is out of range, or none.
    #[error(
        "policy {0}: a rate that a node cannot meter; it meters 100 to 12500000000 bytes or 1 to 20000000 packets \
         per second, in bursts of 10 ms to a minute"
    )]
    Rate(u32),
    /// A rate with an action other than dropping or nothing.
    #[error("policy {0}: a rate can only drop what is beyond it or be watched; this action is for accesses")]
    RateAction(u32),
    /// There is one meter for bytes, and one for packets.
    #[error("policies {0} and {1} both limit {2} per second; an entry has one meter for them")]
    TwoMeters(u32, u32, &'static str),
    /// The second meter is asked only where the first is.
    #[error(
        "policies {0} and {1} limit rates of opposite directions; an entry meters both directions or one of them"
    )]
    OppositeMeters(u32, u32),
    /// A rule that counts requests has no room.
    #[error(
        "policy {policy} counts requests, and {taker}, which takes the room that an entry has for requests"
    )]
    NoRoomForRequests {
        /// The policy that counts requests.
        policy: u32,
        /// What takes the room.
        taker: Taker,
    },
    /// The node's alarm condition has no room.
    #[error(
        "{taker}, which takes the room in which this node's alarm condition counts the requests of devices with \
         policies; let it look only at devices without (node.alarm.when), or give it a limit above {SLOTS}"
    )]
    NoRoomForAlarm {
        /// What takes the room.
        taker: Taker,
    },
}

/// What takes the room in which an entry would keep its last requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taker {
    /// A policy's limit, or that of its throttle.
    Limit(u32),
    /// Two rates.
    SecondMeter(u32, u32),
    /// The node's alarm condition.
    Alarm,
}

impl std::fmt::Display for Taker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Limit(policy) => write!(out, "policy {policy} has a limit above {SLOTS}"),
            Self::SecondMeter(one, other) if one == other => {
                write!(out, "policy {one} limits bytes as well as packets")
            }
            Self::SecondMeter(one, other) => {
                write!(out, "policies {one} and {other} limit bytes as well as packets")
            }
            Self::Alarm => write!(out, "this node's alarm condition has a limit above {SLOTS}"),
        }
    }
}
