use cache_engine::cached;

#[cached]
fn find(id: u32) -> u32 {
    id
}

fn main() {}
