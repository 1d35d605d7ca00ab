//! Serves the shop, as the environment says, with `--load` under load. See the README.

use std::error::Error;
use std::time::Duration;

use larder::Settings;
use shop::load::load;
use shop::{App, Database, metrics, random_token, router};

/// How much longer a query takes under load: as in a database elsewhere, so that there is something to see.
const DISTANCE: Duration = Duration::from_millis(20);

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Waits for Ctrl-C, or for the SIGTERM of an orchestrator. Without a signal to wait for, the shop runs on.
async fn stop_signal() {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminated = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => drop(terminated.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        () = interrupted => {}
        () = terminated => {}
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let under_load = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--load") => true,
        Some(other) => return Err(format!("{other:?} is unknown: say `--load`, or nothing").into()),
    };
    let mut database = Database::open(&variable("DATABASE", "sqlite::memory:")).await?;
    if under_load {
        database = database.with_distance(DISTANCE);
    }
    let settings: Settings = serde_json::from_value(serde_json::json!({
        "store": variable("STORE", "memory:"),
        "prefix": "shop",
    }))?;
    // Never one that everybody knows.
    let (admin_token, password) = match std::env::var("ADMIN_TOKEN") {
        Ok(token) if !token.is_empty() => (token, "ADMIN_TOKEN".to_owned()),
        _ => {
            let token = random_token()?;
            let password = format!("{token}, until the shop ends");
            (token, password)
        }
    };
    let app = App::new(database, &settings, &admin_token).await?;
    let router = router(app.clone())?.merge(metrics(&app)?);

    let listener = tokio::net::TcpListener::bind(variable("LISTEN", "127.0.0.1:3000")).await?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}");
    println!("the cache: http://{address}/admin (any user; the password is {password})");
    let clients = tokio::spawn(async move {
        if under_load {
            load(address, &admin_token).await;
        }
    });
    let stopped = app.clone();
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            stop_signal().await;
            stopped.stop();
            clients.abort();
        })
        .await?;
    app.shutdown().await;
    Ok(())
}
