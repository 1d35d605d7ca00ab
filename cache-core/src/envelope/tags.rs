//! The tags of an entry.

use std::fmt;

use bytes::Bytes;

use crate::error::{Error, ErrorKind};
use crate::record::Version;

const VERSION_LEN: usize = size_of::<u128>();

/// The number of bytes that are allocated at once for the first tags.
const ROOM: usize = 64;

/// The names of an entry's tags, each with the version that the tag had before the value was loaded.
///
/// The tags stay in their stored form: clones share it, and decoding an envelope takes a slice instead of allocating a
/// list.
///
/// ```
/// use cache_core::{Tags, Version};
///
/// let tags = Tags::new([("user:42", Version::from_u128(1)), ("prices", Version::from_u128(2))])?;
/// assert_eq!(tags.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["user:42", "prices"]);
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tags(Bytes);

impl Tags {
    /// Makes tags in this order.
    ///
    /// # Errors
    /// Fails with [`Codec`](ErrorKind::Codec) if a name has 4 GiB or more.
    pub fn new<N: AsRef<str>>(tags: impl IntoIterator<Item = (N, Version)>) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        for (name, version) in tags {
            let name = name.as_ref();
            let length = u32::try_from(name.len()).map_err(|_| {
                let message = format!(
                    "the name of a tag has {} bytes; at most {} can be stored",
                    name.len(),
                    u32::MAX
                );
                Error::new(ErrorKind::Codec, message).with_operation("encode")
            })?;
            if bytes.is_empty() {
                // Few tags, as a rule. Without any, nothing is allocated.
                bytes.reserve(ROOM);
            }
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(&version.as_u128().to_be_bytes());
        }
        Ok(Self(bytes.into()))
    }

    /// Returns whether there are no tags.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the tags, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Version)> + Clone + '_ {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (tag, after) = split_first(rest)?;
            rest = after;
            Some(tag)
        })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Parses tags. Returns `None` if `bytes` are anything else.
    pub(super) fn from_bytes(bytes: Bytes) -> Option<Self> {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            rest = split_first(rest)?.1;
        }
        Some(Self(bytes))
    }
}

fn split_first(bytes: &[u8]) -> Option<((&str, Version), &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (name, rest) = rest.split_at_checked(length)?;
    let (version, rest) = rest.split_first_chunk::<VERSION_LEN>()?;
    let version = Version::from_u128(u128::from_be_bytes(*version));
    Some(((std::str::from_utf8(name).ok()?, version), rest))
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
