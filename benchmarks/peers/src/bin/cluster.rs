//! A Redis Cluster beside one Redis, and Larder beside fred on both: `cluster ONE CLUSTER SECONDS`, with a URL of each.
//!
//! Values of 1 KiB, by two connections to each server. The keys are spread over the whole Cluster. The subjects of a call
//! take turns. Prints the median of the turns in microseconds per call.
//!
//! - writes and reads by 64 tasks, with and without tags
//! - misses, with lease and fenced fill, and invalidations of tags, one by one and 32 at once

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::env;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::{Key, Raw};
use cache_engine::Cache;
use fred::prelude::{Expiration, KeysInterface, Pool};
use peers::clients::{self, LIFETIME, value};
use peers::turns::Turns;
use peers::{Figures, seconds};

/// Of reads and writes.
const TASKS: (u64, u64) = (64, 40);
/// No two tasks of a turn write the same key.
const KEYS: u64 = TASKS.0 * TASKS.1;

/// One Redis or the Cluster, with a client of each kind.
#[derive(Clone)]
struct Deployment {
    name: &'static str,
    pool: Pool,
    cache: Cache<Raw>,
    tagged: Cache<Raw>,
    keys: Arc<Vec<Key>>,
    tagged_keys: Arc<Vec<Key>>,
}

impl Deployment {
    async fn connect(name: &'static str, url: &str) -> Self {
        let cache = clients::cache(clients::redis(url).await);
        let keys = |prefix| Arc::new((0..KEYS).map(|n| cache.key(format!("{prefix}-{n}"))).collect());
        Self {
            name,
            pool: clients::fred(url).await,
            tagged: cache.with_tags(["one", "two"]),
            keys: keys("plain"),
            tagged_keys: keys("tagged"),
            cache,
        }
    }

    /// Checks that an entry is gone after the invalidation of its tag, wherever both are stored.
    async fn check(&self) {
        for n in 0..100 {
            let tag = format!("checked-{n}");
            let tagged = self.cache.with_tags([tag.as_str()]);
            let key = format!("checked-{n}");
            tagged.set(&key, value()).await.unwrap();
            assert!(tagged.get::<Bytes>(&key).await.unwrap().is_some());
            self.cache.invalidate_tag(&tag).await.unwrap();
            let outlived = tagged.get::<Bytes>(&key).await.unwrap().is_some();
            assert!(!outlived, "an entry outlived the invalidation of its tag");
        }
    }

    /// Writes by fred and by the cache.
    fn add_writes(&self, turns: &mut Turns) {
        let name = self.name;
        let shared = self.pool.clone();
        turns.add(&format!("writes/fred: SET PX/{name}"), TASKS, move |_, numbers| {
            let pool = shared.clone();
            async move {
                for number in numbers {
                    set(&pool, &format!("fred-{}", number % KEYS)).await;
                }
            }
        });
        for (what, cache, keys) in [
            ("Cache::set", &self.cache, &self.keys),
            ("Cache::set, two tags", &self.tagged, &self.tagged_keys),
        ] {
            let shared = (cache.clone(), keys.clone());
            turns.add(&format!("writes/{what}/{name}"), TASKS, move |_, numbers| {
                let (cache, keys) = shared.clone();
                async move {
                    for number in numbers {
                        let key = &keys[(number % KEYS) as usize];
                        cache.set(key, value()).await.unwrap();
                    }
                }
            });
        }
    }

    /// Reads of what [`add_writes`](Self::add_writes) has written.
    fn add_reads(&self, turns: &mut Turns) {
        let name = self.name;
        let shared = self.pool.clone();
        turns.add(&format!("reads/fred: GET/{name}"), TASKS, move |_, numbers| {
            let pool = shared.clone();
            async move {
                for number in numbers {
                    assert!(get(&pool, &format!("fred-{}", number % KEYS)).await.is_some());
                }
            }
        });
        for (what, cache, keys) in [
            ("Cache::get", &self.cache, &self.keys),
            ("Cache::get, two tags", &self.tagged, &self.tagged_keys),
        ] {
            let shared = (cache.clone(), keys.clone());
            turns.add(&format!("reads/{what}/{name}"), TASKS, move |_, numbers| {
                let (cache, keys) = shared.clone();
                async move {
                    for number in numbers {
                        let key = &keys[(number % KEYS) as usize];
                        assert!(cache.get::<Bytes>(key).await.unwrap().is_some());
                    }
                }
            });
        }
    }

    /// Misses by fred and by the cache.
    fn add_misses(&self, turns: &mut Turns, way: &str, each: (u64, u64)) {
        let name = self.name;
        let shared = self.pool.clone();
        let subject = format!("misses, {way}/fred: GET and SET PX/{name}");
        turns.add(&subject, each, move |_, numbers| {
            let pool = shared.clone();
            async move {
                for number in numbers {
                    let key = format!("fred-miss-{number}");
                    assert!(get(&pool, &key).await.is_none());
                    set(&pool, &key).await;
                }
            }
        });
        let shared = self.cache.clone();
        turns.add(&format!("misses, {way}/get_or_load/{name}"), each, move |_, numbers| {
            let cache = shared.clone();
            async move {
                for number in numbers {
                    let load = || async { Ok::<_, Infallible>(value()) };
                    cache.get_or_load(&format!("miss-{number}"), load).await.unwrap();
                }
            }
        });
    }

    fn add_invalidations(&self, turns: &mut Turns, way: &str, each: (u64, u64)) {
        let shared = self.cache.clone();
        let subject = format!("invalidations, {way}/invalidate_tag/{}", self.name);
        turns.add(&subject, each, move |_, numbers| {
            let cache = shared.clone();
            async move {
                for number in numbers {
                    cache.invalidate_tag(&format!("tag-{}", number % KEYS)).await.unwrap();
                }
            }
        });
    }
}

async fn get(pool: &Pool, key: &str) -> Option<Bytes> {
    pool.get(key).await.unwrap()
}

async fn set(pool: &Pool, key: &str) {
    let lifetime = Some(Expiration::PX(i64::try_from(LIFETIME.as_millis()).unwrap()));
    let () = pool.set(key, value(), lifetime, None, false).await.unwrap();
}

async fn measure(deployments: &[Deployment], time: Duration) -> Figures {
    let mut groups = Vec::new();
    let mut group = |add: &dyn Fn(&Deployment, &mut Turns)| {
        let mut turns = Turns::default();
        deployments.iter().for_each(|deployment| add(deployment, &mut turns));
        groups.push(turns);
    };
    // Writes first, so that there is something to read.
    group(&Deployment::add_writes);
    group(&Deployment::add_reads);
    for (way, each) in [("one by one", (1, 60)), ("32 at once", (32, 10))] {
        group(&|deployment, turns| deployment.add_misses(turns, way, each));
        group(&|deployment, turns| deployment.add_invalidations(turns, way, each));
    }
    let each = time / u32::try_from(groups.len()).unwrap();
    let mut figures = Figures::default();
    for turns in groups {
        figures = figures.and(turns.run(each).await);
    }
    figures
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [one, cluster, time] = &arguments[..] else {
        panic!("cluster ONE CLUSTER SECONDS");
    };
    let deployments = [
        Deployment::connect("one", one).await,
        Deployment::connect("cluster", cluster).await,
    ];
    for deployment in &deployments {
        deployment.check().await;
    }
    measure(&deployments, seconds(time)).await.print();
}
