//! Safe methods.

use http::Method;

/// Returns whether a method is safe: it requests no change of state (RFC 9110, section 9.2.1). These are the methods that
/// the [registry of IANA](https://www.iana.org/assignments/http-methods) calls safe. All others are unsafe.
///
/// ```
/// use cache_http::is_safe;
/// use http::Method;
///
/// assert!(is_safe(&Method::GET));
/// assert!(is_safe(&Method::from_bytes(b"QUERY")?));
/// assert!(!is_safe(&Method::POST));
/// // Method names are case-sensitive.
/// assert!(!is_safe(&Method::from_bytes(b"query")?));
/// # Ok::<(), http::method::InvalidMethod>(())
/// ```
#[must_use]
pub fn is_safe(method: &Method) -> bool {
    matches!(
        method.as_str(),
        "GET" | "HEAD" | "OPTIONS" | "PRI" | "PROPFIND" | "QUERY" | "REPORT" | "SEARCH" | "TRACE"
    )
}
