//! A caching reverse proxy: a shared cache by RFC 9111 in front of one origin.
//!
//! ```text
//! cargo run --release -p gateway -- --listen 127.0.0.1:8002 --origin http://127.0.0.1:8000
//! cargo run --release -p gateway -- --origin http://127.0.0.1:8000 --store redis://127.0.0.1:6379
//! ```

use std::process::ExitCode;

use larder::Cache;
use larder::axum::CacheLayer;

const USAGE: &str = "usage: gateway [--listen ADDRESS] --origin http://HOST:PORT [--store URL]

    --listen    127.0.0.1:8002 by default
    --store     memory: by default; also redis://HOST:PORT, and memcached://HOST:PORT and dynamodb://TABLE with the features
                of the same name";

struct Options {
    listen: String,
    origin: String,
    store: String,
}

impl Options {
    /// Takes `--name value` and `--name=value`.
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            listen: "127.0.0.1:8002".to_owned(),
            origin: String::new(),
            store: "memory:".to_owned(),
        };
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            let option = match name {
                "--listen" => &mut options.listen,
                "--origin" => &mut options.origin,
                "--store" => &mut options.store,
                _ => return Err(format!("unknown argument {argument:?}")),
            };
            *option = value
                .or_else(|| arguments.next())
                .ok_or_else(|| format!("{name} needs a value"))?;
        }
        Ok(options)
    }
}

async fn run() -> Result<(), String> {
    let Options { listen, origin, store } = Options::read(std::env::args().skip(1))?;
    // The store need not be in reach: until it is, each request goes to the origin.
    let backend = larder::open(&store)
        .await
        .map_err(|error| format!("--store: {error}"))?;
    let cache = Cache::builder(backend).prefix("gateway").build();
    let app = gateway::app(&origin, CacheLayer::shared(cache)).map_err(|error| format!("--origin: {error}"))?;

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
            eprintln!("{message}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}
