//! Randomness, by argument.

use std::sync::atomic::{AtomicU64, Ordering};

/// Where random numbers come from. Not for secrets.
pub trait Entropy: Send + Sync {
    /// The next 64 random bits.
    fn next_u64(&self) -> u64;

    /// The next 128 random bits.
    fn next_u128(&self) -> u128 {
        (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())
    }

    /// A number in `[0, bound)`; 0 if `bound` is 0. The bias is below `bound / 2^64`.
    fn below(&self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("a 128-bit product shifted by 64 fits in 64 bits")
    }
}

/// Seeded by the operating system.
#[derive(Debug)]
pub struct OsEntropy(SeededEntropy);

impl OsEntropy {
    /// A generator with a fresh seed from the operating system.
    ///
    /// # Panics
    /// If the operating system gives no random bytes.
    pub fn new() -> Self {
        let seed = getrandom::u64().expect("every supported operating system has a source of random bytes");
        Self(SeededEntropy::new(seed))
    }
}

impl Default for OsEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for OsEntropy {
    fn next_u64(&self) -> u64 {
        self.0.next_u64()
    }
}

/// SplitMix64: the same seed gives the same sequence (Steele, Lea, Flood: "Fast splittable
/// pseudorandom number generators", OOPSLA 2014).
#[derive(Debug)]
pub struct SeededEntropy {
    state: AtomicU64,
}

impl SeededEntropy {
    /// A generator that replays the sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }
}

impl Entropy for SeededEntropy {
    fn next_u64(&self) -> u64 {
        const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.state.fetch_add(GAMMA, Ordering::SeqCst).wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
