//! Support for the tests of the memcached backend.
#![allow(dead_code, reason = "no test file uses all of it")]

pub(crate) mod authority;
pub(crate) mod endpoint;
