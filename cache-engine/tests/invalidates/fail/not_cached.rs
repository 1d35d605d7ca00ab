use cache_engine::invalidates;

async fn get_user(id: u32) -> u32 {
    id
}

#[invalidates(get_user(id))]
async fn write(id: u32) {}

fn main() {}
