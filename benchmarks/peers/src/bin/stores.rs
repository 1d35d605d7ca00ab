//! Stores beside their clients: `stores COMMAND HOST:PORT [SECONDS]`.
//!
//! Values of 1 KiB. The subjects take turns, so that a slow moment of the machine affects all of them. Prints the median of
//! the turns in microseconds per call.
//!
//! - `redis`: 64 tasks over two connections, reads and writes
//! - `memcached`: 16 tasks over at most 16 connections, reads and acknowledged writes. With the codec alone each task has a
//!   connection of its own, which is the best case
//! - `misses`: a miss with lease and fenced fill on Redis, one by one and 32 at once; and what both cost by hand
//! - `trips-redis`, `trips-memcached`: the round trips of calls, counted on the wire

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::env;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::{Backend, Raw, SetOptions};
use cache_engine::Cache;
use cache_memcached::MemcachedBackend;
use fred::prelude::{ClientLike, Expiration, KeysInterface, Pool};
use fred::types::{ClusterHash, CustomCommand, SetOptions as Mode};
use memcache_async::ascii::Protocol;
use peers::clients::{LIFETIME, VALUE, cache, fred, redis, value};
use peers::trips::Proxy;
use peers::turns::Turns;
use peers::{Figures, seconds};
use tokio::io::BufWriter;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

const REDIS_TASKS: u64 = 64;
const MEMCACHED_CONNECTIONS: usize = 16;

async fn memcached(address: &str) -> MemcachedBackend {
    let builder = MemcachedBackend::builder().url(&format!("memcached://{address}"));
    builder.connections(MEMCACHED_CONNECTIONS).connect().await.unwrap()
}

/// Adds reads and writes by the backend and by the cache on it.
fn add_ours<B: Backend + Clone>(turns: &mut [Turns; 2], each: (u64, u64), backend: &B) {
    let cache = cache(backend.clone());
    let [reads, writes] = turns;
    let shared = (backend.clone(), cache);
    let both = shared.clone();
    reads.add("Backend::get", each, move |task, numbers| {
        let (backend, cache) = both.clone();
        async move {
            let key = cache.key(format!("{task}"));
            for _ in numbers {
                assert!(backend.get(&key).await.unwrap().is_some());
            }
        }
    });
    let both = shared.clone();
    reads.add("Cache::get", each, move |task, numbers| {
        let (_, cache) = both.clone();
        async move {
            let key = cache.key(format!("{task}"));
            for _ in numbers {
                assert!(cache.get::<Bytes>(&key).await.unwrap().is_some());
            }
        }
    });
    let both = shared.clone();
    writes.add("Backend::set", each, move |task, numbers| {
        let (backend, cache) = both.clone();
        async move {
            let key = cache.key(format!("{task}"));
            for _ in numbers {
                let set = backend.set(&key, value().into(), SetOptions::new(LIFETIME)).await;
                assert!(set.unwrap().version().is_some());
            }
        }
    });
    writes.add("Cache::set", each, move |task, numbers| {
        let (_, cache) = shared.clone();
        async move {
            let key = cache.key(format!("{task}"));
            for _ in numbers {
                cache.set(&key, value()).await.unwrap();
            }
        }
    });
}

async fn add_fred(turns: &mut [Turns; 2], each: (u64, u64), url: &str) {
    let pool = fred(url).await;
    let [reads, writes] = turns;
    let shared = pool.clone();
    reads.add("fred: GET", each, move |task, numbers| {
        let pool = shared.clone();
        async move {
            let key = format!("fred-{task}");
            for _ in numbers {
                let value: Option<Bytes> = pool.get(&key).await.unwrap();
                assert!(value.is_some());
            }
        }
    });
    writes.add("fred: SET PX", each, move |task, numbers| {
        let pool = pool.clone();
        async move {
            let key = format!("fred-{task}");
            for _ in numbers {
                let lifetime = Some(Expiration::PX(3_600_000));
                let () = pool.set(&key, value(), lifetime, None, false).await.unwrap();
            }
        }
    });
}

async fn add_codec(turns: &mut [Turns; 2], each: (u64, u64), address: &str) {
    let mut codecs = Vec::new();
    for _ in 0..MEMCACHED_CONNECTIONS {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        codecs.push(Arc::new(Mutex::new(Protocol::new(BufWriter::new(stream)))));
    }
    let [reads, writes] = turns;
    let shared = codecs.clone();
    reads.add("memcache-async: get", each, move |task, numbers| {
        let codec = shared[task as usize].clone();
        async move {
            let mut codec = codec.lock().await;
            let key = format!("codec-{task}");
            for _ in numbers {
                assert!(codec.get(&key).await.unwrap().len() >= VALUE.len());
            }
        }
    });
    writes.add("memcache-async: set and version", each, move |task, numbers| {
        let codec = codecs[task as usize].clone();
        async move {
            let mut codec = codec.lock().await;
            let key = format!("codec-{task}");
            for _ in numbers {
                codec.set(&key, &VALUE, 3600).await.unwrap();
                codec.version().await.unwrap();
            }
        }
    });
}

/// Writes first, so that there is something to read.
async fn reads_and_writes([reads, writes]: [Turns; 2], time: Duration) -> Figures {
    let writes = writes.run(time / 2).await;
    writes.and(reads.run(time / 2).await)
}

/// Writes a value if the lease is still there: the least that a fenced fill needs.
const FILL: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[2] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000)
return 1
";

/// Reads or takes a lease, and fills it, by hand: what the guarantees of a miss cost with this client and this server.
async fn lease_and_fill(pool: &Pool, script: &str, key: &str) {
    let lease = Bytes::from_static(b"lease");
    let lifetime = Some(Expiration::PX(60_000));
    let found: Option<Bytes> = pool
        .set(key, lease.clone(), lifetime, Some(Mode::NX), true)
        .await
        .unwrap();
    assert!(found.is_none());
    let arguments: Vec<fred::types::Value> = vec![script.into(), 1.into(), key.into(), value().into(), lease.into()];
    let run = CustomCommand::new_static("EVALSHA", ClusterHash::Random, false);
    let filled: i64 = pool.custom(run, arguments).await.unwrap();
    assert_eq!(filled, 1);
}

async fn misses(address: &str, time: Duration) -> Figures {
    let url = format!("redis://{address}");
    let backend = redis(&url).await;
    let pool = fred(&url).await;
    let load = CustomCommand::new_static("SCRIPT", ClusterHash::Random, false);
    let script: String = pool.custom(load, vec!["LOAD", FILL]).await.unwrap();
    let cache = cache(backend.clone());
    let mut figures = Figures::default();
    for (name, each) in [("one by one", (1, 60)), ("32 at once", (32, 10))] {
        let mut turns = Turns::default();
        let shared = pool.clone();
        turns.add(&format!("fred: GET and SET PX, {name}"), each, move |_, numbers| {
            let pool = shared.clone();
            async move {
                for number in numbers {
                    let key = format!("fred-{number}");
                    let found: Option<Bytes> = pool.get(&key).await.unwrap();
                    assert!(found.is_none());
                    let lifetime = Some(Expiration::PX(60_000));
                    let () = pool.set(&key, value(), lifetime, None, false).await.unwrap();
                }
            }
        });
        let shared = (pool.clone(), script.clone());
        turns.add(
            &format!("fred: lease and fenced fill by hand, {name}"),
            each,
            move |_, numbers| {
                let (pool, script) = shared.clone();
                async move {
                    for number in numbers {
                        lease_and_fill(&pool, &script, &format!("by-hand-{number}")).await;
                    }
                }
            },
        );
        let shared = (backend.clone(), cache.clone());
        turns.add(&format!("Backend: get and set, {name}"), each, move |_, numbers| {
            let (backend, cache) = shared.clone();
            async move {
                for number in numbers {
                    let key = cache.key(format!("backend-{number}"));
                    assert!(backend.get(&key).await.unwrap().is_none());
                    let set = backend.set(&key, value().into(), SetOptions::new(LIFETIME)).await;
                    assert!(set.unwrap().version().is_some());
                }
            }
        });
        let shared = cache.clone();
        turns.add(&format!("get_or_load, {name}"), each, move |_, numbers| {
            let cache = shared.clone();
            async move {
                for number in numbers {
                    let load = || async { Ok::<_, Infallible>(value()) };
                    cache.get_or_load(&format!("loaded-{number}"), load).await.unwrap();
                }
            }
        });
        figures = figures.and(turns.run(time / 2).await);
    }
    figures
}

/// The average of this many calls.
const COUNTED: u64 = 200;

/// Counts the round trips of `call`, which gets numbers that no other call had.
async fn count<F: Future<Output = ()>>(figures: &mut Figures, proxy: &Proxy, what: &str, call: impl Fn(u64) -> F) {
    // The first call may meet what is done once.
    call(COUNTED).await;
    let _ = proxy.take();
    for number in 0..COUNTED {
        call(number).await;
    }
    figures.note(what, proxy.take() as f64 / COUNTED as f64);
}

async fn load(cache: &Cache<Raw>, key: &str) {
    let load = || async { Ok::<_, Infallible>(value()) };
    cache.get_or_load(key, load).await.unwrap();
}

async fn trips<B: Backend + Clone>(proxy: &Proxy, backend: B) -> Figures {
    let cache = &cache(backend);
    let tagged = &cache.with_tags(["one", "two"]);
    load(cache, "hit").await;
    load(tagged, "tagged hit").await;
    let mut figures = Figures::default();
    let all = &mut figures;
    count(all, proxy, "hit", |_| load(cache, "hit")).await;
    count(all, proxy, "hit, two tags", |_| load(tagged, "tagged hit")).await;
    count(all, proxy, "miss", |n| async move {
        load(cache, &format!("miss-{n}")).await
    })
    .await;
    count(all, proxy, "miss, two tags", |n| async move {
        load(tagged, &format!("tagged miss-{n}")).await;
    })
    .await;
    count(all, proxy, "set", |n| async move {
        cache.set(&format!("set-{n}"), value()).await.unwrap()
    })
    .await;
    count(all, proxy, "invalidate", |n| async move {
        cache.invalidate(&format!("set-{n}")).await.unwrap();
    })
    .await;
    count(all, proxy, "invalidate a tag", |_| async move {
        cache.invalidate_tag("one").await.unwrap();
    })
    .await;
    figures
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut turns = [Turns::default(), Turns::default()];
    let figures = match arguments[..] {
        ["redis", address, time] => {
            let (each, url) = ((REDIS_TASKS, 40), format!("redis://{address}"));
            add_fred(&mut turns, each, &url).await;
            add_ours(&mut turns, each, &redis(&url).await);
            reads_and_writes(turns, seconds(time)).await
        }
        ["memcached", address, time] => {
            let each = (MEMCACHED_CONNECTIONS as u64, 80);
            add_codec(&mut turns, each, address).await;
            add_ours(&mut turns, each, &memcached(address).await);
            reads_and_writes(turns, seconds(time)).await
        }
        ["misses", address, time] => misses(address, seconds(time)).await,
        ["trips-redis", address] => {
            let proxy = Proxy::start(address).await;
            trips(&proxy, redis(&format!("redis://{}", proxy.address)).await).await
        }
        ["trips-memcached", address] => {
            let proxy = Proxy::start(address).await;
            trips(&proxy, memcached(&proxy.address).await).await
        }
        _ => panic!("stores redis|memcached|misses|trips-redis|trips-memcached HOST:PORT [SECONDS]"),
    };
    figures.print();
}
