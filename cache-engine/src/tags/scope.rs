//! Adds tags to a value while it is loaded.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cache_core::{Error, Tags};

use crate::tags::lifetime::TagLifetimes;
use crate::tags::records::TagRecords;
use crate::tags::snapshot::{TagSnapshot, union};

tokio::task_local! {
    static CURRENT: Tagger;
}

/// Reads the versions of `tags`, and then runs `read`, which reads the data that the tags cover. The value that the
/// current task is loading carries the tags from then on.
///
/// The tags are added to the innermost load, of a [`Cache`](crate::Cache), of a `#[cached]` function or of an HTTP
/// layer. A value that is made from the value of another load does not inherit that load's tags. Outside of any load,
/// and in a load that bypasses the cache, only `read` runs. A task that is spawned within a load is not part of the
/// load: pass it [`Tagger::current`].
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

/// Adds tags to a value while it is loaded.
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
}

/// Why a value must not be stored, because of its tags.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// A tag was invalidated during the load.
    Fenced,
    /// The tags could not be read.
    Failed(Error),
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

    /// Runs `load` as part of the load that this tagger belongs to, so that [`tagged`] in it adds to that load. For
    /// tasks that a load spawns, and for adapters, whose loads the engine does not run.
    pub async fn scope<F: Future>(&self, load: F) -> F::Output {
        CURRENT.scope(self.clone(), load).await
    }

    /// Runs `poll`, which polls a load, as part of the load that this tagger belongs to.
    #[cfg(feature = "macros")]
    pub(crate) fn enter<R>(&self, poll: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self.clone(), poll)
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

    /// Returns the tags that were added, or why the value must not be stored.
    pub(crate) fn added(&self) -> Result<Tags, Fault> {
        let Some(inner) = &self.0 else {
            return Ok(Tags::default());
        };
        let added = inner.added();
        match &added.fault {
            Some(fault) => Err(fault.clone()),
            None => Ok(added.tags.clone()),
        }
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
