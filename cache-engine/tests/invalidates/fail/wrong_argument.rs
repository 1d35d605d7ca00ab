use cache_engine::{cached, invalidates};

#[cached]
async fn get_user(id: u32) -> u32 {
    id
}

#[invalidates(get_user(name))]
async fn write(name: &str) {}

fn main() {}
