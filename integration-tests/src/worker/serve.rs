//! The worker's own side.

use std::collections::HashMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cache_core::{Error, FreshnessWindows, Key};
use cache_engine::{Cache, Fill, Found, Load, LoadError, Loaded, Lookup, Policy, tagged};
use cache_memory::MemoryBackend;
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};

use super::protocol::{Action, Answer, Borne, CacheId, Order, Outcome, Report, Seen, Settings, Way};
use super::stamps;
use super::stores::{PATIENCE, SkewedClock, Stores};
use super::ways::NaiveFlights;

/// Caches on the store at `url` as the lines on standard input say, until there are no more.
///
/// # Errors
/// The store could not be connected to, or a line made no sense.
pub async fn serve(url: &str) -> Result<(), String> {
    let (reports, outgoing) = mpsc::unbounded_channel();
    let writer = tokio::spawn(write(outgoing));
    let loads = Arc::new(Loads {
        reports: reports.clone(),
        pending: Mutex::default(),
        next: AtomicU64::new(0),
    });
    let mut stores = Stores::new(url);
    let mut nodes: HashMap<CacheId, Arc<Node>> = HashMap::new();
    // A store that is not there is found out now, and not by the first who asks.
    stores.backend(0, Way::Real).await.map_err(|error| error.to_string())?;
    let _ = reports.send(Report::Ready);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.map_err(|error| error.to_string())? {
        match serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))? {
            Order::Open { cache, settings } => {
                let node = Node::open(&mut stores, settings, Arc::clone(&loads)).await;
                nodes.insert(cache, Arc::new(node.map_err(|error| error.to_string())?));
            }
            Order::Do { cache, call, action } => {
                let node = Arc::clone(nodes.get(&cache).ok_or(format!("cache {cache} is not open"))?);
                let reports = reports.clone();
                tokio::spawn(async move {
                    let outcome = AssertUnwindSafe(node.perform(call, action)).catch_unwind().await;
                    let outcome = outcome.unwrap_or(Outcome::NoValue);
                    let _ = reports.send(Report::Done { call, outcome });
                });
            }
            Order::Answer { load, answer } => loads.answer(load, answer),
            Order::Close { cache, call, keys } => {
                let node = nodes.remove(&cache).ok_or(format!("cache {cache} is not open"))?;
                let reports = reports.clone();
                tokio::spawn(async move {
                    let outcome = node.close(&keys).await;
                    let _ = reports.send(Report::Done { call, outcome });
                });
            }
        }
    }
    writer.abort();
    Ok(())
}

async fn write(mut reports: mpsc::UnboundedReceiver<Report>) -> io::Result<()> {
    let mut stdout = tokio::io::stdout();
    let (mut batch, mut lines) = (Vec::new(), Vec::new());
    while reports.recv_many(&mut batch, 256).await > 0 {
        for report in batch.drain(..) {
            serde_json::to_writer(&mut lines, &report)?;
            lines.push(b'\n');
        }
        stdout.write_all(&lines).await?;
        stdout.flush().await?;
        lines.clear();
    }
    Ok(())
}

/// The loads that wait to be told what they bring.
#[derive(Debug)]
pub(super) struct Loads {
    reports: mpsc::UnboundedSender<Report>,
    pending: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    next: AtomicU64,
}

impl Loads {
    pub(super) async fn ask(&self, call: u64) -> Answer {
        let load = self.next.fetch_add(1, Ordering::Relaxed);
        let (send, receive) = oneshot::channel();
        self.pending().insert(load, send);
        let _ = self.reports.send(Report::Load { call, load });
        receive.await.unwrap_or(Answer::Error)
    }

    fn answer(&self, load: u64, answer: Answer) {
        if let Some(send) = self.pending().remove(&load) {
            // The load may have been cancelled.
            let _ = send.send(answer);
        }
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a load fails with.
#[derive(Debug)]
pub(super) struct NotLoaded;

/// One cache.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) cache: Cache,
    pub(super) settings: Settings,
    pub(super) loads: Arc<Loads>,
    naive: Arc<NaiveFlights>,
}

impl Node {
    async fn open(stores: &mut Stores, settings: Settings, loads: Arc<Loads>) -> Result<Self, Error> {
        let ahead = settings.clock_ahead;
        let backend = stores.backend(ahead, settings.way).await?;
        let remembered = Some(settings.negative_ttl).filter(|ttl| !ttl.is_zero());
        let policy = Policy::new(settings.ttl)
            .with_stale_while_revalidate(settings.stale_while_revalidate)
            .with_stale_if_error(settings.stale_if_error)
            .with_negative_ttl(remembered)
            .with_error_ttl(remembered)
            .with_coalesce_across_processes(settings.coalesce_across_processes);
        let mut builder = Cache::builder_shared(backend);
        if let Some(near) = settings.near {
            builder = builder.near(MemoryBackend::default()).near_max_silence(near.bound);
            if let Some(age) = near.max_age {
                builder = builder.near_max_age(age);
            }
        }
        if !settings.tag_cache_ttl.is_zero() {
            builder = builder.tag_cache_ttl(settings.tag_cache_ttl);
        }
        let cache = builder
            .tag_namespaces(settings.tag_namespaces)
            .prefix(&settings.prefix)
            .namespace(&settings.namespace)
            .policy(policy)
            .lease_time(settings.lease_time)
            .backend_timeout(PATIENCE)
            .clock(SkewedClock { ahead })
            .build();
        Ok(Self {
            cache,
            settings,
            loads,
            naive: Arc::default(),
        })
    }

    async fn close(&self, keys: &[String]) -> Outcome {
        self.cache.shutdown().await;
        let keys: Vec<Key> = keys.iter().map(|key| self.cache.key(key.as_str())).collect();
        done(self.cache.backend().delete_many(&keys).await)
    }

    async fn perform(self: Arc<Self>, call: u64, action: Action) -> Outcome {
        if self.settings.way == Way::TimestampTags {
            return stamps::perform(&self, call, action).await;
        }
        match action {
            Action::Get { keys } => self.get(&keys).await,
            Action::GetOrLoad { key, borne, patience } => {
                let naive = self.settings.way == Way::NaiveFlight;
                let flights = Arc::clone(&self.naive);
                let name = key.clone();
                let load = self.get_or_load(call, key, borne);
                let load = async {
                    if naive {
                        flights.join(&name, load.boxed()).await
                    } else {
                        load.await
                    }
                };
                match patience {
                    Some(patience) => tokio::time::timeout(patience, load).await.unwrap_or(Outcome::GaveUp),
                    None => load.await,
                }
            }
            Action::Crowd { key, callers } => self.crowd(call, &key, callers).await,
            Action::Refresh { key } => {
                let (loads, added) = (Arc::clone(&self.loads), self.tags(&key, false));
                let load = move || async move {
                    match tagged(added, || loads.ask(call)).await {
                        Answer::Value(value) | Answer::Unstored(value) => Ok(value),
                        Answer::Absent | Answer::Error => Err(NotLoaded),
                        Answer::Panic => panic(),
                    }
                };
                given(self.handle(&key).refresh(key, load).await.map(Some))
            }
            Action::Set { key, value } => {
                let handle = self.handle(&key).with_tags(self.tags(&key, false));
                done(handle.set(key, value).await)
            }
            Action::Invalidate { key, soft: false } => done(self.cache.invalidate(key).await),
            Action::Invalidate { key, soft: true } => done(self.cache.invalidate_soft(key).await),
            Action::InvalidateTag { tag, soft: false } => done(self.cache.invalidate_tag(tag).await),
            Action::InvalidateTag { tag, soft: true } => done(self.cache.invalidate_tag_soft(tag).await),
            Action::Clear { soft: false } => done(self.cache.clear(&self.settings.namespace).await),
            Action::Clear { soft: true } => done(self.cache.clear_soft(&self.settings.namespace).await),
            Action::ClearAll { soft: false } => done(self.cache.clear_all().await),
            Action::ClearAll { soft: true } => done(self.cache.clear_all_soft().await),
        }
    }

    /// The cache for a key, which knows of those of its tags that are known beforehand.
    fn handle(&self, key: &str) -> Cache {
        self.cache.with_tags(self.tags(key, true))
    }

    /// The tags of a key: those that are known beforehand, or those that its loads add.
    fn tags(&self, key: &str, declared: bool) -> Vec<String> {
        let tags = self.settings.tags.get(key).into_iter().flatten();
        tags.filter(|tag| tag.declared == declared)
            .map(|tag| tag.name.clone())
            .collect()
    }

    async fn get(&self, keys: &[String]) -> Outcome {
        let values = match keys {
            [key] => self.cache.get::<u64>(key).await.map(|value| vec![value]),
            keys => self.cache.get_many::<u64, _>(keys).await,
        };
        match values {
            Ok(values) => Outcome::Read(values.into_iter().map(|value| Some(seen(*value?, true))).collect()),
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    async fn get_or_load(self: Arc<Self>, call: u64, key: String, borne: Borne) -> Outcome {
        let (loads, added) = (Arc::clone(&self.loads), self.tags(&key, false));
        let handle = self.handle(&key);
        let load = move |load: Load<u64>| async move {
            match load.tagged(added, || loads.ask(call)).await {
                Answer::Value(value) => Ok(Loaded::new(value)),
                Answer::Unstored(value) => Ok(Loaded::new(value).do_not_store()),
                Answer::Absent => Ok(Loaded::absent()),
                Answer::Error => Err(NotLoaded),
                Answer::Panic => panic(),
            }
        };
        match borne {
            Borne::Detached => given(handle.get_or_load_with(key, load).await),
            Borne::ByCaller => given(handle.borrowing().get_or_load_with(key, load).await),
            Borne::InSteps => self.look_up(call, &key).await,
        }
    }

    async fn look_up(self: &Arc<Self>, call: u64, key: &str) -> Outcome {
        let added = self.tags(key, false);
        let cache = self.handle(key).with_late_tags(!added.is_empty());
        match cache.lookup(&cache.key(key)).await {
            Lookup::Hit { found, .. } => self.found(&found),
            Lookup::Stale { found, refresh } => {
                if let Some(refresh) = refresh {
                    let (node, handle) = (Arc::clone(self), cache.clone());
                    cache.spawn(async move {
                        if let Some(fill) = handle.begin_refresh(refresh).await {
                            let _ = node.load_in_steps(call, fill, added).await;
                        }
                    });
                }
                Outcome::Read(vec![Some(seen(*found.value, false))])
            }
            Lookup::Miss(fill) => self.load_in_steps(call, fill, added).await,
            Lookup::Apart { .. } => match self.loads.ask(call).await {
                Answer::Value(value) | Answer::Unstored(value) => Outcome::Read(vec![Some(seen(value, false))]),
                Answer::Absent | Answer::Error | Answer::Panic => Outcome::NoValue,
            },
            other => Outcome::Failed(format!("an unknown answer: {other:?}")),
        }
    }

    async fn load_in_steps(&self, call: u64, mut fill: Fill<u64>, added: Vec<String>) -> Outcome {
        let answer = fill.renewing(self.loads.ask(call)).await;
        // Whether it is stored or only shared with those who wait, they must not be given it if its tags have changed.
        if !added.is_empty() && matches!(answer, Answer::Value(_) | Answer::Unstored(_)) {
            fill.add_late_tags(added).await;
        }
        match answer {
            Answer::Value(value) => {
                let windows = FreshnessWindows::new(Some(self.settings.ttl))
                    .with_stale_while_revalidate(self.settings.stale_while_revalidate)
                    .with_stale_if_error(self.settings.stale_if_error);
                let _ = fill.store(Arc::new(value), self.cache.coder(), windows).await;
                Outcome::Read(vec![Some(seen(value, false))])
            }
            Answer::Unstored(value) => {
                fill.share_unstored(Arc::new(value)).await;
                Outcome::Read(vec![Some(seen(value, false))])
            }
            Answer::Error => match fill.stale_if_error().await {
                Some(stale) => {
                    fill.share_stale(stale.clone()).await;
                    Outcome::Read(vec![Some(seen(*stale.value, false))])
                }
                None => {
                    fill.fail_apart();
                    Outcome::NoValue
                }
            },
            Answer::Absent => {
                fill.apart();
                Outcome::NoValue
            }
            Answer::Panic => panic(),
        }
    }

    fn found(&self, found: &Found<u64>) -> Outcome {
        let fresh = found.fresh_for(self.cache.now()).is_none_or(|time| !time.is_zero());
        Outcome::Read(vec![Some(seen(*found.value, fresh))])
    }

    async fn crowd(self: &Arc<Self>, call: u64, key: &str, callers: usize) -> Outcome {
        let callers = (0..callers).map(|_| {
            let (node, key) = (Arc::clone(self), key.to_owned());
            tokio::spawn(async move {
                let outcome = node.get_or_load(call, key, Borne::Detached).await;
                (outcome, micros())
            })
        });
        let Ok(outcomes) = try_join_all(callers).await else {
            return Outcome::NoValue;
        };
        let (values, times) = outcomes
            .into_iter()
            .map(|(outcome, time)| (value(&outcome), time))
            .unzip();
        Outcome::Crowd(values, times)
    }
}

pub(super) fn seen(value: u64, fresh: bool) -> Seen {
    Seen { value, fresh }
}

/// What is given to one who does not ask how fresh it is.
fn given<E>(result: Result<Option<Arc<u64>>, LoadError<E>>) -> Outcome {
    match result {
        Ok(Some(value)) => Outcome::Read(vec![Some(seen(*value, false))]),
        Ok(None) | Err(_) => Outcome::NoValue,
    }
}

fn value(outcome: &Outcome) -> Option<u64> {
    match outcome {
        Outcome::Read(values) => values.first().copied().flatten().map(|seen| seen.value),
        _ => None,
    }
}

pub(super) fn done<T>(result: Result<T, Error>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// Microseconds since the Unix epoch by the machine's clock, which all workers share.
fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A panic without a message on standard error.
pub(super) fn panic() -> ! {
    std::panic::resume_unwind(Box::new("a load that was told to"))
}
