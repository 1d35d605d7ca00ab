//! Adds tags to a value while it is loaded.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::{Error, Tags, Ttl, Version};

use crate::tags::ambient::Ambient;
use crate::tags::fault::Fault;
use crate::tags::lifetime::TagLifetimes;
use crate::tags::parts::{Part, Parts, foreign};
use crate::tags::records::TagRecords;
use crate::tags::snapshot::{TagSnapshot, union};

tokio::task_local! {
    static CURRENT: Tagger;
}

/// Reads the versions of `tags`, and then runs `read`, which reads the data that the tags cover. The value that the
/// current task is loading carries the tags from then on.
///
/// The tags are added to the innermost load, of a [`Cache`](crate::Cache), of a `#[cached]` function or of an HTTP
/// layer. A value that is made from the value of another entry also gets [that entry's tags](crate::Policy::contributes).
/// Outside of any load, only `read` runs. A task that is spawned within a load is not part of the load unless it runs
/// [`in_current_load`](crate::in_current_load).
///
/// Otherwise like [`Tagger::tagged`].
///
/// ```
/// # use std::convert::Infallible;
/// # #[derive(Clone, serde::Serialize, serde::Deserialize)] struct Article { author: u32 }
/// # async fn read_article(id: u32) -> Article { Article { author: 7 } }
/// # async fn read_author(id: u32) -> String { "Ada".to_owned() }
/// use cache_engine::{Cache, tagged};
/// use cache_memory::MemoryBackend;
///
/// async fn page(id: u32) -> Result<String, Infallible> {
///     let article = tagged([format!("article:{id}")], || read_article(id)).await;
///     let author = tagged([format!("author:{}", article.author)], || read_author(article.author)).await;
///     Ok(format!("article {id} by {author}"))
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pages = Cache::builder(MemoryBackend::default()).build().with_namespace("pages");
/// pages.get_or_load("42", || page(42)).await?;
///
/// pages.invalidate_tag("author:7").await?;
/// assert!(pages.get::<String>("42").await?.is_none());
/// # Ok(()) }
/// ```
pub async fn tagged<N, R, Fut>(tags: impl IntoIterator<Item = N>, read: R) -> Fut::Output
where
    N: AsRef<str>,
    R: FnOnce() -> Fut,
    Fut: Future,
{
    Tagger::current().tagged(tags, read).await
}

/// Adds tags to a value while it is loaded, and joins what other entries contribute to it.
///
/// The version of a tag has to be read before the data that the tag covers. Otherwise an invalidation between the two
/// would be missed, and the old value would be stored. This is why [`tagged`](Self::tagged) takes the function that
/// reads the data, and does both in this order.
///
/// Clones add to the same load. Once that load has ended, tags that are added have no effect. The default tagger
/// belongs to no load: its `tagged` only reads the data.
#[derive(Clone, Default)]
pub struct Tagger(Option<Arc<Inner>>);

struct Inner {
    records: Arc<TagRecords>,
    added: Mutex<Added>,
}

/// The tags that were added to a load.
#[derive(Default)]
struct Added {
    tags: Tags,
    /// When the records of these tags expire.
    lifetimes: TagLifetimes,
    /// Why the value must not be stored.
    fault: Option<Fault>,
    /// What other entries contributed.
    parts: Parts,
    /// The loads of other entries that this load depends on, and the tags that they began with.
    followed: Vec<(Tags, Tagger)>,
}

impl Tagger {
    pub(crate) fn new(records: &Arc<TagRecords>) -> Self {
        Self(Some(Arc::new(Inner {
            records: Arc::clone(records),
            added: Mutex::default(),
        })))
    }

    /// Returns the tagger of the innermost load that the current task runs in. Outside of any load, returns the default
    /// one.
    #[must_use]
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    fn ambient(&self) -> Ambient {
        Ambient::load(self.0.is_some())
    }

    /// Runs `load` as part of the load that this tagger belongs to, so that [`tagged`] in it adds to that load, and what
    /// it reads from caches contributes to it. For tasks that a load spawns, and for adapters, whose loads the engine
    /// does not run. With the default tagger, `load` is part of no load.
    pub async fn scope<F: Future>(&self, load: F) -> F::Output {
        self.ambient().around(CURRENT.scope(self.clone(), load)).await
    }

    /// Runs `poll`, which polls a load, as part of the load that this tagger belongs to.
    #[cfg(feature = "functions")]
    pub(crate) fn enter<R>(&self, poll: impl FnOnce() -> R) -> R {
        self.ambient().enter(|| CURRENT.sync_scope(self.clone(), poll))
    }

    /// Reads the versions of `tags`, and then runs `read`, which reads the data that the tags cover. The value that is
    /// being loaded carries the tags from then on.
    ///
    /// If the versions cannot be read, because the store is unavailable, `read` runs all the same, and the value is not
    /// stored.
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # async fn article(id: u32) -> (u32, String) { (7, "…".to_owned()) }
    /// # async fn author(id: u32) -> String { "Ada".to_owned() }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use cache_engine::{Cache, Loaded};
    /// use cache_memory::MemoryBackend;
    ///
    /// let pages = Cache::builder(MemoryBackend::default()).build().with_namespace("pages");
    /// let page = pages
    ///     .with_tags(["article:42"])
    ///     .get_or_load_with("42", |load| async move {
    ///         let (author_id, text) = article(42).await;
    ///         // The author is known only now.
    ///         let author = load.tagged([format!("author:{author_id}")], || author(author_id)).await;
    ///         Ok::<_, Infallible>(Loaded::new(format!("{text} (by {author})")))
    ///     })
    ///     .await?;
    /// # assert!(page.is_some());
    ///
    /// pages.invalidate_tag("author:7").await?;
    /// assert!(pages.get::<String>("42").await?.is_none());
    /// # Ok(()) }
    /// ```
    pub async fn tagged<N, R, Fut>(&self, tags: impl IntoIterator<Item = N>, read: R) -> Fut::Output
    where
        N: AsRef<str>,
        R: FnOnce() -> Fut,
        Fut: Future,
    {
        if let Some(inner) = &self.0 {
            let captured = inner.records.capture_named(tags).await;
            inner.add(captured.map(Some));
        }
        read().await
    }

    /// Adds tags that were not known until the load had ended.
    pub(crate) async fn add_late<N: AsRef<str>>(&self, tags: impl IntoIterator<Item = N>, captured: &TagSnapshot) {
        if let Some(inner) = &self.0 {
            inner.add(inner.records.capture_late(tags, captured).await);
        }
    }

    /// Returns when the records of the added tags expire.
    pub(crate) fn lifetimes(&self) -> TagLifetimes {
        self.0
            .as_ref()
            .map(|inner| inner.added().lifetimes.clone())
            .unwrap_or_default()
    }

    /// Returns whether tags were added so far, or a reason for which the value must not be stored.
    pub(crate) fn has_added(&self) -> bool {
        let Some(inner) = &self.0 else { return false };
        let added = inner.added();
        !added.tags.is_empty() || added.fault.is_some() || added.parts.have_tags() || !added.followed.is_empty()
    }

    /// Returns the tags of a value that began with the tags `captured`, or why the value must not be stored.
    pub(crate) fn with_added(&self, captured: &Tags) -> Result<Tags, Fault> {
        let Some(inner) = &self.0 else {
            return Ok(captured.clone());
        };
        let followed = {
            let added = inner.added();
            if let Some(fault) = &added.fault {
                return Err(fault.clone());
            }
            let tags = union(captured, &added.tags).map_err(Fault::Failed)?;
            if added.followed.is_empty() {
                return added.parts.joined_with(tags);
            }
            added.followed.clone()
        };
        let mut parts = Parts::default();
        for (captured, load) in followed {
            let Some(records) = load.0.as_ref().map(|inner| Arc::clone(&inner.records)) else {
                continue;
            };
            let part = Part {
                tags: load.with_added(&captured)?,
                records,
                fresh: None,
                kept: Some(Duration::ZERO),
            };
            parts.add(&part, &inner.records);
        }
        let mut added = inner.added();
        added.parts.extend(parts);
        let tags = union(captured, &added.tags).map_err(Fault::Failed)?;
        added.parts.joined_with(tags)
    }

    /// Returns how long a value that began with the tags `captured` is fresh, by what other entries contributed to it:
    /// zero if one of them is not fresh, `None` if nothing limits it.
    pub(crate) fn fresh_for(&self, captured: &Tags) -> Option<Duration> {
        let inner = self.0.as_ref()?;
        let (own, followed) = {
            let added = inner.added();
            (
                added.parts.fresh_for(captured, || inner.records.clock.now()),
                added.followed.clone(),
            )
        };
        let of_followed = followed.iter().filter_map(|(captured, load)| load.fresh_for(captured));
        own.into_iter().chain(of_followed).min()
    }

    /// Returns the tags of other entries whose records may expire before an entry that is stored now for `lifetime`.
    pub(crate) fn early(&self, lifetime: Ttl) -> Vec<(Box<str>, Version)> {
        let Some(inner) = &self.0 else { return Vec::new() };
        inner.added().parts.early(lifetime, || inner.records.clock.now())
    }

    /// Joins what another entry contributes.
    pub(crate) fn join(&self, part: &Part) {
        if let Some(inner) = &self.0 {
            inner.added().parts.add(part, &inner.records);
        }
    }

    /// Marks the value as one that must not be stored, because of another entry.
    pub(crate) fn fail(&self, fault: Fault) {
        if let Some(inner) = &self.0 {
            inner.added().parts.fail(fault);
        }
    }

    /// Captures the tags `names` of an entry that is about to be loaded without being stored. `records` are those of
    /// its cache.
    pub(crate) async fn capture_for(&self, names: &[Box<str>], records: &Arc<TagRecords>) {
        let Some(inner) = &self.0 else { return };
        if names.is_empty() {
            return;
        }
        if !inner.records.are(records) {
            return self.fail(Fault::Uncarried(foreign()));
        }
        match records.capture_carried(names).await {
            Ok(tags) => self.join(&Part {
                tags,
                records: Arc::clone(records),
                fresh: None,
                kept: Some(Duration::ZERO),
            }),
            Err(error) => self.fail(Fault::Failed(error)),
        }
    }

    /// Makes the value depend on everything that the load `other` depends on, which began with the tags `captured`.
    pub(crate) fn follow(&self, captured: &Tags, other: &Self) {
        let (Some(inner), Some(followed)) = (&self.0, &other.0) else {
            return;
        };
        if !Arc::ptr_eq(inner, followed) {
            inner.added().followed.push((captured.clone(), other.clone()));
        }
    }

    /// Returns a tagger that collects what is to be added to this one later, or not at all.
    pub(crate) fn collector(&self) -> Self {
        match &self.0 {
            Some(inner) => Self::new(&inner.records),
            None => Self::default(),
        }
    }

    /// Adds everything that `collected` has collected.
    pub(crate) fn absorb(&self, collected: &Self) {
        let (Some(inner), Some(collected)) = (&self.0, &collected.0) else {
            return;
        };
        let more = std::mem::take(&mut *collected.added());
        inner.add(Ok(Some((more.tags, more.lifetimes))));
        let mut added = inner.added();
        added.fault = added.fault.take().or(more.fault);
        added.parts.extend(more.parts);
        added.followed.extend(more.followed);
    }
}

impl Inner {
    fn add(&self, captured: Result<Option<(Tags, TagLifetimes)>, Error>) {
        let mut added = self.added();
        match captured {
            Ok(Some((tags, lifetimes))) => match union(&added.tags, &tags) {
                Ok(tags) => {
                    added.tags = tags;
                    added.lifetimes.extend(lifetimes);
                }
                Err(error) => added.fault = Some(Fault::Failed(error)),
            },
            Ok(None) => added.fault = Some(Fault::Fenced),
            Err(error) => added.fault = Some(Fault::Failed(error)),
        }
    }

    fn added(&self) -> MutexGuard<'_, Added> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tagger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tagger")
    }
}
