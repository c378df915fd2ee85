//! Copies of judged packets: the program that makes them, and the ring through which they come.
//!
//! The live program makes none and pays for none. To capture, the same object is loaded again with
//! `Settings::capture` set, over the *same* maps, and put in the live program's place by `bpf_link_update`, which is
//! atomic: each packet is judged by the one or the other, both by one law over one set of entries. At the end they
//! change places again. An agent that dies meanwhile with its links pinned leaves the capturing program at work: it
//! goes on judging, its ring fills, what finds no room is counted; the next agent's program replaces it.
//!
//! What this must not do: hold up a packet, or know devices. Read first: `dataplane-common/src/capture.rs`.

mod private_bpffs;
mod ring;

use std::os::fd::{AsFd, OwnedFd};

use aya::{
    maps::{Array, Map, MapData},
    programs::ProgramFd,
};
use weir_dataplane_common::{abi::Side, capture::Filter};

pub use ring::{CaptureRing, Captured, Losses};

use crate::{
    Error, Gate,
    gate::{Options, Plain, map_error, no_map, typed},
    object,
    pins::Object,
};
use private_bpffs::PrivateBpffs;

/// A filter as the kernel's words.
type Words = [u64; size_of::<Filter>() / 8];

/// What the capturing program is loaded from: the maps of a gate, by paths, and its settings.
pub struct Prepared {
    options: Options,
    place: PrivateBpffs,
    maps: Vec<String>,
}

/// The capturing program, in no place yet.
pub struct Loaded(Box<Gate>);

/// The capturing program in the live one's place. Dropping it puts the live one back.
pub(crate) struct Capturing {
    /// The same maps under another program.
    gate: Box<Gate>,
    /// Links, and what belongs there.
    replaced: Vec<(Object, ProgramFd)>,
}

impl Prepared {
    /// Loads the capturing program. The verifier takes its time over it, so this is not for a task that others wait
    /// for.
    ///
    /// # Errors
    /// As [`Gate::load`]; [`Error::Capture`].
    pub fn load(self) -> Result<Loaded, Error> {
        let path = |name: &String| self.place.path(name);
        let paths = self.maps.iter().map(|name| (name.as_str(), path(name))).collect();
        let gate = Gate::load_over(object::live()?, &self.options, paths)?;
        let is_own = |name: &&str| !name.starts_with('.') && !self.maps.iter().any(|shared| shared == name);
        // With a map of its own it would judge by something else than the live program.
        if let Some(own) = gate.ebpf_ref().maps().map(|(name, _)| name).find(is_own) {
            return Err(unshared(own, &std::io::Error::other("somebody has taken it")));
        }
        Ok(Loaded(Box::new(gate)))
    }
}

impl Gate {
    /// Prepares a capture: to load its program takes longer than a packet's consequences should wait.
    ///
    /// # Errors
    /// [`Error::Capture`].
    pub fn prepare_capture(&self) -> Result<Prepared, Error> {
        let (place, mut maps) = (PrivateBpffs::mount()?, Vec::new());
        // All but read-only data, which is what differs.
        for (name, map) in self.ebpf_ref().maps().filter(|(name, _)| !name.starts_with('.')) {
            map.pin(place.path(name)).map_err(|error| unshared(name, &error))?;
            maps.push(name.to_owned());
        }
        if let Some(alarms) = self.alarms_taken() {
            let alarms = alarms.try_clone().map_err(|error| unshared("ALARMS", &error))?;
            let alarms = MapData::from_fd(alarms).map_err(|error| unshared("ALARMS", &error))?;
            alarms.pin(place.path("ALARMS")).map_err(|error| unshared("ALARMS", &error))?;
            maps.push("ALARMS".to_owned());
        }
        let mut options = *self.options();
        options.settings.capture = 1;
        Ok(Prepared { options, place, maps })
    }

    /// Begins to copy what `filter` asks for, and gives the ring through which the copies come. Not one packet goes
    /// unjudged. There is one capture at a time.
    ///
    /// # Errors
    /// [`Error::Capture`] if there is one already or the kernel refuses, [`Error::Map`]. The live program is in its
    /// place then.
    pub fn begin_capture(&mut self, loaded: Loaded, filter: Filter) -> Result<CaptureRing, Error> {
        if self.capturing().is_some() {
            return Err(Error::Capture("there is a capture on this node already; one at a time".to_owned()));
        }
        // Nobody looks at it: the program that does is not in place yet.
        self.write_filter(filter)?;
        let ring = CaptureRing::open(self.map_fd("CAPTURES")?, self.map_fd("CAPTURE_LOSSES")?)?;
        let mut capturing = Capturing { gate: loaded.0, replaced: Vec::new() };
        capturing.put_in_place_of(self)?;
        *self.capturing() = Some(capturing);
        Ok(ring)
    }

    /// The three steps at once.
    ///
    /// # Errors
    /// As [`Gate::prepare_capture`], [`Prepared::load`] and [`Gate::begin_capture`].
    pub fn start_capture(&mut self, filter: Filter) -> Result<CaptureRing, Error> {
        let loaded = self.prepare_capture()?.load()?;
        self.begin_capture(loaded, filter)
    }

    /// Puts the live program back in its place; nothing if there is no capture.
    ///
    /// # Errors
    /// [`Error::Capture`]; the capturing program stays where the kernel refused, and judges as the live one would.
    pub fn stop_capture(&mut self) -> Result<(), Error> {
        self.capturing().take().map_or(Ok(()), |mut capturing| capturing.put_back())
    }

    fn write_filter(&mut self, filter: Filter) -> Result<(), Error> {
        // SAFETY: words without padding, as the ABI asserts; any bits are words.
        let words = unsafe { std::mem::transmute::<Filter, Words>(filter) };
        let mut map: Array<_, Plain<Words>> = typed(self.ebpf(), "CAPTURE_FILTER")?;
        map.set(0, Plain(words), 0).map_err(|error| map_error("CAPTURE_FILTER", "writing", &error))
    }

    /// A second handle on one of the maps that captures use.
    fn map_fd(&self, name: &'static str) -> Result<OwnedFd, Error> {
        let (Some(Map::RingBuf(data)) | Some(Map::PerCpuArray(data))) = self.ebpf_ref().map(name) else {
            return Err(no_map(name));
        };
        data.fd().as_fd().try_clone_to_owned().map_err(|error| map_error(name, "sharing", &error))
    }
}

impl Capturing {
    /// The gate under the capturing program: what judges where it is in place.
    pub(crate) fn gate(&mut self) -> &mut Gate {
        &mut self.gate
    }

    /// Where an error ends this, what is replaced already is put back when it is dropped.
    fn put_in_place_of(&mut self, live: &mut Gate) -> Result<(), Error> {
        for link in live.links()? {
            let attached = link.attachment().map_err(|error| refused("asked about", &error))?.program;
            for side in [Side::Access, Side::Network] {
                if attached == live.program_id(side)? {
                    put(&self.gate.program_fd(side)?, &link)?;
                    self.replaced.push((link, live.program_fd(side)?));
                    break;
                }
            }
        }
        Ok(())
    }

    /// Tries all; tells of the first that was refused.
    fn put_back(&mut self) -> Result<(), Error> {
        let outcomes: Vec<_> = self.replaced.drain(..).map(|(link, live)| put(&live, &link)).collect();
        outcomes.into_iter().collect()
    }
}

/// Puts a program in the place of the one that is attached. An interface that has gone needs none.
fn put(program: &ProgramFd, link: &Object) -> Result<(), Error> {
    match link.update(program.as_fd()) {
        Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => Ok(()),
        other => other.map_err(|error| refused("changed", &error)),
    }
}

impl Drop for Capturing {
    fn drop(&mut self) {
        // Whoever wants to know says `stop_capture`; both programs judge alike.
        let _ = self.put_back();
    }
}

/// The name of an interface of this thread's network namespace.
pub fn interface_name(ifindex: u32) -> Option<String> {
    let mut name = [0u8; libc::IF_NAMESIZE];
    // SAFETY: the kernel's names fit into so many bytes, the terminating zero included.
    let found = unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr().cast()) };
    let name = std::ffi::CStr::from_bytes_until_nul(&name).ok().filter(|_| !found.is_null())?;
    Some(name.to_string_lossy().into_owned())
}

fn unshared(map: &str, error: &dyn std::error::Error) -> Error {
    Error::Capture(format!("the map {map} cannot be shared with the capturing program: {error}"))
}

fn refused(what: &str, error: &std::io::Error) -> Error {
    Error::Capture(format!("an attachment cannot be {what}: {error}"))
}
