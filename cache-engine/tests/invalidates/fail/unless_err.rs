use cache_engine::{Cache, invalidates};

#[invalidates(cache = cache, key = "all", unless_err)]
async fn no_result(cache: &Cache) -> u32 {
    1
}

#[invalidates(cache = cache, key = "all", unless_err)]
async fn nothing(cache: &Cache) {}

#[invalidates(cache = cache, key = "all", unless_err, unless_err)]
async fn twice(cache: &Cache) -> Result<(), String> {
    Ok(())
}

#[invalidates(cache = cache, key = "all", unless_err = "refused")]
async fn no_switch(cache: &Cache) -> Result<(), String> {
    Ok(())
}

#[invalidates(unless_err)]
async fn alone() -> Result<(), String> {
    Ok(())
}

fn main() {}
