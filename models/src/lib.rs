#![doc = include_str!("../README.md")]

mod action;
mod config;
mod explore;
mod fence;
mod flight;
mod invalidation;
mod near;
mod protocol;
mod reader;
mod scenarios;
mod state;
mod versions;

pub use action::Action;
pub use config::{Config, Flaw, Start, Tagging};
pub use explore::{Explored, Trace, explore, print_trace};
pub use protocol::{
    COMES_TO_REST, IT_ENDS, NEAR_IS_TOLD, NO_OLD_VALUE, NO_OVERTAKEN_HOLDER, NO_RESURRECTION, ONE_HOLDER, Protocol,
};
pub use scenarios::{large, small};
pub use state::*;
