use cache_engine::invalidates;

#[invalidates]
async fn write() {}

fn main() {}
