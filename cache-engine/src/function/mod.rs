//! What `#[cached]` and `#[invalidates]` expand to.
//!
//! The attributes generate as little code as possible. The rest is here: [`return_type`] determines what the function
//! returns, `call_key`, `key_name` and `key_part` make the key, `lookup` reads the cache, and `load` runs the function.

mod ask;
// The public items of these modules are for generated code.
#[allow(missing_docs, missing_debug_implementations)]
mod cache;
#[allow(missing_docs, missing_debug_implementations)]
mod call_key;
#[allow(missing_docs, missing_debug_implementations)]
mod coder;
#[allow(missing_docs, missing_debug_implementations)]
mod completion;
mod entry;
mod error;
mod identity;
#[allow(missing_docs, missing_debug_implementations)]
mod invalidation;
#[allow(missing_docs, missing_debug_implementations)]
mod key_name;
#[allow(missing_docs, missing_debug_implementations)]
mod key_part;
#[allow(missing_docs, missing_debug_implementations)]
mod load;
#[allow(missing_docs, missing_debug_implementations)]
mod lookup;
#[allow(missing_docs, missing_debug_implementations)]
mod owned;
#[allow(missing_docs, missing_debug_implementations)]
mod return_type;
#[allow(missing_docs, missing_debug_implementations)]
mod run;
mod settle;
#[allow(missing_docs, missing_debug_implementations)]
mod tags;
#[allow(missing_docs, missing_debug_implementations)]
mod time;

pub use self::entry::{CachedEntry, ResultOf};
pub use self::error::CallError;

/// Only for code that the attributes generate. Anything here may change in any release.
#[doc(hidden)]
pub mod __private {
    pub use std::option::Option::{None, Some};
    pub use std::time::Duration;
    pub use std::{format, format_args};

    pub use super::cache::{AsCache, as_cache, default_cache};
    pub use super::call_key::{CallKey, argument, out_of_line, receiver};
    pub use super::coder::{GivenCoder, OwnCoder, versioned};
    pub use super::completion::{CompletionOfFitting, CompletionOfOthers, CompletionOfUnfitting};
    pub use super::invalidation::Invalidations;
    pub use super::key_name::{Displayed, NameOf, Named, key_in, key_of, namespace};
    pub use super::key_part::{DisplayedPart, NumberPart, PartOf, Space, TextPart};
    pub use super::load::{
        Acquired, acquire, answer, boxed, brought, capture, compared, finish, finish_detached, keep_for, keep_if,
        load_detached, slots,
    };
    pub use super::lookup::{Answered, Looked, asked, hit, look};
    pub use super::owned::{borrow, own};
    pub use super::return_type::convert::{ConvertByFrom, ConvertNothing, must_report_timeouts};
    pub use super::return_type::describe::{DescribeErrors, DescribeOthers, DescribeReports, DescribeTexts};
    pub use super::return_type::keep::{KeepOfArcs, KeepOfOthers};
    pub use super::return_type::plan::{Handling, Plan};
    pub use super::return_type::shape::{Returns, Shape, ShapeOfOptions, ShapeOfOthers, ShapeOfResults};
    pub use super::return_type::share::{ShareByClone, ShareByText, ShareNothing, ShareWhole};
    pub use super::tags::{tag, tags, with_tags};
    pub use super::time::time;
    pub use crate::load::on_hit::OnHit;
}
