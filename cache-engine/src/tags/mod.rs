//! Tags, which make entries outdated independently of time.
//!
//! A tag has one record in the store: a pair of random versions. A hard invalidation replaces one of them, and a soft
//! invalidation the other. An entry carries the pairs that were read before its load began. If the hard version has
//! changed since, or the record is gone, the entry is unusable. If only the soft version has changed, the entry is
//! stale. An invalidation therefore costs one record, whatever the number of entries. It applies to loads that are
//! under way, and depends on no clock.
//!
//! Where a store cannot enumerate its records, namespaces are cleared in the same way. Each namespace has an epoch, a
//! tag that all of its entries carry, and so has everything below the prefix.
//!
//! A load that learns its tags only from what it loaded cannot have read their versions before. Such a load notes
//! the current number of a sequence when it begins. Every invalidation reads that number and writes it into the slot of
//! its tag, *before* it replaces the tag's record. If the slot holds a lower number than the load began with, the tag
//! was not invalidated during the load, and its current version is the one it had when the load began. Loads and
//! invalidations of other tags do not interfere with each other, unless two tags share one of the 4,096 slots.
//!
//! | file | what it holds |
//! |---|---|
//! | `name`, `version`, `declared` | the names and contents of the records; the tags of a handle |
//! | `records`, `known`, `cache` | reading records and judging entries by them; what one read has found out; what this process remembers |
//! | `snapshot`, `scope` | the tag versions that a load reads before it begins; the tags that are added while it runs |
//! | `parts`, `fault` | what other entries contribute to a load that uses them; why a value must not be stored |
//! | `ambient` | whether the current task runs in a load, or goes past the caches |
//! | `last_seen`, `expected` | the tag versions that were seen last; those of a lease that is acquired before they are read |
//! | `invalidate`, `attempts` | invalidating tags and epochs; a bound on the attempts at a conditional write |
//! | `sequence`, `late` | the records for late tags; the protocol on them |
//! | `lifetime`, `prolong` | how long records of tags are retained, and when they are prolonged |

pub(crate) mod ambient;
pub(crate) mod attempts;
pub(crate) mod cache;
pub(crate) mod declared;
pub(crate) mod expected;
pub(crate) mod fault;
pub(crate) mod invalidate;
pub(crate) mod known;
mod last_seen;
mod late;
pub(crate) mod lifetime;
pub(crate) mod name;
pub(crate) mod parts;
mod prolong;
pub(crate) mod records;
pub(crate) mod scope;
mod sequence;
pub(crate) mod snapshot;
pub(crate) mod version;
