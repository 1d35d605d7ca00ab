//! The rules of HTTP caching as pure functions.
pub mod cache_control;
pub mod cache_status;
pub mod conditional;
pub mod freshness;
pub mod groups;
pub mod headers;
pub mod invalidation;
pub mod policy;
pub mod range;
pub mod store;
pub mod targeted;
pub mod vary;

mod date;

pub use self::cache_control::{RequestDirectives, ResponseDirectives, count_down};
pub use self::cache_status::{CACHE_STATUS, CacheName, CacheStatus, Forward};
pub use self::conditional::{
    Outcome, Validation, Validators, evaluate, freshen, head_confirms, is_freshened_by, make_conditional,
    not_modified_headers, validation,
};
pub use self::date::{format_date, parse_date};
pub use self::freshness::{Lifetime, LifetimeSource, Reuse};
pub use self::groups::{cache_groups, invalidated_groups};
pub use self::headers::{age_header, prepare_for_store, remove_hop_by_hop, set_age};
pub use self::invalidation::{invalidated_uris, is_content_of_target, is_safe};
pub use self::policy::{Heuristic, Policy, Sharing, Statuses, is_heuristically_cacheable};
pub use self::range::{
    ByteRange, ContentRange, Multipart, RangeOutcome, evaluate_range, partial_headers, unsatisfiable_headers,
};
pub use self::store::{Reason, Storable, request_bypass, storable};
pub use self::targeted::{Applicable, CDN_CACHE_CONTROL, applicable_directives, parse_targeted};
pub use self::vary::{Normalization, Preference, Vary, variant_key};
