//! DynamoDB as a store of the caching toolkit.
//!
//! [`DynamoBackend`] is for values that several processes share where there is no server to look after. It is built on
//! the AWS SDK, which signs, connects and repeats; this crate adds what a cache needs of it: records with versions and
//! compare-and-set, exact lifetimes, batches that are carried out in full, an end to every wait, and errors that say what
//! to do.
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
//! // One of many processes gets to load: the one that wrote the lease.
//! let SetOutcome::Stored(lease) = dynamo.set(&key, Bytes::new().into(), minute.if_absent()).await? else {
//!     panic!("somebody else loads")
//! };
//! // Meanwhile the user changes, and what is being loaded is out of date.
//! dynamo.delete(&key).await?;
//! // So it is not stored.
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
//! What a URL does not say, the environment does, as for every AWS tool: `AWS_REGION`, `AWS_PROFILE`, the files in
//! `~/.aws`, the role of a container or a machine. A URL has no place for credentials. A parameter that has no meaning
//! is an error.
//!
//! [`DynamoBackend::builder`] has a method for each of these and for all [settings](DynamoBackendBuilder);
//! [`DynamoBackend::new`] takes a client that is ready. For DynamoDB Local, name its endpoint, any region and
//! [any credentials](DynamoBackendBuilder::static_credentials).
//!
//! # What it keeps to
//!
//! | | |
//! |---|---|
//! | keys | as they are read: `shop:users:42`. One over 2,048 bytes is stored as its first 1,024 bytes, `~sha256:` and the hash of the whole, which stands in `full_key` and is compared |
//! | values | up to 396 KiB (DynamoDB takes 400 KB with keys and names); under a shortened key, less by what that takes. A larger one is an error before anything is sent, and the record that it was to replace is removed |
//! | lifetimes | to the millisecond of the [clock](DynamoBackendBuilder::clock), checked by every read and every condition; DynamoDB itself may take two days to remove what has ended |
//! | compare-and-set | condition expressions. A write whose answer was lost is repeated by the SDK and then meets itself; it is recognised by its version, so a winner knows that it won |
//! | `get`, `set`, `delete`, `delete_if`, `ping` | one request each |
//! | `get_many` | one request for each 100 keys |
//! | `set_many` | one for each 25 entries without a condition, one for each other |
//! | `delete_many` | one for each key, 16 at a time: DynamoDB's batches do not tell what they removed |
//! | what a batch leaves undone | asked for again, with growing pauses, until it is done or six answers in a row bring nothing |
//! | `clear` | not declared: nothing ever scans the table. The engine's `clear(namespace)` works all the same, by one record |
//! | what others wrote | read as it is, with a version that follows from its content, so that it can be replaced; to the engine it is a miss |
//!
//! # The table
//!
//! | attribute | type | |
//! |---|---|---|
//! | `key` | S | the partition key; no sort key |
//! | `value` | B | the value |
//! | `ttl` | N | when DynamoDB may remove the item: Unix seconds, rounded up; none if the record has no end |
//! | `version` | B | 16 bytes, new with every write |
//! | `deadline` | N | when the record ends: Unix milliseconds |
//! | `full_key` | S | the whole key, where `key` is shortened |
//!
//! The first three are those of fastapi-cache. Its items are records here; what the engine writes is an envelope that
//! fastapi-cache cannot decode, so two applications in one table use two prefixes.
//!
//! [`create_table_if_missing`](DynamoBackend::create_table_if_missing) makes the table, billed on demand, and switches
//! its TTL on. By hand:
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
//! To make the table, also `DescribeTable`, `CreateTable`, `DescribeTimeToLive` and `UpdateTimeToLive`.
//!
//! # What it costs
//!
//! In DynamoDB's units: a read unit is 4 KB read consistently, or 8 KB read eventually; a write unit is 1 KB written.
//! Each item is rounded up by itself.
//!
//! | call | costs |
//! |---|---|
//! | `get`, `get_many` | read units of each item; one for an absent one (half if eventual) |
//! | `set`, `set_many` | write units of the larger of new and old item, also when it is refused |
//! | `delete`, `delete_many`, `delete_if` | write units of the item; one for an absent one |
//! | `ping` | half a read unit |
//!
//! Removal by TTL is free. To tell what it removed, `delete` has the item sent back, and so has a refused write; that
//! costs time on the network and nothing else. Through the engine a look-up reads three items, the entry and the two
//! records by which its namespace and everything below its prefix are cleared, and a miss writes two, its lease and its
//! value. DynamoDB reads one item at most 3,000 times a second (6,000 eventually), and every look-up below a prefix reads
//! one that they share: beyond that, use several prefixes or put memory in front.
//!
//! # Eventual reads
//!
//! Reads are strongly consistent: what was written before is seen. With
//! [`consistent_reads(false)`](DynamoBackendBuilder::consistent_reads) they cost half and may be behind, mostly by less
//! than a second. Then a value may be found for that long after it was invalidated or its namespace was cleared, and
//! those who wait for another's load may wait longer. What writes decide stays exact, since conditions always see the
//! present: one load wins, and an old value is never stored over an invalidation.
//!
//! # When things fail
//!
//! | what happens | error |
//! |---|---|
//! | nobody listens, the connection breaks, the service fails (5xx) | [`Unavailable`], retryable |
//! | no answer within the [limits](DynamoBackendBuilder::operation_timeout) | [`Timeout`]; it may have been carried out |
//! | throttled, after 3 attempts; a batch left undone | [`Rejected`], retryable |
//! | no credentials, or refused ones | [`Auth`] |
//! | no such table, another key, no region | [`Configuration`], with the remedy |
//! | value or item too large | [`TooLarge`] |
//! | after [`close`](cache_core::Backend::close) | [`Unavailable`], not retryable |
//!
//! Fetching credentials runs apart from the calls that need them, so one that gives up does not make the next one begin
//! anew.
//!
//! # What to know
//!
//! - Deadlines are compared with the clocks of the processes, so keep those right. One that is fast by a second ends
//!   records a second early for itself.
//! - If the answer to a `delete` was lost and the SDK repeated it, it reports `false` for what it removed. It is removed.
//! - Conditions hold in one region. Let one cache use one region of a global table.
//! - DAX is not supported: its copies would undo what conditions promise.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `aws-config` | yes | [`DynamoBackend::connect`] and the builder without a ready client: `aws-config`, and HTTPS by rustls with ring |
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
