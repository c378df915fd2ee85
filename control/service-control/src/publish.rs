//! Telling: from a changed device to records and updates. Every change is recorded before it is sent, and a node
//! is sent only what differs from what it has (R-D12, R-D13, R-D15).

use crate::device::{Device, Sight, TrackedAlarm, Turn};
use crate::lifecycle::{AlarmPhase, Question, Step};
use crate::nodes::{AlarmKey, BootIndex, NodeIndex, NodeTable};
use crate::{AlarmFate, AlarmId, CacheUpdate, Decision, DeviceId, Output};

/// What an alarm's node is told besides the entry.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// `None`: every node that has no reply of its own and no active alarm.
    pub(crate) node: Option<NodeIndex>,
    pub(crate) alarm: Option<AlarmKey>,
    pub(crate) fate: AlarmFate,
    /// Whether the node waits for this answer; a rejected alarm that is lifted has had one.
    pub(crate) answers: bool,
    pub(crate) explanation: String,
}

/// How every node sees a device.
#[derive(Debug)]
pub(crate) struct Sights {
    strictest: Sight,
    connected: Vec<(NodeIndex, Sight)>,
}

impl Device {
    pub(crate) fn sights(&self, nodes: &NodeTable) -> Sights {
        Sights {
            strictest: self.sight(None),
            connected: nodes.connected().map(|node| (node, self.sight(Some(node)))).collect(),
        }
    }

    /// Records and sends what has changed since `before`, and the replies.
    pub(crate) fn publish(&mut self, turn: &mut Turn<'_>, before: &Sights, replies: &[Reply]) {
        self.end_release();
        for reply in replies.iter().filter(|reply| reply.fate == AlarmFate::Cancel && reply.answers) {
            self.let_redeem(reply.node);
        }
        let after = self.sights(turn.nodes);
        let changed = after.strictest.differs(&before.strictest)
            || after.connected.iter().zip(&before.connected).any(|((_, now), (_, then))| now.differs(then));
        if !changed && replies.is_empty() {
            return;
        }
        self.revision += 1;
        self.record(turn, &after.strictest, replies);
        for ((node, now), (_, then)) in after.connected.into_iter().zip(&before.connected) {
            let reply = replies
                .iter()
                .find(|reply| reply.node == Some(node))
                .or_else(|| replies.iter().find(|reply| reply.node.is_none() && !self.alarmed_at(node)));
            if reply.is_some() || now.differs(then) {
                let update = self.update(turn.id, turn.nodes, &now, reply);
                turn.out.push(Output::Update { node: turn.nodes.name(node).clone(), update });
            }
        }
    }

    /// One decision for each alarm, or one for none.
    fn record(&self, turn: &mut Turn<'_>, strictest: &Sight, replies: &[Reply]) {
        let mut entry = self.update(turn.id, turn.nodes, strictest, None);
        if self.rejecting() {
            entry.alarm = AlarmFate::Reject;
        }
        let decision = |alarm: Option<AlarmId>, fate, explanation: &str| {
            let entry = CacheUpdate { explanation: explanation.to_owned(), ..entry.clone() };
            Output::Record(Decision { at: turn.now, device: turn.id.clone(), alarm, fate, entry })
        };
        let of_alarms = replies.iter().filter_map(|reply| {
            let id = turn.nodes.alarm_id(reply.alarm?);
            Some(decision(Some(id), reply.fate, &reply.explanation))
        });
        let mut records: Vec<_> = of_alarms.collect();
        if records.is_empty() {
            let fate = replies.first().map_or(AlarmFate::Unchanged, |reply| reply.fate);
            records.push(decision(None, fate, &self.explanation));
        }
        turn.out.append(&mut records);
    }

    fn update(&self, id: &DeviceId, nodes: &NodeTable, sight: &Sight, reply: Option<&Reply>) -> CacheUpdate {
        CacheUpdate {
            revision: self.revision,
            device: id.clone(),
            cached: sight.cached,
            policies: sight.policies.to_vec(),
            status: sight.status,
            not_m2m: sight.not_m2m,
            release_session: sight.release,
            answers: reply.filter(|it| it.answers).and_then(|it| it.alarm).map(|key| nodes.alarm_id(key)),
            alarm: reply.map_or(AlarmFate::Unchanged, |it| it.fate),
            explanation: reply.map_or_else(|| self.explanation.to_string(), |it| it.explanation.clone()),
        }
    }

    /// A held access that is accepted must get through: a rejecting status comes to its node only with the next
    /// look at the counts, which then hold that access.
    fn let_redeem(&mut self, node: Option<NodeIndex>) {
        if let (Some(node), Some(entry)) = (node, self.entry.as_deref_mut())
            && entry.rejected.is_some()
            && !entry.own.contains(&node)
        {
            entry.own.push(node);
            entry.own.sort_unstable();
        }
    }

    fn alarmed_at(&self, node: NodeIndex) -> bool {
        self.alarm_of(node).is_some_and(TrackedAlarm::active)
    }

    /// The answer that a decided alarm had, once more; nothing while it is undecided.
    pub(crate) fn answer_again(&mut self, turn: &mut Turn<'_>, node: NodeIndex, key: AlarmKey) {
        let Some(alarm) = self.alarm_of(node) else { return };
        let Some(fate) = alarm.phase.fate() else { return };
        if alarm.phase == AlarmPhase::Cancelled {
            self.let_redeem(Some(node));
        }
        let explanation = self.explanation.to_string();
        let reply = Reply { node: Some(node), alarm: Some(key), fate, answers: true, explanation };
        let update = self.update(turn.id, turn.nodes, &self.sight(Some(node)), Some(&reply));
        turn.out.push(Output::Update { node: turn.nodes.name(node).clone(), update });
    }

    /// What a node that connects needs to hold. An alarm that was lifted while the node was away is cancelled by
    /// it: the node has had an answer and will not ask again.
    pub(crate) fn for_snapshot(
        &mut self,
        id: &DeviceId,
        nodes: &NodeTable,
        node: NodeIndex,
        boot: BootIndex,
    ) -> Option<CacheUpdate> {
        let alarmed = self.alarmed_at(node);
        let lifted = self.alarms.iter_mut().find_map(|alarm| match (&mut alarm.phase, alarm.source) {
            (AlarmPhase::Lifted { .. }, Some((_, key))) if key.boot == boot => Some(Some(key)),
            (AlarmPhase::Lifted { told }, None) if !alarmed && !told.contains(&node) => {
                told.push(node);
                Some(None)
            }
            _ => None,
        });
        if self.entry.is_none() && lifted.is_none() {
            return None;
        }
        let reply = lifted.map(|alarm| Reply {
            node: Some(node),
            alarm,
            fate: AlarmFate::Cancel,
            answers: true,
            explanation: self.explanation.to_string(),
        });
        Some(self.update(id, nodes, &self.sight(Some(node)), reply.as_ref()))
    }

    /// Sends the question that a step asks for. True if the questions are answered.
    pub(crate) fn take_step(&self, turn: &mut Turn<'_>, step: Step) -> bool {
        let device = turn.id.clone();
        match step {
            Step::Nothing => return false,
            Step::Conclude => return true,
            Step::Ask(Question::Subscription) => turn.out.push(Output::QuerySubscription { device }),
            Step::Ask(Question::Policies) => {
                let waiting = self.alarms.iter().find(|alarm| alarm.phase == AlarmPhase::Waiting);
                let event = waiting.and_then(|alarm| alarm.condition.clone());
                turn.out.push(Output::QueryPolicies { device, event });
            }
        }
        false
    }
}

impl Sight {
    /// Whether a node must be told. The end of a release is none: sessions may simply be opened again.
    fn differs(&self, before: &Self) -> bool {
        let release_begins = self.release && !before.release;
        release_begins || *self != Self { release: self.release, ..before.clone() }
    }
}

impl AlarmPhase {
    fn fate(&self) -> Option<AlarmFate> {
        match self {
            Self::Waiting => None,
            Self::Rejected { .. } => Some(AlarmFate::Reject),
            Self::Cancelled | Self::Lifted { .. } => Some(AlarmFate::Cancel),
        }
    }
}
