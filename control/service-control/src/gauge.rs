//! One access limit held against what was admitted: how much, is there room for one more, and when again.
//!
//! Windows are half open: an admission at *t* counts until just before *t* + window. Of limits above
//! [`crate::EXACT_LIMIT`] sums are known instead of instants; such a sum stands at the end of its stretch of time, so
//! that room never comes early. Read first: the terms *limit* and *throttle* of the requirements, R-D11.

use crate::history::{History, Of};
use crate::nodes::NodeIndex;
use crate::{AccessLimit, Action, Policy, UnixMillis};

/// A limit with the admissions it counts.
#[derive(Debug)]
pub(crate) struct Measure {
    pub(crate) limit: AccessLimit,
    /// By time: when, and how many up to and including then.
    admitted: Vec<(UnixMillis, u64)>,
}

impl Measure {
    /// Takes admissions sorted by time: when, and how many.
    pub(crate) fn new(limit: AccessLimit, admissions: impl IntoIterator<Item = (UnixMillis, u32)>) -> Self {
        let mut sum = 0_u64;
        let add = |(at, number): (UnixMillis, u32)| {
            sum = sum.saturating_add(number.into());
            (at, sum)
        };
        Self { limit, admitted: admissions.into_iter().map(add).collect() }
    }

    fn until(&self, at: UnixMillis) -> u64 {
        let end = self.admitted.partition_point(|(time, _)| *time <= at);
        end.checked_sub(1).map_or(0, |last| self.admitted[last].1)
    }

    /// Admissions since `at` − window, for an instant that is not past. A sum's stretch may end later.
    pub(crate) fn count(&self, at: UnixMillis) -> u32 {
        let all = self.admitted.last().map_or(0, |(_, sum)| *sum);
        u32::try_from(all - self.until(at.minus(self.limit.window))).unwrap_or(u32::MAX)
    }

    /// Whether these many more would keep within the limit, at an instant that is not past.
    pub(crate) fn keeps(&self, more: u32, at: UnixMillis) -> bool {
        self.count(at).saturating_add(more) <= self.limit.permitted
    }

    /// The latest admission that was beyond the limit.
    fn last_breach(&self) -> Option<UnixMillis> {
        let beyond = |at: UnixMillis| {
            self.until(at) - self.until(at.minus(self.limit.window)) > self.limit.permitted.into()
        };
        self.admitted.iter().rev().map(|(at, _)| *at).find(|at| beyond(*at))
    }

    /// The only instants at which room can appear by itself.
    fn changes(&self) -> impl Iterator<Item = UnixMillis> + '_ {
        self.admitted.iter().map(|(at, _)| at.plus(self.limit.window))
    }
}

/// A policy's limits, held against what they count.
#[derive(Debug)]
pub(crate) struct Gauge {
    /// The rule's limit.
    pub(crate) rule: Measure,
    /// The throttle's, if the policy throttles.
    pub(crate) throttle: Option<Measure>,
    /// Whether a violation has no consequence.
    pub(crate) harmless: bool,
    /// The throttle replaces the rule until then.
    pub(crate) throttled_until: Option<UnixMillis>,
}

/// Whether one more access may be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Now.
    Now,
    /// From then on, if none is admitted meanwhile.
    At(UnixMillis),
    /// The policy permits none at all.
    Never,
}

impl Gauge {
    /// Holds a policy with this limit against one node's admissions, or against those of all nodes.
    pub(crate) fn new(
        policy: &Policy,
        limit: AccessLimit,
        history: &History,
        node: Option<NodeIndex>,
        now: UnixMillis,
    ) -> Self {
        let measure = |limit, throttle| {
            Measure::new(limit, history.admitted(Of { policy: policy.id, throttle, limit, node, now }))
        };
        Self {
            rule: measure(limit, false),
            throttle: policy.throttle().map(|limit| measure(limit, true)),
            harmless: policy.action == Action::None,
            throttled_until: None,
        }
    }

    /// With its throttle standing until then.
    pub(crate) fn throttled(self, throttled_until: Option<UnixMillis>) -> Self {
        Self { throttled_until, ..self }
    }

    /// The latest admission that was beyond the rule; the throttle counts from it.
    pub(crate) fn last_breach(&self, now: UnixMillis) -> Option<UnixMillis> {
        self.rule.last_breach().map(|at| at.min(now))
    }

    /// When there is room for one more access under whatever governs then: rule or throttle.
    pub(crate) fn room(&self, now: UnixMillis) -> Room {
        if self.has_room(now) {
            return Room::Now;
        }
        let throttle = self.throttle.iter().flat_map(Measure::changes);
        let mut instants: Vec<_> = self.rule.changes().chain(throttle).chain(self.throttled_until).collect();
        instants.retain(|at| *at > now);
        instants.sort_unstable();
        instants.into_iter().find(|at| self.has_room(*at)).map_or(Room::Never, Room::At)
    }

    fn has_room(&self, at: UnixMillis) -> bool {
        let within_rule = self.rule.keeps(1, at);
        match &self.throttle {
            _ if self.harmless => true,
            None => within_rule,
            Some(throttle) => {
                let throttled = self.throttled_until.is_some_and(|until| until > at);
                (within_rule && !throttled) || throttle.keeps(1, at)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limit(permitted: u32, seconds: u64) -> AccessLimit {
        AccessLimit { permitted, window: Duration::from_secs(seconds) }
    }

    fn at(seconds: i64) -> UnixMillis {
        UnixMillis(seconds * 1000)
    }

    fn gauge(action: &Action, times: &[UnixMillis], throttled: Option<i64>) -> Gauge {
        let measure = |limit| Measure::new(limit, times.iter().map(|at| (*at, 1)));
        let throttle = match action {
            Action::Throttle(limit) => Some(measure(*limit)),
            _ => None,
        };
        let (rule, harmless) = (measure(limit(3, 60)), *action == Action::None);
        Gauge { rule, throttle, harmless, throttled_until: throttled.map(at) }
    }

    #[test]
    fn an_admission_leaves_the_window_exactly_one_window_later() {
        let times = [at(0), at(10)];
        let gauge = gauge(&Action::Reject, &times, None);
        assert_eq!(gauge.rule.count(UnixMillis(59_999)), 2);
        assert_eq!(gauge.rule.count(at(60)), 1);
    }

    #[test]
    fn a_full_window_has_room_when_its_oldest_admission_leaves() {
        let times = [at(0), at(10), at(20)];
        assert_eq!(gauge(&Action::Reject, &times, None).room(at(30)), Room::At(at(60)));
        assert_eq!(gauge(&Action::Reject, &times[1..], None).room(at(30)), Room::Now);
    }

    #[test]
    fn a_looser_throttle_has_room_where_the_rule_has_none() {
        let action = Action::Throttle(limit(5, 60));
        let times = [at(0), at(10), at(20), at(25)];
        assert_eq!(gauge(&action, &times, Some(85)).room(at(30)), Room::Now);
        let full = [at(0), at(10), at(20), at(25), at(29)];
        assert_eq!(gauge(&action, &full, Some(89)).room(at(30)), Room::At(at(60)));
    }

    #[test]
    fn a_tighter_throttle_holds_after_the_rule_is_kept_again() {
        let action = Action::Throttle(limit(1, 300));
        let times = [at(0), at(10), at(20)];
        assert_eq!(gauge(&action, &times, Some(330)).room(at(100)), Room::At(at(320)));
        assert_eq!(gauge(&action, &times, Some(150)).room(at(100)), Room::At(at(150)));
    }

    #[test]
    fn a_limit_of_nothing_never_has_room() {
        let mut gauge = gauge(&Action::Reject, &[], None);
        gauge.rule.limit.permitted = 0;
        assert_eq!(gauge.room(at(0)), Room::Never);
    }

    #[test]
    fn the_latest_breach_is_the_latest_admission_beyond_the_limit() {
        let action = Action::Throttle(limit(5, 60));
        let times = [at(0), at(10), at(20), at(25), at(90)];
        assert_eq!(gauge(&action, &times, None).last_breach(at(91)), Some(at(25)));
        assert_eq!(gauge(&action, &times[..3], None).last_breach(at(91)), None);
    }

    #[test]
    fn a_sum_counts_until_its_whole_stretch_has_left_the_window() {
        let sums = [(at(20), 40), (at(40), 50), (at(60), 9)];
        let mut gauge = gauge(&Action::Reject, &[], None);
        gauge.rule = Measure::new(limit(99, 60), sums);
        assert_eq!(gauge.rule.count(at(45)), 99, "the last stretch is not over yet and counts all the same");
        assert_eq!(gauge.room(at(45)), Room::At(at(80)));
        assert_eq!(gauge.rule.count(at(80)), 59);
        assert_eq!(gauge.last_breach(at(45)), None);
    }
}
