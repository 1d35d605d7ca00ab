use cache_engine::{Cache, cached};

struct Users {
    cache: Cache,
}

impl Users {
    #[cached(cache = self.cache)]
    async fn find(&self, id: u32) -> u32 {
        id
    }
}

fn main() {}
