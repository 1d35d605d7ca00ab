use cache_engine::cached;

#[cached]
async fn hidden() -> impl std::fmt::Display {
    "text"
}

#[cached(skip(names))]
async fn borrowed(names: &[String]) -> &str {
    &names[0]
}

fn main() {}
