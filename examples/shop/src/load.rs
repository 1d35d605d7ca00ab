//! Clients that do not stop: most read, a few buy, and now and then somebody changes a price.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use axum::http::{Method, Request};
use futures_util::future::join_all;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// How many clients there are.
const CLIENTS: u64 = 6;

/// Sends requests to the shop at this address, until the future is dropped.
pub async fn load(address: SocketAddr, admin_token: &str) {
    let shop = Shop {
        address,
        client: Client::builder(TokioExecutor::new()).build_http(),
        admin: HeaderValue::try_from(format!("Bearer {admin_token}")).ok(),
    };
    join_all((0..CLIENTS).map(|number| shop.visit(number))).await;
}

struct Shop {
    address: SocketAddr,
    client: Client<HttpConnector, Body>,
    admin: Option<HeaderValue>,
}

impl Shop {
    /// One client, for ever.
    async fn visit(&self, number: u64) {
        let name = serde_json::json!({ "name": format!("client {number}") });
        let session = self.send(Method::POST, "/login", [], &name.to_string()).await;
        let session = session.and_then(|fields| fields.get(SET_COOKIE).cloned());
        loop {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(2..30))).await;
            let cookie = session.clone().map(|session| (COOKIE, session));
            let item = fastrand::u64(1..=3);
            match fastrand::u16(..1_000) {
                0..1 => {
                    let change = serde_json::json!({ "name": "Fruit", "cents": fastrand::u8(1..) });
                    let admin = self.admin.clone().map(|token| (AUTHORIZATION, token));
                    let path = format!("/admin/items/{item}");
                    self.send(Method::PUT, &path, admin, &change.to_string()).await;
                }
                1..10 => {
                    self.send(Method::POST, &format!("/account/orders/{item}"), cookie, "")
                        .await;
                }
                10..100 => {
                    self.get("/account/orders", cookie).await;
                }
                // There is no such item.
                100..120 => self.get(&format!("/items/{}", fastrand::u64(4..100)), None).await,
                120..150 => self.get("/files/storage.txt", None).await,
                // A few pages are popular, and many are not.
                150..500 => {
                    let page = fastrand::u64(1..40) * fastrand::u64(1..40) / 40;
                    self.get(&format!("/items?page={page}"), None).await;
                }
                _ => self.get(&format!("/items/{item}"), None).await,
            }
        }
    }

    async fn get(&self, path: &str, field: Option<(axum::http::HeaderName, HeaderValue)>) {
        self.send(Method::GET, path, field, "").await;
    }

    /// Sends a request, reads the response to its end, and returns its fields.
    async fn send(
        &self,
        method: Method,
        path: &str,
        fields: impl IntoIterator<Item = (axum::http::HeaderName, HeaderValue)>,
        content: &str,
    ) -> Option<HeaderMap> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        if !content.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in fields {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(content.to_owned())).ok()?;
        // The shop may be gone already.
        let (head, body) = self.client.request(request).await.ok()?.into_parts();
        body.collect().await.ok()?;
        Some(head.headers)
    }
}
