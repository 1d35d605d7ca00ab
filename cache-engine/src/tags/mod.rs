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
//! A load that learns its tags only from what it loaded cannot have read them before. It notes when it began by a
//! sequence of numbers, and every invalidation notes the number that it found in the slot of its tag, *before* it replaces
//! the tag's record. If the slot holds a lower number than the load began with, the tag was not invalidated meanwhile, and
//! what its record says now it said then. Loads and invalidations of other tags do not get in each other's way, unless two
//! tags share one of the 4,096 slots.
//!
//! | file | what it holds |
//! |---|---|
//! | `name`, `version`, `declared` | what the records are called and say; the tags of a handle |
//! | `records`, `cache` | reading records and judging entries by them; what this process remembers of them |
//! | `snapshot`, `scope` | what a load captures before it begins; what is added while it runs |
//! | `invalidate` | invalidating tags and epochs |
//! | `sequence`, `late` | the records for late tags; the protocol on them |
//! | `lifetime`, `prolong` | how long records of tags are kept, and when they are prolonged |

pub(crate) mod cache;
pub(crate) mod declared;
pub(crate) mod invalidate;
mod late;
pub(crate) mod lifetime;
pub(crate) mod name;
mod prolong;
pub(crate) mod records;
pub(crate) mod scope;
mod sequence;
pub(crate) mod snapshot;
pub(crate) mod version;
