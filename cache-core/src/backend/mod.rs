//! The contract between the toolkit and a store.

mod capabilities;
mod contract;
mod set;
mod shared;
mod subscription;
mod usage;
mod view;

pub use self::capabilities::{Capabilities, Limits};
pub use self::contract::{Backend, EvictionListener};
pub use self::set::{GetOrAdd, SetMode, SetOptions, SetOutcome};
pub use self::subscription::{Change, Subscription};
pub use self::usage::Usage;
pub use self::view::View;
