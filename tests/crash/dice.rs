//! Seeded dice (SplitMix64): the same seed gives the same throws.

/// A source of numbers.
pub(crate) struct Dice {
    seed: u64,
    state: u64,
}

impl Dice {
    /// The seed that `TIDINGS_SEED` says, else a new one.
    pub(crate) fn from_environment() -> Self {
        let given = std::env::var("TIDINGS_SEED").ok();
        let seed = given.map(|text| text.parse().expect("TIDINGS_SEED is a number"));
        Self::new(seed.unwrap_or_else(|| uuid::Uuid::now_v7().as_u64_pair().1))
    }

    /// Dice of a known seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Other dice that follow from these.
    pub(crate) fn child(&mut self) -> Self {
        Self::new(self.throw())
    }

    /// A number in a range, both ends included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.throw() % (high - low + 1)
    }

    /// True once in so many throws.
    pub(crate) fn one_in(&mut self, throws: u64) -> bool {
        self.between(1, throws) == 1
    }

    fn throw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
