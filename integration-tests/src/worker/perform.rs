//! Carries out the actions on a cache.

use std::sync::Arc;

use cache_core::FreshnessWindows;
use cache_engine::{Fill, Found, Load, Loaded, Lookup, tagged};
use futures_util::FutureExt;
use futures_util::future::try_join_all;

use crate::worker::loads::NotLoaded;
use crate::worker::node::Node;
use crate::worker::outcome::{done, given, micros, panic, seen, value};
use crate::worker::protocol::{Action, Answer, Borne, Outcome, Way};
use crate::worker::stamps;

impl Node {
    pub(super) async fn perform(self: Arc<Self>, call: u64, action: Action) -> Outcome {
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
            Action::Invalidate { key, soft: true } => done(self.cache.soft().invalidate(key).await),
            Action::InvalidateTag { tag, soft: false } => done(self.cache.invalidate_tag(tag).await),
            Action::InvalidateTag { tag, soft: true } => done(self.cache.soft().invalidate_tag(tag).await),
            Action::Clear { soft: false } => done(self.cache.clear(&self.settings.namespace).await),
            Action::Clear { soft: true } => done(self.cache.soft().clear(&self.settings.namespace).await),
            Action::ClearAll { soft: false } => done(self.cache.clear_all().await),
            Action::ClearAll { soft: true } => done(self.cache.soft().clear_all().await),
        }
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
        let cache = self.handle(key).adapter().with_late_tags(!added.is_empty());
        match cache.adapter().lookup(&cache.key(key)).await {
            Lookup::Hit { found, .. } => self.found(&found),
            Lookup::Stale { found, refresh } => {
                if let Some(refresh) = refresh {
                    let node = Arc::clone(self);
                    cache.adapter().spawn_refresh(refresh, move |fill| async move {
                        let _ = node.load_in_steps(call, fill, added).await;
                    });
                }
                Outcome::Read(vec![Some(seen(*found.value, false))])
            }
            Lookup::Miss(fill) => self.load_in_steps(call, fill, added).await,
            Lookup::Uncoalesced { .. } => match self.loads.ask(call).await {
                Answer::Value(value) | Answer::Unstored(value) => Outcome::Read(vec![Some(seen(value, false))]),
                Answer::Absent | Answer::Error | Answer::Panic => Outcome::NoValue,
            },
            other => Outcome::Failed(format!("an unknown answer: {other:?}")),
        }
    }

    async fn load_in_steps(&self, call: u64, mut fill: Fill<u64>, added: Vec<String>) -> Outcome {
        let answer = fill.renewing(self.loads.ask(call)).await;
        // Also for a value that is not stored but shared: waiting callers must not get it if its tags have changed.
        if !added.is_empty() && matches!(answer, Answer::Value(_) | Answer::Unstored(_)) {
            fill.add_late_tags(added).await;
        }
        match answer {
            Answer::Value(value) => {
                let windows = FreshnessWindows::new(Some(self.settings.ttl))
                    .with_stale_while_revalidate(self.settings.stale_while_revalidate)
                    .with_stale_if_error(self.settings.stale_if_error);
                let _ = fill.store(Arc::new(value), self.cache.adapter().coder(), windows).await;
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
                    fill.fail_uncoalesced();
                    Outcome::NoValue
                }
            },
            Answer::Absent => {
                fill.uncoalesced();
                Outcome::NoValue
            }
            Answer::Panic => panic(),
        }
    }

    fn found(&self, found: &Found<u64>) -> Outcome {
        let fresh = found
            .fresh_for(self.cache.adapter().now())
            .is_none_or(|time| !time.is_zero());
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
