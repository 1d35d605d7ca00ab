//! Answers with a stale copy if the handler failed.

use axum::body::Body;
use cache_engine::cache_core::{Key, Timestamp};
use cache_http::{Lifetime, Policy, RequestDirectives, Statuses, Validation, validation};
use http::{Response, StatusCode};

use crate::config::handler::OriginUnreachable;
use crate::entry::stored::Stored;
use crate::exchange::lookup::read;
use crate::request::context::RequestContext;
use crate::request::shared::Shared;
use crate::response::from_entry::{Source, answer};
use crate::response::report::Report;

/// How the handler failed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Failure {
    Status(StatusCode),
    Panic,
    /// The handler has no response from the origin, not even an error.
    NoAnswer,
}

/// Returns whether a status means that the handler failed, if the layer's configuration does not say otherwise (RFC
/// 5861, section 4).
pub(crate) fn is_failure(status: StatusCode) -> bool {
    validation(status) == Validation::Failed
}

impl Failure {
    /// Returns the failure that a response reports.
    pub(crate) fn of<B>(shared: &Shared, response: &Response<B>) -> Option<Self> {
        let is_failure = match &shared.config.failures {
            Statuses::Predicate(predicate) => predicate(response.status()),
            _ => is_failure(response.status()),
        };
        is_failure.then(|| match response.extensions().get() {
            Some(OriginUnreachable) => Self::NoAnswer,
            None => Self::Status(response.status()),
        })
    }

    /// Returns whether a stale copy may be used for a request with these directives.
    pub(crate) fn allows(
        self,
        policy: &Policy,
        copy: &Lifetime,
        directives: &RequestDirectives,
        now: Timestamp,
    ) -> bool {
        match self {
            Self::Status(_) | Self::Panic => copy.usable_on_error(directives, now),
            Self::NoAnswer => copy.usable_when_disconnected(directives, policy.stale_if_disconnected, now),
        }
    }

    pub(crate) fn report(self) -> Report {
        Report::stale_if_error(match self {
            Self::Status(status) => Some(status.as_u16()),
            Self::Panic | Self::NoAnswer => None,
        })
    }
}

/// Returns the response from the stale copy, if one may be used, for a request that was forwarded uncoalesced.
pub(crate) async fn stale_if_error(
    shared: &Shared,
    primary: &Key,
    context: &RequestContext,
    failure: Failure,
) -> Option<Response<Body>> {
    let copy = read(shared, primary, context.selecting()).await.ok().flatten()?;
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
