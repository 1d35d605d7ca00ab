//! RFC 9112, section 6.3, and RFC 9113, section 8.1: framing decides whether a request has content.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::headers;
use cache_http::Framing;
use http::Version;

#[test]
fn framing_decides_whether_a_request_has_content() {
    for (version, lines, expected) in [
        (Version::HTTP_10, &[][..], Framing::Empty),
        (Version::HTTP_11, &[], Framing::Empty),
        (Version::HTTP_2, &[], Framing::Unknown),
        (Version::HTTP_3, &[], Framing::Unknown),
        (Version::HTTP_11, &[("content-length", "0")], Framing::Empty),
        (Version::HTTP_2, &[("content-length", "0")], Framing::Empty),
        (Version::HTTP_11, &[("content-length", "00")], Framing::Empty),
        (Version::HTTP_11, &[("content-length", "1")], Framing::Content),
        (Version::HTTP_2, &[("content-length", "1")], Framing::Content),
        (Version::HTTP_11, &[("transfer-encoding", "chunked")], Framing::Unknown),
        // `Transfer-Encoding` overrides `Content-Length`.
        (
            Version::HTTP_11,
            &[("transfer-encoding", "chunked"), ("content-length", "0")],
            Framing::Unknown,
        ),
        // What cannot be read may be content.
        (Version::HTTP_11, &[("content-length", "")], Framing::Content),
        (Version::HTTP_11, &[("content-length", "0, 5")], Framing::Content),
        (
            Version::HTTP_11,
            &[("content-length", "0"), ("content-length", "5")],
            Framing::Content,
        ),
    ] {
        assert_eq!(
            Framing::from_request(version, &headers(lines)),
            expected,
            "{version:?} {lines:?}"
        );
    }
}
