//! A cached endpoint and a cached function. Run it with `cargo run -p hello`; its README shows requests to try.

use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use larder::prelude::*;

/// The layer caches its response.
async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(300)).await;
    "That took 300 ms.\n"
}

async fn square(Path(number): Path<u64>) -> String {
    format!("{}\n", squared(number).await)
}

/// Cached by its argument. Concurrent calls with the same number share one run.
#[cached(ttl = "60s")]
async fn squared(number: u64) -> u64 {
    tokio::time::sleep(Duration::from_millis(300)).await;
    number.wrapping_mul(number)
}

fn router(cache: Cache) -> Router {
    Router::new()
        .route("/slow", get(slow))
        .layer(CacheLayer::new(cache).ttl(Duration::from_secs(60)))
        .route("/square/{number}", get(square))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = Cache::builder(MemoryBackend::default()).prefix("hello").build();
    larder::set_default_cache(cache.clone())?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router(cache)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::body::Body;
    use axum::http::{Request, Response};
    use tower::ServiceExt;

    use super::*;

    async fn ask(router: &Router, path: &str) -> Response<Body> {
        let request = Request::get(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn the_second_answer_is_a_hit() {
        let router = router(Cache::builder(MemoryBackend::default()).build());
        assert_eq!(ask(&router, "/slow").await.headers()["x-cache"], "MISS");
        let again = ask(&router, "/slow").await;
        assert_eq!(
            (again.status().as_u16(), &again.headers()["x-cache"]),
            (200, &"HIT".parse().unwrap())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_call_runs_nothing() {
        let store = MemoryBackend::builder().background_purge(false).build();
        larder::set_default_cache(Cache::builder(store).build()).unwrap();
        let began = tokio::time::Instant::now();
        assert_eq!((squared(12).await, squared(12).await), (144, 144));
        assert_eq!(began.elapsed(), Duration::from_millis(300));
    }
}
