//! Safe methods.

use http::Method;

/// Returns whether a method is safe: it requests no change of state (RFC 9110, section 9.2.1). Unknown methods are unsafe.
#[must_use]
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}
