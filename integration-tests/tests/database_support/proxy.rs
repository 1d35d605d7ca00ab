//! A proxy between a client and Postgres, which breaks a connection at its `COMMIT`.

use std::io;

use cache_core::testing::Gate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of a `COMMIT`.
#[derive(Debug, Clone)]
pub enum Fate {
    Pass,
    /// Break the connection when the server has answered, before the client gets it.
    LoseAnswer,
    /// Break the connection to the client at once, and pass the commit on when the gate is open.
    Delay(Gate),
    /// Pass it on, and the answer never.
    Hang,
}

pub struct Proxy {
    address: String,
    fate: watch::Sender<Fate>,
}

impl Proxy {
    pub async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let fate = watch::Sender::new(Fate::Pass);
        let (server, fates) = (server.to_owned(), fate.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, fates) = (server.clone(), fates.clone());
                // An error is a connection that has ended.
                tokio::spawn(async move { serve(client, &server, &fates).await });
            }
        });
        Self { address, fate }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sets what becomes of each `COMMIT` from now on.
    pub fn set(&self, fate: Fate) {
        self.fate.send_replace(fate);
    }
}

async fn serve(mut client: TcpStream, server: &str, fates: &watch::Sender<Fate>) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut sent, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut sent) => {
                let bytes = &sent[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                let is_commit = bytes.windows(6).any(|word| word == b"COMMIT");
                let fate = if is_commit { fates.borrow().clone() } else { Fate::Pass };
                match fate {
                    Fate::Pass => server.write_all(bytes).await?,
                    Fate::LoseAnswer => {
                        server.write_all(bytes).await?;
                        // An answer of a server that has committed.
                        let _ = server.read(&mut answered).await?;
                        return Ok(());
                    }
                    Fate::Delay(gate) => {
                        drop(client);
                        gate.pass().await;
                        server.write_all(bytes).await?;
                        let _ = server.read(&mut answered).await?;
                        return Ok(());
                    }
                    Fate::Hang => {
                        server.write_all(bytes).await?;
                        // Both connections stay open.
                        std::future::pending::<()>().await;
                    }
                }
            }
            read = server.read(&mut answered) => {
                let bytes = &answered[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                client.write_all(bytes).await?;
            }
        }
    }
}
