//! RFC 9111, section 4.4: what a request that changes something makes invalid.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::headers;
use cache_http::{invalidated_targets, invalidated_uris, is_content_of_target};
use http::{Method, StatusCode, Uri};
use proptest::prelude::*;

const TARGET: &str = "https://example.com/a/b?c";

fn invalidated(target: &str, lines: &[(&str, &str)]) -> Vec<String> {
    let target: Uri = target.parse().unwrap();
    let uris = invalidated_uris(&Method::POST, &target, StatusCode::OK, &headers(lines));
    assert_eq!(uris[0], target);
    uris[1..].iter().map(ToString::to_string).collect()
}

#[test]
fn unsafe_methods_that_succeed_invalidate_their_target() {
    let target: Uri = TARGET.parse().unwrap();
    let extension = |name: &str| Method::from_bytes(name.as_bytes()).unwrap();
    for (method, status, expected) in [
        (Method::POST, 200, true),
        (Method::PUT, 204, true),
        (Method::DELETE, 303, true),
        (Method::PATCH, 200, true),
        (extension("M-SEARCH"), 200, true),
        (Method::PUT, 400, false),
        (Method::PUT, 500, false),
        (Method::GET, 200, false),
        (Method::HEAD, 200, false),
        (Method::OPTIONS, 200, false),
        (Method::TRACE, 200, false),
        (extension("QUERY"), 200, false),
        (extension("PROPFIND"), 207, false),
        (extension("REPORT"), 200, false),
        (extension("SEARCH"), 200, false),
        // Names are case-sensitive, and what IANA does not call safe is not.
        (extension("query"), 200, true),
        (extension("PROPPATCH"), 207, true),
        (extension("LOCK"), 200, true),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let uris = invalidated_uris(&method, &target, status, &headers(&[("location", "/x")]));
        assert_eq!(!uris.is_empty(), expected, "{method} {status}");
    }
}

#[test]
fn location_and_content_location_of_the_same_origin() {
    for (reference, expected) in [
        ("/x", Some("https://example.com/x")),
        ("x?y", Some("https://example.com/a/x?y")),
        ("?y", Some("https://example.com/a/b?y")),
        ("../x", Some("https://example.com/x")),
        ("../../../x/./y/..", Some("https://example.com/x/")),
        ("x#fragment", Some("https://example.com/a/x")),
        ("https://example.com/x", Some("https://example.com/x")),
        ("https://EXAMPLE.com:443/x", Some("https://EXAMPLE.com:443/x")),
        ("//example.com/x", Some("https://example.com/x")),
        // Characters that a URI cannot contain.
        ("/ä", Some("https://example.com/%C3%A4")),
        ("ä b?{c}", Some("https://example.com/a/%C3%A4%20b?%7Bc%7D")),
        ("https://example.com/ä", Some("https://example.com/%C3%A4")),
        // The target itself.
        ("", None),
        ("b?c", None),
        // Another origin.
        ("http://example.com/x", None),
        ("https://example.com:8443/x", None),
        ("https://evil.example/x", None),
        ("//evil.example/x", None),
        ("https://example.com.evil.example/x", None),
        // No URI of ours.
        ("mailto:someone@example.com", None),
        ("https://", None),
    ] {
        for name in ["location", "content-location"] {
            let uris = invalidated(TARGET, &[(name, reference)]);
            assert_eq!(uris.first().map(String::as_str), expected, "{name}: {reference}");
        }
    }
    let both = invalidated(TARGET, &[("location", "/x"), ("content-location", "/y")]);
    assert_eq!(both, ["https://example.com/x", "https://example.com/y"]);
}

#[test]
fn a_target_in_origin_form_knows_only_its_own_paths() {
    assert_eq!(invalidated("/a/b", &[("location", "c")]), ["/a/c"]);
    assert!(invalidated("/a/b", &[("location", "https://example.com/c")]).is_empty());
}

#[test]
fn rfc_9110_section_9_3_3_an_answer_to_post_that_is_the_target_s_content() {
    let target: Uri = TARGET.parse().unwrap();
    for (lines, expected) in [
        (&[("content-location", "")][..], true),
        (&[("content-location", "/a/b?c")], true),
        (&[("content-location", TARGET)], true),
        (&[("content-location", "/a/b")], false),
        (&[("content-location", "https://evil.example/a/b?c")], false),
        (&[], false),
        (&[("content-location", ""), ("content-location", "")], false),
    ] {
        assert_eq!(is_content_of_target(&target, &headers(lines)), expected, "{lines:?}");
    }
}

#[test]
fn a_server_invalidates_references_to_its_host_whatever_their_scheme() {
    for (target, host, reference, expected) in [
        ("/a", Some("example.com"), "https://example.com/x", Some("/x")),
        ("/a", Some("example.com"), "http://example.com/x", Some("/x")),
        ("/a", Some("EXAMPLE.com."), "https://example.com:443/x", Some("/x")),
        ("/a", Some("example.com:8443"), "https://example.com:8443/x", Some("/x")),
        ("/a", Some("example.com"), "//example.com/x", Some("/x")),
        ("/a", None, "/x", Some("/x")),
        (
            "http://example.com/a",
            None,
            "https://example.com/x",
            Some("http://example.com/x"),
        ),
        (
            "http://example.com/a",
            Some("example.com"),
            "x?y",
            Some("http://example.com/x?y"),
        ),
        (
            "https://example.com/a",
            None,
            "http://example.com:80/x",
            Some("https://example.com/x"),
        ),
        // Another host or another port.
        ("/a", Some("example.com"), "https://evil.example/x", None),
        ("/a", Some("example.com"), "https://example.com:8443/x", None),
        ("/a", Some("example.com:8443"), "https://example.com/x", None),
        ("http://example.com/a", None, "http://example.com:443/x", None),
        ("/a", None, "https://example.com/x", None),
        // The target itself.
        ("/a", Some("example.com"), "https://example.com/a", None),
    ] {
        let mut request = headers(&[]);
        if let Some(host) = host {
            request.insert("host", host.parse().unwrap());
        }
        let uri: Uri = target.parse().unwrap();
        let response = headers(&[("location", reference)]);
        let uris = invalidated_targets(&Method::POST, &uri, &request, StatusCode::OK, &response);
        assert_eq!(uris[0], uri);
        let more = uris.get(1).map(ToString::to_string);
        assert_eq!(more.as_deref(), expected, "{target} {host:?} {reference}");
    }
    let uri = Uri::from_static("/a");
    assert!(invalidated_targets(&Method::GET, &uri, &headers(&[]), StatusCode::OK, &headers(&[])).is_empty());
    assert!(invalidated_targets(&Method::PUT, &uri, &headers(&[]), StatusCode::CONFLICT, &headers(&[])).is_empty());
}

proptest! {
    #[test]
    fn no_reference_makes_it_panic_or_leaves_the_origin(reference in "[a-z:/?#.@\\[\\]%0-9 é-]{0,30}") {
        for uri in invalidated(TARGET, &[("location", &reference)]) {
            let uri: Uri = uri.parse().unwrap();
            prop_assert_eq!((uri.scheme_str(), uri.host()), (Some("https"), Some("example.com")));
        }
    }
}
