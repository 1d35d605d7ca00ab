//! Names of fields that the crate `http` does not define.

use http::HeaderName;

pub(crate) const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
pub(crate) const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
