//! Entity-tags.

use std::fmt;
use std::str::FromStr;

use crate::digest::content_digest;

/// An entity-tag: a validator that identifies one representation of a resource (RFC 9110, section 8.8.3).
///
/// ```
/// use cache_http::ETag;
///
/// let tag = ETag::weak("v7")?;
/// assert_eq!(tag.to_string(), r#"W/"v7""#);
/// assert!(tag.weak_eq(&ETag::strong("v7")?));
/// assert!(!tag.strong_eq(&ETag::strong("v7")?));
/// # Ok::<(), cache_http::InvalidETag>(())
/// ```
///
/// `==` compares the tags as written: `"a"` and `W/"a"` differ. To compare validators, use [`strong_eq`](Self::strong_eq)
/// or [`weak_eq`](Self::weak_eq).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag {
    weak: bool,
    // Bytes, because the grammar allows any above 0x7F and names no encoding.
    opaque: Box<[u8]>,
}

impl ETag {
    /// Creates a strong tag. Two representations with the same strong tag are equal byte for byte.
    ///
    /// # Errors
    /// [`InvalidETag`] if `opaque` contains a quote, white space or a control character.
    pub fn strong(opaque: impl AsRef<[u8]>) -> Result<Self, InvalidETag> {
        Self::new(false, opaque.as_ref())
    }

    /// Creates a weak tag. Two representations with the same weak tag are equivalent.
    ///
    /// # Errors
    /// [`InvalidETag`] if `opaque` has a quote, white space or a control character.
    pub fn weak(opaque: impl AsRef<[u8]>) -> Result<Self, InvalidETag> {
        Self::new(true, opaque.as_ref())
    }

    fn new(weak: bool, opaque: &[u8]) -> Result<Self, InvalidETag> {
        match opaque.iter().find(|&&byte| byte == b' ' || !is_tolerated(byte)) {
            None => Ok(Self {
                weak,
                opaque: opaque.into(),
            }),
            Some(byte) => {
                let byte = char::from(*byte);
                Err(InvalidETag(format!(
                    "an entity-tag cannot contain {byte:?}: leave out quotes, spaces and controls"
                )))
            }
        }
    }

    /// Creates a strong tag from the [digest](content_digest) of `content`. It is the same in every process and on every
    /// machine.
    ///
    /// Do not grant access by this tag: MD5 does not protect against a caller who chooses the content.
    #[must_use]
    pub fn from_content(content: &[u8]) -> Self {
        Self {
            weak: false,
            opaque: content_digest(content).into_bytes().into(),
        }
    }

    /// Parses a field value. Returns `None` if it is not an entity-tag.
    ///
    /// Beyond the grammar it accepts what servers send: spaces within the quotes, a lower-case `w/`, and a tag without
    /// quotes if it has no comma, quote or space.
    #[must_use]
    pub fn parse(value: impl AsRef<[u8]>) -> Option<Self> {
        let value = value.as_ref().trim_ascii();
        let (tag, rest) = Self::take(value)?;
        rest.is_empty().then_some(tag)
    }

    /// Takes a tag from the front of `value`, which has no white space before it.
    fn take(value: &[u8]) -> Option<(Self, &[u8])> {
        let (weak, rest) = match value {
            [b'W' | b'w', b'/', rest @ ..] => (true, rest),
            _ => (false, value),
        };
        let (opaque, rest) = if let [b'"', rest @ ..] = rest {
            let end = rest.iter().position(|&byte| byte == b'"')?;
            (&rest[..end], &rest[end + 1..])
        } else {
            let end = rest.iter().position(|&byte| byte == b',').unwrap_or(rest.len());
            let opaque = rest[..end].trim_ascii_end();
            if opaque.is_empty() || opaque.contains(&b' ') || opaque == b"*" {
                return None;
            }
            (opaque, &rest[end..])
        };
        opaque.iter().copied().all(is_tolerated).then(|| {
            let tag = Self {
                weak,
                opaque: opaque.into(),
            };
            (tag, rest.trim_ascii_start())
        })
    }

    /// Returns whether the tag is weak.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// Returns the text between the quotes.
    #[must_use]
    pub fn opaque(&self) -> &[u8] {
        &self.opaque
    }

    /// Returns the tag as a field value.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(self.opaque.len() + 4);
        if self.weak {
            value.extend_from_slice(b"W/");
        }
        value.push(b'"');
        value.extend_from_slice(&self.opaque);
        value.push(b'"');
        value
    }

    /// Compares strongly (RFC 9110, section 8.8.3.2): both tags are strong and equal. Ranges need this.
    #[must_use]
    pub fn strong_eq(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Compares weakly (RFC 9110, section 8.8.3.2): the tags are equal, whether weak or not. `If-None-Match` needs this.
    #[must_use]
    pub fn weak_eq(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }
}

/// Writes the tag as a field value. Replaces bytes that are not UTF-8; [`to_bytes`](ETag::to_bytes) is exact.
impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.weak { "W/" } else { "" };
        write!(f, "{prefix}\"{}\"", String::from_utf8_lossy(&self.opaque))
    }
}

/// Parses as [`ETag::parse`] does.
impl FromStr for ETag {
    type Err = InvalidETag;

    fn from_str(value: &str) -> Result<Self, InvalidETag> {
        Self::parse(value).ok_or_else(|| {
            InvalidETag(format!(
                "{value:?} is not an entity-tag: write it as \"v1\" or W/\"v1\", with the quotes"
            ))
        })
    }
}

/// Accepts every byte but controls and the quote. The grammar forbids the space too, but servers send it.
fn is_tolerated(byte: u8) -> bool {
    matches!(byte, b' ' | b'!' | b'#'..=b'~' | 0x80..=0xFF)
}

/// The error of a text that cannot be an entity-tag. Its message quotes the text and explains how to write one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidETag(String);

impl fmt::Display for InvalidETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidETag {}

/// The value of `If-None-Match` or `If-Match`: a list of tags, or `*` (RFC 9110, sections 13.1.1 and 13.1.2). The grammar
/// allows no other form, so this enum is closed.
///
/// ```
/// use cache_http::{ETag, EntityTags};
///
/// let tags = EntityTags::parse([r#""a,b", W/"c""#, r#", "d""#]);
/// assert!(tags.matches_weak(Some(&ETag::strong("c")?)));
/// assert!(!tags.matches_strong(Some(&ETag::strong("c")?)));
/// assert!(tags.matches_strong(Some(&ETag::strong("a,b")?)));
/// # Ok::<(), cache_http::InvalidETag>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityTags {
    /// `*`: any current representation.
    Any,
    /// The readable tags of the list.
    Tags(Vec<ETag>),
}

impl EntityTags {
    /// Parses the lines of a field as one list. Skips empty members and members that are not tags, so a broken list
    /// matches less and never more. `*` among tags is such a broken member.
    pub fn parse<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Self {
        let mut tags = Vec::new();
        let mut any = false;
        let mut broken = false;
        for line in lines {
            let mut rest = line.as_ref();
            loop {
                while let [b',' | b' ' | b'\t', tail @ ..] = rest {
                    rest = tail;
                }
                if rest.is_empty() {
                    break;
                }
                match ETag::take(rest) {
                    Some((tag, tail)) if tail.is_empty() || tail[0] == b',' => {
                        tags.push(tag);
                        rest = tail;
                    }
                    _ => {
                        let end = rest.iter().position(|&byte| byte == b',').unwrap_or(rest.len());
                        if rest[..end].trim_ascii() == b"*" {
                            any = true;
                        } else {
                            broken = true;
                        }
                        // After a quote that never closes, the start of the next member is unknown.
                        let quotes = rest[..].iter().filter(|&&byte| byte == b'"').count();
                        rest = if quotes % 2 == 1 { &[] } else { &rest[end..] };
                    }
                }
            }
        }
        if any && !broken && tags.is_empty() {
            Self::Any
        } else {
            Self::Tags(tags)
        }
    }

    /// Returns whether the list contains `current` by the weak comparison, as `If-None-Match` requires.
    /// [`Any`](Self::Any) also matches a representation without a tag.
    #[must_use]
    pub fn matches_weak(&self, current: Option<&ETag>) -> bool {
        self.matches(current, ETag::weak_eq)
    }

    /// Returns whether the list contains `current` by the strong comparison, as `If-Match` requires.
    /// [`Any`](Self::Any) also matches a representation without a tag.
    #[must_use]
    pub fn matches_strong(&self, current: Option<&ETag>) -> bool {
        self.matches(current, ETag::strong_eq)
    }

    fn matches(&self, current: Option<&ETag>, equal: fn(&ETag, &ETag) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => current.is_some_and(|current| tags.iter().any(|tag| equal(tag, current))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn strong(opaque: &str) -> ETag {
        ETag::strong(opaque).unwrap()
    }

    fn weak(opaque: &str) -> ETag {
        ETag::weak(opaque).unwrap()
    }

    #[test]
    fn comparison_is_the_table_of_the_rfc() {
        // RFC 9110, section 8.8.3.2, table 3.
        for (one, other, is_strong, is_weak) in [
            (weak("1"), weak("1"), false, true),
            (weak("1"), weak("2"), false, false),
            (weak("1"), strong("1"), false, true),
            (strong("1"), strong("1"), true, true),
        ] {
            assert_eq!(one.strong_eq(&other), is_strong, "{one} {other}");
            assert_eq!(one.weak_eq(&other), is_weak, "{one} {other}");
        }
    }

    #[test]
    fn constructors_refuse_what_could_end_the_tag_or_the_field() {
        for illegal in ["a\"b", "a b", "a\r\nb", "a\tb", "\u{7f}", "\0"] {
            assert!(ETag::strong(illegal).is_err(), "{illegal:?}");
            assert!(ETag::weak(illegal).is_err(), "{illegal:?}");
        }
        assert_eq!(strong("").to_string(), r#""""#);
    }

    #[test]
    fn parses_the_grammar_and_what_servers_send() {
        for (value, expected) in [
            (r#""xyzzy""#, Some(strong("xyzzy"))),
            (r#"W/"xyzzy""#, Some(weak("xyzzy"))),
            (r#""""#, Some(strong(""))),
            (r#" "a,b" "#, Some(strong("a,b"))),
            (r#"w/"a""#, Some(weak("a"))),
            ("abc", Some(strong("abc"))),
            (r#""ü""#, Some(strong("ü"))),
            (r#""a" "b""#, None),
            (r#""a", "b""#, None),
            (r#""a"#, None),
            (r#"W/"#, None),
            ("a b", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(ETag::parse(value), expected, "{value}");
        }
        assert_eq!(ETag::parse(b"\"\xfc\"").unwrap().to_bytes(), b"\"\xfc\"");
    }

    #[test]
    fn lists_span_lines_and_survive_broken_members() {
        let list = |lines: &[&str]| EntityTags::parse(lines);
        assert_eq!(list(&["*"]), EntityTags::Any);
        assert_eq!(list(&["", "*"]), EntityTags::Any);
        assert_eq!(list(&[r#"*, "a""#]), EntityTags::Tags(vec![strong("a")]));
        assert_eq!(list(&[]), EntityTags::Tags(vec![]));
        assert_eq!(
            list(&[r#""a",, W/"b" ,"c,d""#, "e"]),
            EntityTags::Tags(vec![strong("a"), weak("b"), strong("c,d"), strong("e")])
        );
        assert_eq!(
            list(&[r#""a" x, "b""#, r#""c, d"#, r#""e""#]),
            EntityTags::Tags(vec![strong("b"), strong("e")])
        );
        assert!(!list(&[]).matches_weak(None));
        assert!(EntityTags::Any.matches_strong(None));
    }

    #[test]
    fn the_tag_of_content_is_pinned() {
        let tag = ETag::from_content(b"hello");
        assert_eq!(tag.to_string(), r#""5d41402abc4b2a76b9719d911017c592""#);
        assert!(!tag.is_weak());
    }

    proptest! {
        #[test]
        fn no_bytes_make_parsing_panic(bytes: Vec<u8>, more: Vec<u8>) {
            let _ = ETag::parse(&bytes);
            let _ = EntityTags::parse([&bytes, &more]);
        }

        #[test]
        fn what_is_written_is_read(weak: bool, opaque in "[!#-~ü]{0,20}") {
            let tag = ETag::new(weak, opaque.as_bytes()).unwrap();
            prop_assert_eq!(ETag::parse(tag.to_string()), Some(tag.clone()));
            let list = EntityTags::parse([tag.to_bytes()]);
            prop_assert_eq!(list, EntityTags::Tags(vec![tag]));
        }

        #[test]
        fn comparisons_are_symmetric_and_strong_implies_weak(a in "(W/)?\"[ab]\"", b in "(W/)?\"[ab]\"") {
            let (a, b) = (ETag::parse(a).unwrap(), ETag::parse(b).unwrap());
            prop_assert_eq!(a.weak_eq(&b), b.weak_eq(&a));
            prop_assert_eq!(a.strong_eq(&b), b.strong_eq(&a));
            prop_assert!(!a.strong_eq(&b) || a.weak_eq(&b));
        }
    }
}
