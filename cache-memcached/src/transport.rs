//! How the streams to servers are opened: plain, by TLS, or by a function of the user's.

use std::io;
use std::sync::Arc;

use crate::stream::{Address, BoxedStream, Connector};
#[cfg(feature = "rustls")]
use crate::tls::Tls;

#[derive(Clone)]
pub(crate) enum Transport {
    Plain,
    #[cfg(feature = "rustls")]
    Tls(Tls),
    /// A function of the user's.
    Own(Connector),
}

impl Transport {
    /// Opens a stream to a server.
    pub(crate) async fn open(&self, address: &Address) -> io::Result<BoxedStream> {
        match self {
            Self::Plain => Ok(Box::new(address.open().await?)),
            #[cfg(feature = "rustls")]
            Self::Tls(tls) => tls.open(address).await,
            Self::Own(connector) => connector(address.name()).await,
        }
    }

    /// Returns what opens streams to one server.
    pub(crate) fn connector(&self, address: Address) -> Connector {
        if let Self::Own(connector) = self {
            return Arc::clone(connector);
        }
        let (transport, address) = (self.clone(), Arc::new(address));
        Arc::new(move |_| {
            let (transport, address) = (transport.clone(), Arc::clone(&address));
            Box::pin(async move { transport.open(&address).await })
        })
    }
}
