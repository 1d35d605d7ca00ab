//! The page, and the header fields that protect it.

use axum::response::{Html, IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use http::{HeaderName, HeaderValue};

/// The page never contains anything of a request or of the cache.
const PAGE: &str = concat!(
    "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Cache</title>\n",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    // Browsers ask for an icon elsewhere if the page has none.
    "<link rel=\"icon\" href=\"data:,\">\n<style>",
    include_str!("page.css"),
    "</style>\n",
    include_str!("page.html"),
    "<script>",
    include_str!("page.js"),
    "</script>\n",
);

/// The SHA-256 of the style and the script are those of the files; a test says if they are not.
const POLICY: &str = concat!(
    "default-src 'none'; ",
    "script-src 'sha256-x7mc1jQBHwXcnbwUgBUf4DfFJWAhW/3lRTC9DWDY0ME='; ",
    "style-src 'sha256-XbeM2YzvyY1gdLv1qAtvYKE9wnHGNW4iBBmWayol37Y='; ",
    "connect-src 'self'; img-src data:; ",
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; ",
    "require-trusted-types-for 'script'; trusted-types 'none'",
);

pub(super) async fn page() -> impl IntoResponse {
    Html(PAGE)
}

/// Adds the fields that protect a response of the router, whatever it is.
pub(super) async fn protect(mut response: Response) -> Response {
    let fields = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest, Sha256};

    use super::POLICY;

    #[test]
    fn the_policy_allows_this_style_and_this_script() {
        let files = [
            ("script-src", include_str!("page.js")),
            ("style-src", include_str!("page.css")),
        ];
        for (directive, text) in files {
            let hash = STANDARD.encode(Sha256::digest(text));
            let expected = format!("{directive} 'sha256-{hash}';");
            assert!(POLICY.contains(&expected), "write into `POLICY`: {expected}");
        }
    }
}
