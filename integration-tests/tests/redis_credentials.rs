//! Credentials from a provider: ACL users whose passwords rotate under load.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod redis_support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::{Backend, Error, ErrorKind};
use cache_redis::{Credentials, RedisBackend, RedisBackendBuilder};
use integration_tests::{Redis, RedisCluster, wire};
use redis_support::near::{NO_BOUND, Node, PATIENCE};
use redis_support::{namespace, put, until_ok, value};
use tokio::task::JoinHandle;

/// What issues the tokens of a user, and tells the server.
#[derive(Clone)]
struct Issuer {
    /// All servers, each of which knows the users by itself.
    servers: Vec<String>,
    url: String,
    user: String,
    token: Arc<Mutex<String>>,
    fetches: Arc<AtomicUsize>,
    fails: Arc<AtomicBool>,
}

impl Issuer {
    async fn start(redis: &Redis) -> Self {
        Self::of(redis.url(), vec![redis.address().to_owned()]).await
    }

    /// Creates a user on `servers`, which others may use too.
    async fn of(url: &str, servers: Vec<String>) -> Self {
        let issuer = Self {
            servers,
            url: url.to_owned(),
            user: format!("app-{:016x}", fastrand::u64(..)),
            token: Arc::new(Mutex::new("first".to_owned())),
            fetches: Arc::default(),
            fails: Arc::default(),
        };
        issuer.acl("on >first ~* &* +@all").await;
        issuer
    }

    /// Sends a command to each server. Returns all answers.
    async fn ask(&self, command: &str) -> String {
        let mut answers = String::new();
        for server in &self.servers {
            answers += &wire::redis(server, command).await.unwrap();
            answers += "\n";
        }
        answers
    }

    async fn acl(&self, rules: &str) {
        self.ask(&format!("ACL SETUSER {} {rules}", self.user)).await;
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
                Ok(Credentials::new(issuer.token.lock().unwrap().clone()).with_username(issuer.user.clone()))
            }
        };
        RedisBackend::builder().url(&self.url).credentials(provider)
    }

    /// Issues a new token, and revokes the old one.
    async fn rotate(&self, token: &str) {
        let old = self.token.lock().unwrap().clone();
        self.acl(&format!(">{token}")).await;
        token.clone_into(&mut self.token.lock().unwrap());
        self.acl(&format!("<{old}")).await;
    }

    /// Ends all connections of the user.
    async fn kill(&self) {
        self.ask(&format!("CLIENT KILL USER {}", self.user)).await;
    }

    /// The user's connections, by the addresses of both ends: a port may be used again for another node.
    async fn connections(&self) -> BTreeSet<String> {
        let clients = self.ask("CLIENT LIST").await;
        let of_user = clients.lines().filter(|line| line.contains(&self.user));
        let end = |line: &str, name: &str| Some(line.split(name).nth(1)?.split(' ').next()?.to_owned());
        of_user
            .filter_map(|line| Some(end(line, " addr=")? + " " + &end(line, " laddr=")?))
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

/// Calls that read one key each, until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(backend: &RedisBackend) -> Self {
        let names = namespace();
        let mut load = Self {
            stop: Arc::default(),
            answered: Arc::default(),
            failed: Arc::default(),
            tasks: Vec::new(),
        };
        for number in 0..8 {
            let (backend, stop) = (backend.clone(), load.stop.clone());
            let (answered, failed) = (load.answered.clone(), load.failed.clone());
            let key = names.key(format!("{number}"));
            load.tasks.push(tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let outcome = match backend.get(&key).await {
                        Ok(_) => &answered,
                        Err(_) => &failed,
                    };
                    outcome.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }));
        }
        load
    }

    /// Waits until there are more answers.
    async fn is_answered(&self) {
        let before = self.answered.load(Ordering::SeqCst);
        until_ok(PATIENCE, async || {
            match self.answered.load(Ordering::SeqCst) > before + 100 {
                true => Ok(()),
                false => Err("no answer"),
            }
        })
        .await;
    }

    /// Returns how many calls failed.
    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.failed.load(Ordering::SeqCst)
    }
}

async fn rotates(issuer: &Issuer) {
    let backend = issuer.builder().connect().await.unwrap();
    let key = namespace().key("x");
    let load = Load::start(&backend);
    for token in ["second", "third", "fourth"] {
        let before = issuer.connections().await;
        issuer.rotate(token).await;
        issuer.kill().await;
        until_ok(PATIENCE, async || backend.get(&key).await).await;
        // A killed connection may be listed for a moment more.
        until_ok(PATIENCE, async || {
            match issuer.connections().await.is_disjoint(&before) {
                true => Ok(()),
                false => Err("old connections are used"),
            }
        })
        .await;
        load.is_answered().await;
    }
    load.stop().await;
}

#[tokio::test]
async fn passwords_rotate_under_load() {
    let redis = Redis::start().await;
    rotates(&Issuer::start(&redis).await).await;
}

#[tokio::test]
async fn passwords_rotate_on_all_nodes_of_a_cluster() {
    let cluster = RedisCluster::shared().await;
    let issuer = Issuer::of(cluster.url(), cluster.nodes().to_vec()).await;
    rotates(&issuer).await;
    a_subscription_follows(&issuer, cluster.url()).await;
}

/// The negative control: a password that was set once.
#[tokio::test]
async fn a_password_that_was_set_once_ends_with_its_connections() {
    let redis = Redis::start().await;
    let issuer = Issuer::start(&redis).await;
    let url = format!("redis://{}:first@{}", issuer.user, redis.address());
    let backend = RedisBackend::connect(&url).await.unwrap();
    issuer.rotate("second").await;
    issuer.kill().await;
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
    a_subscription_follows(&Issuer::start(&redis).await, redis.url()).await;
}

async fn a_subscription_follows(issuer: &Issuer, url: &str) {
    let prefix = format!("credentials-{:016x}", fastrand::u64(..));
    let backend = issuer.builder().connect().await.unwrap();
    let node = Node::over(backend, &prefix, |builder| builder.near_max_silence(NO_BOUND)).await;
    let other = Node::start(url, &prefix, NO_BOUND).await;
    node.log.until("subscription_begun", 1).await;
    for (times, token) in [(2, "fifth"), (3, "sixth")] {
        issuer.rotate(token).await;
        issuer.kill().await;
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
    are_authenticated_again(redis.url(), vec![redis.address().to_owned()], 3).await;
}

#[tokio::test]
async fn connections_in_use_to_a_cluster_are_authenticated_again() {
    let cluster = RedisCluster::shared().await;
    are_authenticated_again(cluster.url(), cluster.nodes().to_vec(), 9).await;
}

/// The provider names another user from some time on, so that the server shows which connections have followed.
///
/// `count` connections are in use: to each master, two for calls and one for the subscription.
async fn are_authenticated_again(url: &str, servers: Vec<String>, count: usize) {
    let first = Issuer::of(url, servers.clone()).await;
    let second = Issuer::of(url, servers).await;
    let current = Arc::new(Mutex::new(first.user.clone()));
    let provider = {
        let current = current.clone();
        move || {
            let user = current.lock().unwrap().clone();
            async move { Ok(Credentials::new("first").with_username(user)) }
        }
    };
    // On a busy machine, no connection must be taken for one that does not answer.
    let builder = RedisBackend::builder()
        .url(url)
        .operation_timeout(PATIENCE)
        .unresponsive_timeout(PATIENCE)
        .credentials(provider)
        .credential_refresh(Duration::from_millis(200));
    let backend = builder.connect().await.unwrap();
    let prefix = format!("refresh-{:016x}", fastrand::u64(..));
    let node = Node::over(backend.clone(), &prefix, |builder| builder.near_max_silence(NO_BOUND)).await;
    node.log.until("subscription_begun", 1).await;
    let load = Load::start(&backend);
    let before = first.connections().await;
    assert!(before.len() >= count, "{before:?}");
    current.lock().unwrap().clone_from(&second.user);
    until_ok(PATIENCE, async || match second.connections().await {
        now if now.intersection(&before).count() >= count => Ok(()),
        now => Err(format!("{now:?} of {before:?}")),
    })
    .await;
    // This ends all connections of the first user.
    first.ask(&format!("ACL DELUSER {}", first.user)).await;
    load.is_answered().await;
    assert_eq!(load.stop().await, 0, "no call failed");
    assert_eq!(node.log.count("subscription_lost"), 0);
}

/// It takes longer than an attempt to connect may.
#[tokio::test]
async fn a_slow_provider_is_waited_for() {
    let redis = Redis::start().await;
    let issuer = Issuer::start(&redis).await;
    let builder = || {
        let issuer = issuer.clone();
        let provider = move || {
            let issuer = issuer.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(2)).await;
                issuer.fetches.fetch_add(1, Ordering::SeqCst);
                Ok(Credentials::new("first").with_username(issuer.user))
            }
        };
        RedisBackend::builder()
            .url(redis.url())
            .connect_timeout(Duration::from_millis(500))
            .credentials(provider)
    };
    let key = namespace().key("k");
    let connected = builder().connect_within(PATIENCE).await.unwrap();
    assert!(connected.get(&key).await.unwrap().is_none());
    let begun = builder().build().unwrap();
    until_ok(PATIENCE, async || begun.get(&key).await).await;
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
    issuer.kill().await;
    issuer.until_fetched(issuer.fetches.load(Ordering::SeqCst) + 4).await;
    assert_eq!(backend.get(&key).await.unwrap_err().kind(), ErrorKind::Unavailable);
    issuer.fails.store(false, Ordering::SeqCst);
    until_ok(PATIENCE, async || backend.get(&key).await).await;
    assert_eq!(value(&backend, &key).await.unwrap(), "v");
}
