//! The packet generator: frames with random sources out of one interface, millions a second.
//!
//! The kernel runs a small program on a frame again and again and sends each result as if the program had
//! received it there (`BPF_PROG_TEST_RUN` with live frames, kernel 5.18); at the far end of a veth pair they
//! arrive as XDP frames. Every run is bounded by its count. The generator knows nothing of weir's law, and its
//! frames are the caller's: only their source addresses change, with the checksums that cover them.

use std::time::{Duration, Instant};

use aya::{
    Ebpf,
    maps::{Array, Map},
    programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp, XdpMode},
};
use weir_dataplane_common::load::{LONGEST_HEADERS, Spread};

use crate::{
    Error,
    gate::{Mode, Plain, attach_error, load_program, map_error, missing_capabilities, test_run_error, xdp},
    object,
};

const PROGRAM: &str = "generate";
const RECEIVER: &str = "pass_all";

/// Frames that the kernel sends before it looks up: as many as a network driver takes at once.
const BATCH: u32 = 64;

/// A loaded generator.
pub struct Generator {
    ebpf: Ebpf,
}

/// How long a run took.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// From call to return, the kernel's preparation of some milliseconds included.
    pub wall: Duration,
    /// What the kernel says one frame took, rounded down to a nanosecond; receiving over veth on the same CPU
    /// included, time given to other threads not.
    pub each: Duration,
}

impl Generator {
    /// Loads the generator; its frames keep their source until [`Generator::spread`] says otherwise.
    ///
    /// # Errors
    /// As [`crate::Gate::load`].
    pub fn load() -> Result<Self, Error> {
        let missing = missing_capabilities();
        if !missing.is_empty() {
            return Err(Error::NotPermitted { missing });
        }
        let mut ebpf = Ebpf::load(object::floors()?).map_err(|error| Error::Load(Box::new(error)))?;
        load_program(&mut ebpf, PROGRAM)?;
        Ok(Self { ebpf })
    }

    /// Attaches a program that passes everything to an interface of this thread's network namespace, until the
    /// generator is dropped: the kernel generates frames only on an interface that has an XDP program.
    ///
    /// # Errors
    /// [`Error::NoInterface`]; [`Error::Attach`], also if there is a program already (then there is no need).
    pub fn attach(&mut self, interface: &str) -> Result<(), Error> {
        load_program(&mut self.ebpf, RECEIVER)?;
        let attached = xdp(&mut self.ebpf, RECEIVER)?.attach(interface, XdpMode::Driver);
        attached.map(drop).map_err(|error| attach_error(interface, Mode::Native, &error))
    }

    /// Sets the sources of the frames to come.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn spread(&mut self, spread: &Spread) -> Result<(), Error> {
        let map = self.ebpf.map_mut("SPREAD").ok_or(Error::NotBuilt)?;
        let mut map: Array<&mut _, Plain<Spread>> = <Array<_, _> as TryFrom<&mut Map>>::try_from(map)
            .map_err(|error| map_error("SPREAD", "opening", &error))?;
        map.set(0, Plain(*spread), 0).map_err(|error| map_error("SPREAD", "writing", &error))
    }

    /// Sends `count` copies of a frame out of an interface of this thread's network namespace. On a veth pair
    /// the far end receives on this thread's CPU before the call returns, as a rule.
    ///
    /// # Errors
    /// [`Error::TestRun`], also for a frame shorter than [`LONGEST_HEADERS`].
    pub fn send(&self, ifindex: u32, frame: &[u8], count: u32) -> Result<Sent, Error> {
        if frame.len() < LONGEST_HEADERS {
            let cause = format!("a generated frame has at least {LONGEST_HEADERS} bytes");
            return Err(Error::TestRun { length: frame.len(), cause });
        }
        let context = context(frame.len() as u32, ifindex);
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            repeat: count,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        };
        let program = self.ebpf.program(PROGRAM).ok_or(Error::NotBuilt)?;
        let program: &Xdp = program.try_into().map_err(|error| test_run_error(frame, &error))?;
        let begin = Instant::now();
        let run = program.test_run(options).map_err(|error| test_run_error(frame, &error))?;
        Ok(Sent { wall: begin.elapsed(), each: run.duration })
    }
}

/// A `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
pub(crate) fn context(length: u32, ifindex: u32) -> [u8; 24] {
    let mut context = [0u8; 24];
    context[4..8].copy_from_slice(&length.to_ne_bytes());
    context[12..16].copy_from_slice(&ifindex.to_ne_bytes());
    context
}
