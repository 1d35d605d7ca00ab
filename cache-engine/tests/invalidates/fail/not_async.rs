use cache_engine::invalidates;

#[invalidates(key = "all")]
fn write() {}

fn main() {}
