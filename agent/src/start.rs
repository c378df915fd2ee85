//! A start, in the order in which nothing can slip through, whatever was there before and wherever it is cut short.
//!
//! | after | packets are judged | a killed agent leaves |
//! |---|---|---|
//! | the journal is open | as before | as it was |
//! | the maps are taken over or made | as before: by the old program over the old maps, if there are any | the same; new maps that nobody uses |
//! | entries are adopted | as before; a place that another device has now is shut | entries that the next start adopts again |
//! | the last-known-good cache is enforced | by it, where nothing younger was known | the same |
//! | the program is attached | interface by interface by the new program, over the same maps | both programs, over the same maps |
//! | other interfaces are left | only where this configuration says | a running gate |
//!
//! New maps (a first start, other pools, no pins) are complete before the first packet is judged by them. Counters
//! belong to the maps and go on with them, and so does the boot identifier under which control adds them up. (What a
//! 32-bit counter wrapped before a takeover is not added again: the sums since the agent before began went with it.)

use weir_dataplane::{Found, Gate, Layout, Pins, gate::Options, layout, ring::AlarmRing};
use weir_dataplane_common::{
    abi::{Settings, Switches},
    atomic::Word64,
};
use weir_observe::Readiness;

use crate::{
    Config, Error, config::Binding, core::Core, devices::Plan, interfaces::Interfaces, kernel::LoadedGate,
    known_good::KnownGood, tables::Table, time::Instant,
};

/// Room for alarms in the kernel's ring: some five hundred held frames.
const RING_BYTES: u32 = 1 << 20;

/// What a start gives to the run loop.
pub(crate) struct Started {
    pub core: Core<LoadedGate>,
    pub ring: AlarmRing,
    pub known_good: KnownGood,
    pub interfaces: Interfaces,
    /// The hash of addresses outside the pools, which changes at a start only.
    pub unpooled: Table,
}

/// Starts a node: when this returns, it is judging.
pub(crate) fn start(config: &Config, bindings: &[Binding], readiness: &Readiness) -> Result<Started, Error> {
    let (known_good, _) = KnownGood::open(&config.state_dir, &config.name)?;
    let layout = lay_out(config)?;
    layout::check_servers(&config.application_servers)?;
    // Bindings that cannot be are refused before anything is touched.
    Plan::new(bindings, &layout)?;
    let (mut gate, found) = load(config, &layout)?;
    let ring = gate.take_alarms()?;
    let incarnation = incarnation(gate.entries().switches(), found);
    let boot = boot(gate.entries().switches())?;
    let plan = bind(&mut gate, bindings, &layout, found)?;
    let unpooled = Table::filled("unpooled", config.unpooled_devices as usize, gate.unpooled().len());
    let mut core =
        Core::new(LoadedGate::new(gate), config.clone(), boot, plan.devices).map_err(Error::Inherit)?;
    let inherited =
        core.inherit(incarnation, &known_good.records(), Instant::now()).map_err(Error::Inherit)?;
    tracing::info!(
        ?found,
        incarnation,
        enforced = inherited.enforced,
        refused = inherited.refused,
        alarms = inherited.alarms,
        "entries are as they were last known to be good"
    );
    let gate = core.kernel().gate();
    let interfaces = Interfaces::attach(gate, config, readiness)?;
    for left in gate.detach_others()? {
        tracing::info!("no longer attached: {}", left.display());
    }
    Ok(Started { core, ring, known_good, interfaces, unpooled })
}

fn lay_out(config: &Config) -> Result<Layout, Error> {
    let layout = Layout::new(&config.pools, config.unpooled_devices)?;
    let Some(limit) = &config.stranger_limit else { return Ok(layout) };
    // Maps that are taken over keep the seed that they were made with.
    Ok(layout.with_strangers(limit.table(draw()?[0]))?)
}

fn load(config: &Config, layout: &Layout) -> Result<(Gate, Found), Error> {
    let options = Options {
        entries: layout.entries(),
        unpooled: config.unpooled_devices,
        ring_bytes: RING_BYTES,
        settings: Settings {
            answers_per_second: config.answers_per_second,
            shadow: config.shadow.into(),
            ..layout.settings(&config.application_servers, config.strangers)
        },
    };
    if config.pin {
        return Ok(Gate::load_pinned(&options, &Pins::new(&config.bpffs, &config.name))?);
    }
    Ok((Gate::load(&options)?, Found::Nothing))
}

/// Leads the bound addresses to their entries.
fn bind(gate: &mut Gate, bindings: &[Binding], layout: &Layout, found: Found) -> Result<Plan, Error> {
    let hash = gate.unpooled();
    let plan = Plan::over(bindings, layout, &hash)?;
    for key in &plan.unbound {
        gate.remove_unpooled(*key)?;
    }
    let entries = gate.entries();
    if found == Found::Taken {
        let adopted = plan.adopt(&entries, entries.ledgers());
        tracing::info!(
            kept = adopted.kept,
            begun = adopted.begun,
            cleared = adopted.cleared,
            "the maps of an earlier agent are taken over"
        );
    } else {
        plan.install(&entries);
    }
    for (key, entry) in &plan.unpooled {
        gate.put_unpooled(*key, *entry)?;
    }
    Ok(plan)
}

/// How many agents have run on these maps before this one.
fn incarnation(switches: &Switches, found: Found) -> u32 {
    if found == Found::Taken {
        switches.incarnation.add(1);
    }
    switches.incarnation.load()
}

/// What control knows these maps by: drawn when they are new, and kept in them.
fn boot(switches: &Switches) -> Result<String, Error> {
    let mut boot = switches.boot.each_ref().map(Word64::load);
    if boot == [0, 0] {
        boot = draw()?;
        for (word, drawn) in switches.boot.iter().zip(boot) {
            word.store(drawn);
        }
    }
    Ok(format!("{:016x}{:016x}", boot[0], boot[1]))
}

/// Drawn by the kernel, so that no two starts of any node share one and nobody can foresee it.
fn draw() -> Result<[u64; 2], Error> {
    let failed = |source| Error::System { what: "drawing a random number", source };
    let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(failed)?;
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).collect();
    let id = u128::from_str_radix(&digits, 16).map_err(|error| failed(std::io::Error::other(error)))?;
    Ok([(id >> 64) as u64, id as u64])
}
