//! The whole transition table of the questions, and of an alarm.

use super::*;

const NOW: UnixMillis = UnixMillis(100_000);
const TIMEOUT: i64 = 5_000;

fn config() -> Config {
    Config {
        query_timeout: Duration::from_millis(5_000),
        retry_first: Duration::from_millis(1_000),
        retry_longest: Duration::from_millis(6_000),
        ..Config::default()
    }
}

fn asking(question: Question, again: bool) -> Stage {
    Stage::Asking { question, attempt: 0, deadline: NOW, again }
}

fn pausing(question: Question) -> Stage {
    Stage::Pausing { question, attempt: 1, until: NOW }
}

fn asked(question: Question, attempt: u32) -> Stage {
    Stage::Asking { question, attempt, deadline: UnixMillis(NOW.0 + TIMEOUT), again: false }
}

fn paused(question: Question, attempt: u32) -> Stage {
    let pause = [1_000, 2_000, 4_000, 6_000][attempt as usize - 1];
    Stage::Pausing { question, attempt, until: UnixMillis(NOW.0 + pause) }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Alarm,
    Changed,
    M2m,
    NotM2m,
    Policies,
    HssFails,
    PcrfFails,
    Time,
}

fn after(mut stage: Stage, event: Event) -> (Stage, Step) {
    let config = config();
    let step = match event {
        Event::Alarm => stage.alarm_raised(&config, NOW),
        Event::Changed => stage.subscriber_changed(&config, NOW),
        Event::M2m => stage.subscription_answered(true, &config, NOW),
        Event::NotM2m => stage.subscription_answered(false, &config, NOW),
        Event::Policies => stage.policies_answered(&config, NOW),
        Event::HssFails => stage.failed(Question::Subscription, &config, NOW),
        Event::PcrfFails => stage.failed(Question::Policies, &config, NOW),
        Event::Time => stage.time_passed(&config, NOW),
    };
    (stage, step)
}

#[test]
fn every_stage_answers_every_event_as_the_table_says() {
    use Event::*;
    use Question::{Policies as P, Subscription as S};
    use Step::{Ask, Conclude, Nothing};
    let ask_s = (asked(S, 0), Ask(S));
    let ask_p = (asked(P, 0), Ask(P));
    let done = (Stage::Settled, Conclude);
    let events = [Alarm, Changed, M2m, NotM2m, Policies, HssFails, PcrfFails, Time];
    let stays = |stage| (stage, Nothing);
    let table = [
        (Stage::Settled, {
            let same = stays(Stage::Settled);
            [ask_s, ask_s, same, same, same, same, same, same]
        }),
        (asking(S, false), {
            let same = stays(asking(S, false));
            let fails = stays(paused(S, 1));
            [same, stays(asking(S, true)), ask_p, done, same, fails, same, fails]
        }),
        (asking(S, true), {
            let same = stays(asking(S, true));
            let fails = stays(paused(S, 1));
            [same, same, ask_s, ask_s, same, fails, same, fails]
        }),
        (pausing(S), {
            let same = stays(pausing(S));
            [same, ask_s, ask_p, done, same, same, same, (asked(S, 1), Ask(S))]
        }),
        (asking(P, false), {
            let same = stays(asking(P, false));
            let fails = stays(paused(P, 1));
            [same, stays(asking(P, true)), same, same, done, same, fails, fails]
        }),
        (asking(P, true), {
            let same = stays(asking(P, true));
            let fails = stays(paused(S, 1));
            [same, same, same, same, ask_s, same, fails, fails]
        }),
        (pausing(P), {
            let same = stays(pausing(P));
            [same, ask_s, same, same, done, same, same, (asked(P, 1), Ask(P))]
        }),
    ];
    for (stage, expected) in table {
        for (event, expected) in events.into_iter().zip(expected) {
            assert_eq!(after(stage, event), expected, "{stage:?} on {event:?}");
        }
    }
}

#[test]
fn pauses_double_up_to_the_longest() {
    let mut stage = Stage::Settled;
    stage.alarm_raised(&config(), NOW);
    for attempt in 1..=4 {
        stage.failed(Question::Subscription, &config(), NOW);
        assert_eq!(stage, paused(Question::Subscription, attempt));
        let over = stage.due().unwrap();
        assert_eq!(stage.time_passed(&config(), over), Step::Ask(Question::Subscription));
    }
}

#[test]
fn nothing_happens_before_its_time() {
    for mut stage in [asking(Question::Policies, false), pausing(Question::Subscription)] {
        let before = stage;
        assert_eq!(stage.time_passed(&config(), NOW.minus(Duration::from_millis(1))), Step::Nothing);
        assert_eq!(stage, before);
    }
}

#[test]
fn an_alarm_ends_only_by_cancellation_and_remembers_that_it_was_rejected() {
    let rejected = |at| AlarmPhase::Rejected { ground: Ground::Count, review_at: UnixMillis(at) };
    let lifted = AlarmPhase::Lifted { told: vec![] };
    let table = [
        (AlarmPhase::Waiting, AlarmPhase::Cancelled, rejected(2)),
        (rejected(1), lifted.clone(), rejected(2)),
        (AlarmPhase::Cancelled, AlarmPhase::Cancelled, AlarmPhase::Cancelled),
        (lifted.clone(), lifted.clone(), lifted),
    ];
    for (phase, cancelled, still_rejected) in table {
        let mut phase_after = phase.clone();
        phase_after.cancel(vec![]);
        assert_eq!(phase_after, cancelled, "{phase:?} cancelled");
        let mut phase_after = phase.clone();
        phase_after.reject(Ground::Count, UnixMillis(2));
        assert_eq!(phase_after, still_rejected, "{phase:?} rejected");
    }
}

#[test]
fn a_configuration_of_zeros_still_moves_time_forward() {
    let zeros = Config {
        query_timeout: Duration::ZERO,
        retry_first: Duration::ZERO,
        retry_longest: Duration::ZERO,
        ..Config::default()
    };
    let mut stage = Stage::Settled;
    stage.alarm_raised(&zeros, NOW);
    assert!(stage.due().unwrap() > NOW);
    stage.failed(Question::Subscription, &zeros, NOW);
    assert!(stage.due().unwrap() > NOW);
}
