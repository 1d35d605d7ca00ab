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
        ("identity", "identity"),
        ("identity, gzip;q=0.5", "identity"),
        ("identity, gzip", "gzip"),
        ("gzip;q=0", "identity"),
        ("zstd", "identity"),
        ("", "identity"),
        ("*;q=0", "identity"),
        ("GZIP", "gzip"),
    ] {
        assert_eq!(encoding(line), format!("accept-encoding={expected}"), "{line}");
    }
    assert_eq!(key_with(&normalization, "accept-encoding", &[]), "accept-encoding");
    let language = |line: &str| key_with(&normalization, "accept-language", &[line]);
    assert_eq!(language("de, en;q=0.5"), "accept-language=de-AT");
    assert_eq!(language("de;q=0.4, en;q=0.5"), "accept-language=en");
    assert_eq!(language("de-at;q=0, de, en;q=0.1"), "accept-language=en");
    assert_eq!(language("fr"), "accept-language");
}

/// RFC 4647, sections 3.3.1 and 3.4.
#[test]
fn languages_are_found_by_filtering_and_by_lookup() {
    let chosen = |names: &[&str], line: &str| {
        let mut normalization = Normalization::default();
        let names = names.iter().map(|&name| name.to_owned()).collect();
        normalization.accept_language = Some(Preference::OneOf(names));
        let mut request = HeaderMap::new();
        request.insert("accept-language", HeaderValue::from_str(line).unwrap());
        normalization.choose(&mut request);
        request
            .get("accept-language")
            .map(|value| value.to_str().unwrap().to_owned())
    };
    for (names, line, expected) in [
        (&["en", "de"][..], "en-GB, de;q=0.3", Some("en")),
        (&["en", "de"], "de-AT, en;q=0.5", Some("de")),
        (&["en", "de"], "de-AT", Some("de")),
        (&["en", "de"], "fr", None),
        (&["en", "de"], "de, en-GB", Some("de")),
        (&["en", "de"], "en-GB, en;q=0, de;q=0.1", Some("de")),
        (&["en", "de"], "en-GB;q=0, *", Some("en")),
        (&["en", "de"], "en-GB;q=0.1, *;q=0.8", Some("de")),
        (&["en", "de"], "*", Some("en")),
        (&["en", "de"], "eng", None),
        (&["en-US", "en-GB"], "en", Some("en-US")),
        (&["en-US", "en-GB"], "en, en-gb", Some("en-GB")),
        (&["en-GB", "en-US", "en"], "en", Some("en")),
        (&["en", "en-GB"], "en-GB-oed", Some("en-GB")),
        (&["zh", "zh-Hant"], "zh-Hant-CN-x-private1", Some("zh-Hant")),
        (&["*", "", "a b", "de"], "*", Some("de")),
    ] {
        assert_eq!(chosen(names, line).as_deref(), expected, "{names:?}: {line}");
    }
}

#[test]
fn a_response_says_whether_it_is_what_was_chosen() {
    let names = |names: &[&str]| Some(Preference::OneOf(names.iter().map(|&name| name.to_owned()).collect()));
    let mut normalization = Normalization::default();
    normalization.accept_encoding = names(&["br", "gzip"]);
    normalization.accept_language = names(&["en-GB", "de"]);
    let headers = |name: &'static str, value: &str| {
        let mut headers = HeaderMap::new();
        if !value.is_empty() {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    };
    let fits = |kind: &str, asked: &str, declared: &str| {
        let (asks, declares) = match kind {
            "language" => ("accept-language", "content-language"),
            _ => ("accept-encoding", "content-encoding"),
        };
        let fields = [HeaderName::from_static(asks)];
        let (request, response) = (headers(asks, asked), headers(declares, declared));
        let is_as_chosen = normalization.is_as_chosen(&fields, &request, &response);
        // The controls: a response that does not vary by the field, and a field without a list of names.
        assert!(normalization.is_as_chosen(&[], &request, &response));
        assert!(Normalization::by_quality().is_as_chosen(&fields, &request, &response));
        is_as_chosen
    };
    for (kind, asked, declared, expected) in [
        ("encoding", "gzip", "gzip", true),
        ("encoding", "gzip", "X-GZip", true),
        ("encoding", "gzip", "", true),
        ("encoding", "gzip", "identity", true),
        ("encoding", "gzip", "br", false),
        ("encoding", "gzip", "gzip, br", false),
        ("encoding", "zstd", "zstd", false),
        ("encoding", "zstd", "", true),
        ("encoding", "*", "br", true),
        ("encoding", "*", "gzip", false),
        // Such a request accepts every coding, and is answered as it is.
        ("encoding", "", "zstd", true),
        ("language", "en", "en-GB", true),
        ("language", "en", "en", true),
        ("language", "en", "en-GB-oed", true),
        ("language", "en", "de", false),
        ("language", "en", "de, en-GB", true),
        ("language", "en", "", true),
        ("language", "fr", "de", true),
        ("language", "", "fr", true),
        ("language", "*", "en-GB", true),
        ("language", "*", "de", false),
    ] {
        assert_eq!(fits(kind, asked, declared), expected, "{kind}: {asked} {declared}");
    }
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

    /// So a request that was rewritten selects the variant of the request that it was.
    #[test]
    fn choosing_is_idempotent_and_selects_the_same_variant(
        lines in prop::collection::vec("[a-cA*;, q=.0-]{0,12}|(de|en|\\*|en-GB|identity|gzip)(;q=0(\\.[0-9])?)?(, ?(de-AT|EN-gb|br|\\*)(;q=0\\.[0-9])?)?", 0..3),
        names in prop::collection::vec("[a-cA](-[a-c]{1,2})?|identity|Identity|en-GB|en|de|gzip|br|\\*|", 0..4),
    ) {
        let mut normalization = Normalization::default();
        normalization.accept_encoding = Some(Preference::OneOf(names.clone()));
        normalization.accept_language = Some(Preference::OneOf(names));
        let fields = ["accept-encoding", "accept-language"].map(HeaderName::from_static);
        let mut request = HeaderMap::new();
        for name in &fields {
            for line in &lines {
                request.append(name, HeaderValue::from_str(line).unwrap());
            }
        }
        let mut chosen = request.clone();
        normalization.choose(&mut chosen);
        for field in &fields {
            let key = |request| variant_key(std::slice::from_ref(field), request, &normalization);
            prop_assert_eq!(key(&request), key(&chosen));
        }
        let mut again = chosen.clone();
        normalization.choose(&mut again);
        prop_assert_eq!(again, chosen);
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
