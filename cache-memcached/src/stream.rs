//! The byte stream to a server, and how it is opened.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A stream that can be read and written.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub(crate) type BoxedStream = Box<dyn Stream>;

/// Opens a stream to the server with the given name.
pub(crate) type Connector = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<BoxedStream>> + Send + Sync>;

const DEFAULT_PORT: u16 = 11211;

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(String),
    Unix(PathBuf),
}

impl Address {
    /// Returns the name that errors and the hash ring use: `host:port`, or the path.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Tcp(address) => address.clone(),
            Self::Unix(path) => path.display().to_string(),
        }
    }

    /// Returns the host, for TLS. A socket of this machine has none.
    #[cfg(feature = "rustls")]
    pub(crate) fn host(&self) -> Option<&str> {
        match self {
            Self::Tcp(address) => {
                let host = address.rsplit_once(':').map_or(&**address, |(host, _)| host);
                Some(
                    host.strip_prefix('[')
                        .and_then(|host| host.strip_suffix(']'))
                        .unwrap_or(host),
                )
            }
            Self::Unix(_) => None,
        }
    }

    pub(crate) async fn open(&self) -> io::Result<BoxedStream> {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address.as_str()).await?;
                // Without `TCP_NODELAY`, a command that is written in two pieces takes 40 ms.
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            #[cfg(unix)]
            Self::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
            #[cfg(not(unix))]
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Parses `host` or `host:port`, where an IPv6 address is in brackets.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    let wrong = || format!("a server is written host:port, not {text:?}");
    let after_host = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or_else(wrong)?.1,
        None => text.find(':').map_or("", |colon| &text[colon..]),
    };
    let host = &text[..text.len() - after_host.len()];
    let plain = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]%".contains(&byte));
    if host.is_empty() || host == "[]" || !plain {
        return Err(wrong());
    }
    let port = match after_host.strip_prefix(':') {
        Some(port) => port.parse().map_err(|_| wrong())?,
        None if after_host.is_empty() => DEFAULT_PORT,
        None => return Err(wrong()),
    };
    Ok(Address::Tcp(format!("{host}:{port}")))
}

/// A handle to a stream, by which the session can check the stream while the codec owns another handle.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Mutex<BoxedStream>>);

impl Wire {
    pub(crate) fn new(stream: BoxedStream) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    /// Returns whether the stream is open and has nothing to read. Between two commands, an end of stream or any byte
    /// means that the connection must not be used.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        pin!(&mut **self.0.lock())
            .poll_read(&mut context, &mut buffer)
            .is_pending()
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut **self.0.lock()).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut **self.0.lock()).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut **self.0.lock()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut **self.0.lock()).poll_shutdown(context)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}
