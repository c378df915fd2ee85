//! Readiness: a list of named conditions, all of which must hold.
//!
//! "Not ready" without a reason is useless at three in the morning; so each condition has a name and
//! `/readyz` says which ones are outstanding.

use std::sync::Arc;

use parking_lot::Mutex;

/// Ready when every condition that was ever asked for holds. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<Vec<(&'static str, bool)>>>,
}

/// One condition of a [`Readiness`]; does not hold until told so.
#[derive(Clone, Debug)]
pub struct Condition {
    readiness: Readiness,
    position: usize,
}

impl Readiness {
    /// Adds a condition, named as people know it, e.g. `store open`.
    pub fn condition(&self, name: &'static str) -> Condition {
        let mut conditions = self.conditions.lock();
        conditions.push((name, false));
        Condition { readiness: self.clone(), position: conditions.len() - 1 }
    }

    /// The conditions that do not hold; empty means ready.
    pub fn outstanding(&self) -> Vec<&'static str> {
        self.conditions.lock().iter().filter(|(_, holds)| !holds).map(|(name, _)| *name).collect()
    }
}

impl Condition {
    /// Says whether the condition holds from now on.
    pub fn set(&self, holds: bool) {
        // Conditions are only ever added, so the position stays valid.
        self.readiness.conditions.lock()[self.position].1 = holds;
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
