use cache_engine::cached;

struct Users;

impl Users {
    #[cached]
    async fn find(self, id: u32) -> u32 {
        id
    }
}

fn main() {}
