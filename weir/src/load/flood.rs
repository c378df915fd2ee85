//! Packets that the kernel generates: as many as one core can, or as the rate allows, in bursts.

use std::time::{Duration, Instant};

use weir_dataplane::{Error, generator::Generator};

use super::options::Options;
use super::pace::Pace;

/// A burst takes a call of its own, which costs milliseconds: not more often than that.
const BETWEEN_BURSTS: Duration = Duration::from_millis(50);
/// Packets of a burst at most, so that Ctrl-C and the end are noticed.
const LARGEST_BURST: u64 = 5_000_000;

/// Sends, and prints how many went out and how fast.
///
/// # Errors
/// As [`super::run`].
pub fn run(options: &Options) -> anyhow::Result<()> {
    let traffic = options.traffic()?;
    let frame = traffic.frame()?;
    let mut generator = Generator::load()?;
    generator.spread(&traffic.spread(u32::MAX))?;
    match generator.attach(&options.interface) {
        // A program is there already, perhaps weir's own: it is as good.
        Ok(()) | Err(Error::Attach { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let interface = weir_dataplane::raw::index_of(&options.interface)?;
    let pace = Pace { rate: options.rate, count: options.count, longest: options.longest() };
    let start = Instant::now();
    let mut sent = 0;
    while let Some(due) = pace.due(sent, start.elapsed()) {
        // The kernel may be busy for a whole burst: it must not outlast the end.
        let burst = due.min(LARGEST_BURST);
        if burst > 0 {
            generator.send(interface, &frame, burst as u32)?;
            sent += burst;
        }
        if due <= LARGEST_BURST && sent < options.count {
            std::thread::sleep(BETWEEN_BURSTS);
        }
    }
    tell(options, sent, start.elapsed());
    Ok(())
}

fn tell(options: &Options, sent: u64, took: Duration) {
    let rate = sent as f64 / took.as_secs_f64().max(1e-9);
    if options.json {
        println!("{}", serde_json::json!({ "sent": sent, "seconds": took.as_secs_f64(), "rate": rate }));
    } else {
        println!("{sent} packets sent in {:.3} s: {rate:.0} a second", took.as_secs_f64());
    }
}
