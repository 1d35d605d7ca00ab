use cache_engine::cached;

#[cached]
async fn add((x, y): (i32, i32), _: u8) -> i32 {
    x + y
}

fn main() {}
