use cache_engine::cached;

#[cached]
async fn hidden() -> impl std::fmt::Display {
    "text"
}

#[cached(skip(names))]
async fn borrowed(names: &[String]) -> &str {
    &names[0]
}

#[cached]
async fn constant() -> &'static str {
    "text"
}

#[cached]
async fn maybe() -> Result<Option<&'static str>, &'static str> {
    Ok(None)
}

fn main() {}
