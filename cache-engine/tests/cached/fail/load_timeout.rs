//! The error type cannot report that the function took too long.

use cache_engine::cached;

#[derive(Clone, Debug)]
struct Missing;

#[cached(ttl = "60s", load_timeout = "50ms")]
async fn name(id: u64) -> Result<String, Missing> {
    if id == 0 { Err(Missing) } else { Ok(id.to_string()) }
}

#[cached(ttl = "60s", load_timeout = "50ms")]
async fn length(name: String) -> usize {
    name.len()
}

fn main() {}
