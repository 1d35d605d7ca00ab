//! Serves the shop, as the environment says. See the README.

use std::error::Error;

use larder::Settings;
use shop::{App, Database, router};

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let database = Database::open(&variable("DATABASE", "sqlite::memory:")).await?;
    let settings: Settings = serde_json::from_value(serde_json::json!({
        "store": variable("STORE", "memory:"),
        "prefix": "shop",
    }))?;
    let app = App::new(database, &settings, &variable("ADMIN_TOKEN", "for-tests-only")).await?;

    let listener = tokio::net::TcpListener::bind(variable("LISTEN", "127.0.0.1:3000")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router(app.clone())?)
        .with_graceful_shutdown(async {
            // Without a signal to wait for, the shop runs on.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
        .await?;
    app.shutdown().await;
    Ok(())
}
