//! Tags by timestamps, as they are often built. They are wrong if clocks differ.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cache_core::Error;
use cache_engine::{Cache, Loaded};

use crate::worker::loads::NotLoaded;
use crate::worker::node::Node;
use crate::worker::outcome::{done, panic, seen};
use crate::worker::protocol::{Action, Answer, Outcome};

/// A value, and when its load began by the clock of its process, in milliseconds.
type Stamped = (u64, u64);

/// How often a value that is outdated by its tags is removed and read again.
const ATTEMPTS: usize = 10;

pub(super) async fn perform(node: &Arc<Node>, call: u64, action: Action) -> Outcome {
    match action {
        Action::Get { keys } => {
            let mut values = Vec::new();
            for key in keys {
                match get(node, &key).await {
                    Ok(value) => values.push(value.map(|value| seen(value, true))),
                    Err(error) => return Outcome::Failed(error.to_string()),
                }
            }
            Outcome::Read(values)
        }
        // How the load is run makes no difference here.
        Action::GetOrLoad { key, .. } | Action::Refresh { key } => get_or_load(node, call, &key).await,
        Action::Crowd { .. } => Outcome::Failed("not in this way".to_owned()),
        Action::Set { key, value } => {
            let stamped: Stamped = (value, node.cache.adapter().now().as_millis());
            done(node.cache.set(key, stamped).await)
        }
        Action::Invalidate { key, .. } => done(node.cache.invalidate(key).await),
        Action::InvalidateTag { tag, .. } => {
            let now = node.cache.adapter().now().as_millis();
            done(stamps(node).set(tag, now).await)
        }
        Action::Clear { .. } => done(node.cache.clear(&node.settings.namespace).await),
        Action::ClearAll { .. } => done(node.cache.clear_all().await),
    }
}

async fn get(node: &Node, key: &str) -> Result<Option<u64>, Error> {
    let Some(stamped) = node.cache.get::<Stamped>(key).await? else {
        return Ok(None);
    };
    let (value, loaded) = *stamped;
    Ok(is_current(node, key, loaded).await?.then_some(value))
}

async fn get_or_load(node: &Arc<Node>, call: u64, key: &str) -> Outcome {
    for _ in 0..ATTEMPTS {
        let own = Arc::new(AtomicU64::new(0));
        let (cache, loads, is_own) = (node.cache.clone(), Arc::clone(&node.loads), Arc::clone(&own));
        let load = move |_| async move {
            let began = cache.adapter().now().as_millis();
            match loads.ask(call).await {
                Answer::Value(value) => {
                    is_own.store(value, Ordering::SeqCst);
                    Ok(Loaded::new((value, began)))
                }
                Answer::Unstored(value) => Ok(Loaded::new((value, began)).do_not_store()),
                Answer::Absent => Ok(Loaded::absent()),
                Answer::Error => Err(NotLoaded),
                Answer::Panic => panic(),
            }
        };
        let Ok(Some(stamped)) = node.cache.get_or_load_with(key, load).await else {
            return Outcome::NoValue;
        };
        let (value, loaded): Stamped = *stamped;
        // The value of the caller's own load is new enough for the caller.
        let current = own.load(Ordering::SeqCst) == value || is_current(node, key, loaded).await.unwrap_or(false);
        if current {
            return Outcome::Read(vec![Some(seen(value, false))]);
        }
        let _ = node.cache.invalidate(key).await;
    }
    Outcome::NoValue
}

/// Returns a handle for the times of tag invalidations, which are kept longer than any value.
fn stamps(node: &Node) -> Cache {
    node.cache.with_namespace("tags").with_ttl(None)
}

/// Returns whether none of the key's tags was invalidated after the load.
async fn is_current(node: &Node, key: &str, loaded: u64) -> Result<bool, Error> {
    let tags = node.settings.tags.get(key).into_iter().flatten();
    let names = tags.map(|tag| tag.name.clone());
    let invalidated = stamps(node).get_many::<u64, _>(names).await?;
    Ok(invalidated.into_iter().flatten().all(|at| *at < loaded))
}
