//! Compression and encryption of what a cache stores, on every store.
//!
//! [`AtRest`] wraps a backend. What goes to the store is compressed ([`Compression`]), encrypted ([`KeyRing`]) or both, and
//! comes back as it was. It works for values, results of functions and whole responses alike, since all of them are records
//! of a backend. Nothing else changes: conditional writes, tags, leases, batches, subscriptions and time limits are those of
//! the store.
//!
//! ```
//! # #[cfg(all(feature = "zstd", feature = "encryption"))]
//! # fn store(redis: impl cache_core::Backend) -> Result<impl cache_core::Backend, Box<dyn std::error::Error>> {
//! use cache_at_rest::{AtRest, Compression, KeyRing};
//!
//! // `2026-11:` and 64 hexadecimal digits
//! let keys: KeyRing = std::env::var("CACHE_KEYS")?.parse()?;
//! let store = AtRest::new(redis)
//!     .with_compression(Compression::zstd())
//!     .with_encryption(keys);
//! # Ok(store) }
//! ```
//!
//! # What is protected
//!
//! Encryption is XChaCha20-Poly1305, an authenticated cipher. Every record is sealed: values and responses, and also tags,
//! leases and the marks of invalidations. The seal covers the version of the format, the id of the key and **the whole key of
//! the record** with prefix and namespace.
//!
//! | somebody who can read and write the store | |
//! |---|---|
//! | reads values, tags of entries, creation times, arguments of functions | cannot |
//! | changes a record, cuts it short, or makes one | is found out: it is a miss |
//! | copies a record to another key, prefix or namespace | is found out: it is a miss |
//! | reads the names of keys | can: keys are not encrypted. Hash what is secret in a `KeyBuilder`; the names of tags are in the keys of their records |
//! | sees the sizes of records, their lifetimes, and when they are used | can. With compression, a size tells how well the value compresses: do not compress values that mix secrets with text that an attacker can choose |
//! | removes records, or keeps them from being written | can: that is a miss |
//! | puts an earlier record back under its own key | can, until the entry's lifetime is over: its times are sealed too. So such a person can undo an invalidation |
//!
//! Values are plain in the memory of your process. Copies of the [near tier] are decoded objects there, and so a hit in it
//! costs no decryption and no decompression. The process also sees keys and tags in its logs and events, and in the
//! `pending_file` of a cache, if you set one.
//!
//! [near tier]: https://docs.rs/cache-engine/latest/cache_engine/struct.CacheBuilder.html#method.near
//!
//! # What cannot be read is a miss
//!
//! A record that does not open is never an error to a caller and never an old value. The engine emits
//! `Event::DecodeFailed`, which says why, loads the value, and replaces the record. `invalidate`, tags and `clear` work on such
//! records as on all others. This concerns
//!
//! - records that were damaged, changed or copied;
//! - records that were sealed with a key that is not in the [`KeyRing`];
//! - with encryption: records that are not sealed, such as those from before it was introduced;
//! - records of a newer format, or compressed by an algorithm whose feature is switched off;
//! - records that would decompress to more than [`with_max_decompressed`](AtRest::with_max_decompressed) allows.
//!
//! Without encryption, records from before compression was introduced are read as they are.
//!
//! # Introduce it
//!
//! All processes that share a store should have the same settings. While they do not, as during a deployment, a process
//! without them takes the records of one with them for misses and replaces them, and the other way round for encryption. So
//! the hit ratio is low in the meantime, and no answer is wrong. [`KeyRing`] says how to rotate keys without that.
//!
//! Choose a new prefix for the cache if you would rather keep the two apart.
//!
//! # Compression
//!
//! Records below the [threshold](Compression::with_threshold) and those that do not shrink are stored as they are, such as
//! images and responses that are compressed already. Decompression is bounded, so a record that would decompress to
//! gigabytes does no harm.
//!
//! # Choices
//!
//! | part | crate | because |
//! |---|---|---|
//! | encryption | `chacha20poly1305` (RustCrypto) | Rust alone. Its nonces of 192 bits are random for each record and need no count of messages: with those of 96 bits (AES-GCM) a key must be changed after some four billion records, which a busy cache writes |
//! | `zstd` | `zstd`, which builds libzstd | the reference implementation; there is no well-kept compressor in Rust |
//! | `lz4` | `lz4_flex`, in its safe mode | Rust without `unsafe` |
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `zstd` | no | `Compression::zstd` |
//! | `lz4` | no | `Compression::lz4` |
//! | `encryption` | no | `KeyRing`, `AtRest::with_encryption` |
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | record | what a store holds under a key |
//! | to seal, to open | to encrypt and authenticate, and the reverse |
//! | key ring | the keys of encryption, with their ids; the first one seals, all of them open |
//! | key | of a record: its name in the store. Of a key ring: 32 secret bytes |
//! | threshold | the size from which on values are compressed |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod algorithm;
mod backend;
#[cfg(any(feature = "zstd", feature = "lz4"))]
mod compression;
mod error;
mod format;
mod frame;
#[cfg(feature = "encryption")]
mod key_ring;

pub use self::backend::AtRest;
#[cfg(any(feature = "zstd", feature = "lz4"))]
pub use self::compression::Compression;
#[cfg(feature = "encryption")]
pub use self::key_ring::KeyRing;

/// The README's code is compiled and run with the tests.
#[cfg(all(doctest, feature = "zstd", feature = "encryption"))]
#[doc = include_str!("../README.md")]
struct Readme;
