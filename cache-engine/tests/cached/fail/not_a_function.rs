use cache_engine::cached;

#[cached]
struct User;

trait Find {
    #[cached]
    async fn find(&self) -> u32;
}

fn main() {}
