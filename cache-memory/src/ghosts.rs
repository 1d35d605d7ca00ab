//! Ghosts: hashes of keys that were evicted lately.

/// The ways of a bucket, which fill one cache line.
const WAYS: usize = 8;

/// A set of the hashes that were added last. It forgets the oldest ones, and now and then a younger one.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    buckets: Vec<[Ghost; WAYS]>,
    /// How many of the latest hashes are remembered.
    capacity: u32,
    /// The number of the latest hash, counted from 1.
    latest: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Ghost {
    hash: u32,
    /// The number of the hash in the order of adding; zero if the way is empty.
    number: u32,
}

impl Ghosts {
    /// Adds `hash`. About `capacity` hashes are remembered.
    pub(crate) fn add(&mut self, hash: u32, capacity: usize) {
        let capacity = u32::try_from(capacity.max(WAYS)).unwrap_or(u32::MAX);
        if capacity / 5 * 4 > self.capacity || capacity < self.capacity / 4 {
            self.resize(capacity);
        }
        self.latest = self.latest.wrapping_add(1).max(1);
        self.put(Ghost {
            hash,
            number: self.latest,
        });
    }

    /// Removes `hash`, and returns whether it was remembered.
    pub(crate) fn remove(&mut self, hash: u32) -> bool {
        let (latest, capacity) = (self.latest, self.capacity);
        let Some(index) = self.bucket(hash) else {
            return false;
        };
        let Some(ghost) = self.buckets[index]
            .iter_mut()
            .find(|ghost| ghost.number != 0 && ghost.hash == hash)
        else {
            return false;
        };
        let remembered = latest.wrapping_sub(ghost.number) < capacity;
        *ghost = Ghost::default();
        remembered
    }

    fn put(&mut self, ghost: Ghost) {
        let Some(index) = self.bucket(ghost.hash) else {
            return;
        };
        let latest = self.latest;
        let age = |other: &Ghost| match other.number {
            _ if other.hash == ghost.hash => u32::MAX,
            0 => u32::MAX - 1,
            number => latest.wrapping_sub(number),
        };
        if let Some(place) = self.buckets[index].iter_mut().max_by_key(|other| age(other)) {
            *place = ghost;
        }
    }

    fn bucket(&self, hash: u32) -> Option<usize> {
        let mixed = hash.wrapping_mul(0x9E37_79B9);
        let index = (u64::from(mixed) * self.buckets.len() as u64) >> 32;
        (!self.buckets.is_empty()).then_some(index as usize)
    }

    fn resize(&mut self, capacity: u32) {
        // Buckets are three quarters full on average, so that few hashes are lost where a bucket gets more than its
        // share.
        let buckets = (capacity as usize).div_ceil(WAYS * 3 / 4);
        let before = std::mem::replace(&mut self.buckets, vec![[Ghost::default(); WAYS]; buckets]);
        self.capacity = capacity;
        for ghost in before.into_iter().flatten().filter(|ghost| ghost.number != 0) {
            self.put(ghost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u32) -> u32 {
        n.wrapping_mul(0x85EB_CA6B).rotate_left(13) ^ n
    }

    #[test]
    fn the_latest_are_remembered_and_no_others() {
        let mut ghosts = Ghosts::default();
        for n in 0..10_000 {
            ghosts.add(hash(n), 1_000);
        }
        assert!((0..9_000).all(|n| !ghosts.remove(hash(n))));
        let remembered = (9_000..10_000).filter(|n| ghosts.remove(hash(*n))).count();
        assert!(remembered > 850, "{remembered}");
        assert!((0..10_000).all(|n| !ghosts.remove(hash(n))), "removed twice");
    }

    #[test]
    fn growing_keeps_what_is_remembered() {
        let mut ghosts = Ghosts::default();
        for n in 0..1_000 {
            ghosts.add(hash(n), n as usize + 1);
        }
        let remembered = (0..1_000).filter(|n| ghosts.remove(hash(*n))).count();
        assert!(remembered > 700, "{remembered}");
    }
}
