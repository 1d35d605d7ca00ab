//! A key and its value, in as few allocations as possible.

use bytes::Bytes;
use cache_core::{SharedValue, Value, allocated};

/// Values of at most this many bytes are copied next to their key. That saves two allocations, and a small slice of a
/// large buffer does not keep the buffer alive.
const PACKED_VALUE: usize = 512;

/// The reference count that a packed buffer contains.
const COUNT: usize = size_of::<usize>();
/// What `Bytes` allocate for sharing a larger buffer, at the latest when they are read first.
const SHARING: usize = allocated(3 * size_of::<usize>());
/// A buffer is copied if more than one part in this many is unused, so that unused memory is not kept.
const UNUSED_SHARE: usize = 32;

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
        let value = match value {
            Value::Bytes(bytes) => Value::Bytes(trimmed(bytes)),
            shared @ Value::Shared(_) => shared,
        };
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

    /// Returns the object, if the value is one.
    pub(crate) fn object(&self) -> Option<&SharedValue> {
        match self {
            Self::Apart {
                value: Value::Shared(object),
                ..
            } => Some(object),
            Self::Apart { .. } | Self::Packed { .. } => None,
        }
    }

    pub(crate) fn value_weight(&self) -> u64 {
        match self {
            Self::Packed { buffer, key_len } => buffer.len() as u64 - u64::from(*key_len),
            Self::Apart { value, .. } => value.weight() as u64,
        }
    }

    /// Returns the memory that the key and the value take, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        match self {
            Self::Packed { buffer, .. } => allocated(COUNT + block_len(buffer.len())) as u64,
            Self::Apart { key, value } => {
                let value = match value {
                    Value::Bytes(bytes) => allocated(bytes.len()).saturating_add(SHARING),
                    Value::Shared(shared) => shared.weight(),
                };
                allocated(key.len()).saturating_add(value) as u64
            }
        }
    }
}

/// Returns `bytes` in a buffer of their length, as far as can be told: a buffer that others use is kept as it is.
fn trimmed(bytes: Bytes) -> Bytes {
    match bytes.try_into_mut() {
        Ok(buffer) if buffer.capacity() - buffer.len() > buffer.len() / UNUSED_SHARE => Bytes::copy_from_slice(&buffer),
        Ok(buffer) => buffer.freeze(),
        Err(bytes) => bytes,
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

/// Returns the size of the block that a key and a value of `len` bytes together are packed in. With the reference count,
/// the sizes are those that common allocators have.
const fn block_len(len: usize) -> usize {
    let step = if len <= 256 - COUNT {
        8
    } else if len <= 512 - COUNT {
        16
    } else {
        32
    };
    let len = if len < 16 { 16 } else { len };
    (len + COUNT).next_multiple_of(step) - COUNT
}

/// Returns `key` and `value` in one allocation of the smallest size that holds them, if there is one.
fn packed(key: &[u8], value: &[u8]) -> Option<Bytes> {
    macro_rules! sizes {
        ($($size:literal)*) => {
            match block_len(key.len() + value.len()) {
                $($size => Some(block::<$size>(key, value)),)*
                _ => None,
            }
        };
    }
    sizes! {
        16 24 32 40 48 56 64 72 80 88 96 104 112 120 128 136 144 152 160 168 176 184 192 200 208 216 224 232 240 248
        264 280 296 312 328 344 360 376 392 408 424 440 456 472 488 504
        536 568 600 632 664 696 728 760
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
                let packed = matches!(content, Content::Packed { .. });
                assert_eq!(packed, len <= PACKED_VALUE && key.len() < 100);
                let least = (key.len() + len) as u64;
                assert!((least..least + 100).contains(&content.weight()));
            }
        }
    }
}
