//! A device's admissions on all nodes, as a limit asks for them: instants, or sums by sub-windows.
//!
//! Read first: `counts`, where they come from. What they mean for a policy is judged in `gauge`.

use crate::nodes::NodeIndex;
use crate::{AccessLimit, PolicyId, SubWindows, UnixMillis};

/// A device's admissions everywhere, by time.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    admissions: Vec<(UnixMillis, NodeIndex)>,
    sums: Vec<(NodeIndex, SubWindows)>,
    /// Of the admissions, those that no node has reported yet.
    accepted: Vec<(UnixMillis, NodeIndex)>,
}

/// Which admissions are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of {
    pub(crate) policy: PolicyId,
    pub(crate) throttle: bool,
    pub(crate) limit: AccessLimit,
    /// `None`: of all nodes.
    pub(crate) node: Option<NodeIndex>,
    pub(crate) now: UnixMillis,
}

impl History {
    pub(crate) fn new(admissions: Vec<(UnixMillis, NodeIndex)>, sums: Vec<(NodeIndex, SubWindows)>) -> Self {
        Self { admissions, sums, accepted: Vec::new() }
    }

    /// One more admission, later than all, that no report can have told yet.
    pub(crate) fn push(&mut self, at: UnixMillis, node: NodeIndex) {
        self.admissions.push((at, node));
        self.admissions.sort_unstable();
        self.accepted.push((at, node));
    }

    /// Admissions under a limit, by time: when, and how many. For a limit that instants cannot tell, a node's sums
    /// count, or its instants where they say more: right after it was given the limit.
    pub(crate) fn admitted(&self, of: Of) -> Vec<(UnixMillis, u32)> {
        if of.limit.is_exact() {
            return self.instants(of.node).collect();
        }
        let mut nodes: Vec<_> = self.admissions.iter().map(|(_, node)| *node).collect();
        nodes.extend(self.sums.iter().map(|(node, _)| *node));
        nodes.sort_unstable();
        nodes.dedup();
        nodes.retain(|node| of.node.is_none_or(|wanted| wanted == *node));
        let mut admitted: Vec<_> = nodes.into_iter().flat_map(|node| self.admitted_at(node, of)).collect();
        admitted.sort_unstable();
        admitted
    }

    fn admitted_at(&self, node: NodeIndex, of: Of) -> Vec<(UnixMillis, u32)> {
        let instants: Vec<_> = self.instants(Some(node)).collect();
        let sums = self
            .sums
            .iter()
            .filter(|(at, sums)| *at == node && (sums.policy, sums.throttle) == (of.policy, of.throttle));
        let accepted = self.accepted.iter().filter(|(_, at)| *at == node).map(|(at, _)| (*at, 1));
        let sums: Vec<_> = sums.flat_map(|(_, sums)| sums.sums()).chain(accepted).collect();
        let horizon = of.now.minus(of.limit.window);
        let within = |admitted: &[(UnixMillis, u32)]| -> u64 {
            admitted.iter().filter(|(at, _)| *at > horizon).map(|(_, number)| u64::from(*number)).sum()
        };
        if within(&instants) > within(&sums) { instants } else { sums }
    }

    /// Admissions whose instants are known, on one node or all.
    pub(crate) fn instants(&self, node: Option<NodeIndex>) -> impl Iterator<Item = (UnixMillis, u32)> + '_ {
        let wanted = move |at: NodeIndex| node.is_none_or(|node| node == at);
        self.admissions.iter().filter(move |(_, node)| wanted(*node)).map(|(at, _)| (*at, 1))
    }
}
