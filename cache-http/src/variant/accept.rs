//! `Accept-Encoding` and `Accept-Language` (RFC 9110, sections 12.4.2, 12.5.3 and 12.5.4).

use std::cmp::Reverse;

use http::HeaderValue;

/// A member and its quality in thousandths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Weighted {
    name: String,
    quality: u16,
}

/// Parses the members of all lines, in lower case and without duplicates. Returns `None` if a member is not a name with
/// at most a weight, or if a name has two weights, since servers may read that in different ways.
pub(super) fn parse<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> Option<Vec<Weighted>> {
    let mut members: Vec<Weighted> = Vec::new();
    for line in lines {
        for member in line.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if member.is_empty() {
                continue;
            }
            let member = weighted(member)?;
            match members.iter().find(|other| other.name == member.name) {
                None => members.push(member),
                Some(other) if *other == member => {}
                Some(_) => return None,
            }
        }
    }
    Some(members)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Parses a token with an optional weight.
fn weighted(member: &[u8]) -> Option<Weighted> {
    let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let name = std::str::from_utf8(parts.next()?).ok()?;
    if name.is_empty() || !name.bytes().all(is_token) {
        return None;
    }
    let quality = match (parts.next(), parts.next()) {
        (None, _) => 1000,
        (Some([b'q' | b'Q', b'=', weight @ ..]), None) => quality(weight)?,
        _ => return None,
    };
    let name = name.to_ascii_lowercase();
    Some(Weighted { name, quality })
}

/// Parses a weight: `0` to `1` with at most three digits after the point.
fn quality(text: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{fraction:0<3}").parse::<u16>().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" => (thousandths == 0).then_some(1000),
        _ => None,
    }
}

/// Writes all members by descending quality, and those of equal quality by name.
pub(super) fn ranked(mut members: Vec<Weighted>) -> Vec<u8> {
    members.sort_by(|one, other| one.name.cmp(&other.name));
    listed(members)
}

/// Writes all members by descending quality, and those of equal quality in the order given.
pub(super) fn listed(mut members: Vec<Weighted>) -> Vec<u8> {
    members.sort_by_key(|member| Reverse(member.quality));
    let members: Vec<String> = members
        .into_iter()
        .map(|Weighted { name, quality }| match quality {
            1000 => name,
            quality => {
                let weight = format!("{quality:03}");
                let weight = weight.trim_end_matches('0');
                let weight = if weight.is_empty() {
                    "0".to_owned()
                } else {
                    format!("0.{weight}")
                };
                format!("{name};q={weight}")
            }
        })
        .collect();
    members.join(",").into_bytes()
}

/// The coding that leaves a body as it is.
const IDENTITY: &str = "identity";

/// Returns the coding of `available` that `members` prefer, or `identity` if they accept none of them or prefer that.
pub(super) fn best_coding<'a>(members: &[Weighted], available: &'a [String]) -> &'a str {
    let mut best: Option<(u16, &str)> = None;
    for name in choices(available) {
        let quality = quality_named(members, name).or_else(|| quality_named(members, "*"));
        let quality = quality.unwrap_or_default();
        if quality > 0 && best.is_none_or(|(other, _)| quality > other) {
            best = Some((quality, name));
        }
    }
    let mut listed = choices(available);
    let identity = listed
        .find(|name| name.eq_ignore_ascii_case(IDENTITY))
        .unwrap_or(IDENTITY);
    let of_identity = quality_named(members, IDENTITY).unwrap_or_default();
    match best {
        Some((quality, name)) if quality >= of_identity => name,
        _ => identity,
    }
}

/// Returns the language of `available` that `members` prefer.
pub(super) fn best_language<'a>(members: &[Weighted], available: &'a [String]) -> Option<&'a str> {
    let mut best: Option<(Rank, &str)> = None;
    for name in choices(available) {
        let Some(rank) = rank_of(members, &name.to_ascii_lowercase()) else {
            continue;
        };
        if best.as_ref().is_none_or(|(other, _)| rank > *other) {
            best = Some((rank, name));
        }
    }
    best.map(|(_, name)| name)
}

/// Returns the names that a request can name alone.
fn choices(available: &[String]) -> impl Iterator<Item = &str> {
    let names = available.iter().map(String::as_str);
    names.filter(|name| *name != "*" && !name.is_empty() && name.bytes().all(is_token))
}

fn quality_named(members: &[Weighted], name: &str) -> Option<u16> {
    let named = members.iter().find(|member| member.name.eq_ignore_ascii_case(name));
    named.map(|member| member.quality)
}

/// How much a language is preferred: by its quality first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    quality: u16,
    found: Found,
}

/// How a language was found, the weakest way first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// By `*`.
    Any,
    /// As the beginning of a range (RFC 4647, section 3.4), with its length. The longest is the most specific.
    Truncated(usize),
    /// Covered by a range that is its beginning (RFC 4647, section 3.3.1).
    Covered,
    Exact,
}

/// Returns how much `name` is preferred, or `None` if it is not acceptable. The most specific member decides: the name
/// itself, then the longest range that covers it, then the best range that it is the beginning of, then `*`.
fn rank_of(members: &[Weighted], name: &str) -> Option<Rank> {
    let exact = quality_named(members, name).map(|quality| Rank {
        quality,
        found: Found::Exact,
    });
    let covered = || {
        let ranges = members.iter().filter(|member| begins_with(name, &member.name));
        let longest = ranges.max_by_key(|member| member.name.len())?;
        Some(Rank {
            quality: longest.quality,
            found: Found::Covered,
        })
    };
    let truncated = || {
        // A region that the client refuses says nothing about the language.
        let ranges = members
            .iter()
            .filter(|member| member.quality > 0 && begins_with(&member.name, name));
        let quality = ranges.map(|member| member.quality).max()?;
        Some(Rank {
            quality,
            found: Found::Truncated(name.len()),
        })
    };
    let any = || {
        let quality = quality_named(members, "*")?;
        Some(Rank {
            quality,
            found: Found::Any,
        })
    };
    let rank = exact.or_else(covered).or_else(truncated).or_else(any)?;
    (rank.quality > 0).then_some(rank)
}

/// Returns whether `language` consists of `beginning` and more subtags. Both are in lower case.
pub(super) fn begins_with(language: &str, beginning: &str) -> bool {
    language
        .strip_prefix(beginning)
        .is_some_and(|rest| rest.starts_with('-'))
}
