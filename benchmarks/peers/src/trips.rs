//! Counts round trips on the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Stands between a client and its server. What a client sends after it has received something, or as the first thing,
/// begins a round trip.
#[derive(Debug)]
pub struct Proxy {
    /// `host:port`, for clients.
    pub address: String,
    trips: Arc<AtomicU64>,
}

impl Proxy {
    /// Starts a proxy before a server.
    pub async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let trips = Arc::new(AtomicU64::new(0));
        let (server, counted) = (server.to_owned(), trips.clone());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&server).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let answered = Arc::new(AtomicBool::new(true));
                tokio::spawn(pass(from_client, to_server, answered.clone(), Some(counted.clone())));
                tokio::spawn(pass(from_server, to_client, answered, None));
            }
        });
        Self { address, trips }
    }

    /// Returns the number of round trips since the last call.
    #[must_use]
    pub fn take(&self) -> u64 {
        self.trips.swap(0, Ordering::Relaxed)
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    answered: Arc<AtomicBool>,
    trips: Option<Arc<AtomicU64>>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        match &trips {
            Some(trips) if answered.swap(false, Ordering::Relaxed) => {
                trips.fetch_add(1, Ordering::Relaxed);
            }
            Some(_) => {}
            None => answered.store(true, Ordering::Relaxed),
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
}
