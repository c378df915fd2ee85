//! Strangers: addresses that no device is bound to, each judged by its own history in a bounded table.
//!
//! The model keeps a history for every address and forgets nothing. The table may refuse a stranger for want of a
//! place or of a rate; whomever it judges, it judges as the model does. So a place that changes hands has held
//! nothing that still counted, or the two would differ.

use std::collections::HashMap;

use proptest::{collection::vec, prelude::*};
use weir_dataplane_common::{
    abi::{AddressKey, Entry, Ledger, Profile, STRANGER_PROFILE, Settings, Side, Switches},
    atomic::Word64,
    node::{Judgement, Tables, judge},
    parse::Cursor,
    reason::Reason,
};

use super::{
    bench::{SECOND, at_most, node},
    compile::profile,
    device::Device,
    frame::{frame_of, settings},
    law::tick,
    policy::{Action, Node, Packet, Policy, Way},
};

const FIRST: u32 = 3;

struct Table {
    entries: Vec<Entry>,
    ledgers: Vec<Ledger>,
    profile: Profile,
    settings: Settings,
    switches: Switches,
    rate: Word64,
}

impl Tables for Table {
    fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(index as usize)
    }

    fn ledger(&self, index: u32) -> Option<&Ledger> {
        self.ledgers.get(index as usize)
    }

    fn profile(&self, number: u32) -> Option<&Profile> {
        (number == STRANGER_PROFILE).then_some(&self.profile)
    }

    fn index_of(&self, _: &AddressKey) -> Option<u32> {
        None
    }

    fn switches(&self) -> Option<&Switches> {
        Some(&self.switches)
    }

    fn stranger_rate(&self) -> Option<&Word64> {
        Some(&self.rate)
    }
}

impl Table {
    /// So many places; a new stranger costs so many nanoseconds.
    fn new(node: &Node, policies: &Vec<Policy>, places: u32, cost: u32, seed: u64) -> Self {
        let count = (FIRST + places) as usize;
        let mut settings = settings(node);
        settings.strangers = places;
        settings.strangers_first = FIRST;
        settings.stranger_cost = cost;
        settings.strangers_seed = seed;
        Self {
            entries: std::iter::repeat_with(Entry::default).take(count).collect(),
            ledgers: std::iter::repeat_with(Ledger::default).take(count).collect(),
            profile: profile(node, Some(policies)),
            settings,
            switches: Switches::default(),
            rate: Word64::default(),
        }
    }

    fn packet(&self, now: u64, stranger: u32, way: Way) -> Judgement {
        let side = if way == Way::Up { Side::Access } else { Side::Network };
        let packet = Packet { way, class: None, length: 40 };
        judge(Cursor::new(&frame_of(stranger, packet)), side, &self.settings, self, || tick(now))
    }

    fn owners(&self) -> Vec<u32> {
        self.entries.iter().map(|entry| entry.owner.load()).collect()
    }
}

/// Strangers' addresses, by a small number.
fn address(number: u32) -> u32 {
    0xc612_0000 | number
}

/// What is drawn: who sends or is sent to, when, and in which way.
#[derive(Clone, Debug)]
struct World {
    drop_unsolicited: bool,
    inactivity: u64,
    permitted: usize,
    window: u64,
    places: u32,
    seed: u64,
    steps: Vec<(u64, u32, Way)>,
}

fn world(places: impl Strategy<Value = u32>, strangers: u32) -> impl Strategy<Value = World> {
    let way = prop_oneof![5 => Just(Way::Up), 1 => Just(Way::FromServer), 1 => Just(Way::Down)];
    let gap = prop_oneof![8 => 0u64..3, 4 => 0u64..40, 1 => 100u64..2000];
    let steps = vec((gap, 0..strangers, way), 50..600);
    let permitted = prop_oneof![3 => 1usize..4, 1 => 15usize..18];
    (any::<bool>(), 1u64..10, permitted, 5u64..200, places, any::<u64>(), steps).prop_map(
        |(drop_unsolicited, inactivity, permitted, window, places, seed, steps)| World {
            drop_unsolicited,
            inactivity,
            permitted,
            window,
            places,
            seed,
            steps,
        },
    )
}

impl World {
    fn node(&self) -> Node {
        let retry = 1;
        let (inactivity, drop_unsolicited) = (self.inactivity, self.drop_unsolicited);
        Node { inactivity, retry, max_age: 50, drop_unsolicited, ..node() }
    }
}

/// Whoever finds no place finds both of its places with strangers who count.
fn run(world: &World) -> Result<(), TestCaseError> {
    let node = world.node();
    let policies = vec![at_most(1, world.permitted, world.window, Action::Reject)];
    let table = Table::new(&node, &policies, world.places, 0, world.seed);
    let mut models: HashMap<u32, Device<'_>> = HashMap::new();
    let mut heard: HashMap<u32, u64> = HashMap::new();
    let mut now = 1 << 20;
    // A window, its late sub-window, the session before it, and the time that a clock may be behind.
    let remembered = world.window * 4 / 3 + world.inactivity + 4 + (1 << 12);
    for (gap, stranger, way) in &world.steps {
        now += gap;
        let owners = table.owners();
        let judgement = table.packet(now, address(*stranger), *way);
        if judgement.outcome.reason == Reason::StrangersFull {
            let others = heard.iter().filter(|(other, at)| *other != stranger && now - **at < remembered);
            prop_assert!(others.count() >= 2.min(world.places as usize), "there was a place at {}", now);
            continue;
        }
        let model = models.entry(*stranger).or_insert_with(|| Device::new(&node, Some(policies.clone())));
        let triggers = *way == Way::FromServer && judgement.entry != u32::MAX;
        let way_of_model = if *way == Way::FromServer && !triggers { Way::Down } else { *way };
        let expected = model.packet(now, Packet { way: way_of_model, class: None, length: 40 }).0;
        prop_assert_eq!(judgement.outcome.reason, expected.reason, "{} at {}", stranger, now);
        if *way == Way::Up || triggers {
            heard.insert(*stranger, now);
        }
        if *way == Way::Up {
            prop_assert!((FIRST..FIRST + world.places).contains(&judgement.entry));
        } else {
            prop_assert_eq!(table.owners(), owners, "what comes down takes no place");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn with_room_for_all_every_stranger_is_judged_by_its_own_history(world in world(Just(1 << 8), 20)) {
        run(&world)?;
    }

    #[test]
    fn however_few_the_places_nobody_is_judged_by_anothers_history(
        world in world(prop_oneof![Just(1u32), Just(2), Just(4), Just(8)], 12),
    ) {
        run(&world)?;
    }
}

#[test]
fn new_strangers_are_let_in_at_the_interfaces_rate_and_known_ones_are_not_held_up() {
    let policies = vec![at_most(1, 1000, SECOND, Action::None)];
    let table = Table::new(&node(), &policies, 1 << 14, 100_000_000, 7);
    let mut let_in = 0;
    // A new one every millisecond and a half, for fifteen seconds, and an old acquaintance beside it.
    for number in 1..10_000 {
        let now = (1 << 20) + u64::from(number) * 3 / 2;
        let_in += u32::from(table.packet(now, address(number), Way::Up).outcome.reason == Reason::Admitted);
        let known = table.packet(now, address(1), Way::Up).outcome.reason;
        assert!(matches!(known, Reason::Admitted | Reason::InSession), "{known:?}");
    }
    // Ten a second, and a second's worth at once.
    assert!((160..=170).contains(&let_in), "{let_in}");
}

#[test]
fn a_stranger_for_whom_there_is_no_place_passes_where_the_node_says_so() {
    let policies = vec![at_most(1, 1, SECOND, Action::Reject)];
    for (passes, reason) in [(0, Reason::StrangersFull), (1, Reason::StrangerPassed)] {
        let mut table = Table::new(&node(), &policies, 1, 0, 7);
        table.settings.pass_when_full = passes;
        assert_eq!(table.packet(1 << 20, address(1), Way::Up).outcome.reason, Reason::Admitted);
        assert_eq!(table.packet(1 << 20, address(2), Way::Up).outcome.reason, reason);
    }
}

#[test]
fn a_stranger_never_alarms() {
    let alarming = super::bench::alarming_node(0);
    let table = Table::new(&alarming, &vec![at_most(1, 1, SECOND, Action::Reject)], 1, 0, 7);
    assert_eq!(table.packet(1 << 20, address(1), Way::Up).outcome.reason, Reason::Admitted);
}

/// Two CPUs that meet a new stranger at once give it one place, or a limit of one would admit it twice.
#[test]
fn two_cpus_give_a_new_stranger_one_place() {
    let policies = vec![at_most(1, 1, 60 * SECOND, Action::Reject)];
    for round in 0..3000u32 {
        let table = Table::new(&node(), &policies, 16, 0, u64::from(round));
        let start = std::sync::Barrier::new(2);
        let admitted: usize = std::thread::scope(|scope| {
            let ask = || {
                start.wait();
                usize::from(table.packet(1 << 20, address(1), Way::Up).outcome.reason == Reason::Admitted)
            };
            let threads = [scope.spawn(ask), scope.spawn(ask)];
            threads.into_iter().map(|thread| thread.join().expect("a stranger's thread")).sum()
        });
        assert_eq!(admitted, 1, "round {round}");
        assert_eq!(table.owners().iter().filter(|owner| **owner != 0).count(), 1, "round {round}");
    }
}
