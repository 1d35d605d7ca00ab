use cache_engine::cached;

#[derive(serde::Serialize, serde::Deserialize)]
struct NotClone;

#[cached]
async fn not_clone() -> Result<NotClone, String> {
    Ok(NotClone)
}

#[derive(Clone)]
struct NotSerialisable;

#[cached]
async fn not_serialisable() -> Option<NotSerialisable> {
    None
}

fn main() {}
