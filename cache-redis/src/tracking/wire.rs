//! One connection to one server, in RESP3.
//!
//! fred is not used here, since it drops the message that reports a flush, which names no key.

use std::fmt;
use std::path::PathBuf;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cache_core::{Error, ErrorKind};
use fred::types::Resp3Frame;
use fred::types::config::{Config, Server};
use futures_util::{SinkExt, StreamExt};
use redis_protocol::codec::Resp3;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::codec::Framed;

use crate::credentials::fetch;
#[cfg(feature = "rustls")]
use crate::error::configuration;
use crate::error::{error, from_fred, from_server};

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Tcp {
        host: String,
        port: u16,
        /// The name that its certificate must have. Default: the host.
        tls_name: Option<String>,
    },
    Unix(PathBuf),
}

impl From<Server> for Address {
    fn from(server: Server) -> Self {
        Self::Tcp {
            host: server.host.to_string(),
            port: server.port,
            #[cfg(feature = "rustls")]
            tls_name: server.tls_server_name.map(|name| name.to_string()),
            #[cfg(not(feature = "rustls"))]
            tls_name: None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A message of a server.
pub(super) enum Heard {
    /// These keys were changed.
    Changed(Vec<Bytes>),
    /// The database was flushed.
    Flushed,
    /// The answer to the earliest command without one.
    Answer(String),
    /// An error answer to that command.
    Refused(Error),
}

trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

pub(super) struct Wire {
    frames: Framed<Box<dyn Socket>, Resp3>,
    address: Address,
}

impl Wire {
    /// Connects and sends the handshake, each within its time limit.
    pub(super) async fn connect(
        address: &Address,
        config: &Config,
        to_connect: Duration,
        to_greet: Duration,
    ) -> Result<Self, Error> {
        // Before the time limits begin, since a provider has one of its own.
        let credentials = match &config.credential_provider {
            Some(provider) => {
                let server = config.server.hosts().into_iter().next();
                let fetched = fetch(&**provider, server.as_ref()).await;
                Some(fetched.map_err(|error| from_fred(&error))?)
            }
            None => None,
        };
        let socket = within(to_connect, "no connection", socket(address, config)).await?;
        let mut wire = Self {
            frames: Framed::new(socket, Resp3::default()),
            address: address.clone(),
        };
        within(to_greet, "no answer", wire.greet(config, credentials.as_ref())).await?;
        Ok(wire)
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    async fn greet(&mut self, config: &Config, credentials: Option<&[String; 2]>) -> Result<(), Error> {
        let mut hello = vec!["HELLO", "3"];
        if let Some([username, password]) = credentials {
            hello.extend(["AUTH", username, password]);
        } else if let Some(password) = &config.password {
            hello.extend(["AUTH", config.username.as_deref().unwrap_or("default"), password]);
        }
        self.ask(&hello).await?;
        if let Some(database) = config.database.filter(|database| *database != 0) {
            self.ask(&["SELECT", &database.to_string()]).await?;
        }
        Ok(())
    }

    /// Sends a command, and returns its answer. Discards other messages that arrive before it.
    pub(super) async fn ask(&mut self, words: &[&str]) -> Result<String, Error> {
        self.send(words).await?;
        loop {
            let heard = std::future::poll_fn(|context| self.poll_hear(context)).await?;
            match heard {
                Heard::Answer(answer) => return Ok(answer),
                Heard::Refused(error) => return Err(error),
                Heard::Changed(_) | Heard::Flushed => {}
            }
        }
    }

    pub(super) async fn send(&mut self, words: &[&str]) -> Result<(), Error> {
        let word = |word: &&str| Resp3Frame::BlobString {
            data: Bytes::copy_from_slice(word.as_bytes()),
            attributes: None,
        };
        let command = Resp3Frame::Array {
            data: words.iter().map(word).collect(),
            attributes: None,
        };
        let sent = self.frames.send(command).await;
        sent.map_err(|error| self.broken(&error.to_string()))
    }

    /// Polls for the next message.
    pub(super) fn poll_hear(&mut self, context: &mut Context<'_>) -> Poll<Result<Heard, Error>> {
        loop {
            let frame = match std::task::ready!(self.frames.poll_next_unpin(context)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Err(self.broken(&error.to_string()))),
                None => return Poll::Ready(Err(self.broken("the server closed the connection"))),
            };
            return Poll::Ready(match frame {
                Resp3Frame::Push { data, .. } => match invalidation(data) {
                    Some(heard) => Ok(heard),
                    None => continue,
                },
                Resp3Frame::SimpleError { data, .. } => Ok(Heard::Refused(from_server(&data))),
                Resp3Frame::BlobError { data, .. } => Ok(Heard::Refused(from_server(&String::from_utf8_lossy(&data)))),
                frame => Ok(Heard::Answer(text(&frame))),
            });
        }
    }

    fn broken(&self, why: &str) -> Error {
        error(ErrorKind::Unavailable, format!("{}: {why}", self.address))
    }
}

/// Converts a push message, if it is about changed keys.
fn invalidation(message: Vec<Resp3Frame>) -> Option<Heard> {
    let mut parts = message.into_iter();
    match (parts.next()?, parts.next()?) {
        (Resp3Frame::BlobString { data, .. }, what) if &data[..] == b"invalidate" => Some(match what {
            Resp3Frame::Array { data, .. } => {
                let keys = data.into_iter().filter_map(|key| match key {
                    Resp3Frame::BlobString { data, .. } => Some(data),
                    _ => None,
                });
                Heard::Changed(keys.collect())
            }
            _ => Heard::Flushed,
        }),
        _ => None,
    }
}

/// Converts an answer to text, which every answer used here is.
fn text(frame: &Resp3Frame) -> String {
    match frame {
        Resp3Frame::SimpleString { data, .. }
        | Resp3Frame::BlobString { data, .. }
        | Resp3Frame::VerbatimString { data, .. } => String::from_utf8_lossy(data).into_owned(),
        _ => String::new(),
    }
}

/// Runs `step` within a time limit. `what` names it in the error.
pub(super) async fn within<T>(
    limit: Duration,
    what: &str,
    step: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, step).await {
        Ok(result) => result,
        Err(_) => Err(error(ErrorKind::Timeout, format!("{what} within {limit:?}"))),
    }
}

async fn socket(address: &Address, config: &Config) -> Result<Box<dyn Socket>, Error> {
    let refused = |why: &dyn fmt::Display| error(ErrorKind::Unavailable, format!("{address}: {why}"));
    let (host, port, tls_name) = match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            return Ok(Box::new(stream.map_err(|error| refused(&error))?));
        }
        Address::Tcp { host, port, tls_name } => (host.as_str(), *port, tls_name.as_deref()),
    };
    let stream = TcpStream::connect((host, port)).await;
    let stream = stream.map_err(|error| refused(&error))?;
    stream.set_nodelay(true).map_err(|error| refused(&error))?;
    #[cfg(feature = "rustls")]
    if let Some(tls) = &config.tls {
        use fred::types::config::TlsConnector;
        use rustls::pki_types::ServerName;

        let name = tls_name.unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|error| configuration(format!("{address}: {error}")))?;
        #[allow(
            irrefutable_let_patterns,
            reason = "another crate may have fred with another TLS library, too"
        )]
        let TlsConnector::Rustls(connector) = &tls.connector else {
            return Err(configuration(
                "a change subscription over TLS needs rustls: use the feature `rustls`, and no other TLS library of fred's",
            ));
        };
        let stream = connector.connect(name, stream).await;
        return Ok(Box::new(stream.map_err(|error| refused(&error))?));
    }
    #[cfg(not(feature = "rustls"))]
    let _ = (config, tls_name);
    Ok(Box::new(stream))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Returns a connection and the server's end of it.
    fn pair() -> (Wire, tokio::io::DuplexStream) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let socket: Box<dyn Socket> = Box::new(near);
        let wire = Wire {
            frames: Framed::new(socket, Resp3::default()),
            address: Address::Unix("/test".into()),
        };
        (wire, far)
    }

    async fn hear(wire: &mut Wire) -> Result<Heard, Error> {
        std::future::poll_fn(|context| wire.poll_hear(context)).await
    }

    #[tokio::test]
    async fn what_a_server_says_is_told_apart() {
        let (mut wire, mut server) = pair();
        server
            .write_all(
                b">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$2\r\n\xff\x00\r\n\
                  >2\r\n$10\r\ninvalidate\r\n_\r\n\
                  >3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n\
                  =9\r\ntxt:a: b\n\r\n\
                  -NOPERM no\r\n",
            )
            .await
            .unwrap();
        assert!(matches!(hear(&mut wire).await.unwrap(), Heard::Changed(keys) if keys == ["a".as_bytes(), b"\xff\0"]));
        assert!(matches!(hear(&mut wire).await.unwrap(), Heard::Flushed));
        assert!(matches!(hear(&mut wire).await.unwrap(), Heard::Answer(text) if text == "a: b\n"));
        assert!(matches!(hear(&mut wire).await.unwrap(), Heard::Refused(error) if error.kind() == ErrorKind::Auth));
        drop(server);
        let closed = hear(&mut wire).await.err();
        assert_eq!(closed.map(|error| error.kind()), Some(ErrorKind::Unavailable));
    }

    #[tokio::test]
    async fn a_message_in_pieces_survives_waits_that_are_dropped() {
        let (mut wire, mut server) = pair();
        for byte in b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r" {
            server.write_all(&[*byte]).await.unwrap();
            let nothing = tokio::time::timeout(Duration::ZERO, hear(&mut wire)).await;
            assert!(nothing.is_err());
        }
        server.write_all(b"\n").await.unwrap();
        assert!(matches!(hear(&mut wire).await.unwrap(), Heard::Changed(keys) if keys == ["a".as_bytes()]));
    }

    #[tokio::test]
    async fn a_command_is_sent_as_it_is() {
        let (mut wire, mut server) = pair();
        wire.send(&["CLIENT", "a b\r\nc"]).await.unwrap();
        let expected = b"*2\r\n$6\r\nCLIENT\r\n$6\r\na b\r\nc\r\n";
        let mut sent = vec![0; expected.len()];
        server.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent, expected);
    }
}
