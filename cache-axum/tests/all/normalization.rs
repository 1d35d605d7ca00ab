//! Which requests select the same one of the responses that vary by `Accept-Encoding` or `Accept-Language`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Calls, Reply, app, cache, get_with, idle, layer, request, send};
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use cache_axum::CacheLayer;
use cache_axum::cache_http::{Normalization, Preference};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use proptest::prelude::*;

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

const MINUTE: Duration = Duration::from_secs(60);

/// The rules for pages that exist in two codings and two languages.
fn known() -> Normalization {
    let mut normalization = Normalization::by_quality();
    normalization.accept_encoding = Some(Preference::OneOf(vec!["br".into(), "gzip".into()]));
    normalization.accept_language = Some(Preference::OneOf(vec!["en".into(), "de".into()]));
    normalization
}

#[tokio::test]
async fn where_the_forms_are_known_the_best_of_them_selects() {
    for (field, one, other, expected) in [
        ("accept-encoding", "gzip, deflate, br, zstd", "br", true),
        ("accept-encoding", "gzip, br", "gzip", false),
        ("accept-encoding", "zstd", "identity", true),
        ("accept-language", "de-AT, de;q=0.9, en;q=0.8", "de", true),
        ("accept-language", "fr;q=0.5, de;q=1.0", "de, it", true),
        ("accept-language", "en-GB", "de", false),
        ("accept-language", "en-GB", "en", true),
    ] {
        assert_eq!(
            are_one(layer().normalization(known()), field, one, other).await,
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

/// Answers in the primary language of a field, as most handlers do: in German or else in English.
fn greeting(accepted: &HeaderMap) -> &'static str {
    let accepted = accepted
        .get("accept-language")
        .map_or("", |value| value.to_str().unwrap());
    match accepted.get(..2) {
        Some("de") => "Guten Tag",
        _ => "Hello",
    }
}

/// Whatever the first client asks for, the next one gets its own language.
#[tokio::test]
async fn a_handler_with_rules_of_its_own_answers_for_the_variant() {
    for (first, second) in [
        (("en-GB, de;q=0.3", "Hello"), ("de", "Guten Tag")),
        (("de-AT, en;q=0.5", "Guten Tag"), ("en", "Hello")),
        (("de-AT", "Guten Tag"), ("fr", "Hello")),
        (("fr", "Hello"), ("de-CH", "Guten Tag")),
        // The first language is not the preferred one.
        (("de;q=0.1, en", "Hello"), ("de", "Guten Tag")),
    ] {
        let (app, calls) = app(layer().normalization(known()), |_, request| {
            ([("vary", "accept-language")], greeting(&request.headers))
        });
        for (asked, expected) in [first, second, first, second] {
            let reply = get_with(&app, "/", &[("accept-language", asked)]).await;
            assert_eq!(reply.text(), expected, "{asked}");
        }
        assert_eq!(
            calls.count(),
            2,
            "the third and the fourth are hits: {first:?} {second:?}"
        );
    }
}

/// No client gets a coding that it cannot decode, from a handler that knows one more.
#[tokio::test]
async fn a_coding_that_is_not_listed_is_not_asked_for() {
    let best = |accepted: &HeaderMap| {
        let accepted = accepted
            .get("accept-encoding")
            .map_or("", |value| value.to_str().unwrap());
        ["zstd", "br", "gzip"]
            .into_iter()
            .find(|coding| accepted.contains(coding))
    };
    let (app, calls) = app(layer().normalization(known()), move |_, request| {
        let coding = best(&request.headers).map(|coding| [("content-encoding", coding)]);
        ([("vary", "accept-encoding")], coding, "…")
    });
    for (asked, x_cache, coding) in [
        ("zstd, gzip;q=0.8", "MISS", "gzip"),
        ("gzip", "HIT", "gzip"),
        ("zstd", "MISS", ""),
        ("identity", "HIT", ""),
        ("gzip;q=0.1, identity", "HIT", ""),
        ("zstd, br, gzip", "MISS", "br"),
    ] {
        let reply = get_with(&app, "/", &[("accept-encoding", asked)]).await;
        assert_eq!(
            (reply.x_cache(), reply.header("content-encoding")),
            (x_cache, coding),
            "{asked}"
        );
    }
    assert_eq!(calls.count(), 3);
}

/// An app in which a middleware around the layer chooses the language, by what the client has sent.
fn chosen_outside(declares: bool) -> (Router, Calls) {
    #[derive(Clone)]
    struct Chosen(&'static str);
    let (inner, calls) = app(layer().normalization(known()), move |_, request| {
        let Chosen(greeting) = request.extensions.get::<Chosen>().unwrap();
        let language = if *greeting == "Hello" { "en" } else { "de" };
        let declared = declares.then_some([("content-language", language)]);
        ([("vary", "accept-language")], declared, *greeting)
    });
    let choose = |mut request: Request, next: Next| async move {
        let chosen = Chosen(greeting(request.headers()));
        request.extensions_mut().insert(chosen);
        next.run(request).await
    };
    (inner.layer(from_fn(choose)), calls)
}

#[tokio::test]
async fn a_response_that_says_it_is_in_another_language_is_not_stored() {
    // It goes by the first language in the field, although that is the one that the client prefers least.
    const MISLED: (&str, &str) = ("accept-language", "de;q=0.1, en");
    let (app, _) = chosen_outside(true);
    let misled = get_with(&app, "/", &[MISLED]).await;
    assert_eq!(misled.text(), "Guten Tag");
    assert!(
        misled.cache_status().ends_with("; detail=other-variant"),
        "{}",
        misled.cache_status()
    );
    // That is held against nobody else, and what is stored afterwards stays.
    for (asked, x_cache, expected) in [
        ("en", "MISS", "Hello"),
        ("de", "MISS", "Guten Tag"),
        ("en-GB", "HIT", "Hello"),
        (MISLED.1, "HIT", "Hello"),
        ("fr", "MISS", "Hello"),
        ("de-AT", "HIT", "Guten Tag"),
    ] {
        let reply = get_with(&app, "/", &[("accept-language", asked)]).await;
        assert_eq!((reply.x_cache(), reply.text()), (x_cache, expected), "{asked}");
    }
    // The control: nothing shows what was chosen, so what the first client got is stored for all of that variant.
    let (app, _) = chosen_outside(false);
    get_with(&app, "/", &[MISLED]).await;
    let reply = get_with(&app, "/", &[("accept-language", "en")]).await;
    assert_eq!((reply.x_cache(), reply.text()), ("HIT", "Guten Tag"));
}

/// A client that is misled takes no stale copy from the others.
#[tokio::test]
async fn a_refusal_of_another_language_leaves_the_variant() {
    let (cache, clock) = cache();
    let failing = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&failing);
    let layer = CacheLayer::new(cache)
        .ttl(MINUTE)
        .stale_if_error(MINUTE)
        .normalization(known());
    let (app, _) = app(layer, move |_, request| {
        let status = match fails.load(Ordering::SeqCst) {
            true => StatusCode::SERVICE_UNAVAILABLE,
            false => StatusCode::OK,
        };
        let is_misled = request.headers.contains_key("x-misled");
        let language = if is_misled { "de" } else { "en" };
        (
            status,
            [("vary", "accept-language"), ("content-language", language)],
            language,
        )
    });
    let english = ("accept-language", "en");
    get_with(&app, "/", &[english]).await;
    clock.advance(MINUTE + Duration::from_secs(1));
    let misled = get_with(&app, "/", &[english, ("x-misled", "1")]).await;
    assert!(misled.cache_status().contains("detail=other-variant"), "{misled:?}");
    failing.store(true, Ordering::SeqCst);
    let stale = get_with(&app, "/", &[english]).await;
    assert_eq!((stale.x_cache(), stale.text()), ("STALE", "en"));
}

/// An app that says in `x-seen` which language its handler has seen, for GET and HEAD, with an ETag of that.
fn echo(layer: CacheLayer) -> (Router, Calls) {
    let (app, calls) = app(layer, |_, request| {
        let seen = request.headers.get("accept-language").cloned();
        let seen = seen.unwrap_or(HeaderValue::from_static("none"));
        let etag = HeaderValue::try_from(format!("{seen:?}")).unwrap();
        let mut response = "0123456789".into_response();
        response.headers_mut().insert("x-seen", seen);
        response.headers_mut().insert("etag", etag);
        response
            .headers_mut()
            .insert("vary", HeaderValue::from_static("accept-language"));
        response
    });
    (app, calls)
}

/// What the rules choose for a field.
fn chosen(asked: &str) -> String {
    let mut request = HeaderMap::new();
    request.insert("accept-language", HeaderValue::from_str(asked).unwrap());
    known().choose(&mut request);
    let chosen = request.get("accept-language");
    chosen.map_or("none", |value| value.to_str().unwrap()).to_owned()
}

#[tokio::test]
async fn whoever_calls_the_handler_asks_for_the_variant() {
    let (cache, clock) = cache();
    let layers = CacheLayer::new(cache.clone())
        .ttl(MINUTE)
        .stale_while_revalidate(MINUTE)
        .normalization(known());
    let (app, calls) = echo(layers.clone());
    let asked = [("accept-language", "fr, en-GB;q=0.5")];
    // A HEAD alone, a part, and a request that forbids what is stored.
    let head = send(&app, request(Method::HEAD, "/", &asked)).await;
    assert_eq!(head.header("x-seen"), "en");
    let part = get_with(&app, "/", &[asked[0], ("range", "bytes=2-3")]).await;
    assert_eq!((part.text(), part.header("x-seen")), ("23", "en"));
    let anew = get_with(&app, "/", &[asked[0], ("cache-control", "no-cache")]).await;
    assert_eq!((anew.x_cache(), anew.header("x-seen")), ("MISS", "en"));
    // The condition of the client stays.
    let same = get_with(&app, "/", &[asked[0], ("if-none-match", "\"en\"")]).await;
    assert_eq!((same.status.as_u16(), same.x_cache()), (304, "HIT"));
    // A refresh in the background.
    clock.advance(MINUTE + Duration::from_secs(1));
    let before = calls.count();
    assert_eq!(get_with(&app, "/", &asked).await.x_cache(), "STALE");
    idle().await;
    let fresh = get_with(&app, "/", &[("accept-language", "en")]).await;
    assert_eq!((fresh.x_cache(), fresh.header("x-seen")), ("HIT", "en"));
    assert_eq!(calls.count(), before + 1);
    // A layer inside this one, with the same key or another, sees what this one has chosen.
    for inside in [layers.clone(), layer().normalization(known()), layer()] {
        let (app, _) = echo(inside);
        let around = CacheLayer::new(cache.with_namespace("around")).normalization(known());
        let app = app.layer(around);
        for language in ["de-AT, en;q=0.1", "de"] {
            let reply = get_with(&app, "/nested", &[("accept-language", language)]).await;
            assert_eq!(reply.header("x-seen"), "de");
        }
        cache.clear("around").await.unwrap();
    }
    // The control: a request that bypasses the layer is passed on as it is, and shared with nobody.
    let own = get_with(&app, "/", &[asked[0], ("authorization", "Bearer 1")]).await;
    assert_eq!((own.x_cache(), own.header("x-seen")), ("BYPASS", asked[0].1));
}

/// A response to POST for later GETs is one for the variant, too.
#[tokio::test]
async fn a_post_that_answers_a_later_get_is_asked_for_the_variant() {
    let (app, _) = app(layer().normalization(known()), |_, request| {
        let fields = [
            ("cache-control", "max-age=60"),
            ("content-location", "/doc"),
            ("vary", "accept-language"),
        ];
        (fields, format!("{} {}", request.method, greeting(&request.headers)))
    });
    for (first, second, expected) in [
        ("en-GB, de;q=0.1", "en", "POST Hello"),
        ("de;q=0.1, en", "en-GB", "POST Hello"),
        ("en;q=0.1, de-AT", "de", "POST Guten Tag"),
    ] {
        let stored = send(&app, request(Method::POST, "/doc", &[("accept-language", first)])).await;
        assert_eq!(
            (stored.cache_status(), stored.text()),
            ("cache; fwd=method; stored", expected),
            "{first}"
        );
        let hit = get_with(&app, "/doc", &[("accept-language", second)]).await;
        assert_eq!((hit.x_cache(), hit.text()), ("HIT", expected), "{first}: {second}");
    }
}

/// A field in the key is chosen like one in `Vary`, and an explanation names the variant of the choice.
#[tokio::test]
async fn keys_tags_and_explanations_go_by_the_choice() {
    let (cache, _) = cache();
    let language = |request: &http::request::Parts| {
        let language = request.headers.get("accept-language");
        language.map_or("none", |value| value.to_str().unwrap()).to_owned()
    };
    let tagged = CacheLayer::new(cache.clone())
        .ttl(MINUTE)
        .normalization(known())
        .debug_if(|_| true)
        .tags_by(move |request| vec![language(request)]);
    for layer in [tagged.clone(), tagged.key_headers([http::header::ACCEPT_LANGUAGE])] {
        let (app, _) = echo(layer);
        let asked = [("accept-language", "en-GB, de;q=0.3")];
        assert_eq!(get_with(&app, "/", &asked).await.header("x-seen"), "en");
        assert_eq!(get_with(&app, "/", &[("accept-language", "en")]).await.x_cache(), "HIT");
        let explained = get_with(&app, "/", &[asked[0], ("cache-debug", "explain")]).await;
        assert!(
            explained.cache_status().contains("accept-language=en"),
            "{}",
            explained.cache_status()
        );
        cache.invalidate_tag("de").await.unwrap();
        assert_eq!(get_with(&app, "/", &asked).await.x_cache(), "HIT");
        cache.invalidate_tag("en").await.unwrap();
        assert_eq!(get_with(&app, "/", &asked).await.x_cache(), "MISS");
        cache.clear_all().await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Hit or miss, each client gets what the handler makes for the variant that the client's own field selects.
    #[test]
    fn what_the_handler_saw_selects_the_stored_variant(
        asked in prop::collection::vec(
            (
                "(de|en|fr|de-AT|en-GB|EN|\\*)(;q=0(\\.[0-9])?)?(, ?(de|en-us|fr|\\*)(;q=0\\.[0-9])?)?(, ?(de-CH|en)(;q=0\\.[1-9])?)?",
                0..4_u8,
            ),
            1..8,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (app, _) = echo(layer().normalization(known()));
            for (asked, kind) in &asked {
                let language = ("accept-language", asked.as_str());
                let reply: Reply = match kind {
                    0 => send(&app, request(Method::HEAD, "/", &[language])).await,
                    1 => get_with(&app, "/", &[language, ("range", "bytes=1-2")]).await,
                    2 => get_with(&app, "/", &[language, ("cache-control", "no-cache")]).await,
                    _ => get_with(&app, "/", &[language]).await,
                };
                prop_assert_eq!(reply.header("x-seen"), chosen(asked), "{}: {:?}", asked, reply);
            }
            Ok(())
        })?;
    }
}
