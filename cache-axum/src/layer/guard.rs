//! The guard of the routers for operators: a token.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use cache_engine::cache_core::{Error, ErrorKind};
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, StatusCode, Uri};
use serde::Serialize;
use subtle::ConstantTimeEq;

use crate::key::url::{origin, request_for};
use crate::request::shared::Shared;

/// How a token may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schemes {
    /// `Authorization: Bearer`.
    Bearer,
    /// The same, or as a password, for which browsers ask their users.
    #[cfg(feature = "admin")]
    BearerOrPassword,
}

/// Returns a router that requires a token. `name` is what an error calls the router.
pub(super) fn guarded<S>(
    router: Router<S>,
    token: &str,
    schemes: Schemes,
    name: &'static str,
) -> Result<Router<S>, Error>
where
    S: Clone + Send + Sync + 'static,
{
    if token.is_empty() {
        return Err(configuration(
            name,
            "the token of the router is empty: give it a long random text",
        ));
    }
    if token.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(configuration(
            name,
            "the token of the router has a character that a header cannot carry: use printable ASCII without spaces",
        ));
    }
    let guard = Guard {
        token: token.as_bytes().into(),
        schemes,
    };
    Ok(router.layer(from_fn_with_state(guard, check)))
}

fn configuration(name: &'static str, message: &'static str) -> Error {
    Error::new(ErrorKind::Configuration, message).with_operation(name)
}

#[derive(Clone)]
struct Guard {
    token: Arc<[u8]>,
    schemes: Schemes,
}

impl Guard {
    /// Returns whether this value of `Authorization` has the token.
    fn admits(&self, value: &[u8]) -> bool {
        if let Some(given) = credentials(value, b"bearer ") {
            return given.ct_eq(&self.token).into();
        }
        #[cfg(feature = "admin")]
        if self.schemes == Schemes::BearerOrPassword
            && let Some(given) = credentials(value, b"basic ")
            && let Some(password) = password(given)
        {
            return password.ct_eq(&self.token).into();
        }
        false
    }

    fn refusal(&self) -> Response {
        let (takes, challenges): (_, &[&'static str]) = match self.schemes {
            Schemes::Bearer => (
                "this takes `Authorization: Bearer` and the token of the router",
                &["Bearer"],
            ),
            #[cfg(feature = "admin")]
            Schemes::BearerOrPassword => (
                "this takes the token of the router: as the password of any user, or with `Authorization: Bearer`",
                &[r#"Basic realm="cache", charset="UTF-8""#, "Bearer"],
            ),
        };
        let mut refusal = fault(StatusCode::UNAUTHORIZED, takes);
        for challenge in challenges {
            let challenge = HeaderValue::from_static(challenge);
            refusal.headers_mut().append(WWW_AUTHENTICATE, challenge);
        }
        refusal
    }
}

/// Returns what follows the name of a scheme, which is in lower case and ends with a space.
fn credentials<'a>(value: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (given, credentials) = value.split_at_checked(scheme.len())?;
    given.eq_ignore_ascii_case(scheme).then_some(credentials)
}

/// Returns the password in the credentials of RFC 7617.
#[cfg(feature = "admin")]
fn password(credentials: &[u8]) -> Option<Vec<u8>> {
    use base64::Engine;

    let decoded = base64::engine::general_purpose::STANDARD.decode(credentials).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded[colon + 1..].to_vec())
}

async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let given = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    if given.is_some_and(|given| guard.admits(given)) {
        next.run(request).await
    } else {
        guard.refusal()
    }
}

/// Returns why nothing was found for a URL, up to what a layer with other settings has. `what` says what was sought.
pub(super) fn nothing_found(request: &Parts, uri: &Uri, what: &str) -> String {
    let host = origin(&request_for(request, uri)).unwrap_or_default();
    let mut note = format!("this layer {what} for `{host}{}`", uri.path());
    if uri.authority().is_none() {
        note.push_str("; the host is that of this request, so name the whole URL if clients use another one");
    }
    note
}

/// Returns whether the layer has responses that a URL alone does not lead to.
pub(super) fn keeps_apart(shared: &Shared) -> bool {
    shared.config.keys.identity.is_some() || !shared.config.keys.fields.is_empty()
}

pub(super) fn fault(status: StatusCode, reason: &str) -> Response {
    #[derive(Serialize)]
    struct Fault<'a> {
        error: &'a str,
    }
    json(status, &Fault { error: reason })
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    match serde_json::to_vec(body) {
        Ok(body) => (status, [(CONTENT_TYPE, content_type)], body).into_response(),
        // Nothing that is sent here can fail to serialize.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
