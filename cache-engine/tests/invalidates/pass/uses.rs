//! All that a write can invalidate.

use cache_engine::cache_core::Error;
use cache_engine::{Cache, cached, invalidates};

mod users {
    use cache_engine::cached;

    #[cached]
    pub async fn get(id: u32) -> u32 {
        id
    }
}

struct Shop {
    cache: Cache,
}

impl Shop {
    #[cached(cache = self.cache, skip(self))]
    async fn item(&self, id: u32) -> u32 {
        id
    }

    #[cached(cache = cache, skip(cache))]
    async fn all(cache: &Cache) -> Vec<u32> {
        Vec::new()
    }

    #[invalidates(self.item(id), Self::all(&self.cache), users::get(id))]
    async fn calls(&mut self, id: u32) -> Result<(), Error> {
        Ok(())
    }

    #[invalidates(cache = self.cache, key = "item:{id}", keys = [id, "all", format!("{id}")])]
    async fn keys(&self, id: u32) -> anyhow::Result<u8> {
        Ok(1)
    }

    #[invalidates(cache = self.cache, key = "item:{id}", unless_err)]
    async fn refuses(&self, id: u32) -> anyhow::Result<u8> {
        Ok(1)
    }

    #[invalidates(cache = self.cache, key = "all", unless_err = false)]
    async fn no_result(&self) {}

    #[invalidates(cache = self.cache, namespace = "lists")]
    async fn consumes(self) -> impl std::fmt::Display {
        "done"
    }

    #[invalidates(cache = cache, namespace = "lists", key = "all")]
    async fn option<'a>(cache: &Cache, name: &'a str) -> Option<&'a str> {
        Some(name)
    }
}

fn main() {}
