//! Keys by a Zipf distribution.

use fastrand::Rng;

/// Draws from keys by a Zipf distribution: the n-th key is n^-exponent times as likely as the first.
#[derive(Debug)]
pub struct Zipf {
    cumulated: Vec<f64>,
    random: Rng,
}

impl Zipf {
    /// Returns a distribution over `keys` keys with a fixed seed.
    #[must_use]
    pub fn new(keys: usize, exponent: f64) -> Self {
        Self::with_seed(keys, exponent, 7)
    }

    /// Returns a distribution over `keys` keys.
    #[must_use]
    pub fn with_seed(keys: usize, exponent: f64, seed: u64) -> Self {
        let mut sum = 0.0;
        let mut cumulated: Vec<f64> = (1..=keys)
            .map(|rank| {
                sum += (rank as f64).powf(-exponent);
                sum
            })
            .collect();
        cumulated.iter_mut().for_each(|share| *share /= sum);
        Self {
            cumulated,
            random: Rng::with_seed(seed),
        }
    }

    /// Draws a key: the most frequent is 0.
    pub fn draw(&mut self) -> u64 {
        let drawn = self.random.f64();
        self.cumulated.partition_point(|share| *share < drawn) as u64
    }
}
