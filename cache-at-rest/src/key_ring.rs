//! The keys of encryption, and what is sealed with them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cache_core::{Error, ErrorKind, Key};
use chacha20poly1305::aead::Generate;
use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::error::unreadable;
use crate::frame::{FRAME_OVERHEAD, Frame, HEADER, SEALED, write_header};

/// The length of a key.
const KEY: usize = 32;
/// The length of the longest id.
const LONGEST_ID: usize = 64;
/// The length of a nonce. Random ones of this length never repeat in practice, however many records a key seals.
const NONCE: usize = 24;
/// The length of an authentication tag.
const TAG: usize = 16;

/// The keys that records are encrypted with, for [`AtRest::with_encryption`](crate::AtRest::with_encryption).
///
/// Each key has 32 random bytes and an id. The first key seals, and all of them open: each record names the id of its key.
/// Clones share the keys. Keys are overwritten when the last clone is dropped, and never shown, neither by `Debug` nor in
/// errors. Ids are not secret.
///
/// ```
/// # fn main() -> Result<(), cache_core::Error> {
/// use cache_at_rest::KeyRing;
///
/// // From a secret in the environment: ids and 64 hexadecimal digits each. `openssl rand -hex 32` makes a key.
/// # let secret = "2026-11:5c0f7a93c8f6fbd1f4a1e1b6b8a7b14bd1bd7c4f9b7e4d1f7c4d3f7a3b9e2f10,\
/// #               2026-08:8f3b6d1e7c2a9f4b5e8d7c6b5a4f3e2d1c0b9a8f7e6d5c4b3a2f1e0d9c8b7a65";
/// let keys: KeyRing = secret.parse()?;
/// assert_eq!(format!("{keys:?}"), r#"KeyRing { seals: "2026-11", opens: ["2026-08"] }"#);
///
/// // From bytes, as a key management service returns them.
/// # let (new, old) = ([1; 32], vec![2; 32]);
/// let keys = KeyRing::new([("2026-11", &new[..]), ("2026-08", &old)])?;
/// # let _ = keys;
/// # Ok(()) }
/// ```
///
/// # Rotation
///
/// No step needs downtime, and no record is lost, if you wait after each step until all processes run with it:
///
/// 1. Add the new key behind the old one: all processes can now open what it will seal.
/// 2. Move the new key to the front: records are sealed with it from now on, and old ones are still opened.
/// 3. Remove the old key, at the earliest when the longest lifetime of your entries, stale windows included, has passed
///    since step 2. Records that are left are misses and are loaded anew, and so are entries whose tags were last written
///    before step 2.
///
/// If a key has become known to others, begin with the new key alone. Every record that the old key sealed is then a miss.
#[derive(Clone)]
pub struct KeyRing(Arc<Keys>);

struct Keys {
    seals: SealingKey,
    others: Vec<SealingKey>,
}

/// A key with its id. The cipher overwrites its key when it is dropped.
struct SealingKey {
    id: Box<str>,
    cipher: XChaCha20Poly1305,
}

impl KeyRing {
    /// Makes a ring of keys with their ids. The first key seals.
    ///
    /// An id is any text of 1 to 64 bytes that names one key for ever, such as the month in which it was made. A key has 32
    /// bytes from a secure source of random numbers, not a password. Your own copy of a key is not overwritten.
    ///
    /// # Errors
    /// Fails with [`Configuration`](ErrorKind::Configuration) without a key, if a key does not have 32 bytes, if an id is
    /// empty or too long, or if two keys have the same id.
    pub fn new<I, K>(keys: impl IntoIterator<Item = (I, K)>) -> Result<Self, Error>
    where
        I: Into<String>,
        K: AsRef<[u8]>,
    {
        let mut ring: Vec<SealingKey> = Vec::new();
        for (id, key) in keys {
            let (id, key) = (id.into().into_boxed_str(), key.as_ref());
            if id.is_empty() || id.len() > LONGEST_ID {
                return Err(wrong(format!(
                    "key {} of the ring has an id of {} bytes: an id has 1 to {LONGEST_ID}",
                    ring.len() + 1,
                    id.len()
                )));
            }
            if ring.iter().any(|other| other.id == id) {
                return Err(wrong(format!("two keys have the id {id:?}: give each key its own")));
            }
            let cipher = XChaCha20Poly1305::new_from_slice(key)
                .map_err(|_| wrong(format!("the key {id:?} has {} bytes: a key has {KEY}", key.len())))?;
            ring.push(SealingKey { id, cipher });
        }
        let mut ring = ring.into_iter();
        let Some(seals) = ring.next() else {
            return Err(wrong("the key ring has no key: give at least one"));
        };
        Ok(Self(Arc::new(Keys {
            seals,
            others: ring.collect(),
        })))
    }

    /// Returns how much longer a record is than its value, at most, if the value is not compressed.
    pub(crate) fn overhead(&self) -> usize {
        HEADER + 1 + self.0.seals.id.len() + NONCE + FRAME_OVERHEAD + TAG
    }

    /// Returns the record of a frame, encrypted for the place under `key`.
    pub(crate) fn seal(&self, key: &Key, frame: &Frame) -> Result<Bytes, Error> {
        let SealingKey { id, cipher } = &self.0.seals;
        let failed = |message: &'static str| Error::new(ErrorKind::Other, message).with_operation("encrypt");
        let nonce = XNonce::try_generate().map_err(|error| {
            failed("the system has no random numbers").with_source(std::io::Error::other(error.to_string()))
        })?;
        let head = HEADER + 1 + id.len();
        let mut record = Vec::with_capacity(head + NONCE + frame.len() + TAG);
        write_header(SEALED, &mut record);
        record.push(id.len() as u8); // An id has at most 64 bytes.
        record.extend_from_slice(id.as_bytes());
        let associated = associated_data(&record, key);
        record.extend_from_slice(&nonce);
        frame.write(&mut record);
        let tag = cipher
            .encrypt_inout_detached(&nonce, &associated, (&mut record[head + NONCE..]).into())
            .map_err(|_| failed("the value is too long"))?;
        record.extend_from_slice(&tag);
        Ok(record.into())
    }

    /// Returns the frame in a record of the kind [`SEALED`], if it was sealed for the place under `key`.
    pub(crate) fn open(&self, key: &Key, record: &[u8]) -> Result<Bytes, Error> {
        let id = id_of(record)?;
        let head = HEADER + 1 + id.len();
        let Some(end) = record.len().checked_sub(TAG).filter(|end| *end >= head + NONCE) else {
            return Err(unreadable("the sealed record is cut short"));
        };
        let cipher = &self
            .find(id)
            .ok_or_else(|| unknown(id, "which is not in the key ring"))?
            .cipher;
        let unopened = || {
            unreadable(format!(
                "the record does not open with the key {:?}: it was changed, it was stored for another key of the cache, \
                 or it was sealed with another key of this id",
                String::from_utf8_lossy(id)
            ))
        };
        let (Ok(nonce), Ok(tag)) = (
            XNonce::try_from(&record[head..head + NONCE]),
            Tag::try_from(&record[end..]),
        ) else {
            return Err(unopened());
        };
        let associated = associated_data(&record[..head], key);
        let mut frame = BytesMut::from(&record[head + NONCE..end]);
        match cipher.decrypt_inout_detached(&nonce, &associated, (&mut frame[..]).into(), &tag) {
            Ok(()) => Ok(frame.freeze()),
            Err(_) => Err(unopened()),
        }
    }

    fn find(&self, id: &[u8]) -> Option<&SealingKey> {
        let Keys { seals, others } = &*self.0;
        std::iter::once(seals).chain(others).find(|key| key.id.as_bytes() == id)
    }
}

/// What is authenticated besides the frame: format, key id, and the place of the record. So a record does not open under
/// another key than that which it was written for.
fn associated_data(head: &[u8], key: &Key) -> Vec<u8> {
    // The head tells its own length, so no two pairs have the same bytes.
    [head, key.as_str().as_bytes()].concat()
}

/// Returns the id of the key that a record of the kind [`SEALED`] was sealed with.
fn id_of(record: &[u8]) -> Result<&[u8], Error> {
    record
        .get(HEADER..)
        .and_then(|rest| rest.split_first())
        .and_then(|(len, rest)| rest.get(..usize::from(*len)))
        .ok_or_else(|| unreadable("the sealed record is cut short"))
}

/// Returns the error for a sealed record, for a program without keys.
pub(crate) fn without_keys(record: &[u8]) -> Error {
    match id_of(record) {
        Ok(id) => unknown(id, "and this cache has no keys"),
        Err(error) => error,
    }
}

fn unknown(id: &[u8], why: &str) -> Error {
    // The id is that of the record, so it may be anything.
    let id = String::from_utf8_lossy(id);
    unreadable(format!("the record is sealed with the key {id:?}, {why}"))
}

fn wrong(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Configuration, message).with_operation("key ring")
}

/// Parses `id:key` for each key, separated by commas or white space. A key is 64 hexadecimal digits.
impl FromStr for KeyRing {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = text.split(|c: char| c == ',' || c.is_whitespace());
        let parts = parts.filter(|part| !part.is_empty()).enumerate();
        let keys: Result<Vec<_>, Error> = parts
            .map(|(at, part)| {
                // Nothing of the text is shown, since any part of it may be a key.
                part.rsplit_once(':')
                    .and_then(|(id, key)| Some((id, from_hex(key)?)))
                    .ok_or_else(|| {
                        let number = at + 1;
                        wrong(format!(
                            "key {number} of the ring does not read `id:` and {} hexadecimal digits",
                            2 * KEY
                        ))
                    })
            })
            .collect();
        Self::new(keys?.iter().map(|(id, key)| (*id, &key[..])))
    }
}

fn from_hex(text: &str) -> Option<Zeroizing<[u8; KEY]>> {
    let mut key = Zeroizing::new([0; KEY]);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != KEY || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8; // Two digits are one byte.
    }
    Some(key)
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Keys { seals, others } = &*self.0;
        let others: Vec<&str> = others.iter().map(|key| &*key.id).collect();
        f.debug_struct("KeyRing")
            .field("seals", &seals.id)
            .field("opens", &others)
            .finish()
    }
}
