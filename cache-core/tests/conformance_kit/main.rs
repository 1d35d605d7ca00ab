//! Tests of the test kit: a correct backend passes, and each of many broken ones fails the check for its fault.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

mod broken;
mod caught;
mod correct;
mod reference;
