//! One access limit held against a list of admissions: how many, is there room for one more, and when again.
//!
//! Windows are half open: an admission at *t* counts until just before *t* + window. Read first: the terms
//! *limit* and *throttle* of the requirements, R-D11.

use std::time::Duration;

use crate::{AccessLimit, Action, UnixMillis};

/// A policy's limit with the admissions it counts, sorted by time.
#[derive(Debug)]
pub(crate) struct Gauge<'a> {
    /// The rule's limit.
    pub(crate) limit: AccessLimit,
    /// What its violation leads to.
    pub(crate) action: &'a Action,
    /// The admissions counted.
    pub(crate) times: &'a [UnixMillis],
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

impl Gauge<'_> {
    /// Admissions within `(at − window, at]`.
    pub(crate) fn count(&self, window: Duration, at: UnixMillis) -> u32 {
        let begin = self.times.partition_point(|time| *time <= at.minus(window));
        let end = self.times.partition_point(|time| *time <= at);
        u32::try_from(end.saturating_sub(begin)).unwrap_or(u32::MAX)
    }

    /// Whether these many more would keep within this limit.
    pub(crate) fn keeps(&self, limit: AccessLimit, more: u32, at: UnixMillis) -> bool {
        self.count(limit.window, at).saturating_add(more) <= limit.permitted
    }

    /// The latest admission that was beyond the limit; the throttle counts from it.
    pub(crate) fn last_breach(&self) -> Option<UnixMillis> {
        self.times.iter().rev().copied().find(|at| !self.keeps(self.limit, 0, *at))
    }

    /// When there is room for one more access under whatever governs then: rule or throttle.
    pub(crate) fn room(&self, now: UnixMillis) -> Room {
        if self.has_room(now) {
            return Room::Now;
        }
        let mut instants = self.changes();
        instants.retain(|at| *at > now);
        instants.sort_unstable();
        instants.into_iter().find(|at| self.has_room(*at)).map_or(Room::Never, Room::At)
    }

    fn has_room(&self, at: UnixMillis) -> bool {
        let within_rule = self.keeps(self.limit, 1, at);
        match self.action {
            Action::None => true,
            Action::Reject | Action::WithholdResources | Action::Release => within_rule,
            Action::Throttle(throttle) => {
                let throttled = self.throttled_until.is_some_and(|until| until > at);
                (within_rule && !throttled) || self.keeps(*throttle, 1, at)
            }
        }
    }

    /// The only instants at which room can appear by itself.
    fn changes(&self) -> Vec<UnixMillis> {
        let mut instants: Vec<_> = self.times.iter().map(|at| at.plus(self.limit.window)).collect();
        if let Action::Throttle(throttle) = self.action {
            instants.extend(self.times.iter().map(|at| at.plus(throttle.window)));
            instants.extend(self.throttled_until);
        }
        instants
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(permitted: u32, seconds: u64) -> AccessLimit {
        AccessLimit { permitted, window: Duration::from_secs(seconds) }
    }

    fn at(seconds: i64) -> UnixMillis {
        UnixMillis(seconds * 1000)
    }

    fn gauge<'a>(action: &'a Action, times: &'a [UnixMillis], throttled: Option<i64>) -> Gauge<'a> {
        Gauge { limit: limit(3, 60), action, times, throttled_until: throttled.map(at) }
    }

    #[test]
    fn an_admission_leaves_the_window_exactly_one_window_later() {
        let times = [at(0), at(10)];
        let gauge = gauge(&Action::Reject, &times, None);
        assert_eq!(gauge.count(Duration::from_secs(60), UnixMillis(59_999)), 2);
        assert_eq!(gauge.count(Duration::from_secs(60), at(60)), 1);
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
        gauge.limit.permitted = 0;
        assert_eq!(gauge.room(at(0)), Room::Never);
    }

    #[test]
    fn the_latest_breach_is_the_latest_admission_beyond_the_limit() {
        let action = Action::Throttle(limit(5, 60));
        let times = [at(0), at(10), at(20), at(25), at(90)];
        assert_eq!(gauge(&action, &times, None).last_breach(), Some(at(25)));
        assert_eq!(gauge(&action, &times[..3], None).last_breach(), None);
    }
}
