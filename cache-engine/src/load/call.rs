//! One call of a cache.

use std::any::Any;
use std::sync::Arc;

use cache_core::Version;
use tokio::time::Instant;

use crate::load::flight::Moment;
use crate::load::stack::LoadStack;
use crate::store::record::Found;

/// What a caller accepts as an answer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Accepts {
    /// Whether "there is no value" is accepted.
    pub(crate) negative: bool,
    /// A record of this version is not accepted, however fresh.
    pub(crate) except: Option<Version>,
    /// Whether a remembered failure is rejected if only its text is known.
    pub(crate) needs_error: bool,
}

impl Accepts {
    /// Returns whether "there is no value" is accepted from a record of this version.
    pub(super) fn absence(self, version: Version) -> bool {
        self.negative && self.except != Some(version)
    }

    /// Returns whether a remembered failure is accepted. It is `error`, if the store holds the error itself, or else
    /// its text.
    pub(super) fn failure<E: 'static>(self, error: Option<&Arc<dyn Any + Send + Sync>>, version: Version) -> bool {
        let known = || error.is_some_and(|error| (**error).is::<E>());
        self.except != Some(version) && (!self.needs_error || known())
    }

    /// Returns what may be answered instead if the load takes too long. This is never what is to be loaded anew.
    pub(super) fn fallback<T>(self, stale: Option<&Found<T>>) -> Option<Found<T>> {
        let fallback = stale.filter(|stale| self.except.is_none() || stale.version != self.except);
        fallback.cloned()
    }
}

/// One call of a cache: what it accepts, and when it began to read.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) accepts: Accepts,
    /// When the call began to read, by the clock of the flights.
    pub(crate) since: Moment,
    /// When the call began.
    pub(crate) begun: Instant,
    /// The loads that the call is made in.
    pub(crate) stack: Option<Arc<LoadStack>>,
    /// Whether the call waits for loads of others.
    pub(crate) waits: bool,
    /// Whether a preview of the load ends a wait.
    pub(crate) previews: bool,
    /// Whether the call can refresh a fresh value in the background.
    pub(crate) refreshes_early: bool,
    /// Whether the policy's soft timeout ends a wait.
    pub(crate) soft_timeout: bool,
    /// Whether the call has waited for a load of another caller.
    pub(crate) coalesced: bool,
    /// Whether the store did not answer the call.
    pub(crate) outage: bool,
    /// What the call and its load report.
    pub(crate) reporting: Reporting,
    /// Whether the outcome of the call was reported.
    pub(crate) reported: bool,
}

impl Call {
    /// Returns whether the outcome of the call is still to be reported.
    pub(crate) fn reports_outcome(&self) -> bool {
        self.reporting == Reporting::Everything && !self.reported
    }
}

/// What lookups of an [`Adapter`](crate::Adapter), and the loads that follow, report as [`Event`](crate::Event)s.
/// Problems are always reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reporting {
    /// Each lookup reports its outcome, and each load its beginning, its end and what was stored.
    #[default]
    Everything,
    /// Only loads. For adapters that take several lookups for one request, and report its outcome themselves with
    /// [`Adapter::report`](crate::Adapter::report).
    Loads,
    /// Nothing. For parts of what is reported elsewhere, such as an index beside a value.
    Nothing,
}
