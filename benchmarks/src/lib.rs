//! Benchmarks of the caching toolkit compared with its peers. See the folder `benches`.
