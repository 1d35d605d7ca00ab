//! The Lua scripts, which the server caches and which are called by their hash.

use std::sync::LazyLock;

use bytes::Bytes;
use sha1::{Digest, Sha1};

/// A script with its hash.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) source: &'static str,
    pub(crate) hash: String,
}

impl Script {
    fn new(source: &'static str) -> Self {
        let digest: [u8; 20] = Sha1::digest(source.as_bytes()).into();
        Self {
            source,
            hash: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// Stores a string under each key. Arguments for each key: the string, its lifetime in milliseconds (empty: none), and the
/// version that must be there (empty: there must be no record). Answers a string with a 1 for each key whose string is
/// stored, and a 0 for each other one.
///
/// It also answers 1 if the same version is there already, so that a call that the client repeats after a broken
/// connection does not fail because of its own first write.
pub(crate) static SET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("script/version.lua"),
        include_str!("script/set.lua")
    ))
});

/// Removes `KEYS[1]` if it has the version in the argument. Answers 1 if it does.
pub(crate) static DELETE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("script/version.lua"),
        include_str!("script/delete.lua")
    ))
});

/// Reads `KEYS[1]`. Answers the remaining lifetime in milliseconds (-1: none) and the string, or nil.
///
/// For foreign records, which do not contain their deadline and need not be strings. Also for every read in a Cluster,
/// since fred would follow a plain answer that reads `MOVED 1 host:port`. The number comes first because fred drops
/// arrays that begin with `message` or `subscribe`.
pub(crate) static GET: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("script/get.lua")));

/// Reads `KEYS[1]` as [`GET`] does. If there is no record, stores a string and answers nil. Arguments: the string, and its
/// lifetime in milliseconds (empty: none).
///
/// It also answers nil if the same version is there already, like [`SET`].
pub(crate) static GET_OR_ADD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("script/get_or_add.lua")));

/// Answers the version of the record under `KEYS[1]` in 16 bytes, or nil.
pub(crate) static VERSION: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("script/version.lua"), "return version_of(1)\n")));

/// Returns a lifetime as the scripts take it.
pub(crate) fn lifetime(millis: Option<u64>) -> Bytes {
    millis.map(|millis| Bytes::from(millis.to_string())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use cache_core::Version;

    use super::*;
    use crate::format::{HEADER_LEN, MARK, encode};

    #[test]
    fn the_scripts_know_the_format() {
        let source = SET.source;
        let mark = format!("'\\{}{}'", MARK[0], char::from(MARK[1]));
        assert!(source.contains(&mark), "{mark}");
        assert!(source.contains(&format!("GETRANGE', KEYS[at], 0, {}", HEADER_LEN - 1)));
        assert!(source.contains(&format!("#head == {HEADER_LEN} ")));
        // The scripts compare only the version in the header.
        let version = Version::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
        let stored = encode(version, None, b"");
        assert_eq!(stored[3 - 1..18], version.as_u128().to_be_bytes());
        assert_eq!(source.matches("sub(3, 18)").count(), 2);
        // The placeholder for the value of a list, a hash and so on must be the same in reads and in comparisons.
        let not_a_string = "'not a string'";
        for script in [source, GET.source, GET_OR_ADD.source] {
            assert!(script.contains(not_a_string));
        }
        // The mark and the version.
        assert_eq!(GET_OR_ADD.source.matches("sub(1, 18)").count(), 2);
    }

    #[test]
    fn a_hash_is_the_one_that_redis_computes() {
        // redis-cli script load 'return 1'
        assert_eq!(Script::new("return 1").hash, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }
}
