//! A key and its value, in as few allocations as possible.

use bytes::Bytes;
use cache_core::Value;

/// Values of at most this many bytes are copied next to their key. That saves two allocations, and a small slice of a
/// large buffer does not keep the buffer alive.
const PACKED_VALUE: usize = 512;

/// The storage of a key and its value.
#[derive(Debug)]
pub(crate) enum Content {
    /// The key and then the value, in one buffer.
    Packed {
        buffer: Bytes,
        key_len: u32,
    },
    Apart {
        key: Box<str>,
        value: Value,
    },
}

impl Content {
    pub(crate) fn new(key: &str, value: Value) -> Self {
        if let Value::Bytes(bytes) = &value
            && bytes.len() <= PACKED_VALUE
            && let Some(buffer) = packed(key.as_bytes(), bytes)
            && let Ok(key_len) = u32::try_from(key.len())
        {
            return Self::Packed { buffer, key_len };
        }
        Self::Apart { key: key.into(), value }
    }

    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Self::Packed { buffer, key_len } => &buffer[..*key_len as usize],
            Self::Apart { key, .. } => key.as_bytes(),
        }
    }

    /// Returns the value. It shares the memory of this content.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Packed { buffer, key_len } => Value::Bytes(buffer.slice(*key_len as usize..)),
            Self::Apart { value, .. } => value.clone(),
        }
    }

    pub(crate) fn value_weight(&self) -> u64 {
        match self {
            Self::Packed { buffer, key_len } => buffer.len() as u64 - u64::from(*key_len),
            Self::Apart { value, .. } => value.weight() as u64,
        }
    }

    /// Returns the weight of the key and the value in bytes.
    pub(crate) fn weight(&self) -> u64 {
        match self {
            Self::Packed { buffer, .. } => buffer.len() as u64,
            Self::Apart { key, value } => (key.len() as u64).saturating_add(value.weight() as u64),
        }
    }
}

/// A buffer in one allocation with its reference count.
struct Block<const SIZE: usize>([u8; SIZE]);

impl<const SIZE: usize> AsRef<[u8]> for Block<SIZE> {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn block<const SIZE: usize>(key: &[u8], value: &[u8]) -> Bytes {
    let mut block = Block([0; SIZE]);
    let len = key.len() + value.len();
    block.0[..key.len()].copy_from_slice(key);
    block.0[key.len()..len].copy_from_slice(value);
    let mut bytes = Bytes::from_owner(block);
    bytes.truncate(len);
    bytes
}

/// Returns `key` and `value` in one allocation of the smallest size that holds them, if there is one.
fn packed(key: &[u8], value: &[u8]) -> Option<Bytes> {
    macro_rules! sizes {
        ($($size:literal)*) => {
            match key.len() + value.len() {
                $(len if len <= $size => Some(block::<$size>(key, value)),)*
                _ => None,
            }
        };
    }
    // With the reference count of eight bytes, these are size classes of common allocators.
    sizes! {
        24 40 56 72 88 104 120 136 152 168 184 200 216 232 248
        280 312 344 376 408 440 472 504 568 632 696 760
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_are_packed_and_all_come_back() {
        for key in ["", "k", "a key of some length", &"k".repeat(800)] {
            for len in 0..600 {
                let value = Bytes::from(vec![7; len]);
                let content = Content::new(key, Value::Bytes(value.clone()));
                assert_eq!(content.key(), key.as_bytes());
                assert_eq!(content.value().as_bytes(), Some(&value));
                assert_eq!(content.weight(), (key.len() + len) as u64);
                let packed = matches!(content, Content::Packed { .. });
                assert_eq!(packed, len <= PACKED_VALUE && key.len() < 100);
            }
        }
    }
}
