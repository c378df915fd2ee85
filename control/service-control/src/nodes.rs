//! Nodes and their boots as small numbers, and which of them have a stream open.
//!
//! Every device remembers counts and alarms per node and boot; with names instead of numbers that would be
//! most of what it remembers.

use std::collections::{BTreeMap, BTreeSet};

use crate::{AlarmId, NodeName};

/// Stands for a node's name, for as long as this service control lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeIndex(pub(crate) u32);

/// Stands for a boot of a node. Grows in the order in which boots were first heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BootIndex(pub(crate) u32);

/// An [`AlarmId`] in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AlarmKey {
    pub(crate) boot: BootIndex,
    pub(crate) sequence: u64,
}

#[derive(Debug, Default)]
pub(crate) struct NodeTable {
    names: Vec<NodeName>,
    by_name: BTreeMap<NodeName, NodeIndex>,
    boots: Vec<(NodeIndex, String)>,
    by_boot: BTreeMap<(NodeIndex, String), BootIndex>,
    connected: BTreeSet<NodeIndex>,
}

impl NodeTable {
    /// The number of this name, a new one if it is new.
    pub(crate) fn index(&mut self, name: &NodeName) -> NodeIndex {
        if let Some(index) = self.by_name.get(name) {
            return *index;
        }
        let index = NodeIndex(place(self.names.len()));
        self.names.push(name.clone());
        self.by_name.insert(name.clone(), index);
        index
    }

    /// The number of this boot, a new one if it is new.
    pub(crate) fn boot(&mut self, node: NodeIndex, boot: &str) -> BootIndex {
        let key = (node, boot.to_owned());
        if let Some(index) = self.by_boot.get(&key) {
            return *index;
        }
        let index = BootIndex(place(self.boots.len()));
        self.boots.push(key.clone());
        self.by_boot.insert(key, index);
        index
    }

    pub(crate) fn connect(&mut self, node: NodeIndex) {
        self.connected.insert(node);
    }

    pub(crate) fn disconnect(&mut self, name: &NodeName) {
        if let Some(node) = self.by_name.get(name) {
            self.connected.remove(node);
        }
    }

    /// Nodes with an open stream.
    pub(crate) fn connected(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        self.connected.iter().copied()
    }

    pub(crate) fn name(&self, node: NodeIndex) -> &NodeName {
        &self.names[node.0 as usize]
    }

    pub(crate) fn boot_name(&self, boot: BootIndex) -> &str {
        &self.boots[boot.0 as usize].1
    }

    pub(crate) fn alarm_id(&self, key: AlarmKey) -> AlarmId {
        let (node, boot) = &self.boots[key.boot.0 as usize];
        AlarmId { node: self.name(*node).clone(), boot: boot.clone(), sequence: key.sequence }
    }
}

fn place(length: usize) -> u32 {
    u32::try_from(length).expect("a network has fewer than four thousand million nodes and boots")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_from_their_numbers() {
        let mut nodes = NodeTable::default();
        let (a, b) = (nodes.index(&NodeName("a".into())), nodes.index(&NodeName("b".into())));
        let (first, second) = (nodes.boot(a, "x"), nodes.boot(b, "x"));
        assert_ne!(first, second, "boots of different nodes may be named alike");
        assert_eq!(nodes.index(&NodeName("a".into())), a);
        assert_eq!(nodes.boot(b, "x"), second);
        let id = nodes.alarm_id(AlarmKey { boot: second, sequence: 7 });
        assert_eq!((id.node.0.as_str(), id.boot.as_str(), id.sequence), ("b", "x", 7));
    }
}
