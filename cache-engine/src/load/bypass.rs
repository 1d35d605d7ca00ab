//! Calls that go past the caches, and what a task hands on to the tasks that it spawns.

use std::future::Future;

use crate::tags::ambient::{Ambient, is_bypassed};
use crate::tags::scope::Tagger;

/// Runs `future` without any cache: every load and every cached function in it runs, as if its cache were
/// [switched off](crate::Cache::set_enabled). Nothing is read, stored or waited for. Use it for one call, or around
/// several:
///
/// ```
/// use cache_engine::{Cache, bypass, cached};
/// # use cache_memory::MemoryBackend;
///
/// #[cached(cache = cache, skip(cache))]
/// async fn find(cache: &Cache, id: u64) -> String {
///     format!("item {id}")
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let cache = Cache::builder(MemoryBackend::default()).build();
/// find(&cache, 7).await;
/// bypass(find(&cache, 7)).await; // runs the function once more
/// find(&cache, 7).await; // a hit
/// # }
/// ```
///
/// What is stored stays as it is, so later calls get it. To replace it, use [`Cache::refresh`](crate::Cache::refresh).
/// Setting, deleting and invalidating work as usual. In the load of another entry, the tags of what is bypassed are
/// captured all the same, since the entry [depends on them](crate::Policy::contributes).
///
/// The future holds for all that it polls. A task that is spawned in it is not part of it, unless it runs
/// [`in_current_load`].
pub fn bypass<F: Future>(future: F) -> impl Future<Output = F::Output> + use<F> {
    Ambient::bypass(true).around(future)
}

/// Makes `future` part of the load that the current task runs in, wherever it is polled. Use it for tasks that a load
/// spawns, and whose results become part of its value: what they read from caches then contributes to the value, and
/// [`tagged`](crate::tagged) in them adds to it. If the current task [bypasses](bypass) the caches, so does `future`.
/// Otherwise, and outside of any load, `future` runs as it is.
///
/// What the future adds after the load has ended has no effect.
///
/// ```
/// # use std::convert::Infallible;
/// use cache_engine::{Cache, in_current_load};
/// use cache_memory::MemoryBackend;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder(MemoryBackend::default()).build();
/// let names = cache.with_namespace("names").with_tags(["names"]);
/// let pages = cache.with_namespace("pages");
/// let load = move || async move {
///     let name = async move { names.get_or_load("42", || async { Ok::<_, Infallible>("Ada".to_owned()) }).await };
///     let name = tokio::spawn(in_current_load(name)).await.unwrap().unwrap();
///     Ok::<_, Infallible>(format!("a page about {name}"))
/// };
/// pages.get_or_load("42", load).await?;
///
/// cache.invalidate_tag("names").await?;
/// assert!(pages.get::<String>("42").await?.is_none());
/// # Ok(()) }
/// ```
pub fn in_current_load<F: Future>(future: F) -> impl Future<Output = F::Output> + use<F> {
    let (load, bypassed) = (Tagger::current(), is_bypassed());
    async move { Ambient::bypass(bypassed).around(load.scope(future)).await }
}
