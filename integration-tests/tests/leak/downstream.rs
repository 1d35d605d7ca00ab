//! Shared caches between the clients and the application.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use cache_axum::CacheLayer;
use cache_axum::cache_engine::Cache;
use hyper_util::rt::TokioIo;

/// What is between the clients and the application.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Between {
    Nothing,
    /// A gateway with [`CacheLayer::shared`].
    OwnSharedCache,
    /// An nginx at this address.
    Nginx(SocketAddr),
}

/// Where clients send their requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    /// The port of the application behind it, which nginx is to be told.
    pub(crate) port: Option<u16>,
}

impl Front {
    pub(crate) fn directly(address: SocketAddr) -> Self {
        Self { address, port: None }
    }

    pub(crate) fn through(nginx: SocketAddr, application: SocketAddr) -> Self {
        Self {
            address: nginx,
            port: Some(application.port()),
        }
    }
}

/// A gateway to the application, with a shared cache by RFC 9111.
pub(crate) fn proxy(application: SocketAddr, cache: Cache) -> Router {
    Router::new()
        .fallback(move |request: Request| forward(application, request))
        .layer(CacheLayer::shared(cache))
}

async fn forward(application: SocketAddr, request: Request) -> Response {
    let stream = TokioIo::new(tokio::net::TcpStream::connect(application).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client.send_request(request).await.unwrap().map(Body::new)
}

/// An nginx that caches what it may, as its documentation sets it up. It goes by the clock of the machine.
#[derive(Debug)]
pub(crate) struct Nginx {
    process: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Nginx {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// If there is none, or it does not start: a test that asks nobody shows nothing.
    pub(crate) fn start() -> Self {
        let program = std::env::var("CACHE_TEST_NGINX").unwrap_or_else(|_| "nginx".to_owned());
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = std::env::temp_dir().join(format!("cache-test-nginx-{}-{}", std::process::id(), address.port()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("nginx.conf"), configuration(&folder, address)).unwrap();
        let process = Command::new(&program)
            .arg("-p")
            .arg(&folder)
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start ({error}): run scripts/nginx"));
        let mut nginx = Self {
            process,
            address,
            folder,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(address).is_err() {
            let has_ended = nginx.process.try_wait().unwrap().is_some();
            let log = || std::fs::read_to_string(nginx.folder.join("error.log")).unwrap_or_default();
            assert!(
                !has_ended && Instant::now() < deadline,
                "nginx does not listen: {}",
                log()
            );
            thread::sleep(Duration::from_millis(10));
        }
        nginx
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// One process that caches by what responses say, and by nothing else. Each application has a part of the cache to itself.
fn configuration(folder: &Path, address: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        r#"
daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache keys_zone=shared:10m;
    server {{
        listen {address};
        location / {{
            proxy_pass http://127.0.0.1:$http_x_port;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_cache shared;
            proxy_cache_key $http_x_port|$http_host|$request_uri;
            proxy_cache_revalidate on;
            add_header X-Nginx $upstream_cache_status always;
        }}
    }}
}}
"#
    )
}
