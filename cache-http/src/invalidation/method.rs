//! Safe methods.

use http::Method;

/// Whether a method is safe: it asks for nothing to change (RFC 9110, section 9.2.1). Unknown methods are not.
#[must_use]
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}
