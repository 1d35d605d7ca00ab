//! memcached over Unix sockets and over TLS, by relays in front of a real server.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::{Backend, ErrorKind, Key, Prefix, SetOptions, Value};
use cache_memcached::MemcachedBackend;
use integration_tests::Memcached;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const PATIENCE: Duration = Duration::from_secs(10);

async fn relay(mut stream: impl AsyncRead + AsyncWrite + Unpin, address: String) {
    let mut server = TcpStream::connect(address).await.unwrap();
    server.set_nodelay(true).unwrap();
    // Ends when either side closes.
    let _ = copy_bidirectional(&mut stream, &mut server).await;
}

async fn works(backend: &MemcachedBackend, namespace: &str) {
    let key = |name: &str| -> Key {
        Prefix::new(&format!("streams-{}", std::process::id()))
            .namespace(namespace)
            .key(name)
    };
    let hour = SetOptions::new(Duration::from_secs(3600));
    backend.ping().await.unwrap();
    // A small value, and one that fits into no buffer.
    for (name, size) in [("small", 10), ("large", 900_000)] {
        let value = Bytes::from(vec![b'v'; size]);
        let version = backend
            .set(&key(name), Value::Bytes(value.clone()), hour)
            .await
            .unwrap()
            .version()
            .unwrap();
        let record = backend.get(&key(name)).await.unwrap().unwrap();
        assert_eq!((record.version, record.value.as_bytes()), (version, Some(&value)));
    }
    let records = backend
        .get_many(&[key("small"), key("missing"), key("large")])
        .await
        .unwrap();
    assert!(records[0].is_some() && records[1].is_none() && records[2].is_some());
    assert!(backend.delete(&key("large")).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn unix_sockets() {
    let servers = Memcached::shared_fleet().await;
    let folder = std::env::temp_dir().join(format!("memcached-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut paths = Vec::new();
    for address in &servers.addresses()[..2] {
        let path = folder.join(address.replace(':', "-"));
        let listener = UnixListener::bind(&path).unwrap();
        let address = address.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(relay(stream, address.clone()));
            }
        });
        paths.push(path.display().to_string());
    }
    let url = format!("memcached+unix://{}", paths.join(","));
    let builder = MemcachedBackend::builder()
        .url(&url)
        .connect_timeout(PATIENCE)
        .operation_timeout(PATIENCE);
    let backend = builder.connect().await.unwrap();
    works(&backend, "unix").await;
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Returns a server's TLS configuration, and a client's that trusts it.
fn certificate() -> (ServerConfig, ClientConfig) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.into())
        .unwrap();
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, client)
}

fn over_tls(address: &str, config: ClientConfig) -> MemcachedBackend {
    let tls = TlsConnector::from(Arc::new(config));
    MemcachedBackend::builder()
        .server(address)
        .connect_timeout(PATIENCE)
        .operation_timeout(PATIENCE)
        .connector(move |server| {
            let tls = tls.clone();
            async move {
                let stream = TcpStream::connect(&server).await?;
                stream.set_nodelay(true)?;
                let host = server.rsplit_once(':').map_or(&*server, |(host, _)| host).to_owned();
                let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
                tls.connect(name, stream).await
            }
        })
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls() {
    let servers = Memcached::shared().await;
    let (server, client) = certificate();
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let (acceptor, behind) = (TlsAcceptor::from(Arc::new(server)), servers.addresses()[0].clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    relay(stream, behind).await;
                }
            });
        }
    });
    let backend = over_tls(&address, client);
    works(&backend, "tls").await;
    assert!(backend.connections() > 0);

    // A server with an untrusted certificate gets no commands.
    let (_, stranger) = certificate();
    let error = over_tls(&address, stranger).ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}
