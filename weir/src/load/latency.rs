//! Packets with the time in their payload: sent from user space, read on another interface, and how long each
//! took on its way.
//!
//! The way includes two copies through raw sockets and the kernel's own scheduling: a figure for a gate is the
//! difference to the same run without it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use weir_dataplane::raw::RawPort;
use weir_dataplane_common::load::{LONGEST_HEADERS, Spread};

use super::options::Options;
use super::pace::Pace;

/// What ends a frame: a mark, the run's number, the time.
const STAMP: usize = 24;
const MARK: [u8; 8] = *b"weirload";
/// Headers, as far as the generator rewrites them, and the stamp behind.
const SHORTEST: usize = LONGEST_HEADERS + STAMP;
/// How long after the last packet was sent one may still arrive.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest latency that is told apart.
const LONGEST_NS: u64 = 10_000_000_000;
/// Larger than any frame, merged segments included.
const LARGEST_FRAME: usize = 1 << 17;

/// Sends, receives and prints.
///
/// # Errors
/// As [`super::run`].
pub fn run(options: &Options, receiver: &str) -> anyhow::Result<()> {
    let traffic = options.traffic()?;
    ensure!(options.length >= SHORTEST, "a time stamp needs room: --length {SHORTEST} or more");
    let frame = traffic.frame()?;
    let (from, to) = (RawPort::open(&options.interface)?, RawPort::open(receiver)?);
    let clock = Clock { start: Instant::now(), run: fastrand::u64(..) };
    let done = AtomicBool::new(false);
    let (sent, histogram) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| read(&to, &clock, &done));
        let sent = send(options, &from, &frame, &traffic.spread(u32::MAX), &clock);
        done.store(true, Ordering::Release);
        let histogram = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        anyhow::Ok((sent?, histogram?))
    })?;
    tell(options, sent, &histogram);
    Ok(())
}

/// The run's time and number: what is read must be of this run.
struct Clock {
    start: Instant,
    run: u64,
}

impl Clock {
    fn stamp(&self, frame: &mut [u8]) {
        let end = frame.len();
        let now = self.start.elapsed().as_nanos() as u64;
        frame[end - STAMP..end - 16].copy_from_slice(&MARK);
        frame[end - 16..end - 8].copy_from_slice(&self.run.to_be_bytes());
        frame[end - 8..].copy_from_slice(&now.to_be_bytes());
    }

    /// How long a frame has been on its way; `None` for one that is not ours.
    fn age(&self, frame: &[u8]) -> Option<u64> {
        let stamp = frame.get(frame.len().checked_sub(STAMP)?..)?;
        let word = |at: usize| Some(u64::from_be_bytes(stamp.get(at..at + 8)?.try_into().ok()?));
        if stamp[..8] != MARK || word(8)? != self.run {
            return None;
        }
        Some((self.start.elapsed().as_nanos() as u64).saturating_sub(word(16)?))
    }
}

fn send(
    options: &Options,
    port: &RawPort,
    frame: &[u8],
    spread: &Spread,
    clock: &Clock,
) -> anyhow::Result<u64> {
    let pace = Pace { rate: options.rate, count: options.count, longest: options.longest() };
    let mut frame = frame.to_vec();
    let (start, mut sent) = (Instant::now(), 0);
    while let Some(due) = pace.due(sent, start.elapsed()) {
        for _ in 0..due {
            let headers = frame.first_chunk_mut::<LONGEST_HEADERS>().context("a frame with headers")?;
            spread.rewrite(headers, fastrand::u32(..));
            clock.stamp(&mut frame);
            // A full queue loses the packet, and the count of the received tells.
            port.send(&frame)?;
            sent += 1;
        }
        if due == 0 {
            std::thread::sleep(Duration::from_micros(20));
        }
    }
    Ok(sent)
}

fn read(port: &RawPort, clock: &Clock, done: &AtomicBool) -> anyhow::Result<Histogram<u64>> {
    let mut histogram = Histogram::new_with_bounds(1, LONGEST_NS, 3).context("the histogram's bounds")?;
    let mut buffer = vec![0; LARGEST_FRAME];
    let mut ended: Option<Instant> = None;
    loop {
        if let Some(length) = port.receive(&mut buffer, Duration::from_millis(20))?
            && let Some(age) = clock.age(&buffer[..length])
        {
            histogram.saturating_record(age);
        }
        if done.load(Ordering::Acquire) && ended.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            return Ok(histogram);
        }
    }
}

fn tell(options: &Options, sent: u64, histogram: &Histogram<u64>) {
    let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
    let (received, lost) = (histogram.len(), sent.saturating_sub(histogram.len()));
    if options.json {
        let mut told = serde_json::json!({
            "sent": sent, "received": received, "lost": lost,
            "min_ns": histogram.min(), "max_ns": histogram.max(),
        });
        for (name, share) in quantiles {
            told[format!("{name}_ns")] = histogram.value_at_quantile(share).into();
        }
        println!("{told}");
        return;
    }
    let micros = |nanos: u64| nanos as f64 / 1000.0;
    println!("{sent} packets sent, {received} received, {lost} lost");
    if received > 0 {
        println!("latency  min {:10.1} µs", micros(histogram.min()));
        for (name, share) in quantiles {
            println!("       {name:>5} {:10.1} µs", micros(histogram.value_at_quantile(share)));
        }
        println!("         max {:10.1} µs", micros(histogram.max()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_frames_of_this_run_have_an_age() {
        let clock = Clock { start: Instant::now(), run: 7 };
        let mut frame = vec![0; 100];
        assert_eq!(clock.age(&frame), None);
        clock.stamp(&mut frame);
        assert!(clock.age(&frame).is_some());
        assert_eq!(Clock { start: clock.start, run: 8 }.age(&frame), None);
        assert_eq!(clock.age(&frame[..10]), None);
    }
}
