//! Redis that freezes, restarts, fails over, forgets its scripts, is full or refuses commands: every call ends in
//! bounded time with an error of the right kind, and the store is used again when it is back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod redis_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cache_core::{Backend, ErrorKind, SetOptions, SetOutcome, Value};
use cache_engine::{BreakerState, Cache};
use cache_redis::{RedisBackend, RedisBackendBuilder};
use fred::interfaces::ClientLike;
use integration_tests::{Redis, RedisCluster, RedisSentinel, wire};
use redis_support::listener::Listener;
use redis_support::{HOUR, calls, namespace, put, until_ok, value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

fn text(text: &'static str) -> Value {
    Bytes::from_static(text.as_bytes()).into()
}

/// After the store answers again. `RedisBackend` guarantees two seconds.
const BACK_WITHIN: Duration = Duration::from_secs(2);

/// Returns a builder with a timeout of 300 milliseconds.
fn impatient(server: &Redis) -> RedisBackendBuilder {
    RedisBackend::builder()
        .url(server.url())
        .operation_timeout(Duration::from_millis(300))
        .connect_timeout(Duration::from_millis(300))
}

/// Connects with a timeout of 300 milliseconds. On a busy machine, a server that has just started may take longer at first.
async fn connect_impatiently(builder: impl Fn() -> RedisBackendBuilder) -> RedisBackend {
    let begun = Instant::now();
    loop {
        match builder().connect().await {
            Ok(redis) => return redis,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_costs_the_command_timeout_and_then_nothing() {
    let server = Redis::start().await;
    let redis = connect_impatiently(|| impatient(&server)).await;
    let key = namespace().key("k");
    put(&redis, &key, "before").await;

    server.freeze().await;
    let begun = Instant::now();
    let mut kinds = Vec::new();
    while begun.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        let error = redis.get(&key).await.unwrap_err();
        assert!(
            asked.elapsed() < Duration::from_millis(600),
            "{:?}: {error}",
            asked.elapsed()
        );
        assert!(error.is_retryable(), "{error}");
        kinds.push(error.kind());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(kinds[0], ErrorKind::Timeout);
    // Each of the two connections costs one timeout and is then replaced.
    let timeouts = kinds.iter().filter(|kind| **kind == ErrorKind::Timeout).count();
    assert!(
        timeouts <= 4,
        "{timeouts} of {} calls waited in vain: {kinds:?}",
        kinds.len()
    );
    assert!(kinds.contains(&ErrorKind::Unavailable), "{kinds:?}");

    server.thaw().await;
    let back = until_ok(BACK_WITHIN, async || redis.get(&key).await).await;
    println!("used again after {back:?}");
    assert_eq!(value(&redis, &key).await.unwrap(), "before");
}

/// An answer whose caller has left does not mean that the server is silent.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_costs_no_connection() {
    let server = Redis::start().await;
    let timeout = Duration::from_millis(200);
    let redis = RedisBackend::builder()
        .url(server.url())
        .operation_timeout(timeout)
        .connect()
        .await
        .unwrap();
    let key = namespace().key("k");
    let made = async || {
        let stats = wire::redis(server.address(), "INFO stats").await.unwrap();
        let line = stats
            .lines()
            .find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = made().await;
    for _ in 0..100 {
        let _ = futures_util::poll!(redis.get(&key));
    }
    // Wait until a silent server would have been noticed.
    tokio::time::sleep(3 * timeout).await;
    put(&redis, &key, "after").await;
    assert_eq!(made().await, before + 1, "the one that was made to look");
}

/// Like an engine with a shorter time limit of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_noticed_by_those_who_do_not_wait_for_the_command_timeout() {
    let server = Redis::start().await;
    // So long that fred itself does not notice.
    let redis = connect_impatiently(|| impatient(&server).unresponsive_timeout(HOUR)).await;
    let key = namespace().key("k");
    put(&redis, &key, "before").await;
    server.freeze().await;
    let begun = Instant::now();
    loop {
        match tokio::time::timeout(Duration::from_millis(100), redis.get(&key)).await {
            Ok(answer) => {
                assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unavailable);
                break;
            }
            Err(_) => assert!(begun.elapsed() < Duration::from_secs(5), "still waited for"),
        }
    }
    println!("noticed after {:?}", begun.elapsed());

    server.thaw().await;
    let back = until_ok(BACK_WITHIN, async || redis.get(&key).await).await;
    println!("used again after {back:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_under_load_is_noticed_too() {
    // While commands keep coming, fred never sees a connection as unresponsive.
    let server = Redis::start().await;
    let redis = connect_impatiently(|| impatient(&server)).await;
    let namespace = namespace();
    let large = Bytes::from(vec![b'x'; 200_000]);
    server.freeze().await;
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..32 {
        let (redis, key, large) = (redis.clone(), namespace.key(format!("k{task}")), large.clone());
        tasks.spawn(async move {
            while begun.elapsed() < Duration::from_secs(2) {
                let asked = Instant::now();
                // Enough to fill the socket, so that fred blocks in a write.
                redis
                    .set(&key, large.clone().into(), SetOptions::new(HOUR))
                    .await
                    .unwrap_err();
                assert!(asked.elapsed() < Duration::from_millis(900), "{:?}", asked.elapsed());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    server.thaw().await;
    let key = namespace.key("after");
    let back = until_ok(BACK_WITHIN, async || {
        redis.set(&key, large.clone().into(), SetOptions::new(HOUR)).await
    })
    .await;
    println!("used again after {back:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_is_used_again_within_two_seconds() {
    let server = Redis::start().await;
    let redis = RedisBackend::connect(server.url()).await.unwrap();
    let key = namespace().key("k");
    let version = put(&redis, &key, "before").await;

    server.kill().await;
    let down = Instant::now();
    while down.elapsed() < Duration::from_secs(1) {
        let asked = Instant::now();
        let error = redis.get(&key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.is_retryable() && asked.elapsed() < Duration::from_millis(500));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.restart().await;
    let back = until_ok(BACK_WITHIN, async || redis.ping().await).await;
    println!("used again after {back:?}");
    // The server is empty and knows no script.
    assert_eq!(value(&redis, &key).await, None);
    let lost = redis
        .set(&key, text("x"), SetOptions::new(HOUR).if_version(version))
        .await
        .unwrap();
    assert_eq!(lost, SetOutcome::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_starts_without_its_store() {
    let server = Redis::start().await;
    server.kill().await;
    let refused = RedisBackend::connect(server.url()).await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.operation()),
        (ErrorKind::Unavailable, Some("connect")),
        "{refused}"
    );

    let redis = RedisBackend::builder().url(server.url()).build().unwrap();
    let key = namespace().key("k");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let error = redis.get(&key).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("not connected"), "{error}");
    server.restart().await;
    until_ok(BACK_WITHIN, async || redis.ping().await).await;
    put(&redis, &key, "v").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_fail_over_and_the_new_master_is_used() {
    let set = RedisSentinel::start().await;
    let redis = RedisBackend::connect(set.url()).await.unwrap();
    let key = namespace().key("k");
    let version = put(&redis, &key, "before").await;
    assert_eq!(wire::redis(&set.master().await, "WAIT 1 5000").await.unwrap(), "1");

    set.fail_over().await;
    let back = until_ok(BACK_WITHIN, async || redis.ping().await).await;
    println!("used again after {back:?}");
    // The replica has the data but no script.
    let next = redis
        .set(&key, text("after"), SetOptions::new(HOUR).if_version(version))
        .await
        .unwrap();
    assert!(next.version().is_some());
    assert_eq!(value(&redis, &key).await.unwrap(), "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_replaces_a_master_and_all_keys_are_served_again() {
    let cluster = RedisCluster::start().await;
    let redis = RedisBackend::connect(cluster.url()).await.unwrap();
    let namespace = namespace();
    let keys: Vec<_> = (0..60).map(|number| namespace.key(format!("k{number}"))).collect();
    for key in &keys {
        put(&redis, key, "before").await;
    }
    let master = cluster.nodes()[0].clone();
    cluster.fail_over(&master).await;
    let back = until_ok(BACK_WITHIN, async || redis.get_many(&keys).await).await;
    println!("used again after {back:?}");
    for key in &keys {
        put(&redis, key, "after").await;
    }
    assert_eq!(redis.clear(&namespace.scope()).await.unwrap(), 60);
}

#[tokio::test]
async fn a_server_that_forgot_its_scripts_is_told_again() {
    let server = Redis::start().await;
    let redis = RedisBackend::connect(server.url()).await.unwrap();
    let key = namespace().key("k");
    let mut version = put(&redis, &key, "v").await;
    for _ in 0..2 {
        wire::redis(server.address(), "SCRIPT FLUSH").await.unwrap();
        wire::redis(server.address(), "CONFIG RESETSTAT").await.unwrap();
        for _ in 0..3 {
            let next = redis
                .set(&key, text("w"), SetOptions::new(HOUR).if_version(version))
                .await
                .unwrap();
            version = next.version().unwrap();
        }
        // The script is sent in full once, and by its hash from then on.
        assert_eq!(calls(server.address(), "eval").await, 1);
        wire::redis(server.address(), "SCRIPT FLUSH").await.unwrap();
        assert!(value(&redis, &key).await.is_some());
        wire::redis(server.address(), "SCRIPT FLUSH").await.unwrap();
        assert!(redis.delete_if(&key, version).await.unwrap());
        version = put(&redis, &key, "v").await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_auth() {
    let server = Redis::start().await;
    let address = server.address();
    for command in [
        "ACL SETUSER ada on >secret ~* &* +@all",
        "ACL SETUSER default on >other",
    ] {
        wire::redis(address, command).await.unwrap();
    }
    for url in [
        format!("redis://ada:wrong@{address}"),
        format!("redis://:wrong@{address}"),
        format!("redis://{address}"),
    ] {
        let error = RedisBackend::connect(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth, "{url}: {error}");
        assert!(
            !error.is_retryable() && !format!("{error:?}").contains(":wrong"),
            "{error:?}"
        );
    }
    for url in [
        format!("redis://ada:secret@{address}"),
        format!("redis://:other@{address}/1"),
    ] {
        let redis = RedisBackend::connect(&url).await.unwrap();
        put(&redis, &namespace().key("k"), "v").await;
    }
    // With `build`, a call fails with the reason.
    let redis = RedisBackend::builder()
        .url(&format!("redis://ada:wrong@{address}"))
        .build()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(redis.ping().await.unwrap_err().kind(), ErrorKind::Auth);
}

#[tokio::test]
async fn a_user_needs_no_more_than_the_readme_says() {
    let server = Redis::start().await;
    let address = server.address();
    let user = "ACL SETUSER cache on >secret ~shop:* resetchannels -@all +ping +auth +select +set +get +getrange +exists \
                +pttl +unlink +scan +eval +evalsha +info +client|id";
    wire::redis(address, user).await.unwrap();
    let redis = RedisBackend::connect(&format!("redis://cache:secret@{address}"))
        .await
        .unwrap();
    let shop = cache_core::Prefix::new("shop").namespace("n");
    let key = shop.key("k");
    let version = put(&redis, &key, "v").await;
    assert_eq!(value(&redis, &key).await.unwrap(), "v");
    let next = redis
        .set(&key, text("w"), SetOptions::new(HOUR).if_version(version))
        .await
        .unwrap();
    assert!(redis.delete_if(&key, next.version().unwrap()).await.unwrap());
    put(&redis, &key, "v").await;
    assert_eq!(redis.clear(&shop.scope()).await.unwrap(), 1);

    let heartbeat = Duration::from_millis(100);
    let refused = redis.subscribe(&shop.scope(), heartbeat).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Auth, "{refused}");
    wire::redis(address, "ACL SETUSER cache +client|tracking")
        .await
        .unwrap();
    let mut listener = Listener::start(&redis, &shop.scope()).await;
    put(&redis, &key, "v").await;
    listener.must_tell(&key).await;

    let elsewhere = cache_core::Prefix::new("other").namespace("n").key("k");
    for error in [
        redis.get(&elsewhere).await.unwrap_err(),
        redis
            .set(&elsewhere, text("v"), SetOptions::new(HOUR))
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    }
}

#[tokio::test]
async fn a_full_server_rejects() {
    let server = Redis::start().await;
    let redis = RedisBackend::connect(server.url()).await.unwrap();
    let key = namespace().key("k");
    let version = put(&redis, &key, "v").await;
    for command in ["CONFIG SET maxmemory-policy noeviction", "CONFIG SET maxmemory 1"] {
        wire::redis(server.address(), command).await.unwrap();
    }
    let options = SetOptions::new(HOUR);
    for options in [options, options.if_absent(), options.if_version(version)] {
        let error = redis.set(&key, text("w"), options).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Rejected, false),
            "{error}"
        );
        assert!(error.message().starts_with("OOM"), "{error}");
    }
    // Reads and removals still work, so a full store can be emptied.
    assert_eq!(value(&redis, &key).await.unwrap(), "v");
    assert!(redis.delete(&key).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_rejects_writes_and_is_read() {
    let set = RedisSentinel::shared().await;
    let mut replica = None;
    for word in wire::redis(&set.master().await, "INFO replication")
        .await
        .unwrap()
        .lines()
    {
        if let Some(line) = word.strip_prefix("slave0:ip=127.0.0.1,port=") {
            replica = line.split(',').next().map(str::to_owned);
        }
    }
    let url = format!("redis://127.0.0.1:{}", replica.expect("the master names its replica"));
    let redis = RedisBackend::connect(&url).await.unwrap();
    let key = namespace().key("k");
    let error = redis.set(&key, text("v"), SetOptions::new(HOUR)).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Rejected, true),
        "{error}"
    );
    assert!(error.message().starts_with("READONLY"), "{error}");
    until_ok(BACK_WITHIN, async || redis.get(&key).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_became_a_replica_is_left_for_the_new_one() {
    // Like a host name that now leads to another server: the connection stays open, and fred would stay with it.
    let (first, second) = (Redis::start().await, Redis::start().await);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = listener.local_addr().unwrap();
    let proxy = tokio::spawn(redis_support::forward(
        listener,
        first.address().to_owned(),
        |near| async { Ok(near) },
    ));
    let redis = RedisBackend::connect(&format!("redis://{front}")).await.unwrap();
    let key = namespace().key("k");
    put(&redis, &key, "v").await;

    wire::redis(first.address(), "REPLICAOF 127.0.0.1 1").await.unwrap();
    proxy.abort();
    let _ = proxy.await;
    let listener = tokio::net::TcpListener::bind(front).await.unwrap();
    tokio::spawn(redis_support::forward(
        listener,
        second.address().to_owned(),
        |near| async { Ok(near) },
    ));
    let options = SetOptions::new(HOUR);
    let error = redis.set(&key, text("w"), options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    until_ok(BACK_WITHIN, async || redis.set(&key, text("w"), options).await).await;
    assert_eq!(calls(second.address(), "set").await, 1);
}

#[tokio::test]
async fn more_than_may_be_under_way_is_refused_at_once() {
    let server = Redis::start().await;
    let redis = RedisBackend::builder()
        .url(server.url())
        .max_in_flight(8)
        .operation_timeout(Duration::from_millis(300))
        .connect()
        .await
        .unwrap();
    let key = namespace().key("k");
    // It opens no breaker, since the server answers.
    let cache = Cache::builder(redis.clone()).build();
    let mut batches = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let cache = cache.clone();
        batches.spawn(async move {
            cache
                .get_many::<u32, _>((0..500).map(|id| id.to_string()))
                .await
                .is_err()
        });
    }
    assert!(batches.join_all().await.contains(&true), "more than 8 at a time");
    assert_eq!(cache.stats().breaker, BreakerState::Closed);
    assert_eq!(cache.get::<u32>("0").await.unwrap(), None);

    server.freeze().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (redis, key) = (redis.clone(), key.clone());
        calls.spawn(async move { redis.get(&key).await.unwrap_err() });
    }
    let errors = calls.join_all().await;
    let refused = errors
        .iter()
        .filter(|error| error.message().contains("in flight"))
        .count();
    assert_eq!(refused, 32, "{errors:?}");
    assert!(errors.iter().all(cache_core::Error::is_retryable));
    server.thaw().await;
    until_ok(BACK_WITHIN, async || redis.get(&key).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_with_close_and_with_the_last_handle() {
    let server = Redis::start().await;
    let connected = async || {
        let clients = wire::redis(server.address(), "INFO clients").await.unwrap();
        let line = clients
            .lines()
            .find_map(|line| line.strip_prefix("connected_clients:"))
            .unwrap()
            .to_owned();
        // The connection that asks counts too.
        line.parse::<u32>().unwrap() - 1
    };
    let none = async || match connected().await {
        0 => Ok(()),
        some => Err(format!("{some} connections are left")),
    };
    let redis = RedisBackend::connect(server.url()).await.unwrap();
    assert_eq!(connected().await, 2);
    let clone = redis.clone();
    drop(redis);
    clone.ping().await.unwrap();
    drop(clone);
    until_ok(BACK_WITHIN, none).await;

    let redis = RedisBackend::connect(server.url()).await.unwrap();
    let clone = redis.clone();
    redis.close().await.unwrap();
    until_ok(BACK_WITHIN, none).await;
    let error = clone.ping().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, false));
    redis.close().await.unwrap();
}

/// Forwards connections to Redis. After `cut` is set, the next command still arrives, and then the connection breaks
/// without an answer.
async fn cutting(to: String, cut: Arc<AtomicBool>) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let (to, cut) = (to.clone(), cut.clone());
            tokio::spawn(async move {
                let Ok(mut far) = tokio::net::TcpStream::connect(to).await else {
                    return;
                };
                let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
                loop {
                    tokio::select! {
                        read = near.read(&mut up) => match read {
                            Ok(read @ 1..) => far.write_all(&up[..read]).await.unwrap(),
                            _ => return,
                        },
                        read = far.read(&mut down) => match read {
                            // The command was carried out, and this is its answer, which is dropped.
                            Ok(1..) if cut.swap(false, Ordering::SeqCst) => return,
                            Ok(read @ 1..) => near.write_all(&down[..read]).await.unwrap(),
                            _ => return,
                        },
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_answer_was_lost_is_not_sent_again() {
    let server = Redis::start().await;
    let cut = Arc::new(AtomicBool::new(false));
    let front = cutting(server.address().to_owned(), cut.clone()).await;
    let redis = RedisBackend::builder()
        .server("127.0.0.1", front.port())
        .connections(1)
        .connect()
        .await
        .unwrap();
    let key = namespace().key("k");
    for options in [SetOptions::new(HOUR), SetOptions::new(HOUR).if_absent()] {
        redis.delete(&key).await.unwrap();
        wire::redis(server.address(), "CONFIG RESETSTAT").await.unwrap();
        cut.store(true, Ordering::SeqCst);
        let error = redis.set(&key, text("v"), options).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Unavailable, true),
            "{error}"
        );
        until_ok(BACK_WITHIN, async || redis.ping().await).await;
        assert_eq!(calls(server.address(), "set").await, 1);
        assert_eq!(value(&redis, &key).await.unwrap(), "v");
    }

    // The control: with fred's defaults the command is sent twice, and the second attempt is refused because of the
    // first.
    let config = fred::types::config::Config::from_url(&format!("redis://{front}")).unwrap();
    let policy = fred::types::config::ReconnectPolicy::new_constant(0, 10);
    let client = fred::types::Builder::from_config(config)
        .set_policy(policy)
        .build()
        .unwrap();
    client.init().await.unwrap();
    redis.delete(&key).await.unwrap();
    wire::redis(server.address(), "CONFIG RESETSTAT").await.unwrap();
    cut.store(true, Ordering::SeqCst);
    let command = fred::types::CustomCommand::new_static("SET", fred::types::ClusterHash::FirstKey, false);
    let answer: Option<String> = client.custom(command, vec![key.as_str(), "v", "NX"]).await.unwrap();
    assert_eq!((answer, calls(server.address(), "set").await), (None, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_and_behind_sentinels_a_user_needs_little_more() {
    let user = "ACL SETUSER cache on >secret ~shop:* resetchannels -@all +ping +auth +select +set +get +getrange +exists \
                +pttl +unlink +scan +eval +evalsha +info +client|id +client|tracking";
    let (cluster, sentinel) = (RedisCluster::start().await, RedisSentinel::start().await);
    for node in cluster.nodes() {
        wire::redis(node, &format!("{user} +cluster|slots +cluster|info +cluster|nodes"))
            .await
            .unwrap();
    }
    wire::redis(&sentinel.master().await, &format!("{user} +role"))
        .await
        .unwrap();
    for url in [cluster.url(), sentinel.url()] {
        let redis = RedisBackend::connect(&url.replacen("://", "://cache:secret@", 1))
            .await
            .unwrap();
        let shop = cache_core::Prefix::new("shop").namespace("n");
        let key = shop.key("k");
        let version = put(&redis, &key, "v").await;
        assert_eq!(value(&redis, &key).await.unwrap(), "v");
        let next = redis
            .set(&key, text("w"), SetOptions::new(HOUR).if_version(version))
            .await
            .unwrap();
        assert!(next.version().is_some());
        let mut listener = Listener::start(&redis, &shop.scope()).await;
        assert_eq!(redis.clear(&shop.scope()).await.unwrap(), 1);
        listener.must_tell(&key).await;
    }
}
