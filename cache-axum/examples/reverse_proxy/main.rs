//! A caching reverse proxy: a shared cache by RFC 9111 in front of one origin.
//!
//! ```text
//! cargo run --release -p cache-axum --example reverse_proxy -- --listen 127.0.0.1:8002 --origin http://127.0.0.1:8000
//! cargo run --release -p cache-axum --example reverse_proxy -- --origin http://127.0.0.1:8000 --store redis://127.0.0.1:6379
//! ```

mod proxy;
#[path = "../quickstart/store.rs"]
#[expect(dead_code, reason = "the quickstart tells how much its memory holds")]
mod store;

use std::process::ExitCode;
use std::sync::Arc;

use cache_axum::CacheLayer;
use cache_axum::cache_engine::Cache;

async fn run() -> Result<(), String> {
    let mut listen = "127.0.0.1:8002".to_owned();
    let mut origin = String::new();
    let mut store = "memory".to_owned();
    store::read_options(
        std::env::args().skip(1),
        [
            ("--listen", &mut listen),
            ("--origin", &mut origin),
            ("--store", &mut store),
        ],
    )?;
    let store = store::open(&store).await?;
    if let Err(error) = store::ping(&store).await {
        eprintln!("warning: the store does not answer, so nothing is cached until it does: {error}");
    }

    let cache = Cache::builder_shared(Arc::clone(&store.backend))
        .prefix("proxy")
        .build();
    let app = proxy::app(&origin, CacheLayer::shared(cache)).map_err(|error| format!("--origin: {error}"))?;

    let listener = tokio::net::TcpListener::bind(&listen)
        .await
        .map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    println!("listening on http://{address}, for {origin}");
    axum::serve(listener, app).await.map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let usage = "usage: reverse_proxy [--listen ADDRESS] --origin http://HOST:PORT [--store STORE]";
            eprintln!("{message}\n{usage}, {}", store::STORES);
            ExitCode::from(2)
        }
    }
}
