use cache_engine::{Cache, Policy};
use cache_memory::MemoryBackend;

fn main() {
    let _ = Cache::builder(MemoryBackend::default()).ttl(60);
    let _ = Policy::default().with_load_timeout("5s");
}
