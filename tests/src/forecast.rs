//! A model of worked example R-D17 that knows only the numbers: what must become of each access of a burst.
//!
//! Written from the requirements, without a look at the law or at service control. It holds for accesses of
//! one device that all lie within every window.

/// The numbers of the example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// More requests than this are an alarm, while no policy is cached.
    pub alarm: u32,
    /// More accesses than this break policy 1.
    pub rule: u32,
    /// Under policy 1's throttle, so many may be admitted.
    pub throttle: u32,
}

/// What must become of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Passed.
    Admitted,
    /// Held; control cancels the alarm, and the same packet is delivered.
    HeldThenDelivered,
    /// Held; control lets the alarm stand.
    HeldThenRejected,
    /// Dropped: the throttle has no room.
    Throttled,
    /// Dropped: the alarm is active.
    AlarmActive,
}

/// The example's course.
#[derive(Clone, Debug)]
pub struct Forecast {
    numbers: Numbers,
    admitted: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NothingCached,
    Cached { throttled: bool },
    Rejected,
}

impl Forecast {
    /// Before the first access.
    pub fn new(numbers: Numbers) -> Self {
        Self { numbers, admitted: 0, state: State::NothingCached }
    }

    /// What must become of the next access.
    pub fn next_access(&mut self) -> Fate {
        let this_one = self.admitted + 1;
        let fate = match self.state {
            State::NothingCached if this_one > self.numbers.alarm => self.alarm(this_one),
            State::NothingCached => Fate::Admitted,
            State::Cached { throttled } => self.judge(this_one, throttled),
            State::Rejected => Fate::AlarmActive,
        };
        if matches!(fate, Fate::Admitted | Fate::HeldThenDelivered) {
            self.admitted = this_one;
        }
        fate
    }

    /// Accesses admitted so far.
    pub fn admitted(&self) -> u32 {
        self.admitted
    }

    /// Whether the policies are cached and say throttled.
    pub fn is_throttled(&self) -> bool {
        self.state == State::Cached { throttled: true }
    }

    fn alarm(&mut self, this_one: u32) -> Fate {
        let broken = this_one > self.numbers.rule;
        if broken && this_one > self.numbers.throttle {
            self.state = State::Rejected;
            return Fate::HeldThenRejected;
        }
        self.state = State::Cached { throttled: broken };
        Fate::HeldThenDelivered
    }

    fn judge(&mut self, this_one: u32, throttled: bool) -> Fate {
        let throttled = throttled || this_one > self.numbers.rule;
        self.state = State::Cached { throttled };
        if throttled && this_one > self.numbers.throttle { Fate::Throttled } else { Fate::Admitted }
    }
}

#[cfg(test)]
mod tests {
    use super::Fate::*;
    use super::*;

    fn course(alarm: u32, rule: u32, throttle: u32, accesses: usize) -> Vec<Fate> {
        let mut forecast = Forecast::new(Numbers { alarm, rule, throttle });
        (0..accesses).map(|_| forecast.next_access()).collect()
    }

    #[test]
    fn the_seeds_own_numbers_give_the_seeds_own_course() {
        let course = course(3, 3, 5, 7);
        assert_eq!(course, [Admitted, Admitted, Admitted, HeldThenDelivered, Admitted, Throttled, Throttled]);
    }

    #[test]
    fn a_throttle_tighter_than_what_was_admitted_leaves_the_alarm_standing() {
        assert_eq!(course(2, 1, 2, 4), [Admitted, Admitted, HeldThenRejected, AlarmActive]);
    }

    #[test]
    fn a_rule_above_the_alarm_is_broken_later_and_judged_on_the_node() {
        let course = course(1, 3, 4, 6);
        assert_eq!(course, [Admitted, HeldThenDelivered, Admitted, Admitted, Throttled, Throttled]);
    }
}
