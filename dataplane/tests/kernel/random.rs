//! Random numbers that a seed repeats.

/// SplitMix64, by its published recurrence: small, and good enough to draw packets.
pub struct Random(u64);

impl Random {
    /// From `WEIR_SEED`, or from the time of day; printed, so that a failure can be run again.
    pub fn seeded(test: &str) -> Self {
        let given = std::env::var("WEIR_SEED").ok();
        let seed =
            given.map_or_else(Self::seed_of_today, |text| text.parse().expect("WEIR_SEED is a number"));
        println!("{test}: WEIR_SEED={seed} repeats this run");
        Self(seed)
    }

    fn seed_of_today() -> u64 {
        let since = std::time::UNIX_EPOCH.elapsed().expect("a clock past 1970");
        since.as_micros() as u64
    }

    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}
