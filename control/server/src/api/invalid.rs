//! What is wrong with a value somebody wrote, in a form that a person and an editor can use.

use std::fmt;

/// One thing that is wrong with a policy or a subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The key below the policy or subscriber, dotted, e.g. `action.throttle.window`.
    pub key: String,
    /// What is wrong with it and what would be right.
    pub reason: String,
}

impl Invalid {
    /// States that `key` is wrong because of `reason`.
    pub fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), reason: reason.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.key, self.reason)
    }
}
