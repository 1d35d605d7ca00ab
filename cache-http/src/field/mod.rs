//! Single fields that requests and responses share: numbers of seconds, dates, `Age`, entity-tags, the fields of one
//! connection; and the syntax of structured fields.

mod age;
mod connection;
mod date;
mod delta_seconds;
mod etag;
mod names;
mod structured;

pub(crate) use self::age::age_value;
pub use self::age::{age_header, set_age};
pub use self::connection::{connection_names_end_to_end, remove_hop_by_hop};
pub(crate) use self::date::{Single, date_of};
pub use self::date::{format_date, parse_date};
pub use self::delta_seconds::MAX_SECONDS;
pub(crate) use self::delta_seconds::parse_seconds;
pub use self::etag::{ETag, EntityTags, InvalidETag};
pub(crate) use self::names::{CONTENT_DIGEST, CONTENT_MD5, REPR_DIGEST};
pub(crate) use self::structured::{Bare, Member, dictionary, list};
