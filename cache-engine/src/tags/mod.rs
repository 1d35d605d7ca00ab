//! What puts entries out of date beside time: the tags that they carry.
//!
//! A tag has one record in the store: a pair of random versions, one that a hard invalidation replaces and one that a
//! soft invalidation does. An entry carries the pairs that were read before its load began. If the hard one is another
//! now, or the record is gone, the entry is of no use; if only the soft one is, it is stale. So an invalidation costs
//! one record, whatever the number of entries, holds for loads that are under way, and involves no clock.
//!
//! Where a store cannot enumerate its records, namespaces are cleared in the same way: each has a tag that all of its
//! entries carry, its epoch, and so has everything below the prefix.
//!
//! A load that learns its tags only from what it loaded cannot have read them before. It captures, when it begins, the
//! record that every invalidation of a tag replaces *first*, the roll. If that is the same afterwards, no tag was
//! invalidated meanwhile, and what the tags say now they said then.

pub(crate) mod cache;
pub(crate) mod declared;
pub(crate) mod invalidate;
pub(crate) mod name;
pub(crate) mod records;
pub(crate) mod scope;
pub(crate) mod snapshot;
pub(crate) mod version;
