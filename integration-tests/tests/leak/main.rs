//! Nobody gets what was made for somebody else. Random people with random credentials ask an application over real HTTP,
//! many at once, while time goes by; each answer says for which request it was made, and whether it may be shared.
//!
//! Whoever has changed something finds the change.
//!
//! The same with a shared cache between them and the application, our own or nginx: what the layer tells it keeps people
//! apart there too.
//!
//! The control: with any one of the protections lifted, the same check finds a leak.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod app;
mod downstream;
mod people;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use cache_axum::cache_engine::Cache;
use cache_axum::{CacheLayer, ClientCaching, Query, UrlKey};
use cache_core::{KeyBuilder, KeyName, ManualClock};
use cache_memory::MemoryBackend;
use futures_util::future::join_all;
use http::header::{CACHE_CONTROL, VARY};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use self::app::{Changes, answer, page};
use self::downstream::{Between, Front};
use self::people::{Asked, OWN, Round, USERS, rounds};

type Reply = (StatusCode, HeaderMap, Bytes);

async fn send(front: Front, number: usize, asked: &Asked) -> Reply {
    let stream = TokioIo::new(TcpStream::connect(front.address).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http1::Builder::new()
        .title_case_headers(asked.title_case)
        .handshake(stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::builder()
        .method(&asked.method)
        .uri(asked.target())
        .header("host", asked.host)
        .header("x-request", number);
    if let Some(port) = front.port {
        request = request.header("x-port", port);
    }
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

/// Which requests may share answers by their `X-Api-Key`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Keys {
    /// All, unless the route names the field in `Vary`.
    Any,
    /// Those with the same one, since it is in the key.
    Equal,
    /// Those without one, since it is a credential.
    Absent,
}

/// Who may see whose answers.
#[derive(Debug, Clone, Copy)]
struct Rules {
    users: Users,
    keys: Keys,
}

/// The leak, if the answer to request `number` is one: it was made for another request, and not to be shared. `together` is
/// the first of the requests that were sent at once with it.
fn leak(
    all: &HashMap<usize, Asked>,
    (number, together): (usize, usize),
    headers: &HeaderMap,
    body: &[u8],
    Rules { users, keys }: Rules,
) -> Option<String> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
    let asked = &all[&number];
    if let Some(cookie) = text("set-cookie")
        && cookie != format!("session={number}")
    {
        return Some(format!("{number} got another's cookie: {cookie}"));
    }
    if let Some(user) = text("x-user")
        && user != number.to_string()
    {
        return Some(format!("{number} got what is for the user of {user}"));
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
    // A user who is known may get what was made for themselves, `private` or not (RFC 9111, section 5.2.2.7).
    let is_same_user = users == Users::Declared && asked.user().is_some() && asked.user() == made.user();
    let is_own_route = match route {
        "private" => !is_same_user,
        "sometimes" => made_for.is_multiple_of(2) && !is_same_user,
        "keyed" => asked.api_key() != made.api_key(),
        // A failure is shared with those who waited for it, and never stored.
        "broken" => made_for < together,
        route => OWN.contains(&route),
    };
    let same_person = match users {
        Users::Unknown => !asked.has_credentials() && !made.has_credentials(),
        Users::Declared => match (asked.user(), made.user()) {
            (None, None) => !asked.has_credentials() && !made.has_credentials(),
            (one, other) => one == other,
        },
    };
    let same_key = match keys {
        Keys::Any => true,
        Keys::Equal => asked.api_key() == made.api_key(),
        Keys::Absent => asked.api_key().is_none() && made.api_key().is_none(),
    };
    let pages = [asked, made].map(|asked| page(&asked.path.parse().unwrap()));
    let is_another = pages[0] != pages[1] || asked.hosts() != made.hosts();
    (is_own_route || made.says_no_store() || !same_person || !same_key || is_another)
        .then(|| format!("{number} ({asked:?}) got what was made for {made_for} ({made:?})"))
}

/// What is known to have been changed: how many changes there had been then, by URL and by who may have its answer.
#[derive(Default)]
struct Changed(HashMap<(&'static str, String, Option<&'static str>), usize>);

impl Changed {
    fn user(asked: &Asked, users: Users) -> Option<&'static str> {
        asked.user().filter(|_| users == Users::Declared)
    }

    /// Takes note of a change. It is what those find who are not known, and the one who made it.
    fn note(&mut self, asked: &Asked, reply: &Reply, users: Users) {
        let [field, target] = asked.hosts();
        if asked.method != Method::PUT || !reply.0.is_success() || field != target {
            return;
        }
        let changes = changes(&reply.1).unwrap_or_default();
        for user in [None, Self::user(asked, users)] {
            let known = self.0.entry((target, asked.path.clone(), user)).or_default();
            *known = changes.max(*known);
        }
    }

    /// The fault, if the answer was made before a change that was known when it was asked for.
    fn missing(&self, asked: &Asked, reply: &Reply, users: Users) -> Option<String> {
        let place = (asked.hosts()[1], asked.path.clone(), Self::user(asked, users));
        let known = self.0.get(&place)?;
        (changes(&reply.1)? < *known).then(|| format!("{asked:?} got what was there before change {known}"))
    }
}

fn changes(headers: &HeaderMap) -> Option<usize> {
    headers.get("x-changes")?.to_str().ok()?.parse().ok()
}

/// Whom a middleware in front of the cache has found the request to be from.
#[derive(Debug, Clone)]
struct User(&'static str);

async fn identify(mut request: Request, next: Next) -> Response {
    let said = request.headers().get("authorization").map(HeaderValue::as_bytes);
    if let Some(user) = USERS.into_iter().find(|user| said == Some(user.as_bytes())) {
        request.extensions_mut().insert(User(user));
    }
    next.run(request).await
}

/// What is between the clients and the handler, and who may see what.
struct Stage<'a> {
    layer: &'a dyn Fn(CacheLayer) -> CacheLayer,
    /// The application says which field is for one user only.
    declares: bool,
    rules: Rules,
    between: Between,
    /// Changes the headers of answers on their way to what is downstream.
    outside: fn(&mut HeaderMap),
}

impl Stage<'_> {
    async fn play(&self, rounds: &[Round]) -> Result<usize, String> {
        let clock = ManualClock::new();
        let cache = || {
            Cache::builder(MemoryBackend::builder().clock(clock.clone()).build())
                .clock(clock.clone())
                .build()
        };
        let layer = (self.layer)(
            CacheLayer::new(cache())
                .ttl(Duration::from_secs(5))
                .stale_while_revalidate(Duration::from_secs(10))
                .stale_if_error(Duration::from_secs(30))
                .query(Query::sorted().only(["page"])),
        );
        let changes = Changes::default();
        let (declares, outside) = (self.declares, self.outside);
        let app = Router::new()
            .fallback(move |request: Request| answer(request, declares, Changes::clone(&changes)))
            .layer(layer)
            .layer(axum::middleware::from_fn(identify))
            .layer(axum::middleware::map_response(move |mut response: Response| {
                outside(response.headers_mut());
                async { response }
            }));
        let mut servers = JoinSet::new();
        let address = serve(&mut servers, app).await;
        let front = match self.between {
            Between::Nothing => Front::directly(address),
            Between::OwnSharedCache => Front::directly(serve(&mut servers, downstream::proxy(address, cache())).await),
            Between::Nginx(nginx) => Front::through(nginx, address),
        };
        let users = self.rules.users;
        let (mut all, mut changed, mut shared) = (HashMap::new(), Changed::default(), 0);
        for (round, seconds) in rounds {
            let first = all.len();
            for asked in round {
                all.insert(all.len(), asked.clone());
            }
            let asking = round.iter().enumerate();
            let replies = join_all(asking.map(|(at, asked)| send(front, first + at, asked))).await;
            for (at, reply) in replies.iter().enumerate() {
                let (_, headers, body) = reply;
                if let Some(fault) = leak(&all, (first + at, first), headers, body, self.rules) {
                    return Err(fault);
                }
                // Nobody can invalidate what is downstream.
                if self.between == Between::Nothing
                    && let Some(fault) = changed.missing(&round[at], reply, users)
                {
                    return Err(fault);
                }
                shared += usize::from(
                    headers
                        .get("x-made-for")
                        .is_some_and(|number| *number != *(first + at).to_string()),
                );
            }
            for (asked, reply) in round.iter().zip(&replies) {
                changed.note(asked, reply, users);
            }
            clock.advance(Duration::from_secs(*seconds));
        }
        Ok(shared)
    }

    /// Plays random histories, the same ones for the same `SEED`; how many answers were shared, or the leak.
    fn check(&self, cases: u32) -> Result<usize, String> {
        let runtime = Runtime::new().unwrap();
        let shared = std::cell::Cell::new(0);
        let config = Config {
            cases,
            failure_persistence: None,
            max_shrink_iters: 200,
            ..Config::default()
        };
        let seed: u64 = std::env::var("SEED").map_or(0, |seed| seed.parse().expect("SEED is a number"));
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_be_bytes(); 4].concat());
        let rounds = rounds(self.rules.users == Users::Declared, self.between != Between::Nothing);
        let result = TestRunner::new_with_rng(config, random).run(&rounds, |rounds| {
            let played = runtime.block_on(self.play(&rounds));
            shared.set(shared.get() + played.map_err(TestCaseError::fail)?);
            Ok(())
        });
        match result {
            Ok(()) => Ok(shared.get()),
            Err(TestError::Fail(reason, history)) => Err(format!("{reason}\nin {history:#?}")),
            Err(other) => panic!("{other}"),
        }
    }
}

async fn serve(servers: &mut JoinSet<()>, app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    servers.spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

fn check(layer: impl Fn(CacheLayer) -> CacheLayer, users: Users) -> Result<usize, String> {
    check_app(layer, true, users)
}

/// The same, of an application that says which field is for one user, or does not.
fn check_app(layer: impl Fn(CacheLayer) -> CacheLayer, declares: bool, users: Users) -> Result<usize, String> {
    let stage = Stage {
        layer: &layer,
        declares,
        rules: Rules { users, keys: Keys::Any },
        between: Between::Nothing,
        outside: |_| {},
    };
    stage.check(256)
}

#[test]
fn nobody_gets_what_was_made_for_another() {
    let shared = check(|layer| layer, Users::Unknown).unwrap_or_else(|leak| panic!("{leak}"));
    println!("{shared} answers were shared");
    assert!(shared > 200, "only {shared} answers were shared at all");
}

/// Knows users by their `Authorization`.
fn declared(layer: CacheLayer) -> CacheLayer {
    layer.per_user(|request| {
        let said = request.headers.get("authorization")?.as_bytes();
        let user = USERS.into_iter().find(|user| user.as_bytes() == said)?;
        Some(user.to_owned())
    })
}

#[test]
fn declared_users_get_their_own() {
    let shared = check(declared, Users::Declared).unwrap_or_else(|leak| panic!("{leak}"));
    println!("{shared} answers were shared");
    assert!(shared > 200, "only {shared} answers were shared at all");
    let muddled = |layer: CacheLayer| layer.per_user(|_| Some("everybody".to_owned()));
    check(muddled, Users::Declared).expect_err("users who are taken for one another share");
}

#[test]
fn users_whom_a_middleware_knows_get_their_own() {
    let declared = |layer: CacheLayer| layer.per_user(|request| Some(request.extensions.get::<User>()?.0.to_owned()));
    let shared = check(declared, Users::Declared).unwrap_or_else(|leak| panic!("{leak}"));
    println!("{shared} answers were shared");
    assert!(shared > 200, "only {shared} answers were shared at all");
}

/// As if there were one host only.
fn by_path(request: &Parts) -> Result<KeyName, cache_core::Error> {
    Ok(KeyName::from(format!("{} {}", request.uri.path(), page(&request.uri))))
}

#[test]
fn each_protection_is_needed() {
    type Lift = fn(CacheLayer) -> CacheLayer;
    let lifts: [(&str, Lift); 9] = [
        ("authorization", |layer| layer.allow_authorization(true)),
        ("cookies", |layer| layer.allow_cookies(true)),
        ("set-cookie", |layer| layer.allow_set_cookie(true)),
        ("private", |layer| {
            layer.policy_with(|policy| policy.allow_private = true)
        }),
        ("no-store", |layer| {
            layer.policy_with(|policy| policy.allow_no_store = true)
        }),
        ("vary-any", |layer| {
            layer.policy_with(|policy| policy.allow_vary_any = true)
        }),
        ("query", |layer| layer.query(Query::sorted().only(["other"]))),
        ("host", |layer| layer.key_builder(by_path)),
        ("invalidation", |layer| layer.invalidate_on_write(false)),
    ];
    for (name, lift) in lifts {
        let leak = check(lift, Users::Unknown).expect_err(name);
        println!("{name}: {}", leak.lines().next().unwrap_or_default());
    }
    check_app(|layer| layer, false, Users::Unknown).expect_err("a field that nobody says is for one user is shared");
}

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a test is called, the settings of its layer, and what may be shared then.
type Setting = (&'static str, fn(CacheLayer) -> CacheLayer, Rules);

/// All settings that put something in the key, with what keeps people apart then.
fn settings() -> Vec<Setting> {
    let unknown = |keys| Rules {
        users: Users::Unknown,
        keys,
    };
    vec![
        ("none", |layer| layer, unknown(Keys::Any)),
        (
            "key_headers",
            |layer| layer.key_headers([API_KEY]),
            unknown(Keys::Equal),
        ),
        (
            "credentials",
            |layer| layer.credentials([API_KEY]),
            unknown(Keys::Absent),
        ),
        (
            "per_user",
            declared,
            Rules {
                users: Users::Declared,
                keys: Keys::Any,
            },
        ),
        (
            "per_user and key_headers",
            |layer| declared(layer).key_headers([API_KEY]),
            Rules {
                users: Users::Declared,
                keys: Keys::Equal,
            },
        ),
        (
            "per_user with a lifetime for clients",
            |layer| declared(layer).client_caching(ClientCaching::Lifetime),
            Rules {
                users: Users::Declared,
                keys: Keys::Any,
            },
        ),
        ("key_builder", |layer| layer.key_builder(by_host), unknown(Keys::Equal)),
        (
            "remaining lifetimes",
            |layer| layer.key_headers([API_KEY]).client_caching(ClientCaching::Remaining),
            unknown(Keys::Equal),
        ),
    ]
}

/// By host, page and a field of which nobody but this builder knows.
fn by_host(request: &Parts) -> Result<KeyName, cache_core::Error> {
    let key = request.headers.get(API_KEY).map(HeaderValue::as_bytes);
    let (url, page) = (UrlKey::new().build(request)?, page(&request.uri));
    Ok(KeyName::from(format!("{} {page} {key:?}", url.as_str())))
}

fn stays_apart_downstream(between: Between) {
    let mut shared = 0;
    for (name, layer, rules) in settings() {
        let stage = Stage {
            layer: &layer,
            declares: true,
            rules,
            between,
            outside: |_| {},
        };
        shared += stage.check(64).unwrap_or_else(|leak| panic!("{name}: {leak}"));
    }
    println!("{shared} answers were shared");
    assert!(shared > 200, "only {shared} answers were shared at all");
}

/// Without `Vary`, or without `private`, people are not kept apart downstream.
fn is_found_out_downstream(between: Between) {
    let without_vary = |headers: &mut HeaderMap| drop(headers.remove(VARY));
    let without_private = |headers: &mut HeaderMap| {
        headers.remove(VARY);
        if headers
            .get(CACHE_CONTROL)
            .is_some_and(|value| value.as_bytes().starts_with(b"private, "))
        {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=5"));
        }
    };
    for (name, layer, rules) in settings() {
        // The layer tells downstream that it may keep nothing, as it knows no field by name.
        let outside = match name {
            "key_builder" => continue,
            name if name.starts_with("per_user") => without_private,
            _ => without_vary,
        };
        let stage = Stage {
            layer: &layer,
            declares: true,
            rules,
            between,
            outside,
        };
        let leak = stage.check(256).expect_err(name);
        println!("{name}: {}", leak.lines().next().unwrap_or_default());
    }
}

#[test]
fn our_own_shared_cache_downstream_keeps_people_apart() {
    stays_apart_downstream(Between::OwnSharedCache);
}

#[test]
fn nginx_downstream_keeps_people_apart() {
    let nginx = downstream::Nginx::start();
    stays_apart_downstream(Between::Nginx(nginx.address()));
}

#[test]
fn what_the_layer_says_is_needed_downstream() {
    is_found_out_downstream(Between::OwnSharedCache);
    let nginx = downstream::Nginx::start();
    is_found_out_downstream(Between::Nginx(nginx.address()));
}
