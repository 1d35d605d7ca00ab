//! Benchmarks of the caching toolkit, side by side with its peers: see the folder `benches`.
