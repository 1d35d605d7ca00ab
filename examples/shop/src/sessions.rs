//! Who is logged in.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::HeaderMap;
use axum::http::header::COOKIE;

/// Who is logged in, by the token in the cookie.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<HashMap<String, String>>>);

impl Sessions {
    /// Begins a session, and returns its token.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn begin(&self, user: &str) -> Result<String, getrandom::Error> {
        let token = random_token()?;
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(token.clone(), user.to_owned());
        Ok(token)
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

/// Returns a token that nobody can guess: 32 bytes from the generator of the system. One for simulations, such as
/// `fastrand`, will not do: who has seen a few of its numbers can tell the next.
///
/// # Errors
/// The system has no random numbers.
pub fn random_token() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().fold(String::new(), |mut token, byte| {
        // Writing to a string never fails.
        let _ = write!(token, "{byte:02x}");
        token
    }))
}
