//! `Cache-Control` of responses.

use std::fmt;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::cache_control::directive::{Directive, smaller};
use crate::cache_control::member::{Argument, Member, members};
use crate::cache_control::qualified::Qualified;
use crate::field::MAX_SECONDS;

/// The `Cache-Control` of a response (RFC 9111, section 5.2.2; RFC 5861; RFC 8246). Times are in seconds.
///
/// Parse one with [`from_headers`](Self::from_headers), or build and write one:
///
/// ```
/// use cache_http::ResponseDirectives;
///
/// let directives = ResponseDirectives::new().with_max_age(60).with_public();
/// assert_eq!(directives.to_string(), "max-age=60, public");
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// How long the response is fresh. An unreadable value counts as zero.
    pub max_age: Option<u32>,
    /// How long the response is fresh in shared caches. An unreadable value counts as zero.
    pub s_maxage: Option<u32>,
    /// How long the response may be used stale while it is revalidated (RFC 5861, section 3). An unreadable value counts
    /// as zero.
    pub stale_while_revalidate: Option<u32>,
    /// How long the response may be used stale if the origin fails (RFC 5861, section 4). An unreadable value counts as
    /// zero.
    pub stale_if_error: Option<u32>,
    /// The response is for one user.
    pub private: Qualified,
    /// The response must be validated before each use.
    pub no_cache: Qualified,
    /// The response must not be stored.
    pub no_store: bool,
    /// The response must not be transformed.
    pub no_transform: bool,
    /// The response must not be used stale.
    pub must_revalidate: bool,
    /// Shared caches must not use the response stale.
    pub proxy_revalidate: bool,
    /// Only caches that understand the status code may store the response; they ignore `no-store` then.
    pub must_understand: bool,
    /// Any cache may store the response.
    pub public: bool,
    /// The response does not change while it is fresh (RFC 8246).
    pub immutable: bool,
    /// All other directives.
    pub others: Vec<Directive>,
}

impl ResponseDirectives {
    /// Creates an empty set of directives.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses the `Cache-Control` of a response with these headers. For responses that may have targeted fields, use
    /// [`Policy::directives`](crate::Policy::directives).
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self::parse(headers.get_all(CACHE_CONTROL))
    }

    /// Parses field lines.
    pub fn parse<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Self {
        let mut directives = Self::default();
        for line in lines {
            for member in members(line.as_ref()) {
                directives.add(&member);
            }
        }
        directives
    }

    fn add(&mut self, member: &Member<'_>) {
        let list = match &member.argument {
            Argument::Value(list) => Some(&**list),
            _ => None,
        };
        if let Some(slot) = self.seconds_of(member.name) {
            smaller(slot, member.seconds().unwrap_or(0));
        } else if member.is("private") {
            self.private.add(list);
        } else if member.is("no-cache") {
            self.no_cache.add(list);
        } else if let Some(flag) = self.restriction(member.name) {
            *flag = true;
        } else if member.is("public") {
            self.public |= member.argument != Argument::Broken;
        } else if member.is("immutable") {
            self.immutable |= member.argument != Argument::Broken;
        } else {
            self.others.push(member.to_directive());
        }
    }

    /// Returns the slot of the directive `name`, if it takes seconds.
    pub(crate) fn seconds_of(&mut self, name: &[u8]) -> Option<&mut Option<u32>> {
        Some(match name {
            _ if name.eq_ignore_ascii_case(b"max-age") => &mut self.max_age,
            _ if name.eq_ignore_ascii_case(b"s-maxage") => &mut self.s_maxage,
            _ if name.eq_ignore_ascii_case(b"stale-while-revalidate") => &mut self.stale_while_revalidate,
            _ if name.eq_ignore_ascii_case(b"stale-if-error") => &mut self.stale_if_error,
            _ => return None,
        })
    }

    /// Returns the flag of the directive `name`, if it forbids something. Such a directive counts whatever its argument.
    pub(crate) fn restriction(&mut self, name: &[u8]) -> Option<&mut bool> {
        Some(match name {
            _ if name.eq_ignore_ascii_case(b"no-store") => &mut self.no_store,
            _ if name.eq_ignore_ascii_case(b"no-transform") => &mut self.no_transform,
            _ if name.eq_ignore_ascii_case(b"must-revalidate") => &mut self.must_revalidate,
            _ if name.eq_ignore_ascii_case(b"proxy-revalidate") => &mut self.proxy_revalidate,
            _ if name.eq_ignore_ascii_case(b"must-understand") => &mut self.must_understand,
            _ => return None,
        })
    }

    /// Returns the fields that must not be stored for other users: those of a qualified `private` or `no-cache`, each
    /// once.
    pub fn withheld_fields(&self) -> impl Iterator<Item = &HeaderName> {
        let private = self.private.fields();
        let no_cache = self.no_cache.fields().iter();
        private.iter().chain(no_cache.filter(|name| !private.contains(name)))
    }

    /// Returns the directives as a field value, or `None` if there are none.
    #[must_use]
    pub fn to_header_value(&self) -> Option<HeaderValue> {
        let text = self.to_string();
        if text.is_empty() {
            return None;
        }
        HeaderValue::try_from(text).ok()
    }

    /// Sets `max-age`, in seconds.
    #[must_use]
    pub fn with_max_age(mut self, seconds: u32) -> Self {
        self.max_age = Some(seconds.min(MAX_SECONDS));
        self
    }

    /// Sets `s-maxage`, in seconds.
    #[must_use]
    pub fn with_s_maxage(mut self, seconds: u32) -> Self {
        self.s_maxage = Some(seconds.min(MAX_SECONDS));
        self
    }

    /// Sets `stale-while-revalidate`, in seconds.
    #[must_use]
    pub fn with_stale_while_revalidate(mut self, seconds: u32) -> Self {
        self.stale_while_revalidate = Some(seconds.min(MAX_SECONDS));
        self
    }

    /// Sets `stale-if-error`, in seconds.
    #[must_use]
    pub fn with_stale_if_error(mut self, seconds: u32) -> Self {
        self.stale_if_error = Some(seconds.min(MAX_SECONDS));
        self
    }

    /// Sets `private` for the whole response.
    #[must_use]
    pub fn with_private(mut self) -> Self {
        self.private = Qualified::Whole;
        self
    }

    /// Sets `no-cache` for the whole response.
    #[must_use]
    pub fn with_no_cache(mut self) -> Self {
        self.no_cache = Qualified::Whole;
        self
    }

    /// Sets `no-store`.
    #[must_use]
    pub fn with_no_store(mut self) -> Self {
        self.no_store = true;
        self
    }

    /// Sets `must-revalidate`.
    #[must_use]
    pub fn with_must_revalidate(mut self) -> Self {
        self.must_revalidate = true;
        self
    }

    /// Sets `public`.
    #[must_use]
    pub fn with_public(mut self) -> Self {
        self.public = true;
        self
    }

    /// Sets `immutable`.
    #[must_use]
    pub fn with_immutable(mut self) -> Self {
        self.immutable = true;
        self
    }
}

/// Writes the directives as a field value. Leaves out what a field cannot hold.
impl fmt::Display for ResponseDirectives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut members = Vec::new();
        for (name, seconds) in [
            ("max-age", self.max_age),
            ("s-maxage", self.s_maxage),
            ("stale-while-revalidate", self.stale_while_revalidate),
            ("stale-if-error", self.stale_if_error),
        ] {
            if let Some(seconds) = seconds {
                members.push(format!("{name}={seconds}"));
            }
        }
        self.private.write(&mut members, "private");
        self.no_cache.write(&mut members, "no-cache");
        for (name, present) in [
            ("no-store", self.no_store),
            ("no-transform", self.no_transform),
            ("must-revalidate", self.must_revalidate),
            ("proxy-revalidate", self.proxy_revalidate),
            ("must-understand", self.must_understand),
            ("public", self.public),
            ("immutable", self.immutable),
        ] {
            if present {
                members.push(name.to_owned());
            }
        }
        members.extend(self.others.iter().filter_map(write_other));
        f.write_str(&members.join(", "))
    }
}

fn write_other(directive: &Directive) -> Option<String> {
    let is_token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    if !is_token(&directive.name) {
        return None;
    }
    Some(match &directive.argument {
        None => directive.name.clone(),
        Some(argument) if is_token(argument) => format!("{}={argument}", directive.name),
        Some(argument) => {
            let mut text = String::new();
            for char in argument.chars() {
                if char.is_control() {
                    return None;
                }
                if matches!(char, '"' | '\\') {
                    text.push('\\');
                }
                text.push(char);
            }
            format!("{}=\"{text}\"", directive.name)
        }
    })
}
