use cache_engine::cached;

struct App {
    name: String,
}

#[cached(cache = app.name, skip(app))]
async fn find(app: &App) -> u32 {
    1
}

fn main() {}
