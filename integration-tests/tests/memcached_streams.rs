//! memcached over Unix sockets, over streams of the user's, and over TLS.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod memcached_support;

use std::time::Duration;

use bytes::Bytes;
use cache_core::{Backend, ErrorKind, Key, Prefix, SetOptions, Value};
use cache_memcached::{MemcachedBackend, MemcachedBackendBuilder};
use integration_tests::Memcached;
use memcached_support::authority::Authority;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpStream, UnixListener};

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

/// A stream that the user opens, here to a server under another name.
#[tokio::test(flavor = "multi_thread")]
async fn streams_of_ones_own() {
    let address = Memcached::shared().await.addresses()[0].clone();
    let builder = MemcachedBackend::builder()
        .server("cache.internal")
        .connect_timeout(PATIENCE)
        .operation_timeout(PATIENCE)
        .connector(move |server| {
            assert_eq!(server, "cache.internal:11211");
            TcpStream::connect(address.clone())
        });
    let backend = builder.connect().await.unwrap();
    works(&backend, "own").await;
    assert!(backend.connections() > 0);
}

/// Returns the URL of a server, by its name or its address.
fn url(scheme: &str, host: &str, server: &Memcached) -> String {
    let port = server.addresses()[0].rsplit_once(':').unwrap().1;
    format!("{scheme}://{host}:{port}")
}

fn over_tls(url: &str) -> MemcachedBackendBuilder {
    MemcachedBackend::builder()
        .url(url)
        .connect_timeout(PATIENCE)
        .operation_timeout(PATIENCE)
}

/// Connects as soon as the server is up.
async fn connected(builder: &MemcachedBackendBuilder) -> MemcachedBackend {
    let begun = tokio::time::Instant::now();
    loop {
        match builder.clone().connect().await {
            Ok(backend) => return backend,
            Err(error) if begun.elapsed() > PATIENCE * 3 => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn refusal(builder: MemcachedBackendBuilder) -> String {
    let error = builder.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_by_url() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = authority.memcached(None).await;
    let secure = over_tls(&url("memcacheds", "localhost", &server));
    let backend = connected(&secure.clone().ca_certificates(authority.pem())).await;
    works(&backend, "tls").await;
    assert!(backend.connections() > 0);

    // Neither the system's authorities nor another one have signed the certificate.
    for builder in [secure.clone(), secure.clone().ca_certificates(stranger.pem())] {
        let refusal = refusal(builder).await;
        assert!(refusal.contains("UnknownIssuer"), "{refusal}");
        assert!(refusal.contains("ca_certificates"), "{refusal}");
    }
    // The certificate is for another name than that of the URL.
    let elsewhere = over_tls(&url("memcacheds", "127.0.0.1", &server)).ca_certificates(authority.pem());
    let wrong_name = refusal(elsewhere).await;
    assert!(wrong_name.contains("not valid for name \"127.0.0.1\""), "{wrong_name}");
    // Without TLS the server does not answer.
    let plain = refusal(over_tls(&url("memcached", "localhost", &server))).await;
    assert!(plain.contains("memcacheds://"), "{plain}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_to_a_server_without_it_says_so() {
    let url = url("memcacheds", "127.0.0.1", Memcached::shared().await);
    let refusal = refusal(over_tls(&url).ca_certificates(Authority::new().pem())).await;
    assert!(
        refusal.contains("a server that does not speak TLS is named memcached://"),
        "{refusal}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_where_the_client_shows_a_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = authority.memcached(Some(&clients)).await;
    let builder = over_tls(&url("memcacheds", "localhost", &server)).ca_certificates(authority.pem());
    let [certificate, key] = clients.issue("client");
    let backend = connected(&builder.clone().client_certificate(certificate, key)).await;
    works(&backend, "client").await;

    // Without a certificate, and with one of another authority.
    let [certificate, key] = authority.issue("client");
    for builder in [builder.clone(), builder.client_certificate(certificate, key)] {
        let refusal = refusal(builder).await;
        assert!(refusal.contains("TLS: received fatal alert"), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_exclude_each_other_are_refused() {
    for (builder, part) in [
        (
            over_tls("memcacheds://a").connector(TcpStream::connect),
            "`connector` and TLS",
        ),
        (over_tls("memcacheds://a").unix_socket("/run/x"), "Unix sockets"),
        (over_tls("memcacheds://a").ca_certificates("none"), "CA certificates"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}
