//! An alarm's life as two small state machines: the questions asked about its device, and the alarm itself.
//!
//! They know no device, no node and no policy, and send nothing: each event returns the step to take. Read
//! first: requirements R-D8 to R-D13.
//!
//! Questions are asked once per device, however many nodes raise alarms meanwhile ([`Stage`]):
//!
//! ```text
//!            alarm raised,                      failed, timed out
//!            subscriber changed                ┌─────────────────► Pausing(Subscription)
//!  Settled ──────────────────► Asking(Subscription) ◄────────────┘ pause over
//!   ▲  ▲                          │        │
//!   │  └── not M2M, unknown ──────┘        │ M2M
//!   │             concluded                ▼    failed, timed out
//!   └─────── concluded ──────── Asking(Policies) ────────────────► Pausing(Policies)
//!                                          ▲─────────────────────┘ pause over
//! ```
//!
//! A late answer is taken while pausing too. A subscriber that changes while a question is open makes that
//! question's answer worthless: all is asked again.
//!
//! What becomes of each alarm ([`AlarmPhase`]):
//!
//! ```text
//!  raised ──► Waiting ──concluded──► Cancelled
//!                │
//!                └──concluded──► Rejected ──window has room, hold time over,──► Lifted
//!                                 ▲     │   policy changed, operator
//!                                 └─────┘ review: still no room, still unknown
//! ```

use std::time::Duration;

use crate::nodes::NodeIndex;
use crate::{Config, UnixMillis};

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// The HSS, for the device's type (R-D9).
    Subscription,
    /// The PCRF, for its policies (R-D10).
    Policies,
}

/// How far the questions about a device have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing is to be asked.
    #[default]
    Settled,
    /// An answer is awaited.
    Asking {
        question: Question,
        /// Failures so far.
        attempt: u32,
        deadline: UnixMillis,
        /// The subscriber changed since: ask all again.
        again: bool,
    },
    /// The answer failed to come; it is asked again then.
    Pausing { question: Question, attempt: u32, until: UnixMillis },
}

/// What an event leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Nothing,
    /// Send this question.
    Ask(Question),
    /// All answers are there.
    Conclude,
}

impl Stage {
    /// An alarm begins the questions, or joins those that are under way.
    pub(crate) fn alarm_raised(&mut self, config: &Config, now: UnixMillis) -> Step {
        match self {
            Self::Settled => self.ask(Question::Subscription, 0, config, now),
            Self::Asking { .. } | Self::Pausing { .. } => Step::Nothing,
        }
    }

    /// What was asked or answered so far no longer holds.
    pub(crate) fn subscriber_changed(&mut self, config: &Config, now: UnixMillis) -> Step {
        match self {
            Self::Settled | Self::Pausing { .. } => self.ask(Question::Subscription, 0, config, now),
            Self::Asking { again, .. } => {
                *again = true;
                Step::Nothing
            }
        }
    }

    /// The HSS knows whether the device is M2M (or that it does not know the device, which is not M2M).
    pub(crate) fn subscription_answered(&mut self, m2m: bool, config: &Config, now: UnixMillis) -> Step {
        match self {
            Self::Asking { question: Question::Subscription, again: true, .. } => {
                self.ask(Question::Subscription, 0, config, now)
            }
            Self::Asking { question: Question::Subscription, .. }
            | Self::Pausing { question: Question::Subscription, .. } => {
                if m2m {
                    self.ask(Question::Policies, 0, config, now)
                } else {
                    self.conclude()
                }
            }
            _ => Step::Nothing,
        }
    }

    /// The PCRF has answered.
    pub(crate) fn policies_answered(&mut self, config: &Config, now: UnixMillis) -> Step {
        match self {
            Self::Asking { question: Question::Policies, again: true, .. } => {
                self.ask(Question::Subscription, 0, config, now)
            }
            Self::Asking { question: Question::Policies, .. }
            | Self::Pausing { question: Question::Policies, .. } => self.conclude(),
            _ => Step::Nothing,
        }
    }

    /// The answer is that there is none.
    pub(crate) fn failed(&mut self, failed: Question, config: &Config, now: UnixMillis) -> Step {
        if let Self::Asking { question, attempt, again, .. } = *self
            && question == failed
        {
            let question = if again { Question::Subscription } else { question };
            let until = now.plus(pause(attempt, config));
            *self = Self::Pausing { question, attempt: attempt.saturating_add(1), until };
        }
        Step::Nothing
    }

    /// Deadlines and pauses end.
    pub(crate) fn time_passed(&mut self, config: &Config, now: UnixMillis) -> Step {
        match *self {
            Self::Asking { question, deadline, .. } if deadline <= now => self.failed(question, config, now),
            Self::Pausing { question, attempt, until } if until <= now => {
                self.ask(question, attempt, config, now)
            }
            _ => Step::Nothing,
        }
    }

    /// When [`Stage::time_passed`] has something to do.
    pub(crate) fn due(&self) -> Option<UnixMillis> {
        match self {
            Self::Settled => None,
            Self::Asking { deadline: at, .. } | Self::Pausing { until: at, .. } => Some(*at),
        }
    }

    fn ask(&mut self, question: Question, attempt: u32, config: &Config, now: UnixMillis) -> Step {
        let deadline = now.plus(at_least_a_moment(config.query_timeout));
        *self = Self::Asking { question, attempt, deadline, again: false };
        Step::Ask(question)
    }

    fn conclude(&mut self) -> Step {
        *self = Self::Settled;
        Step::Conclude
    }
}

fn pause(attempt: u32, config: &Config) -> Duration {
    let doubled = config.retry_first.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX));
    at_least_a_moment(doubled.min(config.retry_longest))
}

/// A timer set for this very instant would run for ever on the spot.
pub(crate) fn at_least_a_moment(duration: Duration) -> Duration {
    duration.max(Duration::from_millis(1))
}

/// What becomes of an alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AlarmPhase {
    /// Raised; nothing is decided.
    Waiting,
    /// Decided: it stays active, and is looked at again at that instant.
    Rejected { ground: Ground, review_at: UnixMillis },
    /// Decided: cleared.
    Cancelled,
    /// Rejected first, cleared later.
    Lifted {
        /// Nodes known to have been told, where the raising node is not known.
        told: Vec<NodeIndex>,
    },
}

/// Why an alarm was rejected, which says how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// A limit is exhausted: until its window has room.
    Count,
    /// A forbidden protocol: until the hold time is over.
    Protocol,
    /// The HSS does not know the device: it is asked again after the hold time.
    UnknownSubscriber,
}

impl AlarmPhase {
    /// Concluded in the device's favour.
    pub(crate) fn cancel(&mut self, told: Vec<NodeIndex>) {
        *self = match self {
            Self::Waiting | Self::Cancelled => Self::Cancelled,
            Self::Rejected { .. } | Self::Lifted { .. } => Self::Lifted { told },
        };
    }

    /// Concluded against it, or still so after a review.
    pub(crate) fn reject(&mut self, ground: Ground, review_at: UnixMillis) {
        if matches!(self, Self::Waiting | Self::Rejected { .. }) {
            *self = Self::Rejected { ground, review_at };
        }
    }

    /// When it is to be looked at again.
    pub(crate) fn due(&self) -> Option<UnixMillis> {
        match self {
            Self::Rejected { review_at, .. } => Some(*review_at),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
