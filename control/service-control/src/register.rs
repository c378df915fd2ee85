//! All devices, each in its place: found by identifier, numbered in the order in which they were first heard of.
//!
//! A million of them are idle, so this is what service control's memory consists of: a place of 64 bytes, the
//! few bytes behind it (see `idle`), and six to twelve bytes of index, whose hash is seeded at random: nothing that
//! goes out depends on it. Nothing is decided here. Places are never given back: what was counted for a device is
//! remembered as long as service control lives.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use hashbrown::HashTable;

use crate::device::Device;
use crate::idle::{Idle, Packer};
use crate::packed_id::PackedId;
use crate::{DeviceId, Policy};

/// Places that are made at once: all devices need not move when one comes.
const CHUNK: usize = 1024;

/// Stands for a device, for as long as this service control lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(u32);

#[derive(Debug, Default)]
pub(crate) struct Register {
    index: HashTable<Place>,
    hasher: RandomState,
    slots: Slots,
    packer: Packer,
    cached: usize,
    alarmed: usize,
}

#[derive(Debug, Default)]
struct Slots(Vec<Vec<Slot>>);

#[derive(Debug)]
struct Slot {
    id: PackedId,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle(Idle),
    Busy(Box<Device>),
}

impl Register {
    pub(crate) fn find(&self, id: &DeviceId) -> Option<Place> {
        let id = PackedId::new(id);
        let known = |place: &Place| self.slots.at(*place).id == id;
        self.index.find(self.hasher.hash_one(&id), known).copied()
    }

    /// A device that is not known begins with this revision.
    pub(crate) fn find_or_add(&mut self, id: &DeviceId, revision: u64) -> Place {
        if let Some(known) = self.find(id) {
            return known;
        }
        let id = PackedId::new(id);
        let hash = self.hasher.hash_one(&id);
        let device = Device::new(revision);
        let state = match self.packer.pack(&device, None) {
            Some(idle) => State::Idle(idle),
            None => State::Busy(Box::new(device)),
        };
        let place = self.slots.push(Slot { id, state });
        let Self { index, hasher, slots, .. } = self;
        index.insert_unique(hash, place, |place| hasher.hash_one(&slots.at(*place).id));
        place
    }

    pub(crate) fn id(&self, place: Place) -> DeviceId {
        self.slots.at(place).id.id()
    }

    /// Its policies, if they are known to be all that matters.
    pub(crate) fn settled_policies(&self, place: Place) -> Option<&[Policy]> {
        match &self.slots.at(place).state {
            State::Idle(idle) => idle.settled_policies(),
            State::Busy(device) => {
                let entry = device.entry.as_deref().filter(|entry| entry.not_m2m_until.is_none());
                entry.map(|entry| &*entry.policies)
            }
        }
    }

    /// Something happens to a device.
    pub(crate) fn visit<T>(&mut self, place: Place, act: impl FnOnce(&mut Device) -> T) -> T {
        let Slot { state, .. } = self.slots.at_mut(place);
        let (was_cached, was_alarmed) = (state.cached(), state.alarmed());
        let result = match state {
            State::Busy(device) => {
                let result = act(device);
                if let Some(idle) = self.packer.pack(device, None) {
                    *state = State::Idle(idle);
                }
                result
            }
            State::Idle(idle) => {
                let mut device = idle.unpack();
                let result = act(&mut device);
                *state = match self.packer.pack(&device, Some(idle)) {
                    Some(idle) => State::Idle(idle),
                    None => State::Busy(Box::new(device)),
                };
                result
            }
        };
        self.cached = self.cached + usize::from(state.cached()) - usize::from(was_cached);
        self.alarmed = self.alarmed + usize::from(state.alarmed()) - usize::from(was_alarmed);
        result
    }

    /// Looks at a device.
    pub(crate) fn look<T>(&self, place: Place, look: impl FnOnce(&Device) -> T) -> T {
        match &self.slots.at(place).state {
            State::Idle(idle) => look(&idle.unpack()),
            State::Busy(device) => look(device),
        }
    }

    /// All devices, in the order of their places.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> + use<> {
        (0..place(self.index.len()).0).map(Place)
    }

    /// Those that some node may have to be told about.
    pub(crate) fn told_places(&self) -> impl Iterator<Item = Place> + '_ {
        self.places().filter(|place| match &self.slots.at(*place).state {
            State::Idle(idle) => !idle.unknown_to_nodes(),
            State::Busy(_) => true,
        })
    }

    /// Those with an active alarm.
    pub(crate) fn alarmed_places(&self) -> impl Iterator<Item = Place> + '_ {
        self.places().filter(|place| self.slots.at(*place).state.alarmed())
    }

    /// By identifier.
    pub(crate) fn sorted(&self, places: impl Iterator<Item = Place>) -> Vec<Place> {
        let mut places: Vec<_> = places.collect();
        places.sort_unstable_by(|one, other| self.slots.at(*one).id.cmp(&self.slots.at(*other).id));
        places
    }

    /// How many devices have an entry.
    pub(crate) fn cached(&self) -> usize {
        self.cached
    }

    /// How many have an active alarm.
    pub(crate) fn alarmed(&self) -> usize {
        self.alarmed
    }
}

impl Slots {
    fn at(&self, Place(place): Place) -> &Slot {
        &self.0[place as usize / CHUNK][place as usize % CHUNK]
    }

    fn at_mut(&mut self, Place(place): Place) -> &mut Slot {
        &mut self.0[place as usize / CHUNK][place as usize % CHUNK]
    }

    fn push(&mut self, slot: Slot) -> Place {
        if self.0.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.0.push(Vec::with_capacity(CHUNK));
        }
        let full = (self.0.len() - 1) * CHUNK;
        let chunk = self.0.last_mut().expect("there is one or one has just been made");
        chunk.push(slot);
        place(full + chunk.len() - 1)
    }
}

impl State {
    fn cached(&self) -> bool {
        match self {
            Self::Idle(idle) => idle.cached(),
            Self::Busy(device) => device.entry.is_some(),
        }
    }

    fn alarmed(&self) -> bool {
        match self {
            Self::Idle(_) => false,
            Self::Busy(device) => device.alarmed(),
        }
    }
}

fn place(number: usize) -> Place {
    Place(u32::try_from(number).expect("a network has fewer than four thousand million devices"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> DeviceId {
        DeviceId(format!("{number:015}"))
    }

    #[test]
    fn a_device_is_found_where_it_was_put() {
        let mut register = Register::default();
        let places: Vec<_> =
            (0..5000).map(|number| register.find_or_add(&id(number), number.into())).collect();
        for (number, place) in (0..).zip(places) {
            assert_eq!(register.find(&id(number)), Some(place));
            assert_eq!(register.find_or_add(&id(number), 7), place);
            assert_eq!(register.id(place), id(number));
            assert_eq!(register.look(place, |device| device.revision), number.into());
        }
        assert_eq!(register.find(&id(5000)), None);
        assert_eq!(register.places().count(), 5000);
    }

    #[test]
    fn devices_are_sorted_by_identifier_whenever_they_came() {
        let mut register = Register::default();
        for name in ["2", "device", "10", "1234567890123456", "1"] {
            register.find_or_add(&DeviceId(name.into()), 0);
        }
        let sorted = register.sorted(register.places()).into_iter().map(|place| register.id(place).0);
        assert_eq!(sorted.collect::<Vec<_>>(), ["1", "10", "1234567890123456", "2", "device"]);
    }

    #[test]
    fn a_place_takes_a_cache_line() {
        assert_eq!(size_of::<Slot>(), 64);
    }
}
