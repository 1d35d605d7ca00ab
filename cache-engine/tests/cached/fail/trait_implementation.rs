use cache_engine::cached;

trait Find {
    async fn find(&self) -> u32;
}

struct Users;

impl Find for Users {
    #[cached(skip(self))]
    async fn find(&self) -> u32 {
        1
    }
}

fn main() {}
