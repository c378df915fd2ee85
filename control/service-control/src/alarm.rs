//! One alarm before the policies: judged once while it waits, and again while it is rejected (R-D11, R-D13).
//!
//! Changes the alarm and the entry's throttles; tells nobody.

use std::sync::Arc;

use crate::device::{Entry, TrackedAlarm, Turn};
use crate::history::History;
use crate::judge::{Situation, Throttle, forbids, judge};
use crate::lifecycle::{AlarmPhase, Ground, at_least_a_moment};
use crate::nodes::NodeIndex;
use crate::outlook::Prospect;
use crate::publish::Reply;
use crate::{AlarmFate, Condition, Policy, Rule, UnixMillis, Until};

impl TrackedAlarm {
    /// What the device's policies make of it. `None`: nothing new. A held access that is accepted counts for the
    /// alarms decided after it.
    pub(crate) fn decide(
        &mut self,
        entry: &mut Entry,
        history: &mut History,
        turn: &Turn<'_>,
    ) -> Option<Reply> {
        match (&self.phase, self.source, &self.condition) {
            (AlarmPhase::Waiting, Some((node, _)), Some(condition)) => {
                let condition = condition.clone();
                Some(self.judge(node, &condition, entry, history, turn))
            }
            (AlarmPhase::Rejected { ground, review_at }, ..) => {
                match self.still_rejected(*ground, *review_at, entry, history, turn) {
                    Some((ground, review_at)) => {
                        self.phase.reject(ground, review_at);
                        None
                    }
                    None => Some(self.cancel(turn, "Cancelled: the device's policies permit it now.")),
                }
            }
            _ => None,
        }
    }

    fn judge(
        &mut self,
        node: NodeIndex,
        condition: &Condition,
        entry: &mut Entry,
        history: &mut History,
        turn: &Turn<'_>,
    ) -> Reply {
        let held = self.kind.filter(|_| self.access_held);
        let verdict = judge(&Situation {
            policies: &entry.policies,
            condition,
            held,
            node,
            history,
            throttles: &entry.throttles,
            now: turn.now,
        });
        for throttle in verdict.throttles {
            entry.throttle(throttle);
        }
        entry.release |= verdict.release_session;
        if verdict.fate == AlarmFate::Cancel {
            if held.is_some() {
                history.push(turn.now, node);
            }
            self.phase.cancel(Vec::new());
            self.condition = None;
        } else {
            let held_until = turn.now.plus(at_least_a_moment(turn.config.protocol_alarm_hold));
            match (condition, verdict.status.rejected) {
                (Condition::Count { .. }, Some(Until::Instant(at))) => self.phase.reject(Ground::Count, at),
                _ => self.phase.reject(Ground::Protocol, held_until),
            }
        }
        self.reply(verdict.fate, true, &verdict.explanation)
    }

    /// Why and how long a rejected alarm stays so under these policies.
    fn still_rejected(
        &self,
        ground: Ground,
        review_at: UnixMillis,
        entry: &Entry,
        history: &History,
        turn: &Turn<'_>,
    ) -> Option<(Ground, UnixMillis)> {
        let held_until = match ground {
            Ground::Protocol => review_at,
            Ground::Count | Ground::UnknownSubscriber => {
                turn.now.plus(at_least_a_moment(turn.config.protocol_alarm_hold))
            }
        };
        match (&self.condition, ground) {
            (Some(Condition::Count { .. }), _) | (None, Ground::Count) => {
                self.no_room(entry, history, turn.now).map(|at| (Ground::Count, at))
            }
            (Some(Condition::Protocol(class)), _) => {
                forbids(&entry.policies, class).then_some((Ground::Protocol, held_until))
            }
            (None, Ground::Protocol) => {
                forbids_anything(&entry.policies).then_some((Ground::Protocol, held_until))
            }
            (None, Ground::UnknownSubscriber) => None,
        }
    }

    /// Until when there is no room for an access like the one that raised the alarm.
    pub(crate) fn no_room(&self, entry: &Entry, history: &History, now: UnixMillis) -> Option<UnixMillis> {
        let Entry { policies, throttles, .. } = entry;
        Prospect { policies, history, throttles, node: self.node(), now }.no_room_until(self.kind)
    }

    /// Ends it in the device's favour.
    pub(crate) fn cancel(&mut self, turn: &Turn<'_>, explanation: &str) -> Reply {
        let reply = self.reply(AlarmFate::Cancel, self.phase == AlarmPhase::Waiting, explanation);
        let told = if self.source.is_none() { turn.nodes.connected().collect() } else { Vec::new() };
        self.phase.cancel(told);
        self.condition = None;
        reply
    }

    /// What its node is told. `answers`: the node has had no answer yet.
    pub(crate) fn reply(&self, fate: AlarmFate, answers: bool, explanation: &str) -> Reply {
        Reply { node: self.node(), alarm: self.key(), fate, answers, explanation: explanation.to_owned() }
    }
}

fn forbids_anything(policies: &[Policy]) -> bool {
    policies.iter().any(|policy| match &policy.rule {
        Rule::ForbiddenProtocols(classes) => classes.iter().any(|class| forbids(policies, class)),
        Rule::AccessLimit(_) | Rule::Rate(_) => false,
    })
}

impl Ground {
    /// Why an alarm rejected on this ground ends by itself.
    pub(crate) fn over(self) -> &'static str {
        match self {
            Self::Count => "Cancelled: the window has room again.",
            Self::Protocol | Self::UnknownSubscriber => "Cancelled: the hold time is over.",
        }
    }
}

impl Entry {
    /// These policies, with what still stands of the entry before.
    pub(crate) fn with_policies(policies: Arc<[Policy]>, before: Option<Box<Self>>) -> Self {
        let before = before.map(|entry| *entry).unwrap_or_default();
        let mut throttles = before.throttles;
        throttles.retain(|it| policies.iter().any(|policy| policy.id == it.policy && policy.throttles()));
        Self { policies, throttles, not_m2m_until: None, ..before }
    }

    /// A throttle begins or is prolonged.
    pub(crate) fn throttle(&mut self, throttle: Throttle) {
        let same = |it: &&mut Throttle| it.policy == throttle.policy && it.node == throttle.node;
        match self.throttles.iter_mut().find(same) {
            Some(standing) => standing.until = standing.until.max(throttle.until),
            None => {
                self.throttles.reserve_exact(1);
                self.throttles.push(throttle);
            }
        }
    }
}
