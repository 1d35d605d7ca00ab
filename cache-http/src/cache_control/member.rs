//! The members of a `Cache-Control` line.

use std::borrow::Cow;

use crate::cache_control::directive::Directive;
use crate::field::parse_seconds;

/// One directive of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member<'a> {
    /// The whole member as it is in the line, trimmed.
    pub(super) raw: &'a [u8],
    /// The name as received. Compare it without case.
    pub(super) name: &'a [u8],
    pub(super) argument: Argument<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Argument<'a> {
    None,
    /// A token, or the text between the quotes.
    Value(Cow<'a, [u8]>),
    /// Something follows the `=`, but it cannot be read.
    Broken,
}

impl Member<'_> {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Returns the argument as a number of seconds, or `None` if it is not one.
    pub(super) fn seconds(&self) -> Option<u32> {
        let Argument::Value(digits) = &self.argument else {
            return None;
        };
        parse_seconds(digits)
    }

    pub(super) fn to_directive(&self) -> Directive {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Directive {
            name: text(self.name).to_ascii_lowercase(),
            argument: match &self.argument {
                Argument::None => None,
                Argument::Value(value) => Some(text(value)),
                Argument::Broken => Some(String::new()),
            },
        }
    }
}

/// Returns the members of one field line, in order. Skips empty ones.
pub(super) fn members(line: &[u8]) -> Members<'_> {
    Members {
        rest: line,
        tainted: false,
    }
}

pub(super) struct Members<'a> {
    rest: &'a [u8],
    /// A quote was opened and never closed. What follows may be text, so its arguments count as broken.
    tainted: bool,
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        while let [b',' | b' ' | b'\t', tail @ ..] = self.rest {
            self.rest = tail;
        }
        let line = self.rest;
        if line.is_empty() {
            return None;
        }
        // A quoted string instead of a name is one member, so that nothing in the quotes counts as a directive.
        let name_from = match line {
            [b'"', text @ ..] => closing_quote(text).map_or(0, |end| end + 2),
            _ => 0,
        };
        let name_end = name_from
            + line[name_from..]
                .iter()
                .position(|byte| matches!(byte, b'=' | b','))
                .unwrap_or(line.len() - name_from);
        let name = line[..name_end].trim_ascii_end();
        let (mut argument, end) = match line.get(name_end) {
            Some(b'=') => self.argument(line, name_end + 1),
            _ => (Argument::None, name_end),
        };
        if name.len() != name_end && argument != Argument::None {
            argument = Argument::Broken;
        }
        if name_from > 0 || (self.tainted && argument == Argument::None) {
            argument = Argument::Broken;
        }
        self.rest = &line[end..];
        Some(Member {
            raw: line[..end].trim_ascii_end(),
            name,
            argument,
        })
    }
}

impl<'a> Members<'a> {
    /// Returns the argument that begins at `from`, and where its member ends.
    fn argument(&mut self, line: &'a [u8], from: usize) -> (Argument<'a>, usize) {
        let value = &line[from..];
        let to_comma = |at: usize| {
            let rest = &line[at..];
            at + rest.iter().position(|&byte| byte == b',').unwrap_or(rest.len())
        };
        if let [b'"', text @ ..] = value {
            let Some(close) = closing_quote(text) else {
                self.tainted = true;
                return (Argument::Broken, to_comma(from));
            };
            let after = from + close + 2;
            let end = to_comma(after);
            let intact = line[after..end].trim_ascii().is_empty() && !self.tainted;
            let argument = if intact {
                Argument::Value(unescape(&text[..close]))
            } else {
                Argument::Broken
            };
            return (argument, end);
        }
        let end = to_comma(from);
        let value = line[from..end].trim_ascii_end();
        let intact = !value.is_empty() && value.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'"');
        if intact && !self.tainted {
            (Argument::Value(Cow::Borrowed(value)), end)
        } else {
            self.tainted |= value.contains(&b'"');
            (Argument::Broken, end)
        }
    }
}

/// Returns the index of the quote that closes `text`, which begins after the opening quote.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(if byte == b'\\' {
            *bytes.next().unwrap_or(&byte)
        } else {
            byte
        });
    }
    Cow::Owned(plain)
}
