//! Sets of policies, each kept once: a million meters share a handful of them.

use std::{collections::HashSet, sync::Arc};

use crate::Policy;

/// Sets below this number are not worth a search for unused ones.
const FEW: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct PolicySets {
    sets: HashSet<Arc<[Policy]>>,
    /// The number of sets at which unused ones are looked for.
    sweep_at: usize,
}

impl PolicySets {
    /// These policies by ascending identifier, each identifier once.
    pub(crate) fn shared(&mut self, mut policies: Vec<Policy>) -> Arc<[Policy]> {
        policies.sort_by_key(|policy| policy.id);
        policies.dedup_by_key(|policy| policy.id);
        if let Some(known) = self.sets.get(policies.as_slice()) {
            return known.clone();
        }
        if self.sets.len() >= self.sweep_at {
            self.sets.retain(|set| Arc::strong_count(set) > 1);
            self.sweep_at = FEW.max(self.sets.len() * 2);
        }
        let shared: Arc<[Policy]> = policies.into();
        self.sets.insert(shared.clone());
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, PolicyId, Rule, Scope};

    fn policy(id: u32) -> Policy {
        Policy {
            id: PolicyId(id),
            rule: Rule::ForbiddenProtocols(vec!["esp".into()]),
            kinds: vec![],
            scope: Scope::Network,
            action: Action::Reject,
        }
    }

    #[test]
    fn equal_sets_are_kept_once_whatever_their_order() {
        let mut sets = PolicySets::default();
        let one = sets.shared(vec![policy(1), policy(2)]);
        let other = sets.shared(vec![policy(2), policy(1), policy(1)]);
        assert!(Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn sets_that_nobody_uses_are_let_go() {
        let mut sets = PolicySets::default();
        for id in 0..1000 {
            sets.shared(vec![policy(id)]);
        }
        assert!(sets.sets.len() <= FEW);
    }
}
