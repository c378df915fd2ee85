//! Readiness: a list of named conditions, all of which must hold.
//!
//! "Not ready" without a reason is useless at three in the morning; so each condition has a name and
//! `/readyz` says which ones are outstanding.

use std::sync::Arc;

use parking_lot::Mutex;

/// Ready when every condition that was ever asked for holds. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<Vec<(String, bool)>>>,
    remarks: Arc<Mutex<Vec<Option<String>>>>,
}

/// Something people should see on `/readyz` that keeps nobody from being ready. Nothing is said until told so.
#[derive(Clone, Debug)]
pub struct Remark {
    readiness: Readiness,
    position: usize,
}

/// One condition of a [`Readiness`]; does not hold until told so.
#[derive(Clone, Debug)]
pub struct Condition {
    readiness: Readiness,
    position: usize,
}

impl Readiness {
    /// Adds a condition, named as people know it, e.g. `store open`.
    pub fn condition(&self, name: impl Into<String>) -> Condition {
        let mut conditions = self.conditions.lock();
        conditions.push((name.into(), false));
        Condition { readiness: self.clone(), position: conditions.len() - 1 }
    }

    /// Adds a place for a remark.
    pub fn remark(&self) -> Remark {
        let mut remarks = self.remarks.lock();
        remarks.push(None);
        Remark { readiness: self.clone(), position: remarks.len() - 1 }
    }

    /// What is remarked now.
    pub fn remarks(&self) -> Vec<String> {
        self.remarks.lock().iter().flatten().cloned().collect()
    }

    /// The conditions that do not hold; empty means ready.
    pub fn outstanding(&self) -> Vec<String> {
        self.conditions.lock().iter().filter(|(_, holds)| !holds).map(|(name, _)| name.clone()).collect()
    }
}

impl Condition {
    /// Whether the condition holds.
    pub fn holds(&self) -> bool {
        self.readiness.conditions.lock()[self.position].1
    }

    /// Says whether the condition holds from now on.
    pub fn set(&self, holds: bool) {
        // Conditions are only ever added, so the position stays valid.
        self.readiness.conditions.lock()[self.position].1 = holds;
    }
}

impl Remark {
    /// Says this from now on, or nothing.
    pub fn say(&self, words: Option<String>) {
        // Remarks are only ever added, so the position stays valid.
        self.readiness.remarks.lock()[self.position] = words;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_what_is_outstanding() {
        let readiness = Readiness::default();
        let (store, synced) = (readiness.condition("store open"), readiness.condition("synced"));
        assert_eq!(readiness.outstanding(), ["store open", "synced"]);
        store.set(true);
        assert_eq!(readiness.outstanding(), ["synced"]);
        synced.set(true);
        assert!(readiness.outstanding().is_empty());
        store.set(false);
        assert_eq!(readiness.outstanding(), ["store open"]);
    }
}
