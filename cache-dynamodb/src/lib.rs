//! DynamoDB as a store of the caching toolkit.
//!
//! Use [`DynamoBackend`] for values that several processes share, without a server to operate. It is built on the AWS SDK,
//! which signs, connects and retries. This crate adds what a cache needs: records with versions and compare-and-set, exact
//! lifetimes, batches that are carried out in full, bounded waits, and errors that say what to do.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use cache_core::{Backend, Prefix, SetOptions, SetOutcome};
//! use cache_dynamodb::DynamoBackend;
//!
//! # async fn example() -> Result<(), cache_core::Error> {
//! let dynamo = DynamoBackend::connect("dynamodb://cache?region=eu-central-1&create_table_if_missing=true").await?;
//! let key = Prefix::new("shop").namespace("users").key("42");
//! let minute = SetOptions::new(Duration::from_secs(60));
//!
//! // The process that writes the lease loads the value.
//! let SetOutcome::Stored(lease) = dynamo.set(&key, Bytes::new().into(), minute.if_absent()).await? else {
//!     panic!("another process loads it")
//! };
//! // Meanwhile the user changes, so the value being loaded is out of date.
//! dynamo.delete(&key).await?;
//! // It is not stored.
//! let fill = dynamo.set(&key, Bytes::from("Ada").into(), minute.if_version(lease)).await?;
//! assert_eq!(fill, SetOutcome::Refused);
//! # Ok(())
//! # }
//! ```
//!
//! # URLs
//!
//! `dynamodb://table[?region=…][&endpoint=…][&consistent_reads=false][&create_table_if_missing=true]`
//!
//! What the URL does not set comes from the environment, as for every AWS tool: `AWS_REGION`, `AWS_PROFILE`, the files in
//! `~/.aws`, the role of a container or machine. Credentials cannot be in the URL. An unknown parameter is an error.
//!
//! [`DynamoBackend::builder`] has a method for each of these and for all other [settings](DynamoBackendBuilder).
//! [`DynamoBackend::new`] takes a ready client. For DynamoDB Local, set its endpoint, any region and
//! [any credentials](DynamoBackendBuilder::static_credentials).
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | item | what DynamoDB stores under a key; a record of the cache is one item |
//! | attempt, operation | one request to the service; one call with all its attempts |
//! | foreign item | an item that another program wrote, without `version` and `deadline` |
//! | wave | a part of a batch in which no key occurs twice |
//! | unprocessed | the part of a batch that DynamoDB left undone, and that is sent again |
//!
//! # How records are stored
//!
//! | | |
//! |---|---|
//! | keys | as they are read: `shop:users:42`. A key over 2,048 bytes is stored as its first 1,024 bytes, `~sha256:` and the hash of the whole key, which is stored in `full_key` and compared |
//! | values | up to 396 KiB (DynamoDB takes 400 KB with keys and names); less under a shortened key. A larger value is an error before it is sent, and the record that it was to replace is removed |
//! | lifetimes | to the millisecond of the [clock](DynamoBackendBuilder::clock), checked by every read and every condition. DynamoDB itself may take two days to remove an expired item |
//! | compare-and-set | by condition expressions. If an answer was lost, the SDK repeats the write, which then finds its own record and recognises it by its version |
//! | `get`, `set`, `delete`, `delete_if`, `ping` | one request each |
//! | `get_many` | one request for each 100 keys |
//! | `set_many` | one for each 25 entries without a condition, one for each other |
//! | `delete_many` | one for each key, 16 at a time: DynamoDB's batches do not report what they removed |
//! | what a batch leaves unprocessed | sent again, with growing pauses, until it is done or six answers in a row bring no progress |
//! | `clear` | not supported, since that would scan the table. The engine clears a namespace by one record that its entries refer to |
//! | foreign items | returned as they are, with a version calculated from their content, so that they can be replaced. To the engine they are misses |
//!
//! # The table
//!
//! | attribute | type | |
//! |---|---|---|
//! | `key` | S | the partition key; no sort key |
//! | `value` | B | the value |
//! | `ttl` | N | when DynamoDB may remove the item: Unix seconds, rounded up; absent if the record does not expire |
//! | `version` | B | 16 bytes, new with every write |
//! | `deadline` | N | when the record expires: Unix milliseconds |
//! | `full_key` | S | the whole key, where `key` is shortened |
//!
//! The first three are those of fastapi-cache. This crate can read its items, but fastapi-cache cannot decode what the engine
//! writes. Two applications in one table must use two prefixes.
//!
//! [`create_table_if_missing`](DynamoBackend::create_table_if_missing) creates the table, billed on demand, and
//! enables its TTL. By hand:
//!
//! ```console
//! aws dynamodb create-table --table-name cache --billing-mode PAY_PER_REQUEST \
//!     --attribute-definitions AttributeName=key,AttributeType=S --key-schema AttributeName=key,KeyType=HASH
//! aws dynamodb update-time-to-live --table-name cache \
//!     --time-to-live-specification Enabled=true,AttributeName=ttl
//! ```
//!
//! # Permissions
//!
//! ```json
//! {
//!   "Effect": "Allow",
//!   "Action": [
//!     "dynamodb:GetItem", "dynamodb:BatchGetItem",
//!     "dynamodb:PutItem", "dynamodb:BatchWriteItem", "dynamodb:DeleteItem"
//!   ],
//!   "Resource": "arn:aws:dynamodb:REGION:ACCOUNT:table/cache"
//! }
//! ```
//!
//! To create the table, also `DescribeTable`, `CreateTable`, `DescribeTimeToLive` and `UpdateTimeToLive`.
//!
//! # What it costs
//!
//! In DynamoDB's units: a read unit is 4 KB read consistently, or 8 KB read eventually; a write unit is 1 KB written.
//! Each item is rounded up on its own.
//!
//! | call | costs |
//! |---|---|
//! | `get`, `get_many` | the read units of each item; one for an absent item (half if eventual) |
//! | `set`, `set_many` | the write units of the larger of the new and the old item, also if refused |
//! | `delete`, `delete_many`, `delete_if` | the write units of the item; one for an absent item |
//! | `ping` | half a read unit |
//!
//! Removal by TTL is free. A `delete` and a refused write return the old item, which costs only time on the network.
//! Through the engine, a look-up reads three items: the entry, and the two records by which its namespace and everything
//! below its prefix are cleared. A miss writes two: its lease and its value. DynamoDB reads one item at most 3,000 times a
//! second (6,000 eventually), and every look-up below a prefix reads one shared item. For more, use several prefixes or put
//! a near tier in front.
//!
//! # Eventual reads
//!
//! By default, reads are strongly consistent: they see every write that ended before. With
//! [`consistent_reads(false)`](DynamoBackendBuilder::consistent_reads) they cost half and may be behind, mostly by less
//! than a second. For that long, a read may find a value after it was invalidated or its namespace was cleared, and callers
//! that wait for another process's load may wait longer. Conditional writes always see the present: one load wins, and an
//! old value is never stored over an invalidation.
//!
//! # When things fail
//!
//! | what happens | error |
//! |---|---|
//! | connection refused or broken, or the service fails (5xx) | [`Unavailable`], retryable |
//! | no answer within the [limits](DynamoBackendBuilder::operation_timeout) | [`Timeout`]; the operation may have been carried out |
//! | throttled, after 3 attempts; a batch left unprocessed | [`Rejected`], retryable |
//! | no credentials, or refused credentials | [`Auth`] |
//! | no such table, a table with another key, no region | [`Configuration`], with the remedy |
//! | value or item too large | [`TooLarge`] |
//! | after [`close`](cache_core::Backend::close) | [`Unavailable`], not retryable |
//!
//! Credentials are fetched in a task of their own, so if a call that needs them is dropped, the next one need not start again.
//!
//! # What to know
//!
//! - Deadlines are compared with the clocks of the processes, so keep them in step (NTP). A process whose clock is a second
//!   ahead sees records expire a second early.
//! - If the answer to a `delete` was lost and the SDK repeated it, it reports `false` for a record that it did remove.
//! - Conditions hold within one region, so a cache must use one region of a global table.
//! - DAX is not supported: its copies would break the conditions.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `aws-config` | yes | [`DynamoBackend::connect`] and a builder that needs no client: `aws-config`, and HTTPS by rustls with ring |
//! | `sso` | no | credentials by IAM Identity Center (`aws sso login`), for development |
//!
//! Without `aws-config` the backend takes a [ready client](DynamoBackend::new), and this crate brings no HTTP client.
//! Credentials by a process (`credential_process`) need the feature `credentials-process` of `aws-config`.
//!
//! [`Auth`]: cache_core::ErrorKind::Auth
//! [`Configuration`]: cache_core::ErrorKind::Configuration
//! [`Rejected`]: cache_core::ErrorKind::Rejected
//! [`Timeout`]: cache_core::ErrorKind::Timeout
//! [`TooLarge`]: cache_core::ErrorKind::TooLarge
//! [`Unavailable`]: cache_core::ErrorKind::Unavailable

#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod batch;
mod builder;
mod client;
mod condition;
#[cfg(feature = "aws-config")]
mod credentials;
#[cfg(feature = "aws-config")]
mod environment;
mod error;
mod item;
mod key;
mod store;
mod table;
mod url;

pub use self::backend::DynamoBackend;
pub use self::builder::DynamoBackendBuilder;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
