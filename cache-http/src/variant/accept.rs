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

/// Parses a token with an optional weight.
fn weighted(member: &[u8]) -> Option<Weighted> {
    let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let name = std::str::from_utf8(parts.next()?).ok()?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
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

/// Returns the name of `available` that `members` prefer.
pub(super) fn best<'a>(members: &[Weighted], available: &'a [String], is_language: bool) -> Option<&'a str> {
    let mut best: Option<(u16, &str)> = None;
    for name in available {
        let quality = quality_of(members, &name.to_ascii_lowercase(), is_language);
        if quality > 0 && best.is_none_or(|(other, _)| quality > other) {
            best = Some((quality, name));
        }
    }
    best.map(|(_, name)| name)
}

/// Returns the quality of `name`. The most specific member decides: the name itself, then a language range that is a
/// prefix of it (RFC 4647, section 3.3.1), then `*`.
fn quality_of(members: &[Weighted], name: &str, is_language: bool) -> u16 {
    let prefixed = |range: &str| is_language && name.strip_prefix(range).is_some_and(|rest| rest.starts_with('-'));
    let specific = members
        .iter()
        .filter(|member| member.name == name || prefixed(&member.name))
        .max_by_key(|member| member.name.len());
    let any = || members.iter().find(|member| member.name == "*");
    specific.or_else(any).map_or(0, |member| member.quality)
}
