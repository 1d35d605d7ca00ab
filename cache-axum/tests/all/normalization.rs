//! Which requests select the same one of the responses that vary by `Accept-Encoding` or `Accept-Language`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{app, get_with, layer};
use cache_axum::CacheLayer;
use cache_axum::cache_http::{Normalization, Preference};

/// Whether two values of a field select the same answer.
async fn are_one(layer: CacheLayer, field: &'static str, one: &str, other: &str) -> bool {
    let (app, calls) = app(layer, move |_, _| ([("vary", field)], "…"));
    get_with(&app, "/", &[(field, one)]).await;
    get_with(&app, "/", &[(field, other)]).await;
    calls.count() == 1
}

#[tokio::test]
async fn spellings_of_one_preference_are_one() {
    for (one, other, expected) in [
        ("gzip, br", "br,gzip", true),
        ("gzip;q=0.5, br", "BR;q=1, gzip;q=0.50", true),
        ("gzip", "br", false),
        ("gzip, br", "gzip, br;q=0.9", false),
    ] {
        assert_eq!(
            are_one(layer(), "accept-encoding", one, other).await,
            expected,
            "{one} {other}"
        );
    }
}

#[tokio::test]
async fn languages_of_one_quality_are_told_apart_by_their_order() {
    use axum::Router;
    use axum::response::IntoResponse;
    let first = |request: axum::extract::Request| async move {
        let asked = request.headers()["accept-language"].to_str().unwrap().to_owned();
        let first = asked.split([',', ';']).next().unwrap_or_default().to_ascii_lowercase();
        ([("vary", "accept-language")], first).into_response()
    };
    let app = Router::new().fallback(first).layer(layer());
    for (asked, x_cache, language) in [
        ("de, en", "MISS", "de"),
        ("en, de", "MISS", "en"),
        ("DE,en;q=1.0", "HIT", "de"),
        ("en;q=x, de", "MISS", "en"),
    ] {
        let reply = get_with(&app, "/", &[("accept-language", asked)]).await;
        assert_eq!((reply.x_cache(), reply.text()), (x_cache, language), "{asked}");
    }
}

#[tokio::test]
async fn where_the_forms_are_known_the_best_of_them_selects() {
    let known = || {
        let mut normalization = Normalization::by_quality();
        normalization.accept_encoding = Some(Preference::OneOf(vec!["br".into(), "gzip".into()]));
        normalization.accept_language = Some(Preference::OneOf(vec!["de".into(), "en".into()]));
        layer().normalization(normalization)
    };
    for (field, one, other, expected) in [
        ("accept-encoding", "gzip, deflate, br, zstd", "br", true),
        ("accept-encoding", "gzip, br", "gzip", false),
        ("accept-encoding", "zstd", "identity", true),
        ("accept-language", "de-AT, de;q=0.9, en;q=0.8", "de", true),
        ("accept-language", "fr;q=0.5, de;q=1.0", "de, it", true),
        ("accept-language", "en-GB", "de", false),
    ] {
        assert_eq!(
            are_one(known(), field, one, other).await,
            expected,
            "{field}: {one} {other}"
        );
    }
}

#[tokio::test]
async fn other_fields_are_compared_as_they_are() {
    assert!(!are_one(layer(), "x-device", "phone", "PHONE").await);
    assert!(are_one(layer(), "x-device", "a, b", "a,b").await);
}
