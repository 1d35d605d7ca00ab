//! The scripts, which the server keeps and which are called by their hash.

use std::sync::LazyLock;

use sha1::{Digest, Sha1};

/// A script and the hash by which the server knows it once it has seen it.
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

/// `KEYS[1]`, and the string to store, its lifetime in milliseconds (empty: no end) and the version that must be there
/// (empty: nothing must be there). Answers 1 if it is stored.
///
/// It also answers 1 if the very string is there already: a call that the client repeats after a broken connection must
/// not be told that another writer was faster.
pub(crate) static SET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("script/version.lua"),
        include_str!("script/set.lua")
    ))
});

/// `KEYS[1]` and the version that must be there. Answers 1 if the record is removed.
pub(crate) static DELETE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("script/version.lua"),
        include_str!("script/delete.lua")
    ))
});

/// `KEYS[1]`. Answers the remaining lifetime in milliseconds (-1: no end) and the string, or nil.
///
/// For what others wrote, which does not say when it ends and need not be a string; and for every read in a Cluster,
/// since a string that is an answer by itself and reads `MOVED 1 host:port` would be followed. An answer that begins
/// with a number is also safe from fred, which takes arrays that begin with `message` or `subscribe` for something else
/// and drops them.
pub(crate) static GET: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("script/get.lua")));

/// `KEYS[1]`. Answers the version of what is there in 16 bytes, or nil.
pub(crate) static VERSION: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("script/version.lua"), "return version_here()\n")));

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
        assert!(source.contains(&format!("GETRANGE', KEYS[1], 0, {}", HEADER_LEN - 1)));
        assert!(source.contains(&format!("#head == {HEADER_LEN} ")));
        // Of the header, only the version is compared.
        let version = Version::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
        let stored = encode(version, None, b"");
        assert_eq!(stored[3 - 1..18], version.as_u128().to_be_bytes());
        assert_eq!(source.matches("sub(3, 18)").count(), 2);
        // What stands for the value of a list, a hash and so on must be the same for reading and for comparing.
        let not_a_string = "'not a string'";
        assert!(source.contains(not_a_string) && GET.source.contains(not_a_string));
    }

    #[test]
    fn a_hash_is_the_one_that_redis_computes() {
        // redis-cli script load 'return 1'
        assert_eq!(Script::new("return 1").hash, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }
}
