//! RFC 9111, section 4.1: which variant a request selects.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::headers;
use cache_http::{Normalization, Preference, Vary, variant_key};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

fn key_with(normalization: &Normalization, name: &'static str, lines: &[&str]) -> String {
    let lines: Vec<(&str, &str)> = lines.iter().map(|line| (name, *line)).collect();
    variant_key(&[HeaderName::from_static(name)], &headers(&lines), normalization)
}

fn key(name: &'static str, lines: &[&str]) -> String {
    key_with(&Normalization::default(), name, lines)
}

#[test]
fn rfc_9110_section_12_5_5_vary() {
    let fields =
        |names: &[&'static str]| Vary::Fields(names.iter().map(|name| HeaderName::from_static(name)).collect());
    for (lines, expected) in [
        (&[][..], fields(&[])),
        (&[""], fields(&[])),
        (&["Accept"], fields(&["accept"])),
        (&["foo, Bar,, BAZ ,foo"], fields(&["bar", "baz", "foo"])),
        (&["b", "a"], fields(&["a", "b"])),
        (&["*"], Vary::Any),
        (&["*, *"], Vary::Any),
        (&["", "*"], Vary::Any),
        (&["foo, *"], Vary::Any),
        (&["*, foo"], Vary::Any),
        // Nobody can tell what this means, so no request is known to match.
        (&["foo bar"], Vary::Any),
    ] {
        assert_eq!(Vary::parse(lines), expected, "{lines:?}");
    }
    assert_eq!(Vary::named_fields(["*, foo"]), ["foo"]);
}

#[test]
fn section_4_1_requests_that_match_and_requests_that_do_not() {
    for (one, other, same) in [
        (&["1"][..], &["1"][..], true),
        (&["1"], &["2"], false),
        (&["1"], &[], false),
        (&[""], &[], false),
        (&[], &[], true),
        (&["1, 2"], &["1", "2"], true),
        (&["1,2"], &[" 1 ,  2 "], true),
        (&["1 2"], &["12"], false),
        (&["a=\"1, 2\""], &["a=\"1,2\""], false),
        (&["\" 1\" , 2"], &["\" 1\",2"], true),
        (&["A"], &["a"], false),
    ] {
        assert_eq!(
            key("x-select", one) == key("x-select", other),
            same,
            "{one:?} {other:?}"
        );
    }
    // What carries credentials is compared as it is.
    assert_ne!(key("authorization", &["a, b"]), key("authorization", &["a,b"]));
    assert_ne!(key("cookie", &["a=1, b"]), key("cookie", &["a=1,b"]));
    for name in ["authorization", "cookie", "proxy-authorization"] {
        assert_ne!(key(name, &["a=1", "b=2"]), key(name, &["a=1,b=2"]), "{name}");
        assert_ne!(key(name, &["a", ""]), key(name, &["a"]), "{name}");
    }
}

#[test]
fn rfc_9110_section_12_5_4_languages_by_quality_and_else_in_their_order() {
    let key = |line: &str| key_with(&Normalization::by_quality_and_order(), "accept-language", &[line]);
    assert_eq!(key("de, en"), "accept-language=de,en");
    for same in ["dE, En", " de ,   en", "de;q=1.0,en", "de,en,de", "de;Q=1, ,en;q=1.000"] {
        assert_eq!(key(same), key("de, en"), "{same}");
    }
    for other in ["en, de", "en", "de, en;q=0.5", "de, en, fr;q=0", ""] {
        assert_ne!(key(other), key("de, en"), "{other}");
    }
    assert_eq!(
        key("fr;q=0.5, de;q=1.0, *;q=0.100, en;q=0.5, es;q=0"),
        "accept-language=de,fr;q%3D0.5,en;q%3D0.5,*;q%3D0.1,es;q%3D0"
    );
}

#[test]
fn rfc_9110_section_12_5_4_languages_of_one_quality_have_no_order_to_rely_on() {
    let key = |line: &str| key_with(&Normalization::by_quality(), "accept-language", &[line]);
    assert_eq!(key("en, de"), key("de, en"));
    assert_ne!(key("en, de;q=0.9"), key("de, en;q=0.9"));
}

#[test]
fn rfc_9110_section_12_5_3_codings_by_quality_and_else_by_name() {
    let key = |line: &str| key_with(&Normalization::by_quality(), "accept-encoding", &[line]);
    for same in ["br, gzip", "gzip;q=1, BR", "gzip,br,gzip"] {
        assert_eq!(key(same), "accept-encoding=br,gzip", "{same}");
    }
    assert_ne!(key("gzip, br;q=0.9"), key("gzip, br"));
}

/// Servers may read these in different ways, so they are not taken for another field that one of the ways leads to.
#[test]
fn preferences_that_cannot_be_read_are_left_as_they_are() {
    let mut known = Normalization::default();
    known.accept_encoding = Some(Preference::OneOf(vec!["a".to_owned()]));
    known.accept_language = known.accept_encoding.clone();
    for normalization in [
        Normalization::by_quality(),
        Normalization::by_quality_and_order(),
        known,
    ] {
        for name in ["accept-encoding", "accept-language"] {
            let key = |line: &str| key_with(&normalization, name, &[line]);
            for (line, as_it_is) in [
                ("b, a;q=x", "b,a;q%3Dx"),
                ("a;q=0.0000", "a;q%3D0.0000"),
                ("a;q=1.1", "a;q%3D1.1"),
                ("a;q = 1", "a;q%20%3D%201"),
                ("a;level=1", "a;level%3D1"),
                ("a;q=1;q=0.1", "a;q%3D1;q%3D0.1"),
                ("a;", "a;"),
                ("b c, a", "b%20c,a"),
                ("a, a;q=0", "a,a;q%3D0"),
                (";q=1, a", ";q%3D1,a"),
            ] {
                assert_eq!(key(line), format!("{name}={as_it_is}"));
            }
        }
    }
}

#[test]
fn accept_encoding_by_what_there_is() {
    let names = |names: &[&str]| Some(Preference::OneOf(names.iter().map(|&name| name.to_owned()).collect()));
    let mut normalization = Normalization::default();
    normalization.accept_encoding = names(&["br", "gzip"]);
    normalization.accept_language = names(&["en", "de-AT"]);
    let encoding = |line: &str| key_with(&normalization, "accept-encoding", &[line]);
    for (line, expected) in [
        ("gzip, deflate, br", "br"),
        ("gzip, br;q=0.5", "gzip"),
        ("br;q=0, gzip;q=0.1", "gzip"),
        ("*", "br"),
        ("*;q=0.5, gzip", "gzip"),
        ("identity", ""),
        ("gzip;q=0", ""),
        ("GZIP", "gzip"),
    ] {
        assert_eq!(encoding(line), format!("accept-encoding={expected}"), "{line}");
    }
    assert_eq!(key_with(&normalization, "accept-encoding", &[]), "accept-encoding");
    let language = |line: &str| key_with(&normalization, "accept-language", &[line]);
    assert_eq!(language("de, en;q=0.5"), "accept-language=de-AT");
    assert_eq!(language("de;q=0.4, en;q=0.5"), "accept-language=en");
    assert_eq!(language("de-at;q=0, de, en;q=0.1"), "accept-language=en");
    assert_eq!(language("fr"), "accept-language=");
}

proptest! {
    // The key is the only thing between two variants: whatever the values, other values give another key.
    #[test]
    fn keys_are_equal_only_if_all_values_are(
        one in prop::array::uniform3(prop::option::of("[a=&%, ]{0,4}")),
        other in prop::array::uniform3(prop::option::of("[a=&%, ]{0,4}")),
    ) {
        // Compared as they are, so no normalisation stands between the values and the key.
        let fields = ["authorization", "cookie", "proxy-authorization"].map(HeaderName::from_static);
        let map = |values: &[Option<String>; 3]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields.iter().zip(values) {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_str(value).unwrap());
                }
            }
            headers
        };
        let trimmed = |values: &[Option<String>; 3]| values.clone().map(|value| value.map(|value| value.trim().to_owned()));
        let key = |values| variant_key(&fields, &map(values), &Normalization::default());
        prop_assert_eq!(key(&one) == key(&other), trimmed(&one) == trimmed(&other));
    }

    #[test]
    fn no_bytes_make_it_panic_and_keys_are_printable(bytes in prop::collection::vec(prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8], 0..40)) {
        let _ = Vary::parse([&bytes]);
        let mut request = HeaderMap::new();
        let fields = ["accept-encoding", "accept-language", "x-other"].map(HeaderName::from_static);
        for name in &fields {
            request.append(name, HeaderValue::from_bytes(&bytes).unwrap());
        }
        for normalization in [Normalization::default(), Normalization::by_quality()] {
            let key = variant_key(&fields, &request, &normalization);
            prop_assert!(key.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }

    #[test]
    fn normalising_a_normal_form_changes_nothing(value in "([a-c\" ,;=q01.]{0,16})") {
        let value = value.trim();
        let once = key("x-select", &[value]);
        let normal = once.strip_prefix("x-select=").unwrap().to_owned();
        let normal = normal.replace("%20", " ").replace("%22", "\"").replace("%3D", "=");
        prop_assert_eq!(key("x-select", &[&normal]), once);
    }
}
