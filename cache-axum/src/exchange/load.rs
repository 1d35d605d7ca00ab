//! The load: brings the handler's response to the caller and into the store. It does not depend on its caller.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use cache_engine::{AdapterEvent, Fill, Found};
use cache_http::{Forward, Lifetime, Reason, RequestDirectives, asks_for_whole};
use futures_util::FutureExt;
use http::{Extensions, Request, Response, StatusCode, response};
use http_body::{Body as _, SizeHint};
use tokio::sync::oneshot;
use tower::ServiceExt;
use tower_service::Service;
use tracing::Instrument;

use crate::body::collect::{Cause, Collector, Progress};
use crate::body::tee::{Bounds, Ending};
use crate::config::Config;
use crate::config::handler::Control;
use crate::entry::lifetime::{shorten, stale_copy, windows};
use crate::entry::response::StoredResponse;
use crate::entry::stored::Stored;
use crate::entry::variant_index::VariantIndex;
use crate::exchange::lookup::{Slot, read_variant};
use crate::exchange::read_along::{Arriving, asks_for_range, is_for_part, passing};
use crate::exchange::revalidate::{RefreshedHead, Revalidation, confirmed, refreshed_head, revalidation};
use crate::exchange::stale_if_error::Failure;
use crate::exchange::storability::{Refusal, StorePlan, audience, is_shareable, remember, report_refused, storability};
use crate::exchange::store::{Place, add_late_tags, store, store_index, store_index_first};
use crate::request::body::{Content, take_content};
use crate::request::context::RequestContext;
use crate::request::hit_for_miss::Probe;
use crate::request::shared::Shared;
use crate::response::detail::Detail;
use crate::response::from_entry::{Source, answer};
use crate::response::headers::content_length;
use crate::response::passing::{reported, select_passing};
use crate::response::report::Report;

/// What the caller gets.
pub(crate) enum Answer<E> {
    Response(Response<Body>),
    Failed(E),
    Panicked(Box<dyn Any + Send>),
}

/// The outcome of a call of the handler: a response, an error, or a panic.
type Called<E> = Result<Result<Response<Body>, E>, Box<dyn Any + Send>>;

/// How the load's wait for the handler ended.
enum Attended<E> {
    Ended(Called<E>),
    /// Other requests have waited for as long as they may.
    Overdue,
    /// The caller has disconnected, and there are too many such loads.
    Cancelled,
}

async fn call_handler<S, B>(inner: S, request: Request<Body>) -> Called<S::Error>
where
    S: Service<Request<Body>, Response = Response<B>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let called = AssertUnwindSafe(inner.oneshot(request)).catch_unwind().await;
    called.map(|called| called.map(|response| response.map(Body::new)))
}

/// A load, with the fill that it completes and the caller that waits for its response. A refresh has no caller.
pub(crate) struct Load<E> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) context: RequestContext,
    pub(crate) slot: Slot,
    pub(crate) fill: Fill<Stored>,
    pub(crate) forward: Forward,
    pub(crate) caller: Option<oneshot::Sender<Answer<E>>>,
    /// Keeps other requests from waiting for this load, until it is known that its response is for all of them.
    pub(crate) probe: Option<Probe>,
}

impl<E> Load<E> {
    pub(crate) async fn run<S, B>(self, inner: S, mut request: Request<Body>)
    where
        S: Service<Request<Body>, Response = Response<B>, Error = E> + Clone + Send + 'static,
        S::Future: Send + 'static,
        E: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let tagger = self.fill.tagger().clone();
        request.extensions_mut().insert(tagger.clone());
        // Boxed, like each step below it: most loads need only some of them, and a future moves as a whole.
        tagger.scope(Box::pin(self.load(inner, request))).await;
    }

    async fn load<S, B>(mut self, inner: S, request: Request<Body>)
    where
        S: Service<Request<Body>, Response = Response<B>, Error = E> + Clone + Send + 'static,
        S::Future: Send + 'static,
        E: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (ranged, request) = if is_for_part(&self.context) {
            Box::pin(with_range(&self.context, request)).await
        } else {
            (None, request)
        };
        let Revalidation { request, validated } = revalidation(self.fill.stale().map(|found| &*found.value), request);
        let mut call = Box::pin(call_handler(inner.clone(), request));
        let mut called = match self.attend(&mut call).await {
            Attended::Ended(called) => called,
            Attended::Overdue => return self.leave_to_others(inner, call, validated).await,
            Attended::Cancelled => return,
        };
        if let Some((stale, whole)) = validated
            && let Ok(Ok(response)) = &called
            && response.status() == StatusCode::NOT_MODIFIED
        {
            if let Some(refreshed) = refreshed_head(&self.shared, &stale, response) {
                return Box::pin(self.take_confirmed(&stale, refreshed)).await;
            }
            // The 304 is about another response than the stored one (RFC 9111, section 4.3.4), so it cannot be used.
            let mut call = Box::pin(call_handler(inner.clone(), whole));
            called = match self.attend(&mut call).await {
                Attended::Ended(called) => called,
                Attended::Overdue => return self.leave_to_others(inner, call, None).await,
                Attended::Cancelled => return,
            };
        }
        match called {
            Ok(Ok(response)) => match ranged {
                Some(request) if is_too_large(&self.shared, &response) => {
                    let lifetime = self.lifetime_of(&response);
                    drop(response);
                    Box::pin(self.forward_range(inner, request, &lifetime)).await;
                }
                ranged => Box::pin(self.take(response, ranged.map(|request| (inner, request)))).await,
            },
            Ok(Err(error)) => {
                if let Err(mut load) = self.answer_stale(Failure::NoAnswer).await {
                    load.give(Answer::Failed(error));
                    load.fill.fail_over();
                }
            }
            Err(panic) => {
                if let Err(mut load) = self.answer_stale(Failure::Panic).await {
                    load.give(Answer::Panicked(panic));
                    load.fill.fail_over();
                }
            }
        }
    }

    fn lifetime_of(&self, response: &Response<Body>) -> Lifetime {
        let policy = self.shared.config.policy(self.context.is_identified);
        let now = self.shared.now();
        Lifetime::from_response(policy, response.status(), response.headers(), now, now)
    }

    /// Calls the handler for the requested part alone, because the whole response will not be stored.
    async fn forward_range<S, B>(self, inner: S, request: Request<Body>, lifetime: &Lifetime)
    where
        S: Service<Request<Body>, Response = Response<B>, Error = E> + Clone,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let report = self.refused(Refusal::too_large(lifetime));
        let Self {
            shared, fill, caller, ..
        } = self;
        // Each waiting request asks for its own part.
        fill.uncoalesced();
        if let Some(mut caller) = caller {
            let answer = tokio::select! {
                answer = call_for_range(&shared, inner, request, &report) => answer,
                // A caller that has disconnected needs no response.
                () = caller.closed() => return,
            };
            let _ = caller.send(answer);
        }
    }

    /// Waits for a call of the handler, for as long as that delays no other request beyond the limits.
    async fn attend<F: Future<Output = Called<E>> + Unpin>(&mut self, call: &mut F) -> Attended<E> {
        let Self {
            shared, fill, caller, ..
        } = self;
        let max_wait = shared.config.max_wait;
        let waited_for = fill.waited_for();
        let overdue = async {
            tokio::time::sleep(max_wait).await;
            waited_for.await;
        };
        let detached = async {
            match caller {
                Some(caller) => caller.closed().await,
                // Nobody waits for a refresh. It gets the time that a load has for which others wait.
                None => tokio::time::sleep(max_wait).await,
            }
            until_cancelled(shared).await;
        };
        fill.renewing(async {
            tokio::select! {
                biased;
                called = call => Attended::Ended(called),
                () = overdue => Attended::Overdue,
                () = detached => Attended::Cancelled,
            }
        })
        .await
    }

    /// Handles a late handler for which other requests wait. A stale copy answers them if one may be used. Otherwise
    /// one of the waiting requests loads instead, and this call goes on for its own caller only.
    ///
    /// The future is boxed here, so that the frame of the load is not as large; the call of the handler is made in that.
    #[inline(never)]
    fn leave_to_others<S, B, F>(
        self,
        inner: S,
        call: F,
        validated: Option<(StoredResponse, Request<Body>)>,
    ) -> Pin<Box<impl Future<Output = ()>>>
    where
        S: Service<Request<Body>, Response = Response<B>, Error = E> + Clone,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        F: Future<Output = Called<E>>,
    {
        Box::pin(self.finish_alone(inner, call, validated))
    }

    async fn finish_alone<S, B, F>(self, inner: S, call: F, validated: Option<(StoredResponse, Request<Body>)>)
    where
        S: Service<Request<Body>, Response = Response<B>, Error = E> + Clone,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        F: Future<Output = Called<E>>,
    {
        let Err(load) = self.answer_stale(Failure::NoAnswer).await else {
            return;
        };
        let Self {
            shared,
            context,
            slot,
            fill,
            forward,
            caller,
            ..
        } = load;
        drop(fill);
        let Some(mut caller) = caller else { return };
        let finish = async {
            let report = Report::miss(forward).detail(Some(Detail::Overdue));
            let mut called = call.await;
            if let Some((stale, whole)) = validated
                && let Ok(Ok(response)) = &called
                && response.status() == StatusCode::NOT_MODIFIED
            {
                if let Some(refreshed) = refreshed_head(&shared, &stale, response) {
                    shared.report(&slot.primary, AdapterEvent::Revalidated);
                    return Answer::Response(confirmed(&shared, &context, &stale, refreshed, forward));
                }
                called = call_handler(inner, whole).await;
            }
            match called {
                Ok(Ok(response)) => {
                    report_refused(&shared, &slot.primary, Detail::Overdue);
                    let (mut head, body) = response.into_parts();
                    head.extensions.remove::<Control>();
                    let (head, body, report) = select_passing(&context, head, body, report);
                    Answer::Response(reported(&shared, head, body, &report))
                }
                Ok(Err(error)) => Answer::Failed(error),
                Err(panic) => Answer::Panicked(panic),
            }
        };
        let answer = tokio::select! {
            answer = finish => answer,
            () = caller.closed() => return,
        };
        // A caller that has disconnected needs no response.
        let _ = caller.send(answer);
    }

    fn give(&mut self, answer: Answer<E>) {
        if let Some(caller) = self.caller.take() {
            // A caller that has disconnected needs no response.
            let _ = caller.send(answer);
        }
    }

    fn give_response(&mut self, response: Response<Body>) {
        self.give(Answer::Response(response));
    }

    /// Answers with the stale copy, if it may be used now that the handler has failed. Otherwise returns the load
    /// itself.
    async fn answer_stale(mut self, failure: Failure) -> Result<(), Self> {
        let Some(found) = self.fill.stale_if_error().await else {
            return Err(self);
        };
        let led_to = match &*found.value {
            Stored::Response(_) => None,
            Stored::Index(variants) => {
                match read_variant(&self.shared, variants, &self.slot.primary, self.context.selecting()).await {
                    Some(copy) => Some(copy),
                    None => return Err(self),
                }
            }
        };
        let now = self.shared.now();
        let copy = stale_copy(
            &self.shared.config.policy,
            &found,
            led_to.as_ref().unwrap_or(&found.value),
            now,
        );
        let Stored::Response(stale) = &*copy else {
            return Err(self);
        };
        let RequestContext { directives, .. } = &self.context;
        let allows = |directives: &RequestDirectives| {
            failure.allows(&self.shared.config.policy, &stale.lifetime, directives, now)
        };
        if !allows(directives) {
            return Err(self);
        }
        let has_caller = self.caller.is_some();
        let is_for_all = led_to.is_none() && allows(&RequestDirectives::default());
        if has_caller {
            let report = failure.report();
            let RequestContext { method, headers, .. } = &self.context;
            let response = answer(&self.shared, method, headers, stale, now, Source::Store, &report);
            self.give_response(response);
        }
        if is_for_all {
            self.fill.share_stale(found).await;
        } else {
            if has_caller {
                self.shared.report(&self.slot.primary, AdapterEvent::StaleIfError);
            }
            // Each waiting request would be led to another response, or only this request accepts the copy.
            self.fill.fail_uncoalesced();
        }
        Ok(())
    }

    /// Processes the handler's response. `ranged` holds what is needed to ask the handler for a part, if the request is
    /// for one.
    async fn take<S, B>(self, response: Response<Body>, ranged: Option<(S, Request<Body>)>)
    where
        S: Service<Request<Body>, Response = Response<B>, Error = E> + Clone + Send + 'static,
        S::Future: Send + 'static,
        E: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let failure = Failure::of(&self.shared, &response);
        let mut load = if let Some(failure) = failure {
            match self.answer_stale(failure).await {
                Ok(()) => return,
                Err(load) => load,
            }
        } else {
            self
        };
        let (mut head, body) = response.into_parts();
        let control = head.extensions.remove::<Control>();
        let now = load.shared.now();
        let (size, at_most) = (body.size_hint(), load.fill.fresh_at_most());
        match storability(&load.shared, &load.context, &head, &size, control, at_most, now) {
            Ok(plan) => Box::pin(load.collect(plan, head, body, ranged)).await,
            // A failure does not affect what is stored (RFC 9111, section 4.3.3).
            Err(refusal) if failure.is_some() => Box::pin(load.share_failure(refusal, head, body)).await,
            Err(refusal) => {
                let report = load.refused(refusal);
                load.give_passing(head, body, report);
                load.withdraw(refusal).await;
            }
        }
    }

    /// Gives the response of a failed handler to the requests that have waited for it and would have selected it, if it
    /// may be shared. One of the others tries again.
    async fn share_failure(mut self, refusal: Refusal, head: response::Parts, body: Body) {
        let report = self.refused(refusal);
        let now = self.shared.now();
        if !is_shareable(&self.shared, &self.context, &head, now) {
            self.give_passing(head, body, report);
            self.fill.fail_over();
            return;
        }
        let size = body.size_hint();
        let mut collector = Collector::new(body, bounds(&self.shared));
        match collector.gather_ready().await {
            Progress::Complete if is_complete(&head, &collector) => {
                let whole = collector.into_bytes();
                let lifetime = Lifetime::new(Duration::ZERO, now);
                let audience = audience(&self.shared, &self.context, &head.headers);
                let failed = StoredResponse {
                    // The response gets no information about its lifetime.
                    has_cache_control: true,
                    failed_for: Some(Box::new(audience)),
                    routing: self.slot.routing,
                    ..StoredResponse::new(head.status, head.headers.clone(), whole.clone(), lifetime)
                };
                self.give_passing(head, Body::from(whole), report);
                self.fill.share_unstored(Arc::new(Stored::Response(failed))).await;
            }
            progress => {
                let ending = match progress {
                    Progress::Complete => Ending::End,
                    Progress::Pending => collector.take_rest(),
                    Progress::Over(ending, _) => ending,
                };
                let body = collector.reader(size.exact());
                collector.end_with(ending);
                self.give_passing(head, body, report);
                self.fill.fail_over();
            }
        }
    }

    /// Processes the handler's confirmation that the stale copy is still valid.
    async fn take_confirmed(mut self, stale: &StoredResponse, freshened: RefreshedHead) {
        self.shared.report(&self.slot.primary, AdapterEvent::Revalidated);
        let RefreshedHead { mut head, withheld } = freshened;
        self.fill.keep_tags_of_stale();
        let control = head.extensions.remove::<Control>();
        let now = self.shared.now();
        let size = SizeHint::with_exact(stale.body.len() as u64);
        let at_most = self.fill.fresh_at_most();
        let decided = storability(&self.shared, &self.context, &head, &size, control, at_most, now);
        let lifetime = match &decided {
            Ok(plan) => plan.lifetime,
            Err(_) => Lifetime::from_response(&self.shared.config.policy, head.status, &head.headers, now, now),
        };
        let response = StoredResponse {
            has_own_etag: stale.has_own_etag,
            ..StoredResponse::new(head.status, head.headers, stale.body.clone(), lifetime)
        };
        let report = Report::validated(self.forward);
        match decided {
            Ok(plan) => {
                let plan = StorePlan { withheld, ..plan };
                Box::pin(self.store_and_answer(plan, response, head.extensions, report)).await;
            }
            Err(refusal) => {
                let report = self.refused(refusal).forward_status(304);
                let RequestContext { method, headers, .. } = &self.context;
                let mut response = answer(&self.shared, method, headers, &response, now, Source::NotKept, &report);
                response.headers_mut().extend(withheld);
                *response.extensions_mut() = head.extensions;
                self.give_response(response);
                self.withdraw(refusal).await;
            }
        }
    }

    /// Gives the handler's response to the caller, limited to what the caller asked for.
    fn give_passing(&mut self, head: response::Parts, body: Body, report: Report) {
        let (head, body, report) = select_passing(&self.context, head, body, report);
        self.give_response(reported(&self.shared, head, body, &report));
    }

    /// Records a refusal to store, and returns its report.
    fn refused(&self, refusal: Refusal) -> Report {
        remember(&self.shared, &self.slot.primary, &self.context, &refusal);
        report_refused(&self.shared, &self.slot.primary, refusal.detail);
        Report::miss(self.forward).detail(Some(refusal.detail))
    }

    /// Lets all waiting requests go on uncoalesced. Removes the stored response that the refusal replaces.
    async fn withdraw(self, refusal: Refusal) {
        // A copy that is still fresh is retained: the handler's response to one request does not invalidate it.
        let now = self.shared.now();
        let is_fresh = |found: &Found<Stored>| found.fresh_for(now).is_none_or(|left| !left.is_zero());
        let replaced = refusal.is_lasting && self.fill.stale().is_some_and(|stale| !is_fresh(stale));
        let key = replaced.then(|| self.fill.key().clone());
        self.fill.uncoalesced();
        if let Some(key) = key {
            // A failure is already reported as an event, and the copy is stale anyway.
            let _ = self.shared.cache.invalidate(key).await;
        }
    }

    async fn collect<S, B>(
        mut self,
        plan: StorePlan,
        head: response::Parts,
        body: Body,
        ranged: Option<(S, Request<Body>)>,
    ) where
        S: Service<Request<Body>, Response = Response<B>, Error = E> + Clone + Send + 'static,
        S::Future: Send + 'static,
        E: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let size = body.size_hint();
        let length = content_length(&head.headers).or(size.exact());
        let ranged = ranged.filter(|_| length.is_none() && asks_for_range(&self.context, head.status));
        let mut collector = Collector::new(body, bounds(&self.shared));
        match (collector.gather_ready().await, ranged) {
            (Progress::Complete, _) => Box::pin(self.answer_whole(plan, head, collector)).await,
            (Progress::Pending, ranged) => {
                let is_refresh = self.caller.is_none();
                if let Some((inner, request)) = ranged {
                    self.measure(&plan, &head, &collector, inner, request);
                } else if self.caller.is_some() {
                    let expected = self.expected(&plan);
                    let report = self.passing_report(expected);
                    let body = collector.reader(size.exact());
                    let response = passing(
                        &self.shared,
                        &self.context,
                        &plan.lifetime,
                        expected.is_ok(),
                        head.clone(),
                        body,
                        report,
                    );
                    self.give_response(response);
                }
                Box::pin(self.pass_on(plan, head, collector, size.exact(), is_refresh)).await;
            }
            (Progress::Over(_, Cause::TooLarge), Some((inner, request))) => {
                drop(collector);
                Box::pin(self.forward_range(inner, request, &plan.lifetime)).await;
            }
            (Progress::Over(ending, cause), _) => {
                let refusal = refusal(cause, &plan.lifetime);
                let report = self.refused(refusal);
                let body = collector.reader(size.exact());
                collector.end_with(ending);
                self.give_passing(head, body, report);
                self.withdraw(refusal).await;
            }
        }
    }

    /// Stores a body that was complete at once before answering, so that the response can say so, and can be a 304.
    async fn answer_whole(mut self, plan: StorePlan, head: response::Parts, collector: Collector) {
        if !is_complete(&head, &collector) {
            let refusal = refusal(Cause::Broken, &plan.lifetime);
            let report = self.refused(refusal);
            let body = collector.reader(None);
            collector.end_with(Ending::End);
            self.give_response(reported(&self.shared, head, body, &report));
            self.fill.uncoalesced();
            return;
        }
        let stored = self.prepared(&plan, &head, collector.into_bytes());
        let report = report_status(Report::miss(self.forward), &stored, &self.context);
        Box::pin(self.store_and_answer(plan, stored, head.extensions, report)).await;
    }

    async fn store_and_answer(self, plan: StorePlan, stored: StoredResponse, extensions: Extensions, report: Report) {
        let Self {
            shared,
            context,
            slot,
            fill,
            caller,
            ..
        } = self;
        let withheld = plan.withheld.clone();
        let (stored, kept) = Box::pin(store(&shared, &context, &slot, fill, stored, plan)).await;
        let (Some(caller), Stored::Response(stored)) = (caller, &*stored) else {
            return;
        };
        let mut response = answer(
            &shared,
            &context.method,
            &context.headers,
            stored,
            stored.lifetime.response_time,
            if kept.is_ok() { Source::Kept } else { Source::NotKept },
            &report.stored(kept.is_ok()).detail(kept.err()),
        );
        response.headers_mut().extend(withheld);
        *response.extensions_mut() = extensions;
        // A caller that has disconnected needs no response.
        let _ = caller.send(Answer::Response(response));
    }

    /// Returns whether the response will be stored if its body arrives completely, as far as that is known.
    fn expected(&self, plan: &StorePlan) -> Result<(), Detail> {
        if !self.fill.is_storable() {
            return Err(Detail::Outage);
        }
        let variants = self.slot.variants();
        match Place::of(&self.context, &self.slot, plan) {
            Place::Elsewhere if variants.is_none() => return Err(Detail::NamespaceLearned),
            Place::Elsewhere => return Err(Detail::VaryChanged),
            Place::OfFill | Place::FirstVariant => {}
        }
        let varies = variants.map_or(!plan.fields.is_empty(), VariantIndex::varies);
        if varies && self.shared.config.max_variants == 0 {
            return Err(Detail::Rule(Reason::TooManyVariants));
        }
        Ok(())
    }

    /// Returns the report on a response whose body is still arriving.
    fn passing_report(&self, expected: Result<(), Detail>) -> Report {
        Report::miss(self.forward)
            .stored(expected.is_ok())
            .detail(expected.err())
    }

    /// Answers a request for a part of a body that arrives slowly and whose length is unknown. Once the body is
    /// complete, the part is cut from it. If the body is not stored, or takes longer than other requests may wait, the
    /// handler is called for that part alone.
    fn measure<S, B>(
        &mut self,
        plan: &StorePlan,
        head: &response::Parts,
        collector: &Collector,
        inner: S,
        request: Request<Body>,
    ) where
        S: Service<Request<Body>, Response = Response<B>, Error = E> + Send + 'static,
        S::Future: Send + 'static,
        E: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (Some(mut caller), Some(mut body)) = (self.caller.take(), collector.tee().read_along(None)) else {
            return;
        };
        let (shared, context) = (Arc::clone(&self.shared), self.context.clone());
        let expected = self.expected(plan);
        let (head, lifetime, is_kept) = (head.clone(), plan.lifetime, expected.is_ok());
        let (report, forward) = (self.passing_report(expected), self.forward);
        let answering = async move {
            let measured = tokio::select! {
                measured = tokio::time::timeout(shared.config.max_wait, body.measure()) => measured,
                () = caller.closed() => return,
            };
            let answer = if measured.unwrap_or(false) {
                let body = Body::new(body);
                Answer::Response(passing(&shared, &context, &lifetime, is_kept, head, body, report))
            } else {
                let detail = if body.has_outgrown() {
                    Detail::Rule(Reason::TooLarge)
                } else {
                    Detail::Overdue
                };
                drop(body);
                let report = Report::miss(forward).detail(Some(detail));
                tokio::select! {
                    answer = call_for_range(&shared, inner, request, &report) => answer,
                    () = caller.closed() => return,
                }
            };
            // A caller that has disconnected needs no response.
            let _ = caller.send(answer);
        };
        // It ends with its caller.
        self.shared.cache.adapter().spawn(answering.in_current_span());
    }

    /// Stores a response that another request than this load's has caused. Returns its body, and whether it is stored. If
    /// the body does not arrive at once, it is passed on as it arrives.
    pub(crate) async fn keep_passing(self, plan: StorePlan, head: &response::Parts, body: Body) -> (Body, bool)
    where
        E: Send + 'static,
    {
        let length = body.size_hint().exact();
        let mut collector = Collector::new(body, bounds(&self.shared));
        let (ending, cause) = match collector.gather_ready().await {
            Progress::Complete if is_complete(head, &collector) => {
                let whole = collector.into_bytes();
                let stored = self.prepared(&plan, head, whole.clone());
                let storing = store(&self.shared, &self.context, &self.slot, self.fill, stored, plan);
                let (_, kept) = Box::pin(storing).await;
                return (Body::from(whole), kept.is_ok());
            }
            Progress::Pending => {
                let body = collector.reader(length);
                let is_kept = self.expected(&plan).is_ok();
                let shared = Arc::clone(&self.shared);
                let tagger = self.fill.tagger().clone();
                let span = self.fill.span();
                let passing = self.pass_on(plan, head.clone(), collector, length, false);
                // The body may be stored after the response has gone out, so the request does not wait for it.
                drop(
                    shared
                        .cache
                        .adapter()
                        .spawn_load(span, async move { tagger.scope(passing).await }),
                );
                return (body, is_kept);
            }
            Progress::Complete => (Ending::End, Cause::Broken),
            Progress::Over(ending, cause) => (ending, cause),
        };
        let refusal = refusal(cause, &plan.lifetime);
        let _ = self.refused(refusal);
        let body = collector.reader(length);
        collector.end_with(ending);
        self.withdraw(refusal).await;
        (body, false)
    }

    /// Collects a body that arrives slowly. Waiting requests read it as it arrives.
    async fn pass_on(
        mut self,
        mut plan: StorePlan,
        head: response::Parts,
        mut collector: Collector,
        length: Option<u64>,
        is_refresh: bool,
    ) {
        let tee = Arc::clone(collector.tee());
        add_late_tags(&self.slot, &mut self.fill, &mut plan, &head.headers).await;
        let place = Place::of(&self.context, &self.slot, &plan);
        if place != Place::OfFill && self.fill.is_storable() {
            let policy = &self.shared.config.policy;
            let without_body = StoredResponse::new(head.status, head.headers.clone(), Bytes::new(), plan.lifetime);
            let kept = windows(policy, &without_body);
            if place == Place::Elsewhere {
                let rest = collector.take_rest();
                collector.end_with(rest);
                let detail = Box::pin(store_index(&self.shared, &self.slot, self.fill, plan, &kept)).await;
                report_refused(&self.shared, &self.slot.primary, detail);
                return;
            }
            // The new index does not replace a copy before the variant is complete.
            if self.fill.stale().is_none() {
                let (slot, fill) = (&mut self.slot, self.fill);
                match Box::pin(store_index_first(&self.shared, &self.context, slot, fill, &plan, &kept)).await {
                    Ok(of_variant) => self.fill = of_variant,
                    Err(detail) => {
                        report_refused(&self.shared, &self.slot.primary, detail);
                        let rest = collector.take_rest();
                        collector.end_with(rest);
                        return;
                    }
                }
            }
        }
        let (variants, is_kept) = (self.slot.variants(), self.expected(&plan).is_ok());
        let arriving = Arriving::of(&self.shared, &self.context, variants, &plan, &head, &tee, length)
            .map(|arriving| arriving.kept(is_kept));
        if arriving.is_some() {
            self.probe = None;
        }
        let shared = &self.shared;
        let detached = async {
            // Nobody waits for a refresh.
            if is_refresh {
                tokio::time::sleep(shared.config.max_wait).await;
            }
            loop {
                tee.unread().await;
                tokio::select! {
                    () = tee.is_read() => {}
                    () = until_cancelled(shared) => return,
                }
            }
        };
        let collecting = tokio::time::timeout(shared.config.max_body_time, collector.collect());
        let collecting = async {
            tokio::select! {
                biased;
                collected = collecting => Some(collected),
                () = detached => None,
            }
        };
        let collected = match arriving {
            Some(arriving) => self.fill.renewing_with_preview(Arc::new(arriving), collecting).await,
            None => self.fill.renewing(collecting).await,
        };
        let progress = match collected {
            Some(Ok(progress)) => progress,
            Some(Err(_)) => Progress::Over(collector.take_rest(), Cause::TooSlow),
            // No request reads the body, and there are too many such loads.
            None => return,
        };
        if let Progress::Over(ending, cause) = progress {
            let refusal = refusal(cause, &plan.lifetime);
            let _ = self.refused(refusal);
            collector.end_with(ending);
            self.withdraw(refusal).await;
            return;
        }
        if is_complete(&head, &collector) {
            let stored = self.prepared(&plan, &head, collector.into_bytes());
            // The outcome is reported as an event.
            let _ = Box::pin(store(&self.shared, &self.context, &self.slot, self.fill, stored, plan)).await;
        } else {
            report_refused(&self.shared, &self.slot.primary, Detail::Rule(Reason::Incomplete));
            collector.end_with(Ending::End);
            self.fill.uncoalesced();
        }
    }

    fn prepared(&self, plan: &StorePlan, head: &response::Parts, body: Bytes) -> StoredResponse {
        let Config { policy, own_etag, .. } = &self.shared.config;
        // The body may have used further entries than the head.
        let mut lifetime = plan.lifetime;
        shorten(&mut lifetime, self.fill.fresh_at_most(), self.shared.now());
        StoredResponse::prepare(policy, &self.context.method, head, body, lifetime, *own_etag)
    }
}

/// Answers a request for a part by a call of the handler for that part alone.
async fn call_for_range<S, B>(shared: &Shared, inner: S, request: Request<Body>, report: &Report) -> Answer<S::Error>
where
    S: Service<Request<Body>, Response = Response<B>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    match call_handler(inner, request).await {
        Ok(Ok(response)) => {
            let (mut head, body) = response.into_parts();
            head.extensions.remove::<Control>();
            Answer::Response(reported(shared, head, body, report))
        }
        Ok(Err(error)) => Answer::Failed(error),
        Err(panic) => Answer::Panicked(panic),
    }
}

/// Waits until a load that no request waits for any more is to be cancelled, because there are too many of them.
async fn until_cancelled(shared: &Shared) {
    let loads = Arc::clone(&shared.detached);
    loads.until_cancelled(shared.config.max_detached).await;
}

fn bounds(shared: &Shared) -> Bounds {
    Bounds {
        kept: shared.config.max_body,
        patience: shared.config.max_wait,
    }
}

/// Returns the request for a part, as the client sent it, and the request for the whole.
async fn with_range(context: &RequestContext, request: Request<Body>) -> (Option<Request<Body>>, Request<Body>) {
    let (parts, body) = request.into_parts();
    // The content is in the key, so it is in memory. A GET has none.
    let content = match take_content(body, usize::MAX).await {
        Content::Whole(content) => content,
        Content::Other(body) => return (None, Request::from_parts(parts, body)),
    };
    let mut ranged = Request::from_parts(parts.clone(), Body::from(content.clone()));
    ranged.headers_mut().clone_from(&context.headers);
    (Some(ranged), Request::from_parts(parts, Body::from(content)))
}

/// Returns whether a response is known to be too large to be stored.
fn is_too_large(shared: &Shared, response: &Response<Body>) -> bool {
    let length = content_length(response.headers()).unwrap_or(0);
    response.status() == StatusCode::OK
        && length.max(response.body().size_hint().lower()) > shared.config.max_body as u64
}

fn refusal(cause: Cause, lifetime: &Lifetime) -> Refusal {
    if cause == Cause::TooLarge {
        Refusal::too_large(lifetime)
    } else if cause.is_lasting() {
        Refusal::lasting(cause.into())
    } else {
        Refusal::passing(cause.into())
    }
}

/// Returns whether the body is as long as the head says.
fn is_complete(head: &response::Parts, collector: &Collector) -> bool {
    content_length(&head.headers).is_none_or(|length| length == collector.len() as u64)
}

/// Adds the handler's status to the report if the response may have another one.
fn report_status(report: Report, stored: &StoredResponse, context: &RequestContext) -> Report {
    if asks_for_whole(&context.headers) {
        report
    } else {
        report.forward_status(stored.status.as_u16())
    }
}
