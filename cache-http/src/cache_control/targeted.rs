//! Targeted fields, which are for one class of caches, such as `CDN-Cache-Control` (RFC 9213).

use http::{HeaderMap, HeaderName};

use crate::cache_control::directive::Directive;
use crate::cache_control::response::ResponseDirectives;
use crate::field::{Bare, MAX_SECONDS, Member, dictionary};

/// The name of the field for content delivery networks (RFC 9213, section 3).
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// The directives that apply to a cache, and their source.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applicable {
    /// The directives.
    pub directives: ResponseDirectives,
    /// Whether they come from a targeted field. If so, `Cache-Control` and `Expires` are ignored.
    pub targeted: bool,
}

/// Returns the directives that apply to a cache with the target list `targets`, most applicable name first: those of the
/// first field that is present, valid and not empty, or else those of `Cache-Control` (RFC 9213, section 2.2).
#[must_use]
pub fn applicable_directives(targets: &[HeaderName], headers: &HeaderMap) -> Applicable {
    for target in targets {
        if let Some(directives) = parse_targeted(headers.get_all(target)) {
            return Applicable {
                directives,
                targeted: true,
            };
        }
    }
    Applicable {
        directives: ResponseDirectives::from_headers(headers),
        targeted: false,
    }
}

/// Parses a targeted field, a Dictionary of RFC 9651. Returns `None` if the field is absent, empty or invalid, since it
/// must be ignored then (RFC 9213, section 2.1).
///
/// A lifetime that is negative or not an Integer counts as zero.
pub fn parse_targeted<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Option<ResponseDirectives> {
    let members = dictionary(lines)?;
    if members.is_empty() {
        return None;
    }
    let mut directives = ResponseDirectives::new();
    for (name, value) in &members {
        let value = match value {
            Member::Item(value) => Some(value),
            Member::InnerList(_) => None,
        };
        add(&mut directives, name, value);
    }
    Some(directives)
}

fn add(directives: &mut ResponseDirectives, name: &str, value: Option<&Bare>) {
    if value == Some(&Bare::Boolean(false)) {
        return;
    }
    let text = match value {
        Some(Bare::String(text) | Bare::Token(text)) => Some(text.clone()),
        Some(Bare::Integer(number)) => Some(number.to_string()),
        _ => None,
    };
    if let Some(slot) = directives.seconds_of(name.as_bytes()) {
        let seconds = match value {
            Some(Bare::Integer(number)) => (*number).clamp(0, MAX_SECONDS.into()),
            _ => 0,
        };
        *slot = Some(u32::try_from(seconds).unwrap_or(0));
    } else if let Some(flag) = directives.restriction(name.as_bytes()) {
        *flag = true;
    } else {
        let is_true = value == Some(&Bare::Boolean(true));
        match name {
            "private" => directives.private.add(text.as_deref().map(str::as_bytes)),
            "no-cache" => directives.no_cache.add(text.as_deref().map(str::as_bytes)),
            "public" if is_true => directives.public = true,
            "immutable" if is_true => directives.immutable = true,
            _ => directives.others.push(Directive {
                name: name.to_owned(),
                argument: text,
            }),
        }
    }
}
