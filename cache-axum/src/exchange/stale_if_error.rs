//! What stands in for a handler that failed.

use axum::body::Body;
use cache_engine::cache_core::{Key, Timestamp};
use cache_http::{Lifetime, Policy, RequestDirectives, Validation, validation};
use http::{Response, StatusCode};

use crate::config::handler::OriginUnreachable;
use crate::entry::stored::Stored;
use crate::exchange::lookup::read;
use crate::request::context::RequestContext;
use crate::request::shared::Shared;
use crate::response::from_entry::{Source, answer};
use crate::response::status::Report;

/// How the handler failed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Failure {
    Status(StatusCode),
    /// It has nothing of the origin's, not even an error.
    NoAnswer,
}

impl Failure {
    /// The failure that an answer tells of.
    pub(crate) fn of<B>(response: &Response<B>) -> Option<Self> {
        (validation(response.status()) == Validation::Failed).then(|| match response.extensions().get() {
            Some(OriginUnreachable) => Self::NoAnswer,
            None => Self::Status(response.status()),
        })
    }

    /// Whether a stale copy may be used for a request with these directives.
    pub(crate) fn allows(
        self,
        policy: &Policy,
        copy: &Lifetime,
        directives: &RequestDirectives,
        now: Timestamp,
    ) -> bool {
        match self {
            Self::Status(_) => copy.usable_on_error(directives, now),
            Self::NoAnswer => copy.usable_when_disconnected(directives, policy.stale_if_disconnected, now),
        }
    }

    pub(crate) fn report(self) -> Report {
        Report::stale_if_error(match self {
            Self::Status(status) => Some(status.as_u16()),
            Self::NoAnswer => None,
        })
    }
}

/// The answer from the stale copy, for a request that has asked the handler alone, if there is one that may be used.
pub(crate) async fn stale_if_error(
    shared: &Shared,
    primary: &Key,
    context: &RequestContext,
    failure: Failure,
) -> Option<Response<Body>> {
    let copy = read(shared, primary, &context.headers).await.ok().flatten()?;
    let Stored::Response(stale) = &*copy else { return None };
    let now = shared.now();
    let usable = failure.allows(&shared.config.policy, &stale.lifetime, &context.directives, now);
    usable.then(|| {
        answer(
            shared,
            &context.method,
            &context.headers,
            stale,
            now,
            Source::Store,
            &failure.report(),
        )
    })
}
