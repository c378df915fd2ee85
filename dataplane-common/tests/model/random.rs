//! The law and the model over the same random sequences, compared after every step.

use proptest::prelude::*;
use weir_dataplane_common::{
    admit::Outcome,
    reason::Reason,
    window::{History, SLOTS},
};

use super::{
    device::Device,
    draw::{self, Event, Gap, World},
    law::{LawSide, Past, tick},
};

/// Beyond this the agent's sweep dates anew, and nothing that is judged here reaches so far back.
const LONG_AGO: u64 = 1 << 20;

/// What became of a packet, and why it would have been dropped were the node not only watching.
type Judged = (Outcome, Option<Reason>);

/// Everything about a device that somebody outside can see.
#[derive(Debug, PartialEq)]
struct Seen {
    outcome: Option<Judged>,
    requests: usize,
    admitted: usize,
    rejected: usize,
    unsolicited: usize,
    session_is_open: bool,
    /// Reason and place of the policy (from 1; 0: the status, or none) of the latest refusal.
    last_rejection: Option<(Reason, u32)>,
    /// Ages of the last fourteen, newest first, none above [`LONG_AGO`]. Requests only where an entry keeps them.
    request_ages: Option<Vec<u64>>,
    admission_ages: Vec<u64>,
}

fn of_model(device: &Device<'_>, now: u64, outcome: Option<Judged>, requests_are_kept: bool) -> Seen {
    let ages = |instants: &mut dyn Iterator<Item = u64>| {
        instants.take(SLOTS).map(|at| (now - at).min(LONG_AGO)).collect()
    };
    Seen {
        outcome,
        requests: device.requests.len(),
        admitted: device.admissions.len(),
        rejected: device.rejections,
        unsolicited: device.unsolicited,
        session_is_open: device.session_is_open(now),
        last_rejection: device.last_rejection,
        request_ages: requests_are_kept.then(|| ages(&mut device.requests.iter().rev().copied())),
        admission_ages: ages(&mut device.counted_admissions().rev()),
    }
}

fn of_law(law: &LawSide, now: u64, outcome: Option<Judged>) -> Seen {
    let entry = &law.entry;
    let rejection = entry.last_rejection.load();
    let ages = |history: &History| history.ages(tick(now)).map(|age| u64::from(age).min(LONG_AGO)).collect();
    Seen {
        outcome,
        requests: entry.requests.load() as usize,
        admitted: entry.admitted.load() as usize,
        rejected: entry.rejected.load() as usize,
        unsolicited: entry.unsolicited.load() as usize,
        session_is_open: law.session_is_open(now),
        last_rejection: Reason::from_number(rejection as u8)
            .filter(|_| rejection != 0)
            .map(|reason| (reason, rejection >> 8)),
        request_ages: (law.profile().by_words == 0).then(|| ages(&law.ledger.requests)),
        admission_ages: ages(&law.ledger.admissions),
    }
}

/// The clock. It steps over instants of which a tick, a slot or a deadline would be zero: an entry keeps "none" as
/// zero and takes the next instant instead, which is tested where ticks are.
pub(super) struct Clock {
    pub(super) now: u64,
    lengths: Vec<u64>,
}

impl Clock {
    pub(super) fn new(world: &World) -> Self {
        Self { now: world.start, lengths: world.lengths() }
    }

    pub(super) fn advance(&mut self, gap: Gap) {
        self.now += match gap {
            Gap::Ticks(ticks) => ticks,
            Gap::Length(which, more) => self.lengths[which % self.lengths.len()].saturating_add_signed(more),
            Gap::Days => 1 << 28,
        };
        let is_zero = |at: u64| at.is_multiple_of(1 << 30);
        while is_zero(self.now) || self.lengths.iter().any(|length| is_zero(self.now + length)) {
            self.now += 1;
        }
    }
}

fn run(world: &World) -> Result<(), TestCaseError> {
    let mut clock = Clock::new(world);
    let mut device = Device::new(&world.node, world.lists[0].clone());
    let mut law = LawSide::new(world.node.clone(), world.lists[0].as_ref());
    for (number, step) in world.steps.iter().enumerate() {
        clock.advance(step.gap);
        let now = clock.now;
        if matches!(step.gap, Gap::Days) {
            law.sweep(now);
        }
        let (expected, found) = match &step.event {
            Event::Packet(packet) => (Some(device.packet(now, *packet)), Some(law.judged(now, *packet))),
            Event::Operation(operation) => {
                device.operate(now, operation);
                law.operate(now, operation, &past_of(&device));
                (None, None)
            }
        };
        let found = of_law(&law, now, found);
        let expected = of_model(&device, now, expected, found.request_ages.is_some());
        prop_assert_eq!(expected, found, "step {} at {}: {:?}", number, now, step);
    }
    Ok(())
}

pub(super) fn past_of(device: &Device<'_>) -> Past {
    Past { requests: device.requests.clone(), admissions: device.counted_admissions().collect() }
}

fn config() -> ProptestConfig {
    let cases = ProptestConfig::default().cases.max(500);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_law_judges_every_sequence_as_the_requirements_do(world in draw::world()) {
        run(&world)?;
    }
}
