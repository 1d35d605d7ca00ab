//! How long the first byte of a slow 10 MB body takes over HTTP: bare, while the layer collects it, and where it is too
//! large to be collected.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use cache_axum::CacheLayer;
use cache_axum::cache_engine::Cache;
use cache_memory::MemoryBackend;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ROUNDS: usize = 21;
const PIECES: usize = 100;
const PIECE: usize = 100_000;

/// A piece every two milliseconds, so that the body takes a fifth of a second.
async fn slow() -> Body {
    Body::from_stream(stream::unfold(0, |sent| async move {
        if sent == PIECES {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; PIECE])), sent + 1))
    }))
}

fn layer() -> CacheLayer {
    CacheLayer::new(Cache::builder(MemoryBackend::default()).build())
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// The time to the first byte of the body, and to the last. Each round has a URL of its own, so nothing is a hit.
async fn ask(address: SocketAddr, round: usize) -> [Duration; 2] {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.set_nodelay(true).unwrap();
    let begun = Instant::now();
    let request = format!("GET /{round} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    let has_begun = |received: &[u8]| {
        let head = received.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        head.is_some_and(|end| received.len() > end + 4)
    };
    while !has_begun(&received) {
        assert!(connection.read_buf(&mut received).await.unwrap() > 0);
    }
    let first = begun.elapsed();
    connection.read_to_end(&mut received).await.unwrap();
    assert!(received.len() > PIECES * PIECE);
    [first, begun.elapsed()]
}

#[tokio::main]
async fn main() {
    let router = || Router::new().route("/{round}", get(slow));
    let servers = [
        ("bare", serve(router()).await),
        (
            "collected",
            serve(router().layer(layer().max_body(16 * 1024 * 1024))).await,
        ),
        ("too large", serve(router().layer(layer())).await),
    ];
    // In turns, so that whatever else the machine does slows down all of them.
    let mut times = servers.map(|_| [Vec::new(), Vec::new()]);
    for round in 0..ROUNDS {
        for (times, (_, address)) in times.iter_mut().zip(servers) {
            for (times, time) in times.iter_mut().zip(ask(address, round).await) {
                times.push(time);
            }
        }
    }
    for ((name, _), times) in servers.iter().zip(times) {
        let [first, last] = times.map(|mut times| {
            times.sort();
            times[ROUNDS / 2]
        });
        println!("first_byte/{name}: first byte after {first:?}, last after {last:?}");
    }
}
