//! A proxy whose connections can hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Which connections hang while they are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    All,
    /// Tracking connections.
    Trackers,
}

/// Forwards connections to Redis. While they are held, nothing is transferred. Returns the port and the handle.
pub(crate) async fn holding(to: &str, which: Held) -> (u16, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (hold, held) = watch::channel(false);
    let to = to.to_owned();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(&to).await.unwrap();
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            let concerned = Arc::new(AtomicBool::new(which == Held::All));
            for (mut from, mut to) in [(near_in, far_out), (far_in, near_out)] {
                let (mut held, concerned) = (held.clone(), Arc::clone(&concerned));
                tokio::spawn(async move {
                    let mut bytes = vec![0; 65_536];
                    while let Ok(read @ 1..) = from.read(&mut bytes).await {
                        let bytes = &bytes[..read];
                        if bytes.windows(8).any(|word| word == b"TRACKING") {
                            concerned.store(true, Ordering::SeqCst);
                        }
                        let held = held.wait_for(|held| !held || !concerned.load(Ordering::SeqCst));
                        if held.await.is_err() || to.write_all(bytes).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    (port, hold)
}
