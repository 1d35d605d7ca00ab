//! What a function that is cached can return.

use std::sync::Arc;

use cache_engine::cached;

type AppResult<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[cached]
async fn plain(id: u32) -> u32 {
    id
}

#[cached]
async fn nothing() {}

#[cached]
async fn option(id: u32) -> Option<u32> {
    Some(id)
}

#[cached]
async fn result(id: u32) -> Result<u32, std::num::ParseIntError> {
    "1".parse::<u32>().map(|one| one + id)
}

#[cached]
async fn alias(text: &str) -> AppResult<Vec<String>> {
    let number: u32 = text.parse()?;
    if number == 0 {
        return Err("zero".into());
    }
    Ok(vec![text.to_owned()])
}

#[cached]
async fn anyhow_result(text: String) -> anyhow::Result<Option<Arc<Vec<u8>>>> {
    anyhow::ensure!(!text.is_empty(), "empty");
    Ok(Some(Arc::new(text.into_bytes())))
}

#[cached]
async fn io() -> std::io::Result<u8> {
    Ok(1)
}

fn main() {}
