//! Tells caches downstream of invalidations over plain HTTP.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_engine::cache_core::{Error, ErrorKind, OptionalDuration, async_trait};
use cache_engine::{Purge, Purger};
use futures_util::future::join_all;
use http::header::AUTHORIZATION;
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::config::surrogate_keys::SurrogateKeys;

/// How long connecting to a server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest answer that is read to its end, so that its connection can be used again.
const LONGEST_ANSWER: usize = 64 * 1024;

/// A [`Purger`] that sends `PURGE` requests with the keys in a field, for Varnish, or for a gateway or sidecar that speaks
/// to a CDN. It needs the feature `http-purger`.
///
/// Several keys go into one request, separated as in the responses. An answer with a status of 2xx says that they were
/// purged by this server; anything else counts as a failure, and all keys are sent again. Each of several servers is told
/// [on its own](Purger::by_server): one that is away or hangs delays none of the others.
///
/// It speaks HTTP/1.1 without TLS. To call the interface of a CDN by `https`, implement [`Purger`] with the HTTP client
/// that your service has: [`SurrogateKeys::key`] returns what to purge.
///
/// ```
/// # fn main() -> Result<(), cache_axum::cache_engine::cache_core::Error> {
/// use axum::{Router, routing::get};
/// use cache_axum::cache_engine::Cache;
/// use cache_axum::{CacheLayer, HttpPurger, SurrogateKeys};
/// use cache_memory::MemoryBackend;
///
/// // The same keys for the layer and for the purger.
/// let keys = SurrogateKeys::surrogate_key().prefix("shop/");
/// let purger = HttpPurger::new(keys.clone(), ["http://varnish-1:6081", "http://varnish-2:6081"])?.bearer_token("secret")?;
/// let cache = Cache::builder(MemoryBackend::default()).purger(purger).build();
/// let app: Router = Router::new()
///     .route("/items", get(|| async { "…" }))
///     .layer(CacheLayer::new(cache).tags(["items"]).surrogate_keys(keys));
/// # Ok(()) }
/// ```
///
/// Varnish understands it with its module xkey, in Debian's package `varnish-modules`:
///
/// ```vcl
/// import xkey;
///
/// sub vcl_recv {
///     if (req.method == "PURGE") {
///         if (req.http.Authorization != "Bearer secret") { return (synth(403)); }
///         # Softly, if the purger says so.
///         if (req.http.Surrogate-Soft) { set req.http.n = xkey.softpurge(req.http.Surrogate-Key); }
///         else { set req.http.n = xkey.purge(req.http.Surrogate-Key); }
///         return (synth(200));
///     }
/// }
/// sub vcl_backend_response { set beresp.http.xkey = beresp.http.Surrogate-Key; }
/// sub vcl_deliver { unset resp.http.xkey; unset resp.http.Surrogate-Key; }
/// ```
#[derive(Clone)]
#[must_use]
pub struct HttpPurger {
    client: Client<HttpConnector, Empty<Bytes>>,
    servers: Vec<Uri>,
    keys: SurrogateKeys,
    method: Method,
    field: HeaderName,
    headers: HeaderMap,
    soft: Option<(HeaderName, HeaderValue)>,
    max_keys: usize,
    timeout: Duration,
    repeats_after: Option<Duration>,
}

impl HttpPurger {
    /// Creates a purger of the servers at these URLs, such as `http://varnish:6081`.
    ///
    /// # Errors
    /// [`Configuration`](ErrorKind::Configuration) if one of them is not a URL with `http` and a host, or there is none.
    pub fn new<U: AsRef<str>>(keys: SurrogateKeys, servers: impl IntoIterator<Item = U>) -> Result<Self, Error> {
        let servers: Vec<Uri> = servers
            .into_iter()
            .map(|url| server(url.as_ref()))
            .collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err(configuration(
                "the purger has no server: name at least one URL".to_owned(),
            ));
        }
        let field = keys.field().clone();
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            servers,
            keys,
            method: Method::from_bytes(b"PURGE").unwrap_or(Method::POST),
            field,
            headers: HeaderMap::new(),
            soft: None,
            max_keys: 256,
            timeout: Duration::from_secs(10),
            repeats_after: Some(Duration::from_secs(2)),
        })
    }

    /// Sends `Authorization: Bearer` with this token. Default: none.
    ///
    /// # Errors
    /// [`Configuration`](ErrorKind::Configuration) if the token is empty or contains a character that such a field cannot
    /// carry.
    pub fn bearer_token(self, token: &str) -> Result<Self, Error> {
        if token.is_empty() || token.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(configuration(
                "the token of the purger is empty or has a character that a field cannot carry: use printable ASCII \
                 without spaces"
                    .to_owned(),
            ));
        }
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|error| configuration(format!("the token of the purger is no value of a field: {error}")))?;
        value.set_sensitive(true);
        Ok(self.header(AUTHORIZATION, value))
    }

    /// Sends this field with each request. Replaces an earlier value. Default: none.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the method. Default: `PURGE`.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Sets the field that carries the keys. Default: that of the responses.
    pub fn field(mut self, name: HeaderName) -> Self {
        self.field = name;
        self
    }

    /// Sends this field with soft purges, which are of [soft](cache_engine::Cache::soft) invalidations. Default: none, so
    /// that soft invalidations purge as hard ones do.
    pub fn soft_field(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.soft = Some((name, value));
        self
    }

    /// Sets how many keys one request has at most. It also has at most
    /// [as many bytes of them](SurrogateKeys::max_len) as a response, but at least one. Default: 256.
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys.max(1);
        self
    }

    /// Sets how long the purge of a few dozen invalidations may take at a server, in one or more requests. Connecting may
    /// take 3 s of it. Default: 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long after a purge it is [repeated](Purger::repeats_after). Default: 2 s.
    pub fn repeats_after(mut self, time: impl OptionalDuration) -> Self {
        self.repeats_after = time.into_option();
        self
    }

    /// Returns the values of the field for these purges.
    fn values(&self, purges: &[Purge], soft: bool) -> Vec<String> {
        let mut keys = vec![self.keys.any_key()];
        for purge in purges.iter().filter(|purge| self.is_soft(purge) == soft) {
            let key = self.keys.key(&purge.target);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        // Without any purge, there is nothing that `any_key` could concern.
        if keys.len() == 1 {
            return Vec::new();
        }
        let mut values: Vec<(String, usize)> = Vec::new();
        for key in keys {
            match values.last_mut() {
                Some((value, count)) if *count < self.max_keys && value.len() + 1 + key.len() <= self.keys.max_len => {
                    value.push(self.keys.separator);
                    value.push_str(&key);
                    *count += 1;
                }
                _ => values.push((key, 1)),
            }
        }
        values.into_iter().map(|(value, _)| value).collect()
    }

    fn is_soft(&self, purge: &Purge) -> bool {
        purge.soft && self.soft.is_some()
    }

    /// Sends a server the values of hard and soft purges. Returns the first error.
    async fn send_all(&self, server: &Uri, values: &[(bool, Vec<String>)]) -> Result<(), Error> {
        let mut result = Ok(());
        for (soft, values) in values {
            for value in values {
                result = result.and(self.send(server, value, *soft).await);
            }
        }
        result
    }

    async fn send(&self, server: &Uri, value: &str, soft: bool) -> Result<(), Error> {
        let failed = |kind, what: String| {
            Error::new(kind, format!("{server}: {what}"))
                .with_operation("purge")
                .with_retryable(true)
        };
        let mut request = Request::new(Empty::new());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = server.clone();
        *request.headers_mut() = self.headers.clone();
        let value = HeaderValue::try_from(value).map_err(|error| failed(ErrorKind::Other, error.to_string()))?;
        request.headers_mut().insert(self.field.clone(), value);
        if let Some((name, value)) = self.soft.as_ref().filter(|_| soft) {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        let response = self.client.request(request).await.map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            failed(
                ErrorKind::Unavailable,
                format!("no answer: {error}{}", source.unwrap_or_default()),
            )
        })?;
        let status = response.status();
        // What the answer says is of no interest, but an unread body would cost the connection.
        let _ = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
        if status.is_success() {
            return Ok(());
        }
        let kind = if status.is_server_error() {
            ErrorKind::Unavailable
        } else {
            ErrorKind::Rejected
        };
        Err(failed(kind, format!("the answer to the purge was {status}")))
    }
}

#[async_trait]
impl Purger for HttpPurger {
    async fn purge(&self, purges: &[Purge]) -> Result<(), Error> {
        let values = [false, true].map(|soft| (soft, self.values(purges, soft)));
        // A server that fails, or does not answer, keeps the others from nothing.
        let servers = self.servers.iter().map(|server| self.send_all(server, &values));
        join_all(servers).await.into_iter().collect()
    }

    fn by_server(&self) -> Vec<Arc<dyn Purger>> {
        let one = |server: &Uri| -> Arc<dyn Purger> {
            Arc::new(Self {
                servers: vec![server.clone()],
                ..self.clone()
            })
        };
        self.servers.iter().map(one).collect()
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn repeats_after(&self) -> Option<Duration> {
        self.repeats_after
    }
}

impl fmt::Debug for HttpPurger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpPurger")
            .field("servers", &self.servers)
            .field("method", &self.method)
            .field("field", &self.field)
            .finish_non_exhaustive()
    }
}

fn server(url: &str) -> Result<Uri, Error> {
    let wrong = |what: &str| configuration(format!("{url:?} is no server to purge: {what}"));
    let uri: Uri = url.parse().map_err(|error| wrong(&format!("{error}")))?;
    if uri.scheme() != Some(&Scheme::HTTP) {
        return Err(wrong(
            "it has to begin with `http://`; to call others, implement `Purger` with an HTTP client",
        ));
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(wrong("it contains a user: use `bearer_token` or `header`"));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(wrong("it has no host"));
    }
    Ok(uri)
}

fn configuration(message: String) -> Error {
    Error::new(ErrorKind::Configuration, message).with_operation("purge")
}
