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

/// Captures `tags`, and then does `read`, which reads the data that they cover: the value that the current task is
/// loading carries the tags from then on.
///
/// That is the innermost load, of a [`Cache`](crate::Cache), of a `#[cached]` function or of an HTTP layer: what is made
/// of the value of another load does not inherit its tags. Outside of any load, and in a load that goes past the cache,
/// this is just `read`. A task that is spawned within a load is not part of it: take [`Tagger::current`] along.
///
/// Otherwise as [`Tagger::tagged`].
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
/// A tag has to be captured before the data that it covers is read: otherwise an invalidation between the two would be
/// missed, and the old value kept. So [`tagged`](Self::tagged) takes the reading along, and does things in this order.
///
/// Clones add to the same load; once that has ended, what they capture is for nothing. The default one belongs to no
/// load: its `tagged` does nothing but the reading.
#[derive(Clone, Default)]
pub struct Tagger(Option<Arc<Inner>>);

struct Inner {
    records: Arc<TagRecords>,
    added: Mutex<Added>,
}

/// What was added to a load.
#[derive(Default)]
struct Added {
    tags: Tags,
    /// When the records of these tags end.
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

    /// The tagger of the innermost load that the current task runs in; outside of any load the default one.
    #[must_use]
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Runs `load` as part of the load that this tagger belongs to, so that [`tagged`] in it adds to that. For tasks that
    /// a load spawns, and for adapters, whose loads the engine does not run.
    pub async fn scope<F: Future>(&self, load: F) -> F::Output {
        CURRENT.scope(self.clone(), load).await
    }

    /// Runs `poll`, which polls a load, as part of the load that this tagger belongs to.
    #[cfg(feature = "macros")]
    pub(crate) fn enter<R>(&self, poll: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self.clone(), poll)
    }

    /// Captures `tags`, and then does `read`, which reads the data that they cover. The value that is being loaded
    /// carries the tags from then on.
    ///
    /// If the tags cannot be captured, since the store is out of reach, the data are read all the same, and the value
    /// is not stored.
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
    ///         // Which author it is was not known before.
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

    /// Adds tags of which nobody knew before the load was over.
    pub(crate) async fn add_late<N: AsRef<str>>(&self, tags: impl IntoIterator<Item = N>, captured: &TagSnapshot) {
        if let Some(inner) = &self.0 {
            inner.add(inner.records.capture_late(tags, captured).await);
        }
    }

    /// When the records of the tags end that were added.
    pub(crate) fn lifetimes(&self) -> TagLifetimes {
        self.0
            .as_ref()
            .map(|inner| inner.added().lifetimes.clone())
            .unwrap_or_default()
    }

    /// The tags that were added, or why the value must not be stored.
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
