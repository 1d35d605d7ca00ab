//! The tests of the HTTP rules, one hazard a file. They are one binary, since linking a binary for each file takes longer
//! than running it. A test that needs a process of its own (its allocator, its subscriber of `tracing`, a global setting)
//! is a file beside this folder.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod differential;
mod hostile;
mod no_vary_search;
mod rfc3986_normal_form;
mod rfc5861;
mod rfc9110_conditional;
mod rfc9110_dates;
mod rfc9110_post;
mod rfc9110_ranges;
mod rfc9111_cache_control;
mod rfc9111_freshness;
mod rfc9111_invalidation;
mod rfc9111_storing;
mod rfc9111_validation;
mod rfc9111_vary;
mod rfc9112_framing;
mod rfc9211;
mod rfc9213;
mod rfc9875;
