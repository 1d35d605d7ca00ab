//! Which parts of a query are part of the key, and in which order.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use cache_http::normal_path;

use crate::key::text::Text;

/// Defines which parts of a query are part of the key, and in which order.
///
/// ```
/// use cache_axum::{CacheLayer, Query};
/// use cache_axum::cache_engine::Cache;
/// use cache_memory::MemoryBackend;
///
/// let layer = CacheLayer::new(Cache::builder(MemoryBackend::default()).build());
/// // Whatever advertisements add to the links, it is the same page.
/// let layer = layer.query(Query::sorted().without(["utm_*", "fbclid", "gclid"]));
/// ```
///
/// What is left out of the key is also left out of the URI that the handler sees, if its response is to be stored: no
/// client can get a value of another one's parameter into a shared response. Middleware outside of the layer, and
/// handlers whose requests bypass it, still see the whole query.
///
/// Parameters are parsed as axum's `Query` does it: they are separated by `&`, and their names are decoded, with `%70`
/// as `p` and `+` as a space. Names are case-sensitive. If a handler accepts other spellings of a name, add a rule for
/// each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Query {
    sorted: bool,
    names: Names,
}

/// The parameters that are part of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    All,
    Without(Arc<[Pattern]>),
    Only(Arc<[Pattern]>),
}

/// A name, or a prefix of names.
#[derive(Clone, PartialEq, Eq)]
struct Pattern {
    text: Box<str>,
    is_prefix: bool,
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        let prefix = pattern.strip_suffix('*');
        Self {
            text: prefix.unwrap_or(pattern).into(),
            is_prefix: prefix.is_some(),
        }
    }

    fn matches(&self, name: &str) -> bool {
        if self.is_prefix {
            name.starts_with(&*self.text)
        } else {
            name == &*self.text
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.is_prefix { "*" } else { "" })
    }
}

impl Query {
    /// Uses the whole query, with the parameters sorted by name. Parameters with the same name keep their order, which
    /// may have a meaning. This is the default of a layer.
    pub fn sorted() -> Self {
        Self {
            sorted: true,
            names: Names::All,
        }
    }

    /// Uses the whole query, unchanged. This is the default of [`CacheLayer::shared`](crate::CacheLayer::shared): for a
    /// gateway, two URLs with different spellings are two resources.
    pub fn exact() -> Self {
        Self {
            sorted: false,
            names: Names::All,
        }
    }

    /// Excludes the parameters with these names, which are given decoded. A name that ends in `*` matches all names
    /// with that prefix.
    pub fn without<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.names = Names::Without(names.into_iter().map(Pattern::new).collect());
        self
    }

    /// Includes only the parameters with these names. They are given as for [`without`](Self::without), whose rule this
    /// replaces. Parameters with other names do not change the key, so a client cannot fill the store by inventing
    /// parameters.
    pub fn only<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.names = Names::Only(names.into_iter().map(Pattern::new).collect());
        self
    }

    fn counts(&self, parameter: &str) -> bool {
        let is_in = |patterns: &[Pattern]| {
            let name = name(parameter);
            patterns.iter().any(|pattern| pattern.matches(&name))
        };
        match &self.names {
            Names::All => true,
            Names::Without(patterns) => !is_in(patterns),
            Names::Only(patterns) => is_in(patterns),
        }
    }

    /// Returns `query` without the parts that do not belong to the key, in its own order and spelling. Returns `None` if
    /// all of it belongs to the key.
    pub(super) fn stripped(&self, query: &str) -> Option<String> {
        if self.names == Names::All || query.split('&').all(|parameter| self.counts(parameter)) {
            return None;
        }
        let rest: Vec<&str> = query.split('&').filter(|parameter| self.counts(parameter)).collect();
        Some(rest.join("&"))
    }

    /// Appends the parts of `query` that belong to the key, in normal form, with a question mark before them. A query
    /// without such parts counts as no query. An empty query is preserved if the whole query belongs to the key.
    pub(super) fn push_to(&self, out: &mut impl Text, query: &str) {
        let is_default = self.sorted && self.names == Names::All;
        match is_default.then(|| Separators::find(query)).flatten() {
            Some(separators) => separators.push_sorted(out, query),
            None => self.push_normal(out, &normal_path(query)),
        }
    }

    /// Like [`push_to`](Self::push_to), but for any query in normal form.
    fn push_normal(&self, out: &mut impl Text, query: &str) {
        if self.names == Names::All && (!self.sorted || is_sorted(query)) {
            out.push('?');
            out.push_str(query);
            return;
        }
        let mut parameters: Vec<&str> = query.split('&').filter(|parameter| self.counts(parameter)).collect();
        if self.sorted {
            parameters.sort_by_cached_key(|&parameter| name(parameter));
        }
        push_parameters(out, &parameters);
    }
}

/// Where the parameters of a typical query end: the query has few parameters and contains no characters that are encoded, or
/// would have to be. Such a query is in normal form, and its names need no decoding.
struct Separators {
    places: [u16; Separators::MAX],
    len: usize,
}

/// What a byte of a query does.
#[derive(Clone, Copy)]
enum Role {
    Plain,
    /// Ends a parameter.
    And,
    /// Stands for another byte, or has to be encoded.
    Encoded,
}

/// The role of each byte. Looking it up takes a fraction of the time of comparisons.
static ROLES: [Role; 256] = {
    let mut roles = [Role::Plain; 256];
    let mut byte = 0;
    while byte < 256 {
        roles[byte] = match byte as u8 {
            b'%' | b'+' => Role::Encoded,
            // What a URI cannot contain.
            ..=b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{'..=b'}' | 0x7F.. => Role::Encoded,
            b'&' => Role::And,
            _ => Role::Plain,
        };
        byte += 1;
    }
    roles
};

impl Separators {
    const MAX: usize = 7;

    #[inline]
    fn find(query: &str) -> Option<Self> {
        let length = u16::try_from(query.len()).ok()?;
        let mut found = Self {
            places: [0; Self::MAX],
            len: 0,
        };
        for (at, byte) in (0..length).zip(query.bytes()) {
            match ROLES[usize::from(byte)] {
                Role::Plain => {}
                Role::And => {
                    *found.places.get_mut(found.len)? = at;
                    found.len += 1;
                }
                Role::Encoded => return None,
            }
        }
        Some(found)
    }

    /// Appends `query`, sorted by name.
    #[inline]
    fn push_sorted(&self, out: &mut impl Text, query: &str) {
        match self.places[..self.len.min(Self::MAX)] {
            [] => {}
            [end] => {
                let (one, other) = (&query[..end.into()], &query[usize::from(end) + 1..]);
                if is_after(one, other) {
                    return push_parameters(out, &[other, one]);
                }
            }
            ref ends => {
                let (mut parameters, mut begin) = ([""; Self::MAX + 1], 0);
                for (place, end) in ends.iter().map(|&end| end.into()).chain([query.len()]).enumerate() {
                    insert(&mut parameters[..=place], &query[begin..end]);
                    begin = end + 1;
                }
                return push_parameters(out, &parameters[..=ends.len()]);
            }
        }
        out.push('?');
        out.push_str(query);
    }
}

/// Inserts a parameter among others, which are sorted by name and leave the last place: after those with the same name.
fn insert<'a>(parameters: &mut [&'a str], parameter: &'a str) {
    let mut at = parameters.len() - 1;
    while at > 0 && is_after(parameters[at - 1], parameter) {
        parameters[at] = parameters[at - 1];
        at -= 1;
    }
    parameters[at] = parameter;
}

fn push_parameters(out: &mut impl Text, parameters: &[&str]) {
    for (index, parameter) in parameters.iter().enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        out.push_str(parameter);
    }
}

/// Returns whether the name of a parameter is greater than that of another one. Neither is encoded.
#[inline]
fn is_after(one: &str, other: &str) -> bool {
    // No name contains the byte 0. It stands for an empty name.
    let initial = |parameter: &str| match parameter.as_bytes() {
        [] | [b'=', ..] => 0,
        [byte, ..] => *byte,
    };
    // Most names differ in their first bytes, so their ends need not be found.
    match (initial(one), initial(other)) {
        (one, other) if one != other => one > other,
        (0, _) => false,
        _ => plain_name(one) > plain_name(other),
    }
}

fn plain_name(parameter: &str) -> &str {
    parameter.split_once('=').map_or(parameter, |(name, _)| name)
}

/// The default of a layer: [`sorted`](Self::sorted).
impl Default for Query {
    fn default() -> Self {
        Self::sorted()
    }
}

/// Returns the name as the handler sees it. Different names that are not UTF-8 may decode to the same name, and then
/// count as one.
fn name(parameter: &str) -> Cow<'_, str> {
    form_urlencoded::parse(plain_name(parameter).as_bytes())
        .next()
        .map_or(Cow::Borrowed(""), |(name, _)| name)
}

fn is_sorted(query: &str) -> bool {
    query.split('&').map(name).is_sorted()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Query, normal_path};

    proptest! {
        #[test]
        fn a_query_like_most_makes_the_key_that_any_makes(
            query in prop_oneof!["([a-c=+é1 -~]{0,4}|%[0-9a-fA-F]{2}|&){0,16}", "([ab]{0,2}=?[a-c]?&?){0,9}"],
        ) {
            let (mut short, mut long) = (String::new(), String::new());
            Query::sorted().push_to(&mut short, &query);
            Query::sorted().push_normal(&mut long, &normal_path(&query));
            prop_assert_eq!(short, long);
        }
    }
}
