//! Deciding: one function per event in a device's life. Each changes the device and publishes the difference.
//!
//! Read first: `lifecycle` for the states, `judge` and `outlook` for what the policies say.

use std::sync::Arc;

use crate::counts::Origin;
use crate::device::{Device, Entry, TrackedAlarm, Turn};
use crate::history::History;
use crate::lifecycle::{AlarmPhase, Ground, at_least_a_moment};
use crate::nodes::{AlarmKey, NodeIndex};
use crate::outlook::{Outlook, Prospect, Survey, concerns_network, survey};
use crate::publish::Reply;
use crate::wording::explained;
use crate::{Alarm, AlarmFate, DeviceCounts, Policy, UnixMillis};

impl Device {
    /// R-D8: a new alarm starts the questions or joins them; a known one is answered again if it was.
    pub(crate) fn alarm_raised(&mut self, turn: &mut Turn<'_>, from: Origin, alarm: Alarm) {
        let key = AlarmKey { boot: from.boot, sequence: alarm.id.sequence };
        self.counts.take(from, alarm.counts, turn.now);
        if let Some(known) = self.alarm_of(from.node).and_then(TrackedAlarm::key)
            && (known.boot > key.boot || known.boot == key.boot && known.sequence >= key.sequence)
        {
            self.answer_again(turn, from.node, key);
            return;
        }
        self.alarms.retain(|other| other.node() != Some(from.node));
        self.alarms.reserve_exact(1);
        self.alarms.push(TrackedAlarm {
            source: Some((from.node, key)),
            raised_at: turn.now,
            condition: Some(alarm.condition),
            kind: Some(alarm.kind),
            access_held: alarm.access_held,
            phase: AlarmPhase::Waiting,
        });
        let step = self.stage.alarm_raised(turn.config, turn.now);
        self.take_step(turn, step);
    }

    /// R-D16, R-D11 last sentence: counts are looked at whether or not anybody has raised an alarm.
    pub(crate) fn counted(&mut self, turn: &mut Turn<'_>, from: Origin, counts: DeviceCounts) {
        let refused = self.counts.take(from, counts, turn.now);
        let Some(entry) = self.entry.as_deref() else { return };
        if !concerns_network(&entry.policies) {
            return;
        }
        let history = self.counts.history();
        let outlook = self.outlook(turn, entry, &history, refused);
        // What was told stands until its instant: after a restart not all nodes have reported yet.
        let rejected = outlook.rejected.max(entry.rejected);
        let own = self.enforcing(turn, entry, &history, rejected);
        let release_begins = outlook.release && !entry.release;
        let status_changes = rejected != entry.rejected || own != entry.own || !outlook.throttles.is_empty();
        if !status_changes && !release_begins {
            return;
        }
        let before = self.sights(turn.nodes);
        self.explanation = explained(&outlook).into();
        self.apply(Outlook { rejected, ..outlook }, own);
        self.publish(turn, &before, &[]);
    }

    /// R-D9: not a machine, so nobody shall alarm for it.
    pub(crate) fn found_not_m2m(&mut self, turn: &mut Turn<'_>) {
        let text = "Cancelled: the device is not M2M.";
        let before = self.sights(turn.nodes);
        let until = turn.now.plus(turn.config.not_m2m_lifetime);
        self.entry = Some(Box::new(Entry { not_m2m_until: Some(until), ..Entry::default() }));
        let replies = self.cancel_all(turn, text);
        self.explanation = text.into();
        self.publish(turn, &before, &replies);
    }

    /// The HSS does not know the device: fail closed, and ask again after the hold time.
    pub(crate) fn found_unknown(&mut self, turn: &mut Turn<'_>) {
        let text = "Rejected: the HSS does not know the device.";
        let before = self.sights(turn.nodes);
        self.entry = None;
        let review_at = turn.now.plus(at_least_a_moment(turn.config.protocol_alarm_hold));
        let mut replies = Vec::new();
        for alarm in self.alarms.iter_mut().filter(|alarm| alarm.active()) {
            if alarm.phase == AlarmPhase::Waiting {
                replies.push(alarm.reply(AlarmFate::Reject, true, text));
            }
            alarm.phase.reject(Ground::UnknownSubscriber, review_at);
        }
        self.explanation = text.into();
        self.publish(turn, &before, &replies);
    }

    /// R-D11: the policies are known, every waiting alarm is judged and every rejected one is judged again.
    pub(crate) fn found_policies(&mut self, turn: &mut Turn<'_>, policies: Arc<[Policy]>) {
        let before = self.sights(turn.nodes);
        let told =
            self.entry.as_ref().filter(|entry| entry.policies == policies).and_then(|entry| entry.rejected);
        let mut entry = Entry::with_policies(policies, self.entry.take());
        let mut history = self.counts.history();
        let mut alarms = std::mem::take(&mut self.alarms);
        let mut replies = Vec::new();
        for alarm in &mut alarms {
            replies.extend(alarm.decide(&mut entry, &mut history, turn));
        }
        self.alarms = alarms;
        let history = self.counts.history();
        let mut outlook = self.outlook(turn, &entry, &history, false);
        outlook.rejected = outlook.rejected.max(told);
        let own = self.enforcing(turn, &entry, &history, outlook.rejected);
        self.explanation = match telling(&replies) {
            Some(reply) => reply.explanation.as_str().into(),
            None if outlook.governing.is_some() => explained(&outlook).into(),
            None => "The device's policies are up to date.".into(),
        };
        self.entry = Some(Box::new(entry));
        self.apply(outlook, own);
        self.publish(turn, &before, &replies);
    }

    /// R-D15: what was decided on the old facts is decided anew.
    pub(crate) fn subscriber_changed(&mut self, turn: &mut Turn<'_>) {
        if self.entry.is_some() || self.alarmed() || self.stage.due().is_some() {
            let step = self.stage.subscriber_changed(turn.config, turn.now);
            self.take_step(turn, step);
        }
    }

    /// An operator's word goes to every node, known to have an alarm or not. Limits stand: what the status rejects
    /// stays rejected until its window has room.
    pub(crate) fn operator_cancels(&mut self, turn: &mut Turn<'_>) {
        let text = "Cancelled: by the operator.";
        let before = self.sights(turn.nodes);
        let mut replies = self.cancel_all(turn, text);
        replies.push(Reply {
            node: None,
            alarm: None,
            fate: AlarmFate::Cancel,
            answers: false,
            explanation: text.to_owned(),
        });
        self.explanation = text.into();
        self.publish(turn, &before, &replies);
    }

    /// Everything that is due.
    pub(crate) fn time_passed(&mut self, turn: &mut Turn<'_>) {
        self.lapse(turn.now);
        let before = self.sights(turn.nodes);
        let replies = self.review(turn);
        if let Some(reply) = telling(&replies) {
            self.explanation = reply.explanation.as_str().into();
        }
        let forgotten = |entry: &Entry| entry.not_m2m_until.is_some_and(|until| until <= turn.now);
        if self.entry.as_deref().is_some_and(forgotten) {
            self.entry = None;
            self.explanation = "Forgotten: it was long ago that the device was found not to be M2M.".into();
        }
        self.publish(turn, &before, &replies);
        let step = self.stage.time_passed(turn.config, turn.now);
        self.take_step(turn, step);
    }

    /// R-D13: rejected alarms whose time has come are lifted, or put off while there is still no room.
    fn review(&mut self, turn: &mut Turn<'_>) -> Vec<Reply> {
        let mut alarms = std::mem::take(&mut self.alarms);
        let mut replies = Vec::new();
        for alarm in &mut alarms {
            let AlarmPhase::Rejected { ground, review_at } = alarm.phase else { continue };
            if review_at > turn.now {
                continue;
            }
            let still = match (ground, self.entry.as_deref()) {
                (Ground::UnknownSubscriber, _) => {
                    let step = self.stage.subscriber_changed(turn.config, turn.now);
                    self.take_step(turn, step);
                    Some(turn.now.plus(at_least_a_moment(turn.config.protocol_alarm_hold)))
                }
                (Ground::Count, Some(entry)) => alarm.no_room(entry, &self.counts.history(), turn.now),
                (Ground::Count, None) | (Ground::Protocol, _) => None,
            };
            match still {
                Some(at) => alarm.phase.reject(ground, at),
                None => replies.push(alarm.cancel(turn, ground.over())),
            }
        }
        self.alarms = alarms;
        replies
    }

    /// What the network's counts demand by these policies.
    fn outlook(&self, turn: &Turn<'_>, entry: &Entry, history: &History, refused: bool) -> Outlook {
        let Entry { policies, throttles, .. } = entry;
        survey(&Survey { policies, history, throttles, refused, now: turn.now })
    }

    /// Nodes whose own count enforces the rejection to its end, in order. A node that has been told is not told
    /// otherwise for the same rejection.
    fn enforcing(
        &self,
        turn: &Turn<'_>,
        entry: &Entry,
        history: &History,
        rejected: Option<UnixMillis>,
    ) -> Vec<NodeIndex> {
        if rejected.is_none() {
            return Vec::new();
        }
        let Entry { policies, throttles, .. } = entry;
        let told = |node: &NodeIndex| rejected == entry.rejected && !entry.own.contains(node);
        let enforces = |node: &NodeIndex| {
            let node = Some(*node);
            Prospect { policies, history, throttles, node, now: turn.now }.by_itself() >= rejected
        };
        self.counts.nodes().into_iter().filter(|node| !told(node) && enforces(node)).collect()
    }

    fn apply(&mut self, outlook: Outlook, own: Vec<NodeIndex>) {
        let Some(entry) = self.entry.as_deref_mut() else { return };
        for throttle in outlook.throttles {
            entry.throttle(throttle);
        }
        entry.rejected = outlook.rejected;
        entry.own = own;
        entry.release |= outlook.release;
    }

    fn cancel_all(&mut self, turn: &Turn<'_>, text: &str) -> Vec<Reply> {
        let mut replies = Vec::new();
        for alarm in self.alarms.iter_mut().filter(|alarm| alarm.active()) {
            replies.push(alarm.cancel(turn, text));
        }
        replies
    }
}

/// The reply that says most about the device: the last rejection, or else the last cancellation.
fn telling(replies: &[Reply]) -> Option<&Reply> {
    replies.iter().rfind(|reply| reply.fate == AlarmFate::Reject).or(replies.last())
}
