//! Sets of policies, each kept once: a million meters share a handful of them.

use std::sync::Arc;

use crate::Policy;
use crate::shared::Shared;

#[derive(Debug, Default)]
pub(crate) struct PolicySets(Shared<[Policy]>);

impl PolicySets {
    /// These policies by ascending identifier, each identifier once.
    pub(crate) fn shared(&mut self, mut policies: Vec<Policy>) -> Arc<[Policy]> {
        policies.sort_by_key(|policy| policy.id);
        policies.dedup_by_key(|policy| policy.id);
        self.0.one(policies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Rule};

    fn policy(id: u32) -> Policy {
        Policy::new(id, Rule::ForbiddenProtocols(vec!["esp".into()]), Action::Reject)
    }

    #[test]
    fn equal_sets_are_kept_once_whatever_their_order() {
        let mut sets = PolicySets::default();
        let one = sets.shared(vec![policy(1), policy(2)]);
        let other = sets.shared(vec![policy(2), policy(1), policy(1)]);
        assert!(Arc::ptr_eq(&one, &other));
    }
}
