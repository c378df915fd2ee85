//! Values of which a million devices share a handful: each is kept once, for as long as somebody uses it.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// Below this number of values a search for unused ones is not worth its time.
const FEW: usize = 64;

#[derive(Debug)]
pub(crate) struct Shared<T: ?Sized> {
    kept: HashSet<Arc<T>>,
    /// The number of values at which unused ones are looked for.
    sweep_at: usize,
}

impl<T: ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Self { kept: HashSet::new(), sweep_at: FEW }
    }
}

impl<T: ?Sized + Eq + Hash> Shared<T> {
    /// The one that all have who ask for an equal one.
    pub(crate) fn one(&mut self, value: impl Borrow<T> + Into<Arc<T>>) -> Arc<T> {
        if let Some(known) = self.kept.get(value.borrow()) {
            return known.clone();
        }
        if self.kept.len() >= self.sweep_at {
            self.kept.retain(|value| Arc::strong_count(value) > 1);
            self.sweep_at = FEW.max(self.kept.len() * 2);
        }
        let value = value.into();
        self.kept.insert(value.clone());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_kept_once() {
        let mut shared = Shared::<str>::default();
        let one = shared.one("text".to_owned());
        assert!(Arc::ptr_eq(&one, &shared.one("text".to_owned())));
    }

    #[test]
    fn values_that_nobody_uses_are_let_go() {
        let mut shared = Shared::<str>::default();
        let used = shared.one("used".to_owned());
        for number in 0..1000 {
            shared.one(number.to_string());
        }
        assert!(shared.kept.len() <= FEW);
        assert!(Arc::ptr_eq(&used, &shared.one("used".to_owned())));
    }
}
