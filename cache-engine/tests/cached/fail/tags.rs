use cache_engine::cached;

struct Opaque;

#[cached(tags = "user:{id}")]
async fn not_a_list(id: u64) -> u64 {
    id
}

#[cached(tags = [])]
async fn empty(id: u64) -> u64 {
    id
}

#[cached(tags)]
async fn no_value(id: u64) -> u64 {
    id
}

#[cached(tags = [Opaque])]
async fn not_displayable(id: u64) -> u64 {
    id
}

#[cached(tags = id)]
async fn no_list(id: u64) -> u64 {
    id
}

fn main() {}
