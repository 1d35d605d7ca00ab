//! Nobody gets what was made for somebody else. Random people with random credentials ask an application over real HTTP,
//! many at once, while time goes by; each answer says for which request it was made, and whether it may be shared.
//!
//! The control: with any one of the protections lifted, the same check finds a leak.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use cache_axum::CacheLayer;
use cache_axum::cache_engine::Cache;
use cache_core::ManualClock;
use cache_memory::MemoryBackend;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// What the routes say of their answers. The first ones may be shared, as far as the request allows it.
const SHARED: [&str; 4] = ["plain", "public", "slow", "withheld"];
const OWN: [&str; 6] = ["session", "private", "no-store", "vary-any", "sometimes", "broken"];

/// Known by name in the test of declared users, and by nothing but their credentials in the others.
const USERS: [&str; 3] = ["Bearer ann", "Bearer ben", "Bearer cat"];

/// One request of one person.
#[derive(Debug, Clone)]
struct Asked {
    method: Method,
    path: String,
    authorization: Vec<&'static [u8]>,
    cookies: Vec<&'static [u8]>,
    others: Vec<(&'static str, &'static str)>,
    title_case: bool,
}

impl Asked {
    fn has_credentials(&self) -> bool {
        !self.authorization.is_empty() || !self.cookies.is_empty()
    }

    fn says_no_store(&self) -> bool {
        self.others.contains(&("cache-control", "no-store"))
    }

    /// Who this is by a declaration that looks at `Authorization`.
    fn user(&self) -> Option<&'static str> {
        USERS
            .into_iter()
            .find(|user| self.authorization.first() == Some(&user.as_bytes()))
    }

    fn api_key(&self) -> Option<&'static str> {
        self.others
            .iter()
            .find(|(name, _)| *name == "x-api-key")
            .map(|(_, key)| *key)
    }
}

/// At once; and what time it is for the cache afterwards.
type Round = (Vec<Asked>, u64);

fn asked(routes: Vec<&'static str>) -> impl Strategy<Value = Asked> {
    let method = prop_oneof![16 => Just(Method::GET), 2 => Just(Method::HEAD), 1 => Just(Method::PUT)];
    let path = select(routes).prop_map(|route| format!("/{route}"));
    let authorization: Vec<&[u8]> = vec![
        USERS[0].as_bytes(),
        USERS[1].as_bytes(),
        b"",
        b"basic \xff\xfe",
        b"Digest x",
    ];
    let cookies: Vec<&[u8]> = vec![b"session=1", b"session=2; theme=dark", b"", b"\xe4"];
    let others = vec![
        ("cache-control", "no-store"),
        ("cache-control", "no-cache"),
        ("cache-control", "max-stale"),
        ("cache-control", "max-age=3"),
        ("if-none-match", "*"),
        ("if-modified-since", "Sun, 06 Nov 2094 08:49:37 GMT"),
        ("range", "bytes=0-3"),
        ("x-api-key", "1"),
        ("x-api-key", "2"),
        ("accept-encoding", "gzip"),
        ("connection", "authorization, cookie"),
        ("x-forwarded-for", "192.0.2.1"),
    ];
    (
        method,
        path,
        prop_oneof![4 => Just(vec![]), 1 => vec(select(authorization), 1..3)],
        prop_oneof![4 => Just(vec![]), 1 => vec(select(cookies), 1..3)],
        prop_oneof![1 => Just(vec![]), 1 => subsequence(others, 1..3)],
        any::<bool>(),
    )
        .prop_map(|(method, path, authorization, cookies, others, title_case)| Asked {
            method,
            path,
            authorization,
            cookies,
            others,
            title_case,
        })
}

/// All about two routes, so that people meet.
fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let routes: Vec<&str> = SHARED.into_iter().chain(OWN).chain(["keyed"]).collect();
    subsequence(routes, 2).prop_flat_map(|routes| {
        let seconds = select(vec![0_u64, 0, 1, 7, 20, 100]);
        vec((vec(asked(routes), 1..12), seconds), 1..6)
    })
}

/// Says in its headers and in its body for which request it was made, whatever the route.
async fn answer(request: Request) -> Response {
    let made_for = request.headers()["x-request"].to_str().unwrap().to_owned();
    let number: u32 = made_for.parse().unwrap();
    let route = request.uri().path().split('/').nth(1).unwrap_or_default().to_owned();
    let mut response = Response::builder()
        .header("x-made-for", &made_for)
        .header("x-route", &route);
    response = match &*route {
        "public" => response.header("cache-control", "public, s-maxage=5"),
        // The cookie is not stored with the rest.
        "withheld" => response.header("cache-control", "private=\"set-cookie\""),
        "private" => response.header("cache-control", "max-age=5, Private"),
        "no-store" => response.header("cache-control", "no-store"),
        "vary-any" => response.header("vary", "*"),
        "keyed" => response.header("vary", "X-Api-Key"),
        "sometimes" if number.is_multiple_of(2) => response.header("cache-control", "private"),
        "broken" => response.status(StatusCode::INTERNAL_SERVER_ERROR),
        _ => response,
    };
    if ["session", "withheld"].contains(&&*route) {
        response = response.header("set-cookie", format!("session={made_for}"));
    }
    // Others get the time to join in.
    tokio::task::yield_now().await;
    let piece = Bytes::from(format!("{made_for};"));
    let body = if route == "slow" {
        Body::from_stream(futures_util::stream::unfold(0, move |sent| {
            let piece = piece.clone();
            async move {
                tokio::task::yield_now().await;
                (sent < 3).then(|| (Ok::<_, Infallible>(piece), sent + 1))
            }
        }))
    } else {
        Body::from(piece.repeat(3))
    };
    response.body(body).unwrap()
}

async fn send(address: SocketAddr, number: usize, asked: &Asked) -> (StatusCode, HeaderMap, Bytes) {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http1::Builder::new()
        .title_case_headers(asked.title_case)
        .handshake(stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::builder()
        .method(&asked.method)
        .uri(&asked.path)
        .header("host", "app.test")
        .header("x-request", number);
    for value in &asked.authorization {
        request = request.header("authorization", HeaderValue::from_bytes(value).unwrap());
    }
    for value in &asked.cookies {
        request = request.header("cookie", HeaderValue::from_bytes(value).unwrap());
    }
    for (name, value) in &asked.others {
        request = request.header(*name, *value);
    }
    let response = client
        .send_request(request.body(Empty::<Bytes>::new()).unwrap())
        .await
        .unwrap();
    let (head, body) = response.into_parts();
    (head.status, head.headers, body.collect().await.unwrap().to_bytes())
}

/// Who may see whose answers.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Users {
    /// Nobody is known, so whoever has credentials gets what was made for that request, and nobody else gets it.
    Unknown,
    /// Those whose `Authorization` is a known one may get what was made for themselves before.
    Declared,
}

/// The leak, if an answer to `asked` is one: it was made for another request, and not to be shared.
fn leak(all: &HashMap<usize, Asked>, number: usize, headers: &HeaderMap, body: &[u8], users: Users) -> Option<String> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
    let asked = &all[&number];
    if let Some(cookie) = text("set-cookie")
        && cookie != format!("session={number}")
    {
        return Some(format!("{number} got another's cookie: {cookie}"));
    }
    let made_for: usize = text("x-made-for")?.parse().unwrap();
    let body = std::str::from_utf8(body).unwrap();
    if let Some(other) = body
        .split_terminator(';')
        .find(|piece| !made_for.to_string().starts_with(piece))
    {
        return Some(format!(
            "{number} got a piece of {other} in an answer made for {made_for}"
        ));
    }
    if made_for == number {
        return None;
    }
    let made = &all[&made_for];
    let route = text("x-route").unwrap();
    let is_own_route = match route {
        "sometimes" => made_for.is_multiple_of(2),
        "keyed" => asked.api_key() != made.api_key(),
        route => OWN.contains(&route),
    };
    let same_person = match users {
        Users::Unknown => !asked.has_credentials() && !made.has_credentials(),
        Users::Declared => match (asked.user(), made.user()) {
            (None, None) => !asked.has_credentials() && !made.has_credentials(),
            (one, other) => one == other,
        },
    };
    (is_own_route || made.says_no_store() || !same_person)
        .then(|| format!("{number} ({asked:?}) got what was made for {made_for} ({made:?})"))
}

async fn play(layer: impl Fn(CacheLayer) -> CacheLayer, rounds: &[Round], users: Users) -> Result<usize, String> {
    let clock = ManualClock::new();
    let cache = Cache::builder(MemoryBackend::builder().clock(clock.clone()).build())
        .clock(clock.clone())
        .build();
    let layer = layer(
        CacheLayer::new(cache)
            .ttl(Duration::from_secs(5))
            .stale_while_revalidate(Duration::from_secs(10))
            .stale_if_error(Duration::from_secs(30)),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(answer).layer(layer);
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let (mut all, mut shared) = (HashMap::new(), 0);
    for (round, seconds) in rounds {
        let first = all.len();
        for asked in round {
            all.insert(all.len(), asked.clone());
        }
        let replies = join_all(
            round
                .iter()
                .enumerate()
                .map(|(at, asked)| send(address, first + at, asked)),
        )
        .await;
        for (at, (_, headers, body)) in replies.iter().enumerate() {
            if let Some(leak) = leak(&all, first + at, headers, body, users) {
                server.abort();
                return Err(leak);
            }
            shared += usize::from(
                headers
                    .get("x-made-for")
                    .is_some_and(|number| *number != *(first + at).to_string()),
            );
        }
        clock.advance(Duration::from_secs(*seconds));
    }
    server.abort();
    Ok(shared)
}

/// Plays random histories, the same ones for the same `SEED`; how many answers were shared, or the leak.
fn check(layer: impl Fn(CacheLayer) -> CacheLayer, users: Users) -> Result<usize, String> {
    let runtime = Runtime::new().unwrap();
    let shared = std::cell::Cell::new(0);
    let config = Config {
        cases: 256,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let seed: u64 = std::env::var("SEED").map_or(0, |seed| seed.parse().expect("SEED is a number"));
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_be_bytes(); 4].concat());
    let result = TestRunner::new_with_rng(config, random).run(&rounds(), |rounds| {
        let played = runtime.block_on(play(&layer, &rounds, users));
        shared.set(shared.get() + played.map_err(TestCaseError::fail)?);
        Ok(())
    });
    match result {
        Ok(()) => Ok(shared.get()),
        Err(TestError::Fail(reason, history)) => Err(format!("{reason}\nin {history:#?}")),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn nobody_gets_what_was_made_for_another() {
    let shared = check(|layer| layer, Users::Unknown).unwrap_or_else(|leak| panic!("{leak}"));
    println!("{shared} answers were shared");
    assert!(shared > 300, "only {shared} answers were shared at all");
}

#[test]
fn declared_users_get_their_own() {
    let declared = |layer: CacheLayer| {
        layer.per_user(|request| {
            let said = request.headers.get("authorization")?.as_bytes();
            let user = USERS.into_iter().find(|user| user.as_bytes() == said)?;
            Some(user.to_owned())
        })
    };
    let shared = check(declared, Users::Declared).unwrap_or_else(|leak| panic!("{leak}"));
    println!("{shared} answers were shared");
    assert!(shared > 300, "only {shared} answers were shared at all");
    let muddled = |layer: CacheLayer| layer.per_user(|_| Some("everybody".to_owned()));
    check(muddled, Users::Declared).expect_err("users who are taken for one another share");
}

#[test]
fn each_protection_is_needed() {
    type Lift = fn(CacheLayer) -> CacheLayer;
    let lifts: [(&str, Lift); 6] = [
        ("authorization", CacheLayer::allow_authorization),
        ("cookies", CacheLayer::allow_cookies),
        ("set-cookie", CacheLayer::allow_set_cookie),
        ("private", CacheLayer::allow_private),
        ("no-store", CacheLayer::allow_no_store),
        ("vary-any", CacheLayer::allow_vary_any),
    ];
    for (name, lift) in lifts {
        let leak = check(lift, Users::Unknown).expect_err(name);
        println!("{name}: {}", leak.lines().next().unwrap_or_default());
    }
}
