//! memcached's text protocol: commands as bytes, and answers from bytes.

use std::io::Write;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use crate::error::Fault;

/// The longest line of an answer. A key has at most 250 bytes.
const LONGEST_LINE: usize = 2048;

/// The largest value that a server can hold (`-I`).
const LARGEST_VALUE: usize = 1 << 30;

/// A value of this size is handed out in the buffer that it was read into. A smaller one is copied, so that it keeps no
/// buffer of others in memory.
const OWN_BUFFER: usize = 32 * 1024;

/// What answers a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Values with their keys, then `END`.
    Values,
    /// Whether a value was written.
    Store,
    /// Whether a value was removed.
    Delete,
    /// The server's version.
    Version,
    /// That everything was removed.
    Flush,
}

/// One command, or two that are sent together.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) bytes: Vec<u8>,
    pub(crate) form: Form,
    /// What answers the second command.
    pub(crate) then: Option<Form>,
    /// Where in `bytes` the keys stand whose values are requested.
    pub(crate) keys: Range<usize>,
}

impl Command {
    fn new(bytes: Vec<u8>, form: Form) -> Self {
        Self {
            bytes,
            form,
            then: None,
            keys: 0..0,
        }
    }

    /// Reads the values of keys.
    pub(crate) fn get<'a>(keys: impl Iterator<Item = &'a str> + Clone) -> Self {
        Self::reading("get", keys)
    }

    /// Reads the value of a key with its token.
    pub(crate) fn gets(key: &str) -> Self {
        Self::reading("gets", [key].into_iter())
    }

    fn reading<'a>(word: &str, keys: impl Iterator<Item = &'a str> + Clone) -> Self {
        let len: usize = keys.clone().map(|key| key.len() + 1).sum();
        let mut bytes = Vec::with_capacity(word.len() + len + 2);
        bytes.extend_from_slice(word.as_bytes());
        for key in keys {
            bytes.push(b' ');
            bytes.extend_from_slice(key.as_bytes());
        }
        let keys = word.len() + 1..bytes.len();
        bytes.extend_from_slice(b"\r\n");
        Self {
            keys,
            ..Self::new(bytes, Form::Values)
        }
    }

    /// Writes a value, whatever is there.
    pub(crate) fn set(key: &str, value: &[u8], expiration: u32) -> Self {
        Self::writing("set", key, value, expiration, None)
    }

    /// Writes a value if there is none.
    pub(crate) fn add(key: &str, value: &[u8], expiration: u32) -> Self {
        Self::writing("add", key, value, expiration, None)
    }

    /// Replaces the value that has this token.
    pub(crate) fn cas(key: &str, value: &[u8], token: u64, expiration: u32) -> Self {
        Self::writing("cas", key, value, expiration, Some(token))
    }

    fn writing(word: &str, key: &str, value: &[u8], expiration: u32, token: Option<u64>) -> Self {
        // The numbers of the first line have at most 50 digits.
        let mut bytes = Vec::with_capacity(word.len() + key.len() + value.len() + 64);
        let len = value.len();
        // Writing into a `Vec` does not fail.
        let _ = match token {
            Some(token) => write!(bytes, "{word} {key} 0 {expiration} {len} {token}\r\n"),
            None => write!(bytes, "{word} {key} 0 {expiration} {len}\r\n"),
        };
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
        Self::new(bytes, Form::Store)
    }

    /// Removes a value.
    pub(crate) fn delete(key: &str) -> Self {
        Self::new(format!("delete {key}\r\n").into_bytes(), Form::Delete)
    }

    pub(crate) fn version() -> Self {
        Self::new(b"version\r\n".to_vec(), Form::Version)
    }

    pub(crate) fn flush_all() -> Self {
        Self::new(b"flush_all\r\n".to_vec(), Form::Flush)
    }

    /// Sends another command together with this one. The server carries out this one first.
    pub(crate) fn then(mut self, other: Self) -> Self {
        if !other.keys.is_empty() {
            let before = self.bytes.len();
            self.keys = before + other.keys.start..before + other.keys.end;
        }
        self.bytes.extend_from_slice(&other.bytes);
        self.then = Some(other.form);
        self
    }
}

/// A value that the server returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// The place of its key among those that were requested.
    pub(crate) place: usize,
    pub(crate) value: Bytes,
    pub(crate) token: Option<u64>,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Values(Vec<Item>),
    Stored,
    NotStored,
    Exists,
    NotFound,
    Deleted,
    Version,
    Flushed,
    /// An error, which begins with `ERROR`, `CLIENT_ERROR` or `SERVER_ERROR`.
    Error(String),
}

/// Takes answers out of the bytes that a server sends.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// The values of the current answer that were read in full.
    items: Vec<Item>,
    /// The next value, whose bytes follow, and their number.
    next: Option<(Item, usize)>,
    /// The bytes of the values of the current answer, as far as they are announced.
    size: usize,
    /// How many bytes have been searched for the end of a line.
    searched: usize,
    /// Where the key of the next value stands if the server answers in the order of the request.
    turn: Turn,
}

/// A key among those that were requested.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    place: usize,
    /// The number of bytes before it.
    start: usize,
}

enum Line {
    Item(Item, usize),
    End,
    Answer(Answer),
}

impl Parser {
    /// Takes the next answer, which has this form, and values of these keys with spaces between them. Returns `None` if it
    /// is not there in full.
    pub(crate) fn answer(&mut self, form: Form, keys: &[u8], input: &mut BytesMut) -> Result<Option<Answer>, Fault> {
        loop {
            if let Some((mut item, len)) = self.next.take() {
                if input.len() < len + 2 {
                    self.next = Some((item, len));
                    return Ok(None);
                }
                if input[len..len + 2] != *b"\r\n" {
                    return Err(Fault::OutOfStep("a value without an end".to_owned()));
                }
                item.value = if len >= OWN_BUFFER {
                    input.split_to(len).freeze()
                } else {
                    let value = Bytes::copy_from_slice(&input[..len]);
                    input.advance(len);
                    value
                };
                input.advance(b"\r\n".len());
                self.items.push(item);
            }
            let Some(end) = memchr::memchr(b'\n', &input[self.searched..]) else {
                self.searched = input.len();
                if self.searched > LONGEST_LINE {
                    return Err(Fault::OutOfStep("a line without an end".to_owned()));
                }
                return Ok(None);
            };
            let end = self.searched + end;
            self.searched = 0;
            let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
            // The key is checked before the value's bytes arrive, which may be many.
            let line = self.parse(form, line, keys);
            input.advance(end + 1);
            match line? {
                Line::Item(item, len) => {
                    self.size += len;
                    self.next = Some((item, len));
                }
                Line::End => {
                    self.size = 0;
                    self.turn = Turn::default();
                    return Ok(Some(Answer::Values(std::mem::take(&mut self.items))));
                }
                Line::Answer(answer) => {
                    self.size = 0;
                    self.turn = Turn::default();
                    self.items.clear();
                    return Ok(Some(answer));
                }
            }
        }
    }

    fn parse(&mut self, form: Form, line: &[u8], keys: &[u8]) -> Result<Line, Fault> {
        if form == Form::Values
            && let Some(rest) = line.strip_prefix(b"VALUE ")
        {
            let Announced { key, len, token } = value(rest).ok_or_else(|| unexpected(line))?;
            let place = self.place(key, keys)?;
            let value = Bytes::new();
            return Ok(Line::Item(Item { place, value, token }, len));
        }
        parse(form, line)
    }

    /// Returns the place of a key among those that were requested, which stand in `keys`. Fails if it is not there, or if its
    /// value was there already.
    fn place(&mut self, key: &[u8], keys: &[u8]) -> Result<usize, Fault> {
        // Servers answer in the order of the request, as a rule.
        let mut next = self.turn;
        let rest = keys.get(next.start..).unwrap_or_default();
        if let Some(after) = rest.strip_prefix(key)
            && matches!(after.first(), None | Some(b' '))
        {
            let place = next.place;
            self.turn = Turn {
                place: place + 1,
                start: next.start + key.len() + 1,
            };
            return Ok(place);
        }
        for requested in rest.split(|byte| *byte == b' ') {
            let place = next.place;
            next = Turn {
                place: place + 1,
                start: next.start + requested.len() + 1,
            };
            if requested == key {
                self.turn = next;
                return Ok(place);
            }
        }
        let mut before = keys.split(|byte| *byte == b' ').take(self.turn.place);
        let place = before.position(|requested| requested == key);
        let key = || String::from_utf8_lossy(key);
        match place {
            None => Err(Fault::OutOfStep(format!(
                "an answer for the key {:?}, which was not requested",
                key()
            ))),
            Some(place) if self.items.iter().any(|item| item.place == place) => {
                Err(Fault::OutOfStep(format!("a second value for the key {:?}", key())))
            }
            Some(place) => Ok(place),
        }
    }

    /// Returns how large the answer is that is being read, as far as that is known.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Returns how many bytes the current value still needs, if that is known.
    pub(crate) fn missing(&self, input: &BytesMut) -> usize {
        self.next
            .as_ref()
            .map_or(0, |(_, len)| (len + 2).saturating_sub(input.len()))
    }
}

/// Parses a line that announces no value.
fn parse(form: Form, line: &[u8]) -> Result<Line, Fault> {
    let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    let answer = match (form, word) {
        (_, b"ERROR" | b"CLIENT_ERROR" | b"SERVER_ERROR") => Answer::Error(String::from_utf8_lossy(line).into_owned()),
        (Form::Values, b"END") => return Ok(Line::End),
        (Form::Store, b"STORED") => Answer::Stored,
        (Form::Store, b"NOT_STORED") => Answer::NotStored,
        (Form::Store, b"EXISTS") => Answer::Exists,
        (Form::Store | Form::Delete, b"NOT_FOUND") => Answer::NotFound,
        (Form::Delete, b"DELETED") => Answer::Deleted,
        (Form::Version, b"VERSION") => Answer::Version,
        (Form::Flush, b"OK") => Answer::Flushed,
        _ => return Err(unexpected(line)),
    };
    Ok(Line::Answer(answer))
}

#[cold]
fn unexpected(line: &[u8]) -> Fault {
    Fault::OutOfStep(format!("an unexpected answer: {:?}", String::from_utf8_lossy(line)))
}

/// What the server says of a value before it.
struct Announced<'a> {
    key: &'a [u8],
    len: usize,
    token: Option<u64>,
}

/// Parses `<key> <flags> <bytes> [<token>]`.
fn value(text: &[u8]) -> Option<Announced<'_>> {
    let (key, numbers) = text.split_at(memchr::memchr(b' ', text)?);
    let mut words = numbers[1..].split(|byte| *byte == b' ');
    let (_flags, len) = (words.next()?, words.next()?);
    let len = usize::try_from(number(len)?).ok().filter(|len| *len <= LARGEST_VALUE)?;
    let token = match words.next() {
        Some(token) => Some(number(token)?),
        None => None,
    };
    Some(Announced { key, len, token })
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(command: &Command) -> &str {
        std::str::from_utf8(&command.bytes).unwrap()
    }

    #[test]
    fn commands_are_written_as_the_protocol_says() {
        assert_eq!(text(&Command::get(["a", "b"].into_iter())), "get a b\r\n");
        assert_eq!(text(&Command::gets("a")), "gets a\r\n");
        assert_eq!(text(&Command::set("a", b"xy", 7)), "set a 0 7 2\r\nxy\r\n");
        assert_eq!(text(&Command::add("a", b"", 0)), "add a 0 0 0\r\n\r\n");
        assert_eq!(text(&Command::cas("a", b"x", 9, 3)), "cas a 0 3 1 9\r\nx\r\n");
        assert_eq!(text(&Command::delete("a")), "delete a\r\n");
        assert_eq!(text(&Command::version()), "version\r\n");
        assert_eq!(text(&Command::flush_all()), "flush_all\r\n");
        let both = Command::add("a", b"x", 0).then(Command::gets("a"));
        assert_eq!(text(&both), "add a 0 0 1\r\nx\r\ngets a\r\n");
        assert_eq!((both.form, both.then), (Form::Store, Some(Form::Values)));
        assert_eq!(&both.bytes[both.keys.clone()], b"a");
        let both = Command::get(["a"].into_iter()).then(Command::delete("a"));
        assert_eq!(&both.bytes[both.keys.clone()], b"a");
    }

    /// The answers to commands of these forms, as a server sends them.
    fn conversation() -> (Vec<(Form, Answer)>, Vec<u8>) {
        let item = |place, value: Vec<u8>, token| Item {
            place,
            value: value.into(),
            token,
        };
        let large = vec![b'\n'; OWN_BUFFER];
        let answers = vec![
            (Form::Store, Answer::Stored),
            (Form::Values, Answer::Values(Vec::new())),
            (
                Form::Values,
                Answer::Values(vec![item(0, b"END\r\n".to_vec(), None), item(1, Vec::new(), None)]),
            ),
            (Form::Values, Answer::Values(vec![item(2, large.clone(), Some(7))])),
            (
                Form::Store,
                Answer::Error("SERVER_ERROR object too large for cache".to_owned()),
            ),
            (Form::Delete, Answer::NotFound),
            (Form::Version, Answer::Version),
            (Form::Flush, Answer::Flushed),
        ];
        let mut bytes = b"STORED\r\nEND\r\nVALUE a 0 5\r\nEND\r\n\r\nVALUE b 0 0\r\n\r\nEND\r\n".to_vec();
        bytes.extend_from_slice(format!("VALUE c 0 {} 7\r\n", large.len()).as_bytes());
        bytes.extend_from_slice(&large);
        bytes.extend_from_slice(b"\r\nEND\r\nSERVER_ERROR object too large for cache\r\nNOT_FOUND\r\n");
        bytes.extend_from_slice(b"VERSION 1.6.38\r\nOK\r\n");
        (answers, bytes)
    }

    proptest! {
        #[test]
        fn answers_are_found_however_they_arrive(mut cuts in proptest::collection::vec(0..33_000_usize, 0..6)) {
            let (answers, bytes) = conversation();
            cuts.retain(|cut| *cut < bytes.len());
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let (mut parser, mut input, mut fed) = (Parser::default(), BytesMut::new(), 0);
            let mut found = Vec::new();
            for cut in cuts {
                input.extend_from_slice(&bytes[fed..cut]);
                fed = cut;
                while let Some((form, _)) = answers.get(found.len()) {
                    let Some(answer) = parser.answer(*form, b"a b c", &mut input).unwrap() else { break };
                    found.push((*form, answer));
                }
            }
            prop_assert_eq!(found, answers);
            prop_assert!(input.is_empty());
        }

        #[test]
        fn any_bytes_can_be_read(bytes: Vec<u8>) {
            let mut input = BytesMut::from(&bytes[..]);
            let mut parser = Parser::default();
            while let Ok(Some(_)) = parser.answer(Form::Values, b"a", &mut input) {}
        }
    }

    /// Answers a request for these keys, letter by letter.
    fn answered(requested: &str, answers: &str) -> Result<Vec<usize>, Fault> {
        let values = answers.chars().map(|key| format!("VALUE {key} 0 1\r\nx\r\n"));
        let bytes: String = values.chain(["END\r\n".to_owned()]).collect();
        let keys = requested.chars().map(String::from).collect::<Vec<_>>().join(" ");
        match Parser::default().answer(Form::Values, keys.as_bytes(), &mut BytesMut::from(&bytes[..]))? {
            Some(Answer::Values(items)) => Ok(items.into_iter().map(|item| item.place).collect()),
            answer => panic!("{answer:?}"),
        }
    }

    #[test]
    fn values_are_matched_with_their_keys_in_any_order() {
        for (answers, places) in [
            ("abcd", &[0, 1, 2, 3][..]),
            ("bd", &[1, 3]),
            ("dcba", &[3, 2, 1, 0]),
            ("cab", &[2, 0, 1]),
            ("", &[]),
        ] {
            assert_eq!(answered("abcd", answers).unwrap(), places, "{answers}");
        }
    }

    #[test]
    fn no_key_has_two_values() {
        for answers in ["aa", "aba", "ddd", "dabcd", "ccabc", "abe"] {
            let answer = answered("abcd", answers);
            assert!(matches!(answer, Err(Fault::OutOfStep(_))), "{answers}: {answer:?}");
        }
    }

    #[test]
    fn an_answer_to_another_command_is_found_out() {
        for (form, answer) in [
            (Form::Values, "STORED\r\n"),
            (Form::Store, "END\r\n"),
            (Form::Store, "DELETED\r\n"),
            (Form::Delete, "STORED\r\n"),
            (Form::Version, "OK\r\n"),
            (Form::Values, "VALUE a 0 -1\r\n"),
            (Form::Values, "VALUE a 0 9999999999\r\n"),
            (Form::Values, "VALUE a 0 1\r\nxyz\r\n"),
            (Form::Values, "VALUE b 0 9\r\n"),
            (Form::Values, "VALUE a 0 1\r\nx\r\nVALUE a 0 9\r\n"),
            (Form::Values, "VALUE aa 0 1\r\n"),
            (Form::Values, "VALUE  0 1\r\n"),
        ] {
            let answer = Parser::default().answer(form, b"a", &mut BytesMut::from(answer));
            assert!(matches!(answer, Err(Fault::OutOfStep(_))), "{answer:?}");
        }
    }
}
