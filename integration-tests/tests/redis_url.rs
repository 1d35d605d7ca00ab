//! Connecting by URL and by the builder: TLS, a Unix socket, a ready pool.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod redis_support;

use std::sync::Arc;

use cache_core::{Backend, ErrorKind};
use cache_redis::RedisBackend;
use fred::interfaces::ClientLike;
use integration_tests::{Redis, RedisCluster};
use redis_support::listener::Listener;
use redis_support::{forward, namespace, put, value};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

async fn works(redis: &RedisBackend) {
    let namespace = namespace();
    let key = namespace.key("k");
    let mut listener = Listener::start(redis, &namespace.scope()).await;
    put(redis, &key, "v").await;
    assert_eq!(value(redis, &key).await.unwrap(), "v");
    assert!(redis.delete(&key).await.unwrap());
    listener.must_tell(&key).await;
}

#[tokio::test]
async fn a_url_that_cannot_be_read_is_a_configuration_error_without_its_password() {
    let error = RedisBackend::connect("redis://ada:hunter2@host/database")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(!error.is_retryable());
    assert_eq!(
        error.to_string(),
        "redis: configuration: the database must be a number from 0 to 255, not \"database\", in \
         \"redis://***@host/database\""
    );
}

#[tokio::test]
async fn a_cluster_url_for_a_single_server_is_an_error() {
    let url = Redis::shared().await.url().replace("redis://", "redis-cluster://");
    let error = RedisBackend::connect(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_an_error() {
    let server = Redis::shared().await;
    let url = format!("redis://{}/200", server.address());
    let error = RedisBackend::connect(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
}

#[tokio::test]
async fn what_is_shown_has_no_secrets() {
    let server = Redis::start().await;
    integration_tests::wire::redis(server.address(), "ACL SETUSER ada on >hunter2 ~* &* +@all")
        .await
        .unwrap();
    let redis = RedisBackend::connect(&format!("redis://ada:hunter2@{}", server.address()))
        .await
        .unwrap();
    let debug = format!("{redis:?}");
    assert!(debug.contains("connected: 2") && !debug.contains("hunter2"), "{debug}");
}

#[tokio::test]
async fn a_socket_of_this_machine() {
    let server = Redis::shared().await;
    let path = std::env::temp_dir().join(format!("redis {:016x}.sock", fastrand::u64(..)));
    let listener = UnixListener::bind(&path).unwrap();
    let to = server.address().to_owned();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let to = to.clone();
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    let url = format!("redis+unix://{}", path.display().to_string().replace(' ', "%20"));
    works(&RedisBackend::connect(&url).await.unwrap()).await;
    works(&RedisBackend::builder().unix_socket(&path).connect().await.unwrap()).await;
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_pool_that_is_ready_stays_its_owners() {
    for url in [Redis::shared().await.url(), RedisCluster::shared().await.url()] {
        let config = fred::types::config::Config::from_url(url).unwrap();
        let pool = fred::types::Builder::from_config(config).build_pool(2).unwrap();
        pool.init().await.unwrap();
        let redis = RedisBackend::from_pool(pool.clone());
        works(&redis).await;
        redis.close().await.unwrap();
        let error = redis.ping().await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, false));
        let () = pool.ping(None).await.unwrap();
        works(&RedisBackend::from_pool(pool)).await;
    }
}

/// A certificate authority, and the certificates that it signs.
struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: rcgen::Issuer::new(params, key),
        }
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, rcgen::KeyPair) {
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// Starts Redis behind TLS, and returns the address. With `clients`, only clients with a certificate of that authority
/// are accepted.
async fn behind_tls(authority: &Authority, clients: Option<&Authority>) -> String {
    let (certificate, key) = authority.issue("localhost");
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.certificate.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let to = Redis::shared().await.address().to_owned();
    tokio::spawn(forward(listener, to, move |near| acceptor.accept(near)));
    address
}

#[tokio::test]
async fn tls_with_an_authority_of_ones_own() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let url = format!("rediss://{}", behind_tls(&authority, None).await);
    let trusted = RedisBackend::builder()
        .url(&url)
        .ca_certificates(authority.certificate.pem());
    works(&trusted.connect().await.unwrap()).await;

    // Neither the system's authorities nor another one have signed the certificate, and without TLS there is no answer.
    for builder in [
        RedisBackend::builder().url(&url),
        RedisBackend::builder()
            .url(&url)
            .ca_certificates(stranger.certificate.pem()),
    ] {
        let error = builder.connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    RedisBackend::connect(&url.replace("rediss", "redis"))
        .await
        .unwrap_err();
    // The name in the certificate must match too.
    let elsewhere = RedisBackend::builder().url(&url.replace("localhost", "127.0.0.1"));
    elsewhere
        .ca_certificates(authority.certificate.pem())
        .connect()
        .await
        .unwrap_err();
}

#[tokio::test]
async fn tls_where_the_client_shows_a_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let url = format!("rediss://{}", behind_tls(&authority, Some(&clients)).await);
    let (certificate, key) = clients.issue("client");
    let builder = RedisBackend::builder()
        .url(&url)
        .ca_certificates(authority.certificate.pem());
    builder.clone().connect().await.unwrap_err();
    let known = builder.client_certificate(certificate.pem(), key.serialize_pem());
    works(&known.connect().await.unwrap()).await;
}
