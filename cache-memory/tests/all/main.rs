//! The tests of the memory store, one hazard a file. They are one binary, since linking a binary for each file takes longer
//! than running it. A test that needs a process of its own (its allocator, its subscriber of `tracing`, a global setting)
//! is a file beside this folder.

#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod clear;
mod close;
mod compare_and_set;
mod conformance;
mod eviction;
mod expiry;
mod isolation;
mod model;
mod monotonic;
mod shared_objects;
mod view;
