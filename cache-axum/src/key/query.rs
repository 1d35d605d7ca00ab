//! What of a query counts, and in which order.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// What of a query is part of the key, and in which order.
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
/// A parameter that is left out of the key must be one that the handler does not look at. It is left in the request, so
/// a handler that does look at it answers everybody with what it said to the first.
///
/// Parameters are told apart as axum's `Query` does it: separated by `&`, and their names decoded, with `%70`
/// a `p` and `+` a space, and with case. A handler that takes other spellings for one name needs a rule for each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Query {
    sorted: bool,
    names: Names,
}

/// The parameters that count.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    All,
    Without(Arc<[Pattern]>),
    Only(Arc<[Pattern]>),
}

/// A name, or what names begin with.
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
    /// All of it, with the parameters in the order of their names. Those of one name stay in their order, since that may
    /// mean something. What the route policy does.
    pub fn sorted() -> Self {
        Self {
            sorted: true,
            names: Names::All,
        }
    }

    /// All of it, as it is. What [`CacheLayer::shared`](crate::CacheLayer::shared) does: to a gateway, two URLs that are
    /// not spelled alike are two resources.
    pub fn exact() -> Self {
        Self {
            sorted: false,
            names: Names::All,
        }
    }

    /// Without the parameters of these names, decoded. A name that ends in `*` stands for all that begin so.
    pub fn without<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.names = Names::Without(names.into_iter().map(Pattern::new).collect());
        self
    }

    /// Only the parameters of these names, given as for [`without`](Self::without), whose rule this takes the place of.
    /// Those of other names make no other key, so nobody can fill the store by inventing parameters.
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

    /// Appends what counts of `query`, and the question mark before it. A query of which nothing counts is as good as
    /// none; an empty one is kept as it is where all counts.
    pub(super) fn push_to(&self, out: &mut String, query: &str) {
        let all = self.names == Names::All;
        if all && (!self.sorted || is_sorted(query)) {
            out.push('?');
            out.push_str(query);
            return;
        }
        let mut parameters: Vec<&str> = query.split('&').filter(|parameter| self.counts(parameter)).collect();
        if self.sorted {
            parameters.sort_by_cached_key(|&parameter| name(parameter));
        }
        for (index, parameter) in parameters.into_iter().enumerate() {
            out.push(if index == 0 { '?' } else { '&' });
            out.push_str(parameter);
        }
    }
}

/// What the route policy does: [`sorted`](Self::sorted).
impl Default for Query {
    fn default() -> Self {
        Self::sorted()
    }
}

/// The name as the handler sees it. Names that are not UTF-8 may come out alike, and then they count as one.
fn name(parameter: &str) -> Cow<'_, str> {
    let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
    form_urlencoded::parse(name.as_bytes())
        .next()
        .map_or(Cow::Borrowed(""), |(name, _)| name)
}

fn is_sorted(query: &str) -> bool {
    query.split('&').map(name).is_sorted()
}
