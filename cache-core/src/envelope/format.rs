//! Writes and reads the bytes of an envelope.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::envelope::error::EnvelopeError;
use crate::envelope::kind::EntryKind;
use crate::envelope::tags::Tags;
use crate::error::{Error, ErrorKind};
use crate::freshness_windows::FreshnessWindows;
use crate::key::Key;
use crate::optional_duration::OptionalDuration;
use crate::ttl::millis_rounded_up;

const MARK: [u8; 4] = *b"\xCAche";
const VERSION: u8 = 1;
const CHECKSUM: Range<usize> = 5..9;
const HEADER_LEN: usize = 64;

const FRESH_FOR_EVER: u8 = 0b01;
const TEXT_FOLLOWS: u8 = 0b10;
const LOAD_TIME_FOLLOWS: u8 = 0b100;
const TYPE_VERSION_FOLLOWS: u8 = 0b1000;
const KNOWN_FLAGS: u8 = FRESH_FOR_EVER | TEXT_FOLLOWS | LOAD_TIME_FOLLOWS | TYPE_VERSION_FOLLOWS;

/// The stored form of an entry: an encoded value with its coder, creation time, freshness windows and tags.
///
/// Its bytes have a format version and a checksum, and hold the whole key. Bytes that are damaged, of a newer version, or
/// of another key do not decode, and a reader treats them as a miss. The checksum detects accidents, not forgery: anyone
/// who can write to the store can write an envelope.
///
/// ```
/// use std::time::Duration;
/// use bytes::Bytes;
/// use cache_core::{Clock, EntryKind, Envelope, EnvelopeError, Prefix, SystemClock, FreshnessWindows};
///
/// let users = Prefix::new("shop").namespace("users");
/// let envelope = Envelope::new(EntryKind::Value, SystemClock.now(), FreshnessWindows::new(Duration::from_secs(60)))
///     .with_payload("json", Bytes::from_static(br#"{"name":"Ada"}"#));
///
/// let bytes = envelope.encode(&users.key("42"))?;
/// assert_eq!(Envelope::decode(&bytes, &users.key("42")), Ok(envelope));
/// assert_eq!(Envelope::decode(&bytes, &users.key("43")), Err(EnvelopeError::OtherKey));
/// # Ok::<(), cache_core::Error>(())
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The kind of the entry.
    pub kind: EntryKind,
    /// The [name of the coder](crate::Coder::name) of the payload; empty if no coder made it.
    pub coder: Cow<'static, str>,
    /// The version of the value's type, which its [coder states](crate::Coder::type_version); 0 if it has none.
    pub type_version: u32,
    /// How long the load of the value took, if that is known and needed. Written in whole microseconds, rounded up; more
    /// than 71 minutes are written as that.
    pub load_time: Option<Duration>,
    /// When the entry was created.
    pub created: Timestamp,
    /// How long the entry may be used, counted from its creation.
    pub windows: FreshnessWindows,
    /// The tags of the entry, with the versions that they had before its value was loaded.
    pub tags: Tags,
    /// The encoded value.
    pub payload: Bytes,
}

impl Envelope {
    /// Makes an envelope without tags and payload.
    #[must_use]
    pub fn new(kind: EntryKind, created: Timestamp, windows: FreshnessWindows) -> Self {
        Self {
            kind,
            coder: Cow::Borrowed(""),
            type_version: 0,
            load_time: None,
            created,
            windows,
            tags: Tags::default(),
            payload: Bytes::new(),
        }
    }

    /// Sets [`coder`](Self::coder) and [`payload`](Self::payload).
    #[must_use]
    pub fn with_payload(mut self, coder: impl Into<Cow<'static, str>>, payload: Bytes) -> Self {
        self.coder = coder.into();
        self.payload = payload;
        self
    }

    /// Sets [`type_version`](Self::type_version).
    #[must_use]
    pub fn with_type_version(mut self, version: u32) -> Self {
        self.type_version = version;
        self
    }

    /// Sets [`load_time`](Self::load_time).
    #[must_use]
    pub fn with_load_time(mut self, time: impl OptionalDuration) -> Self {
        self.load_time = time.into_option();
        self
    }

    /// Sets [`tags`](Self::tags).
    #[must_use]
    pub fn with_tags(mut self, tags: Tags) -> Self {
        self.tags = tags;
        self
    }

    /// Returns the bytes to store under `key`. The payload is copied once. The windows are
    /// written in whole milliseconds, rounded up.
    ///
    /// # Errors
    /// Fails with [`Codec`](ErrorKind::Codec) if the coder's name has more than 255 bytes, or if the key or all tags together
    /// have 4 GiB or more.
    pub fn encode(&self, key: &Key) -> Result<Bytes, Error> {
        let identity = key.identity();
        let text = if identity == key.as_str().as_bytes() {
            ""
        } else {
            key.as_str()
        };
        let tags = self.tags.as_bytes();

        let coder_len =
            u8::try_from(self.coder.len()).map_err(|_| too_long("coder's name", self.coder.len(), "255"))?;
        let length =
            |what, bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| too_long(what, bytes.len(), "4,294,967,295"));
        let identity_len = length("key's identity", identity)?;
        let text_len = length("key", text.as_bytes())?;
        let tags_len = length("list of tags", tags)?;

        let mut flags = 0;
        if self.windows.fresh.is_none() {
            flags |= FRESH_FOR_EVER;
        }
        if !text.is_empty() {
            flags |= TEXT_FOLLOWS;
        }

        let load_time = self.load_time.map(micros_rounded_up);
        let type_version = Some(self.type_version).filter(|version| *version != 0);
        if load_time.is_some() {
            flags |= LOAD_TIME_FOLLOWS;
        }
        if type_version.is_some() {
            flags |= TYPE_VERSION_FOLLOWS;
        }

        let optional = 8;
        let body = self.coder.len() + identity.len() + text.len() + tags.len() + optional + self.payload.len();
        let mut bytes = Vec::with_capacity(HEADER_LEN + body);
        bytes.extend_from_slice(&MARK);
        bytes.push(VERSION);
        bytes.extend_from_slice(&[0; CHECKSUM.end - CHECKSUM.start]);
        bytes.push(self.kind.to_byte());
        bytes.push(flags);
        for millis in [
            self.created.as_millis(),
            self.windows.fresh.map_or(0, millis_rounded_up),
            millis_rounded_up(self.windows.stale_while_revalidate),
            millis_rounded_up(self.windows.stale_if_error),
        ] {
            bytes.extend_from_slice(&millis.to_be_bytes());
        }
        bytes.push(coder_len);
        for length in [identity_len, text_len, tags_len] {
            bytes.extend_from_slice(&length.to_be_bytes());
        }
        bytes.extend_from_slice(&(self.payload.len() as u64).to_be_bytes());
        bytes.extend_from_slice(self.coder.as_bytes());
        bytes.extend_from_slice(identity);
        bytes.extend_from_slice(text.as_bytes());
        bytes.extend_from_slice(tags);
        for field in [load_time, type_version].into_iter().flatten() {
            bytes.extend_from_slice(&field.to_be_bytes());
        }
        bytes.extend_from_slice(&self.payload);

        let checksum = checksum(&bytes);
        bytes[CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        Ok(bytes.into())
    }

    /// Returns the envelope in `bytes`, if they were stored under `key`. The payload and the tags are slices of `bytes`, which
    /// they keep alive; nothing is allocated that is longer than `bytes`.
    ///
    /// # Errors
    /// Fails if the bytes are not an envelope, are damaged, or belong to another key. To a reader, each is a miss.
    pub fn decode(bytes: &Bytes, key: &Key) -> Result<Self, EnvelopeError> {
        let parts = Parts::of(bytes, key)?;
        Ok(Self {
            kind: parts.kind,
            coder: known_or_owned(parts.coder),
            type_version: parts.type_version,
            load_time: parts.load_time,
            created: parts.created,
            windows: parts.windows,
            tags: Tags::from_bytes(bytes.slice(parts.tags)).ok_or(EnvelopeError::Corrupt)?,
            payload: bytes.slice(parts.payload),
        })
    }

    /// Returns the kind, the time of creation and the payload of the envelope in `bytes`, as [`decode`](Self::decode) does, and
    /// allocates nothing. The tags are not looked at.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn payload_in<'a>(bytes: &'a [u8], key: &Key) -> Result<(EntryKind, Timestamp, &'a [u8]), EnvelopeError> {
        let parts = Parts::of(bytes, key)?;
        Ok((parts.kind, parts.created, &bytes[parts.payload]))
    }
}

/// What an envelope consists of, and where in its bytes that is.
struct Parts<'a> {
    kind: EntryKind,
    coder: &'a str,
    type_version: u32,
    load_time: Option<Duration>,
    created: Timestamp,
    windows: FreshnessWindows,
    tags: Range<usize>,
    payload: Range<usize>,
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8], key: &Key) -> Result<Self, EnvelopeError> {
        let mut header = Header::of(bytes)?;
        if checksum(bytes) != header.checksum {
            return Err(EnvelopeError::Corrupt);
        }
        // The lengths are checked even if the checksum matches, since it may match by chance.
        let kind = EntryKind::from_byte(header.byte()).ok_or(EnvelopeError::Corrupt)?;
        let flags = header.byte();
        if flags & !KNOWN_FLAGS != 0 {
            return Err(EnvelopeError::Corrupt);
        }
        let created = Timestamp::from_millis(header.u64());
        let fresh = header.millis();
        let for_ever = flags & FRESH_FOR_EVER != 0;
        if for_ever && !fresh.is_zero() {
            return Err(EnvelopeError::Corrupt);
        }
        let windows = FreshnessWindows::new((!for_ever).then_some(fresh))
            .with_stale_while_revalidate(header.millis())
            .with_stale_if_error(header.millis());
        let mut body = Body {
            len: bytes.len(),
            at: HEADER_LEN,
        };
        let coder = body.take(header.byte().into())?;
        let identity = body.take(header.u32().into())?;
        let text = body.take(header.u32().into())?;
        let tags = body.take(header.u32().into())?;
        let mut optional = |flag| match flags & flag {
            0 => Ok(None),
            _ => body.take(4).map(|field| Some(u32_at(&bytes[field]))),
        };
        let load_time = optional(LOAD_TIME_FOLLOWS)?;
        let type_version = optional(TYPE_VERSION_FOLLOWS)?;
        if type_version == Some(0) {
            return Err(EnvelopeError::Corrupt);
        }
        let payload = body.take(header.u64())?;
        if body.at != bytes.len() {
            return Err(EnvelopeError::Corrupt);
        }

        let (identity, text) = (&bytes[identity], &bytes[text]);
        let text = match flags & TEXT_FOLLOWS {
            0 if text.is_empty() => identity,
            TEXT_FOLLOWS if text != identity => text,
            _ => return Err(EnvelopeError::Corrupt),
        };
        if identity != key.identity() || text != key.as_str().as_bytes() {
            return Err(EnvelopeError::OtherKey);
        }
        let coder = std::str::from_utf8(&bytes[coder]).map_err(|_| EnvelopeError::Corrupt)?;
        Ok(Self {
            kind,
            coder,
            type_version: type_version.unwrap_or(0),
            load_time: load_time.map(|micros| Duration::from_micros(micros.into())),
            created,
            windows,
            tags,
            payload,
        })
    }
}

/// Returns the coder's name, without an allocation for the usual ones.
fn known_or_owned(coder: &str) -> Cow<'static, str> {
    ["", "json", "cbor", "raw"]
        .into_iter()
        .find(|known| *known == coder)
        .map_or_else(|| Cow::Owned(coder.to_owned()), Cow::Borrowed)
}

fn micros_rounded_up(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u32::MAX)
}

fn u32_at(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_be_bytes)
}

fn too_long(what: &str, len: usize, most: &str) -> Error {
    Error::new(
        ErrorKind::Codec,
        format!("the {what} has {len} bytes; at most {most} can be stored"),
    )
    .with_operation("encode")
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..CHECKSUM.start]);
    hasher.update(&bytes[CHECKSUM.end..]);
    hasher.finalize()
}

/// The fields of the header, from the kind on, in their order.
struct Header {
    checksum: u32,
    bytes: [u8; HEADER_LEN],
    at: usize,
}

impl Header {
    /// Parses the header, if this version of the crate can read it.
    fn of(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let rest = bytes.strip_prefix(&MARK).ok_or(EnvelopeError::NotAnEnvelope)?;
        match rest.first() {
            Some(&VERSION) => {}
            Some(&newer) if newer > VERSION => return Err(EnvelopeError::NewerVersion(newer)),
            _ => return Err(EnvelopeError::Corrupt),
        }
        let bytes = *bytes.first_chunk::<HEADER_LEN>().ok_or(EnvelopeError::Corrupt)?;
        let mut header = Self {
            checksum: 0,
            bytes,
            at: CHECKSUM.start,
        };
        header.checksum = header.u32();
        Ok(header)
    }

    /// Takes the next `N` bytes. The fields of the format add up to the header's length, so there are that many.
    fn next<const N: usize>(&mut self) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.bytes[self.at..self.at + N]);
        self.at += N;
        field
    }

    fn byte(&mut self) -> u8 {
        u8::from_be_bytes(self.next())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.next())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.next())
    }

    fn millis(&mut self) -> Duration {
        Duration::from_millis(self.u64())
    }
}

/// The part after the header.
struct Body {
    len: usize,
    at: usize,
}

impl Body {
    /// Takes the range of the next `length` bytes, if there are that many.
    fn take(&mut self, length: u64) -> Result<Range<usize>, EnvelopeError> {
        let start = self.at;
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| start.checked_add(length))
            .filter(|end| *end <= self.len)
            .ok_or(EnvelopeError::Corrupt)?;
        self.at = end;
        Ok(start..end)
    }
}
