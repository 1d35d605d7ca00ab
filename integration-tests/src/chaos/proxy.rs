//! A proxy between a cache and one server of its store, which does to connections what a test says.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::chaos::refusal::{Refusal, Requests};
use crate::ports::free_ports;

/// The state of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Sound,
    /// Nothing listens, and connections are closed.
    Closed,
    /// Replies are late by this much.
    Slow(Duration),
    /// The connection is reset in the middle of a reply.
    Cut,
    /// Replies are random bytes.
    Garbage,
    /// The proxy answers some requests to DynamoDB itself.
    Refusing(Refusal),
}

/// A port on which the proxy of a server that is not there yet will listen.
pub(super) struct Reserved {
    port: u16,
    listener: TcpListener,
}

pub(super) struct Proxy {
    port: u16,
    wire: watch::Sender<Wire>,
}

impl Reserved {
    pub(super) async fn reserve() -> Self {
        loop {
            let port = free_ports(1)[0];
            // Otherwise another process has taken it meanwhile.
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
                return Self { port, listener };
            }
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Forwards connections to `server` until the proxy is dropped.
    pub(super) fn forward(self, server: &str) -> Proxy {
        let (port, wire) = (self.port, watch::Sender::new(Wire::Sound));
        tokio::spawn(accept(self, server.to_owned(), wire.subscribe()));
        Proxy { port, wire }
    }
}

impl Proxy {
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }
}

async fn accept(reserved: Reserved, server: String, mut wire: watch::Receiver<Wire>) {
    let Reserved { port, mut listener } = reserved;
    loop {
        if *wire.borrow_and_update() == Wire::Closed {
            drop(listener);
            if wire.wait_for(|wire| *wire != Wire::Closed).await.is_err() {
                return;
            }
            listener = bind_again(port).await;
        }
        tokio::select! {
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                let (server, wire) = (server.clone(), wire.clone());
                // An error is a connection that has ended.
                tokio::spawn(async move { serve(client, &server, wire).await });
            },
            changed = wire.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn bind_again(port: u16) -> TcpListener {
    loop {
        match TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => return listener,
            // Something has the port for a moment.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Serves a connection until one side closes it, or the wire.
async fn serve(mut client: TcpStream, server: &str, mut wire: watch::Receiver<Wire>) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut asked, mut answered) = (vec![0; 16_384], vec![0; 16_384]);
    let mut requests = Requests::default();
    let mut late: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    loop {
        let now = *wire.borrow_and_update();
        if now == Wire::Closed {
            return Ok(());
        }
        let due = late.front().map(|(due, _)| *due);
        tokio::select! {
            read = client.read(&mut asked) => {
                let bytes = &asked[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                let refused = match now {
                    Wire::Refusing(refusal) => requests.refuse(refusal, bytes),
                    _ => None,
                };
                match refused {
                    Some(answer) => client.write_all(&answer).await?,
                    None => server.write_all(bytes).await?,
                }
            }
            read = server.read(&mut answered) => {
                let bytes = &mut answered[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                match now {
                    Wire::Cut => {
                        client.write_all(&bytes[..bytes.len() / 2]).await?;
                        client.set_zero_linger()?;
                        return Ok(());
                    }
                    Wire::Garbage => {
                        bytes.fill_with(|| fastrand::u8(..));
                        client.write_all(bytes).await?;
                    }
                    Wire::Slow(by) => late.push_back((Instant::now() + by, bytes.to_vec())),
                    // Nothing overtakes what is late.
                    _ if due.is_some() => late.push_back((Instant::now(), bytes.to_vec())),
                    _ => client.write_all(bytes).await?,
                }
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                if let Some((_, bytes)) = late.pop_front() {
                    client.write_all(&bytes).await?;
                }
            }
            changed = wire.changed() => if changed.is_err() {
                return Ok(());
            },
        }
    }
}
