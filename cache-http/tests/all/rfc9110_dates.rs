//! RFC 9110, section 5.6.7, and RFC 9111, section 4.2: dates.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{NOW, headers};
use cache_core::Timestamp;
use cache_http::{Lifetime, Policy, format_date, parse_date};
use http::StatusCode;
use proptest::prelude::*;

const EXAMPLE: Timestamp = Timestamp::from_millis(784_111_777_000);

#[test]
fn the_three_formats_in_any_case() {
    for text in [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "sun, 06 nov 1994 08:49:37 gmt",
        "SUN, 06 NOV 1994 08:49:37 GMT",
        "sUN, 06 nOV 1994 08:49:37 gMT",
        "SUNDAY, 06-NOV-94 08:49:37 GMT",
        "sunday, 06-nov-94 08:49:37 Gmt",
        "SUN NOV  6 08:49:37 1994",
        "  Sun, 06 Nov 1994 08:49:37 GMT  ",
    ] {
        assert_eq!(parse_date(text.as_bytes()), Some(EXAMPLE), "{text}");
    }
}

#[test]
fn nothing_else_is_a_date() {
    for text in [
        "",
        "0",
        "-1",
        "784111777",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 AEST",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun,  06 Nov 1994 08:49:37 GMT",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sün, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT and some more text",
    ] {
        assert_eq!(parse_date(text.as_bytes()), None, "{text}");
    }
    assert_eq!(parse_date(b"Sun, 06 Nov 1994 08:49:37 GM\xff"), None);
}

#[test]
fn rfc_9111_section_4_2_expires_in_an_obsolete_form_or_another_case_is_fresh() {
    for text in [
        "Friday, 15-Nov-30 00:00:00 GMT",
        "Fri Nov 15 00:00:00 2030",
        "fri, 15 nov 2030 00:00:00 gmt",
    ] {
        let lifetime = Lifetime::from_response(
            &Policy::shared(),
            StatusCode::OK,
            &headers(&[("expires", text)]),
            NOW,
            NOW,
        );
        assert!(lifetime.is_fresh(NOW), "{text}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_parsing_panic(bytes: Vec<u8>) {
        let _ = parse_date(&bytes);
    }

    #[test]
    fn what_is_written_is_read_in_any_case(seconds in 0_u64..253_402_300_800, upper: bool) {
        let time = Timestamp::from_millis(seconds * 1000);
        let text = format_date(time).to_str().unwrap().to_owned();
        let text = if upper { text.to_uppercase() } else { text.to_lowercase() };
        prop_assert_eq!(parse_date(text.as_bytes()), Some(time));
    }
}
