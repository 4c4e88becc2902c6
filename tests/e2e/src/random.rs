//! Randomness that can be repeated: the seed is printed and can be given.

/// Gives the seed to use, in decimal.
const SEED_VARIABLE: &str = "POSTHOUSE_TEST_SEED";

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
pub struct Random {
    state: u64,
}

impl Random {
    /// From `POSTHOUSE_TEST_SEED`, else from the system; prints the seed, which the test's output shows when
    /// it fails.
    pub fn new() -> Self {
        let given = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| getrandom::u64().expect("the system has random numbers"));
        println!("{SEED_VARIABLE}={seed}");
        Self::seeded(seed)
    }

    /// The same again from the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of two.
    pub fn coin(&mut self) -> bool {
        self.number() & 1 == 1
    }

    /// A number from `low` up to and without `high`.
    pub fn within(&mut self, low: usize, high: usize) -> usize {
        let span = u64::try_from(high - low).expect("a usize fits");
        low + usize::try_from(self.number() % span).expect("it came from a usize")
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
