#![doc = include_str!("../README.md")]

mod action;
mod config;
mod enabled;
mod explore;
mod fence;
mod flight;
mod invalidation;
mod late;
mod near;
mod protocol;
mod reader;
mod scenarios;
mod state;
mod versions;

pub use action::Action;
pub use config::{Budget, Config, Flaw, Kind, Start, Tagging};
pub use explore::{Explored, Trace, explore, print_trace};
pub use protocol::{
    COMES_TO_REST, IT_ENDS, NEAR_IS_IN_STEP, NO_OLD_VALUE, NO_OVERTAKEN_HOLDER, NO_RESURRECTION, ONE_HOLDER, Protocol,
};
pub use scenarios::{large, small};
pub use state::*;
