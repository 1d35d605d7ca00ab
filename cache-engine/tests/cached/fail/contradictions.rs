use cache_engine::cached;

#[cached(when = id > 1, unless = id > 2)]
async fn twice(id: u32) -> u32 {
    id
}

#[cached(key = "{id}", skip(id))]
async fn nothing_to_skip(id: u32) -> u32 {
    id
}

fn main() {}
