//! A set: the pinned maps and programs of one load, and the layout for which they were made.
//!
//! A set is used again only if every map is there with the type and sizes that this load asks for, and an index
//! means the same address as before: sizes alone do not say which pools the entries belong to.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    maps::{Array, Map, MapData, MapError, MapInfo},
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use weir_dataplane_common::abi::{POOLS, Pool4, Pool6, Settings, Side};

use super::{
    Found, Pins,
    directory::{Hold, NEW, failed, remove_all},
};
use crate::{
    Error,
    gate::{Plain, program_of, xdp},
};

/// The pin of a set's layout. No map of the program has small letters.
const LAYOUT: &str = "layout";

/// What a map is made of. Two maps with the same shape can stand for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MapShape {
    pub name: String,
    /// The kernel's number of the map's type.
    pub kind: u32,
    pub key: u32,
    pub value: u32,
    pub entries: u32,
    pub flags: u32,
}

/// Which address each entry belongs to.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    pools4: [[u32; 4]; POOLS],
    pools6: [[u64; 3]; POOLS],
    strangers: [u32; 2],
    /// Drawn anew by every agent, but kept while the entries are: it says which stranger has which entry.
    pub strangers_seed: u64,
}

impl Layout {
    pub fn of(settings: &Settings) -> Self {
        let four = |pool: Pool4| [pool.base, pool.mask, pool.first, 0];
        let six = |pool: Pool6| [pool.base, pool.mask, u64::from(pool.first)];
        Self {
            pools4: settings.pools4.map(four),
            pools6: settings.pools6.map(six),
            strangers: [settings.strangers, settings.strangers_first],
            strangers_seed: settings.strangers_seed,
        }
    }

    /// Whether the entries of one are the entries of the other, once the seed is.
    fn is_like(&self, other: &Self) -> bool {
        Self { strangers_seed: other.strangers_seed, ..*self } == *other
    }

    /// The layout for which a set was made; `None` if it does not say, or says it in another way.
    fn read(set: &Path) -> Option<Self> {
        let map = MapData::from_pin(set.join(LAYOUT)).ok()?;
        let map: Array<_, Plain<Self>> = Map::Array(map).try_into().ok()?;
        map.get(&0, 0).ok().map(|layout| layout.0)
    }

    fn pin(self, set: &Path) -> Result<(), Error> {
        let path = set.join(LAYOUT);
        let pinned = || -> Result<(), Box<dyn std::error::Error>> {
            let mut map = Array::<MapData, Plain<Self>>::create(1, 0)?;
            map.set(0, Plain(self), 0)?;
            Ok(map.pin(&path)?)
        };
        pinned().map_err(|error| pin_failed(&path, error.as_ref()))
    }
}

/// A node's pins in the hands of a gate. While it lives nobody else changes them.
pub(crate) struct Held {
    pub pins: Pins,
    _lock: Hold,
    found: Found,
    /// Whether the set that this gate uses is the set, and has its programs.
    promoted: bool,
    /// Links that this gate made or took over.
    pub attached: Vec<PathBuf>,
    /// The layout that the set was made for.
    pub layout: Layout,
}

impl Held {
    /// Takes hold of a node's pins and finds out what can be used.
    pub fn take(pins: &Pins, shapes: &[MapShape], layout: Layout) -> Result<(Self, Found), Error> {
        pins.check_bpffs()?;
        let lock = pins.hold()?;
        pins.refuse_other_versions()?;
        pins.sweep()?;
        let set = pins.set();
        let complete = shapes.iter().all(|shape| shape.is_pinned_in(&set));
        let (found, layout) = match Layout::read(&set) {
            Some(old) if complete && old.is_like(&layout) => (Found::Taken, old),
            _ if set.exists() => (Found::Replaced, layout),
            _ => (Found::Nothing, layout),
        };
        let held =
            Self { pins: pins.clone(), _lock: lock, found, promoted: false, attached: Vec::new(), layout };
        held.prepare()?;
        Ok((held, found))
    }

    /// Makes the place for new maps, or removes what is half-made in the set.
    fn prepare(&self) -> Result<(), Error> {
        let set = self.set();
        if self.found == Found::Taken {
            let sides = [Side::Access, Side::Network];
            return sides.iter().try_for_each(|side| remove_all(&set.join(half_made(*side))));
        }
        fs::create_dir(&set).map_err(|error| failed(&set, "making the directory", &error))?;
        self.layout.pin(&set)
    }

    /// Where the maps of this gate are pinned until it is promoted: the loader takes what it finds there and makes
    /// and pins the rest.
    pub fn set(&self) -> PathBuf {
        if self.found == Found::Taken { self.pins.set() } else { self.pins.staged_set() }
    }

    /// Makes this gate's set *the* set, with its programs. Done once, when the entries have been filled.
    pub fn promote(&mut self, ebpf: &mut Ebpf) -> Result<(), Error> {
        if self.promoted {
            return Ok(());
        }
        for side in [Side::Access, Side::Network] {
            self.pin_program(ebpf, side)?;
        }
        let (staged, set) = (self.pins.staged_set(), self.pins.set());
        match self.found {
            Found::Taken => {}
            Found::Nothing => rename(&staged, &set, RenameFlags::NOREPLACE)?,
            Found::Replaced => rename(&staged, &set, RenameFlags::EXCHANGE)?,
        }
        self.promoted = true;
        // What was exchanged for the new set. Its pins keep nothing that is needed, only its users do.
        if staged.exists() { remove_all(&staged) } else { Ok(()) }
    }

    /// Pins a program in the place of the one that was pinned before, so that there always is one.
    fn pin_program(&self, ebpf: &mut Ebpf, side: Side) -> Result<(), Error> {
        let (path, new) = (self.set().join(program_of(side)), self.set().join(half_made(side)));
        xdp(ebpf, program_of(side))?.pin(&new).map_err(|error| pin_failed(&new, &error))?;
        rename(&new, &path, RenameFlags::empty())
    }
}

impl Drop for Held {
    /// A set that was never promoted is nobody's.
    fn drop(&mut self) {
        if self.found != Found::Taken && !self.promoted {
            // What cannot be removed here is swept by the next start.
            let _ = remove_all(&self.pins.staged_set());
        }
    }
}

impl MapShape {
    fn is_pinned_in(&self, set: &Path) -> bool {
        let found = MapInfo::from_pin(set.join(&self.name)).and_then(|info| Self::of(&self.name, &info));
        found.is_ok_and(|found| found == *self)
    }

    fn of(name: &str, info: &MapInfo) -> Result<Self, MapError> {
        Ok(Self {
            name: name.to_owned(),
            kind: info.map_type()? as u32,
            key: info.key_size(),
            value: info.value_size(),
            entries: info.max_entries(),
            flags: info.map_flags(),
        })
    }
}

fn half_made(side: Side) -> String {
    format!("{}{NEW}", program_of(side))
}

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> Result<(), Error> {
    renameat_with(CWD, from, CWD, to, flags).map_err(|error| failed(from, "renaming", &error.into()))
}

/// aya keeps the kernel's answer in the chain of causes.
fn pin_failed(path: &Path, error: &(dyn std::error::Error + 'static)) -> Error {
    let cause = crate::gate::with_sources(error);
    Error::Pins { path: path.to_owned(), operation: "pinning", cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_used_again_under_another_seed_but_not_under_other_pools_or_for_other_strangers() {
        let settings = Settings::empty();
        let layout = Layout::of(&settings);
        assert!(layout.is_like(&Layout::of(&Settings { strangers_seed: 7, ..settings })));
        let mut moved = settings;
        moved.pools4[0] = Pool4 { base: 0x0a2d_0000, mask: 0xffff_ff00, first: 0, padding: 0 };
        assert!(!layout.is_like(&Layout::of(&moved)));
        moved.pools4[0].first = 256;
        let elsewhere = Layout::of(&moved);
        moved.pools4[0].first = 0;
        assert!(!elsewhere.is_like(&Layout::of(&moved)), "the same pool, other entries");
        assert!(!layout.is_like(&Layout::of(&Settings { strangers: 64, ..settings })));
        assert!(!layout.is_like(&Layout::of(&Settings { strangers_first: 64, ..settings })));
    }
}
