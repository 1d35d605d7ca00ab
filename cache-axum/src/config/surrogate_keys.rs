//! The keys by which caches downstream purge responses.

use std::fmt::Write;
use std::sync::Arc;

use cache_engine::InvalidationTarget;
use cache_engine::cache_core::Key;
use cache_http::content_digest;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::conditions::Conditions;

/// A tag whose encoded form is longer than this has its digest as a key, in bytes.
const LONGEST_TAG: usize = 120;

/// The key of everything. Of our own keys each begins with a character that is encoded in tags.
const ALL: &str = "~all";

/// The key of responses that may carry any tag.
const ANY: &str = "~any";

/// Writes the tags of a response into a field, by which caches downstream, such as a CDN, purge it; see
/// [`CacheLayer::surrogate_keys`](crate::CacheLayer::surrogate_keys).
///
/// A response gets one key for each of its tags: those of the layer, of the handler, and of the cached values that it is
/// made from. It also gets a key for its URL, one for its namespace and one for everything, so that each kind of
/// invalidation has a key, which a [`Purger`](cache_engine::Purger) purges.
///
/// | what is invalidated | key |
/// |---|---|
/// | the tag `item:42` | `item:42` |
/// | a tag with other characters than letters, digits and `-._:/@=+!$&*` | the tag, with these characters in percent-encoding: `caf%C3%A9` |
/// | a tag that is longer than 120 bytes in that form | `~tag:` and its MD5 |
/// | a key of the cache, which a URL has too | `~key:` and its MD5 |
/// | the namespace `pages` | `~ns:pages`, with the same encoding |
/// | everything | `~all` |
///
/// # What does not fit, and what is not known
///
/// A response has the key `~any` if not all of its keys fit into [`max_len`](Self::max_len), or if they are not known
/// when its head is sent: it was not stored, it was stored by a layer without this setting, or its body is still being
/// made, which may add tags. Each purge also purges `~any`. So an invalidation reaches each copy downstream. A copy with
/// `~any` is also purged by invalidations that do not concern it, and the response that replaces it usually has its own
/// keys.
///
/// The keys of a response are stored with it. [`prefix`](Self::prefix), field and separator are not, so they may change
/// with a release; a purger with another prefix does not reach copies that were made before.
#[derive(Debug, Clone)]
#[must_use]
pub struct SurrogateKeys {
    pub(crate) field: HeaderName,
    pub(crate) separator: char,
    prefix: Arc<str>,
    pub(crate) max_len: usize,
    pub(crate) only_if: Conditions,
}

impl SurrogateKeys {
    /// Writes `Surrogate-Key`, separated by spaces, for Fastly, and for Varnish with its module xkey.
    pub fn surrogate_key() -> Self {
        Self::space_separated(HeaderName::from_static("surrogate-key"))
    }

    /// Writes `Cache-Tag`, separated by commas, for Cloudflare and others.
    pub fn cache_tag() -> Self {
        Self::comma_separated(HeaderName::from_static("cache-tag"))
    }

    /// Writes another field, with a space between two keys.
    pub fn space_separated(field: HeaderName) -> Self {
        Self::with(field, ' ')
    }

    /// Writes another field, with a comma between two keys.
    pub fn comma_separated(field: HeaderName) -> Self {
        Self::with(field, ',')
    }

    /// `separator` has to be a character that is encoded in keys.
    fn with(field: HeaderName, separator: char) -> Self {
        Self {
            field,
            separator,
            prefix: "".into(),
            max_len: 4096,
            only_if: Conditions::default(),
        }
    }

    /// Sets the text that every key begins with, so that applications behind one CDN do not purge each other's
    /// responses. It is encoded like a tag. Default: none.
    pub fn prefix(mut self, prefix: &str) -> Self {
        let mut encoded = String::with_capacity(prefix.len());
        encode(prefix, &mut encoded);
        self.prefix = encoded.into();
        self
    }

    /// Sets the maximum length of the field's value in bytes, including what the handler has written there. What does not
    /// fit is left out, and [the response gets the key `~any`](Self#what-does-not-fit-and-what-is-not-known), for which
    /// there is always room. Default: 4,096, since many proxies limit the head of a response to 8 KiB. Fastly and
    /// Cloudflare take 16,384.
    pub fn max_len(mut self, bytes: usize) -> Self {
        self.max_len = bytes;
        self
    }

    /// Sends the field only in answers to requests for which `condition` is true, such as those of a CDN, and removes it
    /// from others, also if the handler has written it. If this is called several times, one of the conditions suffices.
    /// Default: the field is sent to all.
    ///
    /// `condition` sees the host and the path in their [normal spelling](crate::UrlKey). On a nested router, the URI is the
    /// [rest of the path](crate::CacheLayer::tags_by).
    ///
    /// A client can set any field, so the condition protects nothing unless it checks a secret: the field tells the names
    /// of your tags. Nor does it vary by anything: what is between the CDN and browsers should remove the field itself, as
    /// CDNs do.
    ///
    /// ```
    /// use cache_axum::SurrogateKeys;
    /// use subtle::ConstantTimeEq;
    ///
    /// let keys = SurrogateKeys::surrogate_key().only_if(|request| {
    ///     let given = request.headers.get("x-from-cdn");
    ///     given.is_some_and(|given| given.as_bytes().ct_eq(b"a-long-random-text").into())
    /// });
    /// # let _ = keys;
    /// ```
    pub fn only_if(mut self, condition: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.only_if.add(condition);
        self
    }

    /// Returns the name of the field.
    #[must_use]
    pub fn field(&self) -> &HeaderName {
        &self.field
    }

    /// Returns the key that purges what an invalidation concerns, with the prefix. For a
    /// [`Purger`](cache_engine::Purger), which also purges [`any_key`](Self::any_key).
    ///
    /// ```
    /// use cache_axum::SurrogateKeys;
    /// use cache_axum::cache_engine::InvalidationTarget;
    ///
    /// let keys = SurrogateKeys::surrogate_key().prefix("shop/");
    /// assert_eq!(keys.key(&InvalidationTarget::Tag("item:42".into())), "shop/item:42");
    /// assert_eq!(keys.key(&InvalidationTarget::Tag("très cher".into())), "shop/tr%C3%A8s%20cher");
    /// assert_eq!(keys.key(&InvalidationTarget::Everything), "shop/~all");
    /// ```
    #[must_use]
    pub fn key(&self, target: &InvalidationTarget) -> String {
        let mut key = self.prefix.to_string();
        match target {
            InvalidationTarget::Tag(tag) => push_tag(tag, &mut key),
            InvalidationTarget::Key(of) => push_key(of, &mut key),
            InvalidationTarget::Namespace(namespace) => push_namespace(namespace.name(), &mut key),
            // Everything reaches what any newer kind of target can name.
            _ => key.push_str(ALL),
        }
        key
    }

    /// Returns the key of responses that may carry any tag, with the prefix. Each purge includes it.
    #[must_use]
    pub fn any_key(&self) -> String {
        format!("{}{ANY}", self.prefix)
    }

    /// Writes the keys of a response, which are `keys` as [`keys_of`] returns them, or not known.
    pub(crate) fn write(&self, headers: &mut HeaderMap, keys: Option<&str>) {
        let mut value = Vec::new();
        for line in headers.get_all(&self.field) {
            self.separate(&mut value);
            value.extend_from_slice(line.as_bytes());
        }
        match keys {
            Some(keys) => {
                // There has to be room for one more key until the last one is written.
                let reserved = 1 + self.prefix.len() + ANY.len();
                let mut keys = keys.split(' ').chain([ALL]).peekable();
                while let Some(key) = keys.next() {
                    let len = value.len() + usize::from(!value.is_empty()) + self.prefix.len() + key.len();
                    let needed = if keys.peek().is_some() { len + reserved } else { len };
                    if needed > self.max_len {
                        self.push(&mut value, ANY);
                        break;
                    }
                    self.push(&mut value, key);
                }
            }
            None => self.push(&mut value, ANY),
        }
        // Keys are printable, and lines of the handler were values before.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(&self.field, value);
        }
    }

    fn push(&self, value: &mut Vec<u8>, key: &str) {
        self.separate(value);
        value.extend_from_slice(self.prefix.as_bytes());
        value.extend_from_slice(key.as_bytes());
    }

    fn separate(&self, value: &mut Vec<u8>) {
        if !value.is_empty() {
            value.push(self.separator as u8);
        }
    }
}

/// Returns the keys of an entry, separated by spaces: those of its tags, of the key by which requests find it, of its own
/// key, and of the namespaces that these are in.
pub(crate) fn keys_of(primary: &Key, own: &Key, tags: &[String]) -> Box<str> {
    let mut keys = String::new();
    push_key(primary, &mut keys);
    if own != primary {
        keys.push(' ');
        push_key(own, &mut keys);
    }
    keys.push(' ');
    push_namespace(primary.namespace_name(), &mut keys);
    if own.namespace_name() != primary.namespace_name() {
        keys.push(' ');
        push_namespace(own.namespace_name(), &mut keys);
    }
    for tag in tags {
        keys.push(' ');
        push_tag(tag, &mut keys);
    }
    keys.into()
}

fn push_tag(tag: &str, key: &mut String) {
    push_name(tag, "~tag:", key);
    if tag.is_empty() {
        // It is a tag like any other, but an empty key would be none.
        key.push_str("~tag:");
    }
}

fn push_namespace(name: &str, key: &mut String) {
    key.push_str("~ns:");
    push_name(name, "", key);
}

fn push_key(of: &Key, key: &mut String) {
    key.push_str("~key:");
    let text = [of.as_str().as_bytes(), of.identity()].join(&0);
    key.push_str(&content_digest(&text));
}

/// Writes a name in its encoded form, or as a digest after `mark` if that is too long.
fn push_name(name: &str, mark: &str, key: &mut String) {
    let start = key.len();
    encode(name, key);
    if key.len() - start > LONGEST_TAG {
        key.truncate(start);
        key.push_str(mark);
        key.push_str(&content_digest(name.as_bytes()));
    }
}

fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'.' | b'_' | b':' | b'/' | b'@' | b'=' | b'+' | b'!' | b'$' | b'&' | b'*' => {
                out.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            byte => drop(write!(out, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use cache_engine::InvalidationTarget;
    use cache_engine::cache_core::Prefix;
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::{LONGEST_TAG, SurrogateKeys, keys_of};

    fn kinds() -> [SurrogateKeys; 2] {
        [SurrogateKeys::surrogate_key(), SurrogateKeys::cache_tag()].map(|keys| keys.prefix("my shop/"))
    }

    fn written(keys: &SurrogateKeys, stored: Option<&str>) -> HashSet<String> {
        let mut headers = HeaderMap::new();
        keys.write(&mut headers, stored);
        let lines = headers.get_all(keys.field()).iter();
        let lines: Vec<_> = lines.map(|line| line.to_str().unwrap().to_owned()).collect();
        assert_eq!(lines.len(), 1, "caches read one line");
        lines[0].split(keys.separator).map(str::to_owned).collect()
    }

    proptest! {
        /// An invalidation of a tag reaches each response that has it, however few keys fit.
        #[test]
        fn each_tag_of_a_response_purges_it(
            tags in prop::collection::vec(any::<String>(), 0..20),
            max_len in 0_usize..600,
        ) {
            let key = Prefix::new("p").namespace("pages").key("GET /");
            let stored = keys_of(&key, &key, &tags);
            let mut targets: Vec<_> = tags.into_iter().map(|tag| InvalidationTarget::Tag(tag.into())).collect();
            targets.push(InvalidationTarget::Everything);
            targets.push(InvalidationTarget::Namespace(key.namespace()));
            targets.push(InvalidationTarget::Key(key));
            for keys in kinds() {
                let keys = keys.max_len(max_len);
                let written = written(&keys, Some(&stored));
                for target in &targets {
                    let purged = [keys.key(target), keys.any_key()];
                    prop_assert!(purged.iter().any(|key| written.contains(key)), "{target:?}: {written:?}");
                }
                let len = written.iter().map(|key| key.len() + 1).sum::<usize>() - 1;
                prop_assert!(len <= max_len || written.len() == 1, "{len} bytes: {written:?}");
            }
        }

        /// Different tags have different keys, of printable characters, and none is one of our own.
        #[test]
        fn tags_are_told_apart(one: String, other: String, long in any::<bool>()) {
            let keys = SurrogateKeys::cache_tag();
            let pad = if long { "x".repeat(LONGEST_TAG) } else { String::new() };
            let [one, other] = [one, other].map(|tag| format!("{pad}{tag}"));
            let key = |tag: &str| keys.key(&InvalidationTarget::Tag(tag.into()));
            prop_assert_eq!(key(&one) == key(&other), one == other);
            prop_assert!(key(&one).bytes().all(|byte| byte.is_ascii_graphic() && byte != b',' && byte != b'"'));
            prop_assert!(!key(&one).is_empty() && key(&one) != keys.any_key());
            prop_assert_ne!(key(&one), keys.key(&InvalidationTarget::Everything));
        }
    }

    #[test]
    fn what_is_not_known_is_purged_by_everything() {
        for keys in kinds() {
            assert_eq!(written(&keys, None), HashSet::from([keys.any_key()]));
        }
    }

    #[test]
    fn the_handlers_own_keys_come_first() {
        let keys = SurrogateKeys::cache_tag();
        let mut headers = HeaderMap::new();
        for line in ["hand,made", "more"] {
            headers.append(keys.field(), HeaderValue::from_static(line));
        }
        keys.write(&mut headers, Some("item:42"));
        assert_eq!(headers[keys.field()], "hand,made,more,item:42,~all");
        assert_eq!(headers.get_all(keys.field()).iter().count(), 1);
    }
}
