//! How request fields are normalised.

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LANGUAGE, Entry};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::variant::accept;

/// How request fields are normalised before they select a variant.
///
/// A field without a rule, or whose preferences are unreadable, has its lines joined and the white space around commas
/// removed. `Authorization`, `Cookie` and `Proxy-Authorization` are compared unchanged, line by line.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Normalization {
    /// The rule for `Accept-Encoding`. Default: none.
    pub accept_encoding: Option<Preference>,
    /// The rule for `Accept-Language`. Default: none.
    pub accept_language: Option<Preference>,
}

impl Normalization {
    /// Ranks both fields by quality. Two requests become equal only if they state the same preferences (RFC 9110,
    /// sections 12.4.2, 12.5.3 and 12.5.4). Do not use it if your server distinguishes `gzip, br` from `br, gzip`. The
    /// standard does not support that distinction.
    #[must_use]
    pub fn by_quality() -> Self {
        Self {
            accept_encoding: Some(Preference::Ranked),
            accept_language: Some(Preference::Ranked),
        }
    }

    /// Ranks both fields by quality and keeps the order of languages of equal quality. Use it if your server treats that
    /// order as a priority, as some do (RFC 9110, section 12.5.4).
    #[must_use]
    pub fn by_quality_and_order() -> Self {
        Self {
            accept_language: Some(Preference::Listed),
            ..Self::by_quality()
        }
    }

    /// Replaces the fields with a [`OneOf`](Preference::OneOf) by the name that it chooses, and removes
    /// `Accept-Language` if no language is acceptable. Whoever answers the request then answers for its variant, by
    /// whatever rules: the request selects the same variant as before. Fields that the request does not have, and
    /// unreadable ones, stay as they are.
    ///
    /// ```
    /// use cache_http::{Normalization, Preference};
    /// use http::HeaderMap;
    /// use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, HeaderValue};
    ///
    /// let mut normalization = Normalization::by_quality();
    /// normalization.accept_encoding = Some(Preference::OneOf(vec!["br".into(), "gzip".into()]));
    /// normalization.accept_language = Some(Preference::OneOf(vec!["en".into(), "de".into()]));
    ///
    /// let mut request = HeaderMap::new();
    /// request.insert(ACCEPT_ENCODING, HeaderValue::from_static("zstd, gzip;q=0.8"));
    /// request.insert(ACCEPT_LANGUAGE, HeaderValue::from_static("fr, en-GB;q=0.9, de;q=0.3"));
    /// normalization.choose(&mut request);
    /// assert_eq!(request[ACCEPT_ENCODING], "gzip");
    /// assert_eq!(request[ACCEPT_LANGUAGE], "en");
    /// ```
    pub fn choose(&self, request: &mut HeaderMap) {
        for name in [ACCEPT_ENCODING, ACCEPT_LANGUAGE] {
            let Some(chosen) = self.chosen(&name, request) else {
                continue;
            };
            // A token is a value.
            match chosen.and_then(|chosen| HeaderValue::from_str(chosen).ok()) {
                Some(chosen) => {
                    request.insert(name, chosen);
                }
                None => {
                    if let Entry::Occupied(field) = request.entry(name) {
                        field.remove_entry_mult();
                    }
                }
            }
        }
    }

    /// Returns whether a field has a [`OneOf`](Preference::OneOf).
    #[must_use]
    pub fn has_choices(&self) -> bool {
        let rules = [&self.accept_encoding, &self.accept_language];
        rules.iter().any(|rule| matches!(rule, Some(Preference::OneOf(_))))
    }

    /// Returns whether a response is in the form that a [`OneOf`](Preference::OneOf) chooses for its request, as far as
    /// it declares its form in `Content-Encoding` or `Content-Language`. Only the preferences in `fields`, by which the
    /// response varies, are compared.
    ///
    /// A response without coding fits each request, and one without a declared language too. A language fits if it is the
    /// chosen one, a special form of it (`en-GB` for `en`), or the reverse; one of several declared languages is enough. If
    /// no language was acceptable, or the request has no such field, each fits.
    #[must_use]
    pub fn is_as_chosen(&self, fields: &[HeaderName], request: &HeaderMap, response: &HeaderMap) -> bool {
        let chosen = |name: &HeaderName| {
            let chosen = fields.contains(name).then(|| self.chosen(name, request));
            chosen.flatten().flatten().map(canonical)
        };
        let has_coding = chosen(&ACCEPT_ENCODING).is_none_or(|chosen| {
            members(response, &CONTENT_ENCODING).all(|coding| coding == "identity" || coding == chosen)
        });
        let has_language = chosen(&ACCEPT_LANGUAGE).is_none_or(|chosen| {
            let fits = |language: &str| {
                language == chosen || accept::begins_with(language, &chosen) || accept::begins_with(&chosen, language)
            };
            let mut languages = members(response, &CONTENT_LANGUAGE).peekable();
            languages.peek().is_none() || languages.any(|language| fits(&language))
        });
        has_coding && has_language
    }

    /// Returns the rule for a field.
    pub(super) fn preference(&self, name: &HeaderName) -> Option<&Preference> {
        match *name {
            ACCEPT_ENCODING => self.accept_encoding.as_ref(),
            ACCEPT_LANGUAGE => self.accept_language.as_ref(),
            _ => None,
        }
    }

    /// Returns what a [`OneOf`](Preference::OneOf) chooses for a field: a name, or that the field is to be absent. Returns
    /// `None` if the field has no such rule, is absent or is unreadable.
    pub(super) fn chosen(&self, name: &HeaderName, request: &HeaderMap) -> Option<Option<&str>> {
        let Some(Preference::OneOf(names)) = self.preference(name) else {
            return None;
        };
        let mut lines = request.get_all(name).iter().peekable();
        lines.peek()?;
        let members = accept::parse(lines)?;
        Some(match *name {
            ACCEPT_ENCODING => Some(accept::best_coding(&members, names)),
            _ => accept::best_language(&members, names),
        })
    }
}

/// Returns the members of a field that lists names, in lower case.
fn members(headers: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> {
    let lines = headers.get_all(name).iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    members
        .map(|member| canonical(&String::from_utf8_lossy(member.trim_ascii())))
        .filter(|member| !member.is_empty())
}

/// Returns a name in lower case, and a coding by the name that is not outdated (RFC 9110, section 8.4.1).
fn canonical(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "x-gzip" | "x-compress" => name[2..].to_owned(),
        _ => name,
    }
}

/// How a field that states preferences is normalised.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preference {
    /// Keeps all members in lower case, by descending quality, and those of equal quality by name.
    Ranked,
    /// Keeps all members in lower case, by descending quality, and those of equal quality in the order given.
    Listed,
    /// Keeps only the name from this list that the request prefers. Use it if responses exist in these forms only.
    ///
    /// The quality decides first. Of equal qualities, the first name in this list wins, and for languages before that how
    /// the name was found:
    ///
    /// 1. The request has the name itself: `en` for `en`.
    /// 2. The request has a range that covers it (RFC 4647, section 3.3.1): `en` for `en-GB`.
    /// 3. It is the beginning of a range of the request (RFC 4647, section 3.4): `en-GB` for `en`. The longest wins.
    /// 4. The request has `*`.
    ///
    /// `q=0` excludes a name. If the request accepts none of the names, the coding is `identity`, and there is no
    /// language: the request selects what a request without `Accept-Language` selects. The coding is also `identity` if the
    /// request names that with a higher quality than all of these. Requests without `Accept-Encoding` have a variant of
    /// their own.
    ///
    /// [`Normalization::choose`] writes the choice into the request, so that whoever answers it need not know these rules.
    /// Names that are no token, and `*`, are never chosen.
    OneOf(Vec<String>),
}
