//! The exchange: takes a request through the store or the handler to its response.

mod apart;
pub(crate) mod explain;
pub(crate) mod finish;
pub(crate) mod forward;
pub(crate) mod later_get;
pub(crate) mod load;
pub(crate) mod lookup;
pub(crate) mod outcome;
pub(crate) mod read_along;
pub(crate) mod respond;
pub(crate) mod revalidate;
pub(crate) mod route;
pub(crate) mod stale_if_error;
pub(crate) mod storability;
pub(crate) mod store;
pub(crate) mod unsafe_method;
pub(crate) mod update_by_head;
pub(crate) mod variant_limit;
