//! Loads: flights in this process, the steps of a load, and what a caller and a loader see of it.

pub(crate) mod acquire;
pub(crate) mod background;
pub(crate) mod backoff;
pub(crate) mod batch;
pub(crate) mod bypass;
pub(crate) mod call;
pub(crate) mod context;
pub(crate) mod contribution;
pub(crate) mod drive;
pub(crate) mod engine;
pub(crate) mod error;
pub(crate) mod fill;
pub(crate) mod flight;
pub(crate) mod fresh_keys;
pub(crate) mod launch;
pub(crate) mod on_hit;
pub(crate) mod policy;
pub(crate) mod preview;
pub(crate) mod reading;
mod renewal;
pub(crate) mod reservation;
pub(crate) mod run;
pub(crate) mod shared;
#[cfg(feature = "functions")]
pub(crate) mod shared_error;
pub(crate) mod stack;
pub(crate) mod step;
pub(crate) mod verify;
pub(crate) mod waiting;
