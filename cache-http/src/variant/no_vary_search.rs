//! `No-Vary-Search`: which differences between queries do not matter (draft-ietf-httpbis-no-vary-search).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};

use crate::field::{Bare, Member, dictionary};

/// The name of the field.
pub const NO_VARY_SEARCH: HeaderName = HeaderName::from_static("no-vary-search");

/// The `No-Vary-Search` of a response: which differences between queries select the same response.
///
/// The default is the value of a response without the field: every difference matters.
///
/// ```
/// use cache_http::NoVarySearch;
///
/// let rules = NoVarySearch::parse([r#"key-order, params=("utm_source")"#]);
/// assert!(rules.are_equivalent("b=2&a=1&utm_source=mail", "a=1&b=2"));
/// assert!(!rules.are_equivalent("a=1", "a=2"));
/// assert_eq!(rules.normal_query("b=2&a=1&utm_source=mail"), "a=1&b=2");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct NoVarySearch {
    ignores_order: bool,
    params: Params,
}

/// The parameters that matter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Params {
    AllBut(Vec<String>),
    Only(Vec<String>),
}

impl Default for Params {
    fn default() -> Self {
        Self::AllBut(Vec::new())
    }
}

impl NoVarySearch {
    /// Parses the `No-Vary-Search` of a response with these headers.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self::parse(headers.get_all(NO_VARY_SEARCH))
    }

    /// Parses field lines as one Dictionary of RFC 9651. A field that is invalid or contradicts itself counts as absent.
    pub fn parse<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Self {
        dictionary(lines)
            .and_then(|members| Self::read(&members))
            .unwrap_or_default()
    }

    fn read(members: &[(String, Member)]) -> Option<Self> {
        let get = |name| {
            members
                .iter()
                .find(|(other, _)| other == name)
                .map(|(_, member)| member)
        };
        let ignores_order = match get("key-order") {
            None => false,
            Some(member) => boolean(member)?,
        };
        let params = match (get("params"), get("except")) {
            (None, None) => Params::default(),
            (Some(params), None) => match (params, boolean(params)) {
                (_, Some(true)) => Params::Only(Vec::new()),
                (_, Some(false)) => Params::default(),
                (Member::InnerList(names), None) => Params::AllBut(strings(names)?),
                (Member::Item(_), None) => return None,
            },
            // `except` is only valid if `params` is true.
            (params, Some(Member::InnerList(names))) if params.and_then(boolean) == Some(true) => {
                Params::Only(strings(names)?)
            }
            (_, Some(_)) => return None,
        };
        Some(Self { ignores_order, params })
    }

    /// Returns whether every difference between queries matters, as without the field.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether two queries select the same response. The empty query stands for a URI without one.
    #[must_use]
    pub fn are_equivalent(&self, one: &str, other: &str) -> bool {
        one == other || !self.is_default() && self.pairs(one) == self.pairs(other)
    }

    /// Returns a query that is the same for all equivalent queries, and for no others.
    #[must_use]
    pub fn normal_query<'a>(&self, query: &'a str) -> Cow<'a, str> {
        if self.is_default() {
            return Cow::Borrowed(query);
        }
        let pairs = self.pairs(query);
        Cow::Owned(
            form_urlencoded::Serializer::new(String::new())
                .extend_pairs(pairs)
                .finish(),
        )
    }

    /// Returns the parameters that matter, in an order that is the same for all equivalent queries.
    fn pairs<'a>(&self, query: &'a str) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        let contains = |names: &[String], name: &str| names.iter().any(|other| other == name);
        let mut pairs: Vec<_> = form_urlencoded::parse(query.as_bytes())
            .filter(|(name, _)| match &self.params {
                Params::AllBut(names) => !contains(names, name),
                Params::Only(names) => contains(names, name),
            })
            .collect();
        if self.ignores_order {
            // The sort is stable: values of one name keep their order.
            pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        pairs
    }
}

fn boolean(member: &Member) -> Option<bool> {
    match member {
        Member::Item(Bare::Boolean(value)) => Some(*value),
        _ => None,
    }
}

/// Reads names as a query spells them, percent-encoded and with `+` for a space.
fn strings(list: &[Bare]) -> Option<Vec<String>> {
    let name = |item: &Bare| match item {
        Bare::String(text) => {
            // The text is a single name, so characters that separate names and values are part of it.
            let text = text.replace('&', "%26").replace('=', "%3D");
            let name = form_urlencoded::parse(text.as_bytes()).next();
            Some(name.map_or_else(String::new, |(name, _)| name.into_owned()))
        }
        _ => None,
    };
    list.iter().map(name).collect()
}
