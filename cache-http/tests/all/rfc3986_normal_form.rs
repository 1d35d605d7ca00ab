//! RFC 3986, section 6.2.2, and RFC 9110, section 4.2.3: one normal form of a URI.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::headers;
use cache_http::{HostConflict, normal_authority, normal_path, target_authority};
use http::Uri;
use http::uri::Scheme;
use proptest::prelude::*;

#[test]
fn section_6_2_2_1_and_2_what_is_equivalent_has_one_form() {
    for (text, normal) in [
        ("/items/%31", "/items/1"),
        ("/%7Euser", "/~user"),
        ("/%7euser", "/~user"),
        ("/%41%42%2d%2E%5f", "/AB-._"),
        ("/%c3%a9", "/%C3%A9"),
        ("/%C3%A9", "/%C3%A9"),
        ("/a%2fb", "/a%2Fb"),
        ("/a?q=%61%3db&x=%20", "/a?q=a%3Db&x=%20"),
        ("/", "/"),
        ("", ""),
    ] {
        assert_eq!(normal_path(text), normal, "{text}");
    }
}

#[test]
fn rfc_3987_section_3_1_what_no_uri_can_contain_is_encoded() {
    for (text, normal) in [
        ("/café", "/caf%C3%A9"),
        ("/é", "/%C3%A9"),
        ("/日本?q=é", "/%E6%97%A5%E6%9C%AC?q=%C3%A9"),
        ("/a b", "/a%20b"),
        ("/\"<>\\^`{|}", "/%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("/?q={a}|[b]", "/?q=%7Ba%7D%7C[b]"),
        ("/\u{7f}", "/%7F"),
        ("/é%c3%a9%7e", "/%C3%A9%C3%A9~"),
    ] {
        assert_eq!(normal_path(text), normal, "{text}");
        assert_eq!(normal_path(normal), normal, "{text}");
    }
}

#[test]
fn what_a_handler_can_tell_apart_stays_apart() {
    for (one, other) in [
        ("/a%2Fb", "/a/b"),
        ("/a%3Fb", "/a?b"),
        ("/a%2Bb", "/a+b"),
        ("/a%20b", "/a+b"),
        ("/a%2525", "/a%25"),
        ("/a//b", "/a/b"),
        ("/a/", "/a"),
        ("/A", "/a"),
        ("/a/./b", "/a/b"),
        ("/a;b", "/a%3Bb"),
    ] {
        assert_ne!(normal_path(one), normal_path(other), "{one} {other}");
    }
}

#[test]
fn a_percent_sign_that_begins_no_encoding_is_encoded() {
    for (text, normal) in [
        ("/%", "/%25"),
        ("/%4", "/%254"),
        ("/%zz", "/%25zz"),
        ("/%4g1", "/%254g1"),
        ("/100%", "/100%25"),
        ("/%%31", "/%251"),
        ("/%a%30", "/%25a0"),
    ] {
        assert_eq!(normal_path(text), normal, "{text}");
    }
}

#[test]
fn rfc_9110_section_4_2_3_default_ports_and_final_dots_make_no_difference() {
    let http = Some(Scheme::HTTP);
    let https = Some(Scheme::HTTPS);
    for (authority, scheme, normal) in [
        ("Example.COM", &None, "example.com"),
        ("example.com.", &None, "example.com"),
        ("example.com:", &None, "example.com"),
        ("example.com:80", &None, "example.com"),
        ("example.com:443", &None, "example.com"),
        ("example.com:8080", &None, "example.com:8080"),
        ("example.com.:8080", &None, "example.com:8080"),
        ("example.com.:80", &http, "example.com"),
        ("example.com:80", &http, "example.com"),
        ("example.com:443", &http, "example.com:443"),
        ("example.com:443", &https, "example.com"),
        ("example.com:80", &https, "example.com:80"),
        ("[::1]:80", &http, "[::1]"),
        ("[::80]", &http, "[::80]"),
        ("[FE80::1]:8080", &http, "[fe80::1]:8080"),
        ("", &None, ""),
        (".", &None, "."),
    ] {
        let found = normal_authority(authority.as_bytes(), scheme.as_ref());
        assert_eq!(String::from_utf8_lossy(&found), normal, "{authority} {scheme:?}");
    }
}

#[test]
fn a_host_conflicts_only_with_another_host() {
    for (uri, hosts, expected) in [
        ("http://example.com/", &["example.com"][..], Ok("example.com")),
        ("http://example.com:80/", &["example.com"], Ok("example.com:80")),
        ("https://example.com/", &["EXAMPLE.com.:443"], Ok("example.com")),
        ("http://example.com/", &[], Ok("example.com")),
        ("/", &["example.com"], Ok("example.com")),
        ("/", &[], Ok("")),
        ("https://example.com/", &["example.com:80"], Err(HostConflict::Differs)),
        ("http://example.com/", &["example.org"], Err(HostConflict::Differs)),
        ("http://example.com/", &["example.com:8080"], Err(HostConflict::Differs)),
        ("/", &["example.com", "example.com"], Err(HostConflict::Several)),
    ] {
        let lines: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        let headers = headers(&lines);
        let uri: Uri = uri.parse().unwrap();
        let found = target_authority(&uri, &headers).map(|authority| std::str::from_utf8(authority).unwrap());
        assert_eq!(found, expected, "{uri} {hosts:?}");
    }
}

/// A path, and the same path with some unreserved characters encoded in either case.
fn spellings() -> impl Strategy<Value = (String, String)> {
    let piece = prop_oneof![
        ("[a-zA-Z0-9._~-]", 0..3_u8).prop_map(|(char, spelling)| {
            let byte = char.as_bytes()[0];
            let other = match spelling {
                0 => char.clone(),
                1 => format!("%{byte:02X}"),
                _ => format!("%{byte:02x}"),
            };
            (char, other)
        }),
        "[/;=+&:@!$'()*,]".prop_map(|char| (char.clone(), char)),
        any::<u8>()
            .prop_filter("reserved", |byte| !byte.is_ascii_alphanumeric()
                && !b"-._~".contains(byte))
            .prop_map(|byte| (format!("%{byte:02X}"), format!("%{byte:02x}"))),
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.into_iter().unzip::<String, String, String, String>())
}

proptest! {
    #[test]
    fn all_spellings_have_one_normal_form((canonical, spelled) in spellings()) {
        prop_assert_eq!(normal_path(&spelled), normal_path(&canonical));
        prop_assert_eq!(normal_path(&canonical), canonical.as_str());
    }

    #[test]
    fn the_normal_form_of_a_normal_form_is_itself(text in "[%a-fA-F0-9/~?é{ ]{0,20}") {
        let normal = normal_path(&text).into_owned();
        prop_assert_eq!(normal_path(&normal), normal.as_str());
    }

    #[test]
    fn no_bytes_make_an_authority_panic(bytes: Vec<u8>) {
        let normal = normal_authority(&bytes, None).into_owned();
        prop_assert!(normal.len() <= bytes.len());
    }
}
