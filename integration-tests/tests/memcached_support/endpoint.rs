//! A configuration endpoint, which tells the nodes of a cluster as ElastiCache does.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the endpoint answers.
#[derive(Debug, Clone)]
struct State {
    version: u64,
    /// The ports of the nodes, which are all `localhost`.
    nodes: Vec<String>,
    /// Before version 1.4.14 the list is an ordinary value.
    is_old: bool,
    is_down: bool,
    asked: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Endpoint {
    /// Starts an endpoint with the nodes of these addresses, by TLS if there is an acceptor.
    pub(crate) async fn start(nodes: &[&str], tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Self {
            port: listener.local_addr().unwrap().port(),
            state: Arc::new(Mutex::new(State {
                version: 0,
                nodes: Vec::new(),
                is_old: false,
                is_down: false,
                asked: 0,
            })),
        };
        endpoint.set(nodes);
        let state = Arc::clone(&endpoint.state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (Arc::clone(&state), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, state).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, state).await,
                            Err(_) => Ok(()),
                        },
                    }
                });
            }
        });
        endpoint
    }

    pub(crate) fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Changes the nodes. The version grows by one.
    pub(crate) fn set(&self, nodes: &[&str]) {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        let port = |address: &&str| address.rsplit_once(':').unwrap().1.to_owned();
        state.nodes = nodes.iter().map(port).collect();
    }

    /// Knows the command of old engines only.
    pub(crate) fn grow_old(&self) {
        self.state.lock().unwrap().is_old = true;
    }

    /// Closes connections without an answer.
    pub(crate) fn go_down(&self, is_down: bool) {
        self.state.lock().unwrap().is_down = is_down;
    }

    /// Returns how often the list was requested.
    pub(crate) fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let state = {
            let mut state = state.lock().unwrap();
            state.asked += 1;
            state.clone()
        };
        if state.is_down {
            return Ok(());
        }
        let nodes: Vec<String> = state
            .nodes
            .iter()
            .map(|port| format!("localhost|127.0.0.1|{port}"))
            .collect();
        let list = format!("{}\n{}\n", state.version, nodes.join(" "));
        let answer = match (line.trim_end(), state.is_old) {
            ("config get cluster", false) => format!("CONFIG cluster 0 {}\r\n{list}\r\nEND\r\n", list.len()),
            ("get AmazonElastiCache:cluster", true) => {
                format!("VALUE AmazonElastiCache:cluster 0 {}\r\n{list}\r\nEND\r\n", list.len())
            }
            ("get AmazonElastiCache:cluster", false) => "END\r\n".to_owned(),
            _ => "ERROR\r\n".to_owned(),
        };
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
    }
}
