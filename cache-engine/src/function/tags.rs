//! The tags of a call.

use std::fmt::Display;

use crate::cache::handle::Cache;

/// The types of tags in the list of `tags = […]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a tag",
    label = "cannot be a tag",
    note = "`tags = […]` takes what can be displayed, or format strings such as `\"user:{{id}}\"`"
)]
pub trait TagText: Display {}

#[diagnostic::do_not_recommend]
impl<T: Display + ?Sized> TagText for T {}

/// Returns the text of a tag.
#[must_use]
pub fn tag<T: TagText + ?Sized>(tag: &T) -> String {
    tag.to_string()
}

/// The types of `tags = …` that are not written as a list.
#[diagnostic::on_unimplemented(
    message = "`{Self}` gives no tags",
    label = "gives no tags",
    note = "`tags = …` takes a list such as `[\"user:{{id}}\"]`, or an expression that gives one, such as a `Vec<String>`"
)]
pub trait TagList {
    fn tags(self) -> Vec<String>;
}

#[diagnostic::do_not_recommend]
impl<T: IntoIterator<Item: AsRef<str>>> TagList for T {
    fn tags(self) -> Vec<String> {
        self.into_iter().map(|tag| tag.as_ref().to_owned()).collect()
    }
}

/// Returns the tags that an expression gives.
#[must_use]
pub fn tags<T: TagList>(tags: T) -> Vec<String> {
    tags.tags()
}

/// Returns a handle whose entries carry `tags`.
#[must_use]
pub fn with_tags<C>(cache: &Cache<C>, tags: impl IntoIterator<Item = String>) -> Cache<C> {
    cache.with_tags(tags)
}
