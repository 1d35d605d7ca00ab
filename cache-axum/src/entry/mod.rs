//! What the cache holds: responses, variant indexes, and their byte form.

pub(crate) mod coder;
pub(crate) mod lifetime;
pub(crate) mod prepared;
pub(crate) mod response;
pub(crate) mod stored;
pub(crate) mod variant_index;
