//! The interfaces on which this node judges, as they go and come back.
//!
//! Looked at once a second. One that returns, or that another has taken the name of, is another interface: the
//! program is attached to it again. One that is missing is said in the log and in readiness, and nothing else stops.
//! An interface that was renamed is judged on under its new name, and missing under the one in the configuration.

use weir_dataplane::{Gate, Mode, netlink};
use weir_dataplane_common::abi::Side;
use weir_observe::{Condition, Readiness};

use crate::Config;

/// All of a node's interfaces.
pub(crate) struct Interfaces {
    interfaces: Vec<Interface>,
    mode: Mode,
}

struct Interface {
    name: String,
    side: Side,
    judged: Condition,
    state: State,
}

/// What is known of an interface since it was last looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The program is attached to the interface with this number.
    Judged { index: u32, is_up: bool },
    /// There is none of that name.
    Missing,
    /// There is one, and the program cannot be attached to it.
    Refused { index: u32 },
}

impl Interfaces {
    /// Attaches the program to every interface, in the order of the configuration.
    ///
    /// # Errors
    /// As [`Gate::attach`], for the first that fails.
    pub(crate) fn attach(
        gate: &mut Gate,
        config: &Config,
        readiness: &Readiness,
    ) -> Result<Self, weir_dataplane::Error> {
        let sides = [(Side::Access, &config.access_interfaces), (Side::Network, &config.network_interfaces)];
        let mut interfaces = Vec::new();
        for (side, names) in sides {
            for name in names {
                gate.attach(name, side, config.mode)?;
                let judged = readiness.condition(format!("judging on {name}"));
                judged.set(true);
                let state =
                    netlink::link(name).ok().flatten().map_or(State::Missing, |link| judged_as(&link));
                interfaces.push(Interface { name: name.clone(), side, judged, state });
            }
        }
        Ok(Self { interfaces, mode: config.mode })
    }

    /// Looks at all of them and attaches where that is to be done again.
    pub(crate) fn look(&mut self, gate: &mut Gate) {
        for interface in &mut self.interfaces {
            let state = interface.next(gate, self.mode);
            if state != interface.state {
                interface.tell(state);
                interface.judged.set(matches!(state, State::Judged { .. }));
                interface.state = state;
            }
        }
    }

    /// How many are not judged on.
    pub(crate) fn missing(&self) -> usize {
        let is_judged = |interface: &&Interface| matches!(interface.state, State::Judged { .. });
        self.interfaces.len() - self.interfaces.iter().filter(is_judged).count()
    }
}

impl Interface {
    fn next(&self, gate: &mut Gate, mode: Mode) -> State {
        let link = match netlink::link(&self.name) {
            Ok(Some(link)) => link,
            Ok(None) => return State::Missing,
            // Nothing is known, so nothing is done.
            Err(_) => return self.state,
        };
        let is_same = matches!(self.state, State::Judged { index, .. } if index == link.index);
        if is_same && !link.programs.is_empty() {
            return judged_as(&link);
        }
        match gate.attach(&self.name, self.side, mode) {
            Ok(()) => judged_as(&link),
            Err(error) => {
                if self.state != (State::Refused { index: link.index }) {
                    tracing::error!("the program cannot be attached again, packets pass unjudged: {error}");
                }
                State::Refused { index: link.index }
            }
        }
    }

    fn tell(&self, state: State) {
        let name = &self.name;
        match (self.state, state) {
            (_, State::Missing) => tracing::error!("interface {name} is gone; the others are judged on"),
            (State::Judged { index, .. }, State::Judged { index: now, is_up }) if index == now => {
                tracing::warn!("interface {name} is {}", if is_up { "up again" } else { "down" });
            }
            (_, State::Judged { .. }) => tracing::info!("interface {name} is there again and judged on"),
            (_, State::Refused { .. }) => {}
        }
    }
}

fn judged_as(link: &netlink::Link) -> State {
    State::Judged { index: link.index, is_up: link.is_up }
}
