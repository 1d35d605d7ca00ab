//! Who is logged in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::HeaderMap;
use axum::http::header::COOKIE;

/// Who is logged in, by the token in the cookie.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<HashMap<String, String>>>);

impl Sessions {
    /// Begins a session, and returns its token.
    pub(crate) fn begin(&self, user: &str) -> String {
        let token: String = std::iter::repeat_with(fastrand::alphanumeric).take(32).collect();
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(token.clone(), user.to_owned());
        token
    }

    /// The user whose token is in the cookie.
    pub(crate) fn user(&self, headers: &HeaderMap) -> Option<String> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let token = cookies
            .flat_map(|cookies| cookies.split(';'))
            .find_map(|cookie| cookie.trim().strip_prefix("session="))?;
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(token).cloned()
    }
}
