//! The counts of a run of histories.

use std::ops::AddAssign;

/// The counts of operations.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Histories.
    pub histories: u64,
    /// Reads that returned a value.
    pub reads: u64,
    /// Of these, those that began after an invalidation had returned.
    pub bounded: u64,
    /// Invalidations, clears and sets that returned.
    pub invalidations: u64,
    /// Calls that failed because the store did.
    pub failed: u64,
    /// Calls that ended with their process.
    pub crashed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.histories += other.histories;
        self.reads += other.reads;
        self.bounded += other.bounded;
        self.invalidations += other.invalidations;
        self.failed += other.failed;
        self.crashed += other.crashed;
    }
}
