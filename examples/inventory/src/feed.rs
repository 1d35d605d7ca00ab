//! The changes of the database, by `LISTEN`.

use larder::{Cache, ChangeFeed, Invalidation};
use sqlx::postgres::PgListener;

/// What the triggers call the channel.
const CHANNEL: &str = "changes";

/// The tags that the triggers in `schema.sql` report. It needs a direct connection to Postgres, or a pooler in session
/// mode: one in transaction mode does not pass notifications on.
#[derive(Debug)]
pub struct PostgresFeed {
    url: String,
    cache: Cache,
    listener: Option<PgListener>,
}

impl PostgresFeed {
    /// Reports the changes in the database at `url` to `cache`.
    pub fn new(url: &str, cache: &Cache) -> Self {
        Self {
            url: url.to_owned(),
            cache: cache.clone(),
            listener: None,
        }
    }

    /// Returns what the feed can report: everything that is made from the database.
    pub fn all(cache: &Cache) -> Invalidation {
        cache.invalidation().add_namespace("items").add_tag("items")
    }
}

impl ChangeFeed for PostgresFeed {
    type Error = sqlx::Error;

    async fn connect(&mut self) -> Result<(), sqlx::Error> {
        self.listener = None;
        let mut listener = PgListener::connect(&self.url).await?;
        // It must not connect by itself: changes would be missed without a word.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        self.listener = Some(listener);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Invalidation>, sqlx::Error> {
        let Some(listener) = &mut self.listener else {
            return Ok(None);
        };
        let Some(notification) = listener.try_recv().await? else {
            self.listener = None;
            return Ok(None);
        };
        Ok(Some(match notification.payload() {
            "*" => Self::all(&self.cache),
            tag => self.cache.invalidation().add_tag(tag),
        }))
    }

    async fn check(&mut self) -> Result<(), sqlx::Error> {
        if let Some(listener) = &mut self.listener {
            sqlx::query("SELECT 1").execute(listener).await?;
        }
        Ok(())
    }
}
