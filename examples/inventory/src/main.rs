//! Serves the warehouse. See the README.

use std::error::Error;

use inventory::{Inventory, router};
use larder::{Cache, MemoryBackend};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("DATABASE").unwrap_or_else(|_| "postgres://postgres@127.0.0.1/postgres".to_owned());
    let inventory = Inventory::open(&url, Cache::builder(MemoryBackend::default()).build()).await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router(inventory.clone()))
        .with_graceful_shutdown(async {
            // Without a signal to wait for, the service runs on.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
        .await?;
    inventory.cache().shutdown().await;
    Ok(())
}
