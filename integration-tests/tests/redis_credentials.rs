//! Credentials from a provider: ACL users whose passwords rotate under load.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod redis_support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::{Backend, Error, ErrorKind};
use cache_redis::{Credentials, RedisBackend, RedisBackendBuilder};
use integration_tests::{Redis, wire};
use redis_support::near::{NO_BOUND, Node, PATIENCE};
use redis_support::{namespace, put, until_ok, value};

/// What issues the tokens of a user, and tells the server.
#[derive(Clone)]
struct Issuer {
    address: String,
    token: Arc<Mutex<String>>,
    fetches: Arc<AtomicUsize>,
    fails: Arc<AtomicBool>,
}

impl Issuer {
    async fn start(redis: &Redis) -> Self {
        let issuer = Self {
            address: redis.address().to_owned(),
            token: Arc::new(Mutex::new("first".to_owned())),
            fetches: Arc::default(),
            fails: Arc::default(),
        };
        issuer.ask("ACL SETUSER app on >first ~* &* +@all").await;
        issuer
    }

    async fn ask(&self, command: &str) -> String {
        wire::redis(&self.address, command).await.unwrap()
    }

    fn builder(&self) -> RedisBackendBuilder {
        let issuer = self.clone();
        let provider = move || {
            let issuer = issuer.clone();
            async move {
                issuer.fetches.fetch_add(1, Ordering::SeqCst);
                if issuer.fails.load(Ordering::SeqCst) {
                    return Err(Error::new(ErrorKind::Unavailable, "no token today"));
                }
                Ok(Credentials::new(issuer.token.lock().unwrap().clone()).with_username("app"))
            }
        };
        RedisBackend::builder()
            .url(&format!("redis://{}", self.address))
            .credentials(provider)
    }

    /// Issues a new token, and revokes the old one.
    async fn rotate(&self, token: &str) {
        let old = self.token.lock().unwrap().clone();
        self.ask(&format!("ACL SETUSER app >{token}")).await;
        token.clone_into(&mut self.token.lock().unwrap());
        self.ask(&format!("ACL SETUSER app <{old}")).await;
    }

    /// The numbers of the user's connections.
    async fn connections(&self) -> BTreeSet<String> {
        let clients = self.ask("CLIENT LIST").await;
        let of_app = clients.lines().filter(|line| line.contains("user=app"));
        of_app
            .filter_map(|line| line.split("id=").nth(1)?.split(' ').next().map(str::to_owned))
            .collect()
    }

    async fn until_fetched(&self, times: usize) {
        let begun = tokio::time::Instant::now();
        while self.fetches.load(Ordering::SeqCst) < times {
            assert!(begun.elapsed() < PATIENCE, "{:?} fetches", self.fetches);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn passwords_rotate_under_load() {
    let redis = Redis::start().await;
    let issuer = Issuer::start(&redis).await;
    let backend = issuer.builder().connect().await.unwrap();
    let names = namespace();
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = (0..8).map(|number| {
        let (backend, stop, answered) = (backend.clone(), stop.clone(), answered.clone());
        let key = names.key(format!("{number}"));
        tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                match backend.get(&key).await {
                    Ok(_) => {
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                    // While the connections are made again.
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            }
        })
    });
    let load: Vec<_> = load.collect();
    for token in ["second", "third", "fourth"] {
        issuer.rotate(token).await;
        let before = issuer.connections().await;
        issuer.ask("CLIENT KILL USER app").await;
        until_ok(PATIENCE, async || backend.get(&names.key("x")).await).await;
        assert!(issuer.connections().await.is_disjoint(&before), "new connections");
        let answers = answered.load(Ordering::SeqCst);
        until_ok(PATIENCE, async || match answered.load(Ordering::SeqCst) > answers {
            true => Ok(()),
            false => Err("no answer"),
        })
        .await;
    }
    stop.store(true, Ordering::SeqCst);
    for task in load {
        task.await.unwrap();
    }
}

/// The negative control: a password that was set once.
#[tokio::test]
async fn a_password_that_was_set_once_ends_with_its_connections() {
    let redis = Redis::start().await;
    let issuer = Issuer::start(&redis).await;
    let url = format!("redis://app:first@{}", issuer.address);
    let backend = RedisBackend::connect(&url).await.unwrap();
    issuer.rotate("second").await;
    issuer.ask("CLIENT KILL USER app").await;
    let key = namespace().key("k");
    loop {
        match backend.get(&key).await.map_err(|error| error.kind()) {
            Err(ErrorKind::Auth) => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            Ok(_) => {}
        }
    }
}

#[tokio::test]
async fn a_subscription_has_the_new_password_too() {
    let redis = Redis::start().await;
    let issuer = Issuer::start(&redis).await;
    let backend = issuer.builder().connect().await.unwrap();
    let node = Node::over(backend, "credentials", |builder| builder.near_max_silence(NO_BOUND)).await;
    let other = Node::start(redis.url(), "credentials", NO_BOUND).await;
    node.log.until("subscription_begun", 1).await;
    for (times, token) in [(2, "second"), (3, "third")] {
        issuer.rotate(token).await;
        issuer.ask("CLIENT KILL USER app").await;
        node.log.until("subscription_begun", times).await;
        until_ok(PATIENCE, async || node.cache.set("key", 1).await).await;
        assert_eq!(node.cache.get::<i32>("key").await.unwrap().as_deref(), Some(&1));
        other.cache.set("key", 2).await.unwrap();
        until_ok(PATIENCE, async || {
            match node.cache.get::<i32>("key").await.unwrap().as_deref() {
                Some(2) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn connections_in_use_are_authenticated_again() {
    let redis = Redis::start().await;
    let issuer = Issuer::start(&redis).await;
    let builder = issuer.builder().credential_refresh(Duration::from_millis(200));
    let node = Node::over(builder.connect().await.unwrap(), "refresh", |builder| builder).await;
    node.log.until("subscription_begun", 1).await;
    let before = issuer.connections().await;
    assert_eq!(
        before.len(),
        3,
        "two for calls, and one for the subscription: {before:?}"
    );
    issuer.rotate("second").await;
    issuer.ask("ACL LOG RESET").await;
    issuer.ask("CONFIG RESETSTAT").await;
    until_ok(PATIENCE, async || {
        match redis_support::calls(&issuer.address, "auth").await {
            calls @ ..12 => Err(calls),
            _ => Ok(()),
        }
    })
    .await;
    node.cache.set("key", 1).await.unwrap();
    assert_eq!(issuer.connections().await, before, "no connection was made again");
    assert!(
        !issuer.ask("ACL LOG").await.contains("reason"),
        "no password was refused"
    );
}

#[tokio::test]
async fn a_provider_that_fails_delays_connections_and_ends_none() {
    let redis = Redis::start().await;
    let issuer = Issuer::start(&redis).await;
    issuer.fails.store(true, Ordering::SeqCst);
    let error = issuer.builder().connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("no token today"), "{error}");

    issuer.fails.store(false, Ordering::SeqCst);
    let builder = issuer.builder().credential_refresh(Duration::from_millis(100));
    let backend = builder.connect().await.unwrap();
    issuer.fails.store(true, Ordering::SeqCst);
    issuer.until_fetched(issuer.fetches.load(Ordering::SeqCst) + 4).await;
    let key = namespace().key("k");
    put(&backend, &key, "v").await;
    issuer.ask("CLIENT KILL USER app").await;
    issuer.until_fetched(issuer.fetches.load(Ordering::SeqCst) + 4).await;
    assert_eq!(backend.get(&key).await.unwrap_err().kind(), ErrorKind::Unavailable);
    issuer.fails.store(false, Ordering::SeqCst);
    until_ok(PATIENCE, async || backend.get(&key).await).await;
    assert_eq!(value(&backend, &key).await.unwrap(), "v");
}
