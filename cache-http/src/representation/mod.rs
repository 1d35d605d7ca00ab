//! Which representation answers a request: the whole, 304, the headers alone, or ranges (RFC 9110, sections 13 to 15).

mod byte_range;
mod multipart;
mod partial;
mod precondition;
mod range;
mod select;
mod validators;

pub use self::byte_range::{ByteRange, ContentRange};
pub use self::multipart::{Multipart, Part};
pub use self::partial::{partial_headers, unsatisfiable_headers};
pub use self::precondition::{Outcome, evaluate, not_modified_headers};
pub use self::range::{RangeOutcome, evaluate_range, serves_ranges};
pub use self::select::{Content, Representation, Selection, asks_for_whole};
pub use self::validators::Validators;
