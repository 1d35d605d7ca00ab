//! The load: the handler's answer on its way to the caller and into the store. It belongs to no caller.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use cache_engine::{Fill, Found};
use cache_http::{Forward, Lifetime, Reason, RequestDirectives, asks_for_whole};
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, EXPIRES, RANGE};
use http::{Extensions, Method, Request, Response, StatusCode, response};
use http_body::{Body as _, SizeHint};
use tokio::sync::oneshot;
use tower::ServiceExt;
use tower_service::Service;

use crate::body::collect::{Cause, Collector, Progress};
use crate::body::tee::{Piece, TeeBody};
use crate::config::Config;
use crate::config::handler::Control;
use crate::entry::lifetime::stale_copy;
use crate::entry::response::StoredResponse;
use crate::entry::stored::Stored;
use crate::exchange::lookup::{Slot, read_variant};
use crate::exchange::revalidate::{RefreshedHead, Revalidation, confirmed, refreshed_head, revalidation};
use crate::exchange::stale_if_error::Failure;
use crate::exchange::storability::{Refusal, StorePlan, is_shareable, remember, storability};
use crate::exchange::store::store;
use crate::request::context::RequestContext;
use crate::request::hit_for_miss::{Probe, Remembered};
use crate::request::shared::Shared;
use crate::response::cache_status::Report;
use crate::response::detail::Detail;
use crate::response::from_entry::{Source, answer};
use crate::response::headers::{add_client_caching, content_length};
use crate::response::passing::{reported, select_passing};

/// What the caller gets.
pub(crate) enum Answer<E> {
    Response(Response<Body>),
    Failed(E),
    Panicked(Box<dyn Any + Send>),
}

/// What a call came to: an answer, an error, or a panic.
type Called<E> = Result<Result<Response<Body>, E>, Box<dyn Any + Send>>;

/// How a load's waiting for the handler ended.
enum Attended<E> {
    Ended(Called<E>),
    /// Others have waited as long as they are to wait.
    Overdue,
    /// Its caller has gone away, and there are too many such loads.
    Cancelled,
}

/// How often a load that has just become late looks whether anybody waits for it. Later it does so less often.
const LOOK_FOR_WAITERS: Duration = Duration::from_millis(20);

async fn call_handler<S, B>(inner: S, request: Request<Body>) -> Called<S::Error>
where
    S: Service<Request<Body>, Response = Response<B>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let called = AssertUnwindSafe(inner.oneshot(request)).catch_unwind().await;
    called.map(|called| called.map(|response| response.map(Body::new)))
}

/// A load, from the fill that it ends to the caller who waits for its answer. A refresh has none.
pub(crate) struct Load<E> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) context: RequestContext,
    pub(crate) slot: Slot,
    pub(crate) fill: Fill<Stored>,
    pub(crate) forward: Forward,
    pub(crate) caller: Option<oneshot::Sender<Answer<E>>>,
    /// Tells others not to wait for this one.
    pub(crate) _probe: Option<Probe>,
}

impl<E> Load<E> {
    pub(crate) async fn run<S, B>(self, inner: S, mut request: Request<Body>)
    where
        S: Service<Request<Body>, Response = Response<B>, Error = E> + Clone,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let tagger = self.fill.tagger().clone();
        request.extensions_mut().insert(tagger.clone());
        tagger.scope(self.load(inner, request)).await;
    }

    async fn load<S, B>(mut self, inner: S, request: Request<Body>)
    where
        S: Service<Request<Body>, Response = Response<B>, Error = E> + Clone,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let ranged = with_range(&self.context, &request);
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
                return self.take_confirmed(&stale, refreshed).await;
            }
            // The 304 is about another response than ours (RFC 9111, section 4.3.4), so we have none.
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
                    self.forward_range(inner, request, response).await;
                }
                _ => self.take(response).await,
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

    /// The whole will not be stored, and the request is for a part: the handler is to produce that part alone.
    async fn forward_range<S, B>(self, inner: S, request: Request<Body>, whole: Response<Body>)
    where
        S: Service<Request<Body>, Response = Response<B>, Error = E> + Clone,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = whole.into_parts();
        drop(body);
        let policy = self.shared.config.policy(self.context.is_identified);
        let now = self.shared.now();
        let lifetime = Lifetime::from_response(policy, head.status, &head.headers, now, now);
        self.shared.hit_for_miss.insert_for(
            lifetime.fresh,
            &self.slot.primary,
            Remembered::TooLarge,
            &self.context.headers,
            now,
        );
        let Self {
            shared,
            fill,
            forward,
            mut caller,
            ..
        } = self;
        // Each who waits has its own part to ask for.
        fill.uncoalesced();
        let Some(caller) = caller.take() else { return };
        let answer = match call_handler(inner, request).await {
            Ok(Ok(response)) => {
                let (mut head, body) = response.into_parts();
                head.extensions.remove::<Control>();
                let report = Report::miss(forward).detail(Some(Detail::Rule(Reason::TooLarge)));
                Answer::Response(reported(&shared, head, body, &report))
            }
            Ok(Err(error)) => Answer::Failed(error),
            Err(panic) => Answer::Panicked(panic),
        };
        // A caller who has gone away needs no answer.
        let _ = caller.send(answer);
    }

    /// Waits for a call of the handler, as long as it holds up nobody beyond the bounds.
    async fn attend<F: Future<Output = Called<E>> + Unpin>(&mut self, call: &mut F) -> Attended<E> {
        let Self {
            shared, fill, caller, ..
        } = self;
        let max_wait = shared.config.max_wait;
        let waiters = fill.waiters();
        let overdue = async {
            tokio::time::sleep(max_wait).await;
            let mut pause = LOOK_FOR_WAITERS;
            while !waiters() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LOOK_FOR_WAITERS * 10);
            }
        };
        let detached = async {
            match caller {
                Some(caller) => caller.closed().await,
                // A refresh, of which there is one for each response at most.
                None => std::future::pending().await,
            }
            let loads = Arc::clone(&shared.detached);
            loads.until_cancelled(shared.config.max_detached).await;
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

    /// The handler is late, and others wait: a stale copy answers if there is one that may be used. Otherwise one of
    /// those who wait loads in the place of this load, which goes on for its own caller.
    async fn leave_to_others<S, B, F>(self, inner: S, call: F, validated: Option<(StoredResponse, Request<Body>)>)
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
                    return Answer::Response(confirmed(&shared, &context, &stale, refreshed, forward));
                }
                called = call_handler(inner, whole).await;
            }
            match called {
                Ok(Ok(response)) => {
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
        // A caller who has gone away needs no answer.
        let _ = caller.send(answer);
    }

    fn give(&mut self, answer: Answer<E>) {
        if let Some(caller) = self.caller.take() {
            // A caller who has gone away needs no answer.
            let _ = caller.send(answer);
        }
    }

    fn give_response(&mut self, response: Response<Body>) {
        self.give(Answer::Response(response));
    }

    /// Answers with the stale copy, if it may be used now that the handler has failed; hands itself back if not.
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
        let is_for_all = led_to.is_none() && allows(&RequestDirectives::default());
        if self.caller.is_some() {
            let report = failure.report();
            let RequestContext { method, headers, .. } = &self.context;
            let response = answer(&self.shared, method, headers, stale, now, Source::Store, &report);
            self.give_response(response);
        }
        if is_for_all {
            self.fill.share_stale(found).await;
        } else {
            // What those who wait would be led to is another response for each, or only this request takes it.
            self.fill.fail_uncoalesced();
        }
        Ok(())
    }

    async fn take(self, response: Response<Body>) {
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
        match storability(&load.shared, &load.context, &head, &body.size_hint(), control, now) {
            Ok(plan) => load.collect(plan, head, body).await,
            // What is stored is none the worse for a failure (RFC 9111, section 4.3.3).
            Err(refusal) if failure.is_some() => load.share_failure(refusal, head, body).await,
            Err(refusal) => {
                let report = load.refused(refusal);
                load.give_passing(head, body, report);
                load.withdraw(refusal).await;
            }
        }
    }

    /// Gives the answer of a handler that failed to all who have waited for it, where it may be shared; otherwise one of
    /// them tries again.
    async fn share_failure(mut self, refusal: Refusal, head: response::Parts, body: Body) {
        let report = self.refused(refusal);
        let now = self.shared.now();
        if !is_shareable(&self.shared, &self.context, &head, now) {
            self.give_passing(head, body, report);
            self.fill.fail_over();
            return;
        }
        let size = body.size_hint();
        let mut collector = Collector::new(body, self.shared.config.max_body);
        match collector.gather_ready().await {
            Progress::Complete if is_complete(&head, &collector) => {
                let whole = collector.into_bytes();
                let lifetime = Lifetime::new(Duration::ZERO, now);
                let failed = StoredResponse {
                    // Nothing is said of its lifetime.
                    has_cache_control: true,
                    is_shared_failure: true,
                    ..StoredResponse::new(head.status, head.headers.clone(), whole.clone(), lifetime)
                };
                self.give_passing(head, Body::from(whole), report);
                self.fill.share_unstored(Arc::new(Stored::Response(failed))).await;
            }
            progress => {
                let pieces = match progress {
                    Progress::Complete => vec![Piece::End],
                    Progress::Pending => vec![collector.take_rest()],
                    Progress::Over(pieces, _) => pieces,
                };
                let body = collector.reader(size.exact());
                collector.end_with(pieces);
                self.give_passing(head, Body::new(body), report);
                self.fill.fail_over();
            }
        }
    }

    /// The handler says that the stale copy is right.
    async fn take_confirmed(mut self, stale: &StoredResponse, freshened: RefreshedHead) {
        let RefreshedHead { mut head, withheld } = freshened;
        self.fill.keep_tags_of_stale();
        let control = head.extensions.remove::<Control>();
        let now = self.shared.now();
        let size = SizeHint::with_exact(stale.body.len() as u64);
        let decided = storability(&self.shared, &self.context, &head, &size, control, now);
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
                self.store_and_answer(plan, response, head.extensions, report).await;
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

    /// Gives the handler's answer as far as the caller asked for it.
    fn give_passing(&mut self, head: response::Parts, body: Body, report: Report) {
        let (head, body, report) = select_passing(&self.context, head, body, report);
        self.give_response(reported(&self.shared, head, body, &report));
    }

    /// Takes note of a refusal.
    fn refused(&self, refusal: Refusal) -> Report {
        remember(&self.shared, &self.slot.primary, &self.context, &refusal);
        Report::miss(self.forward).detail(Some(refusal.detail))
    }

    /// Lets all who wait go on alone. What was stored before the handler changed its mind goes.
    async fn withdraw(self, refusal: Refusal) {
        // A copy that is still fresh is not given up for what the handler has told one request.
        let now = self.shared.now();
        let is_fresh = |found: &Found<Stored>| found.fresh_for(now).is_none_or(|left| !left.is_zero());
        let replaced = refusal.is_lasting && self.fill.stale().is_some_and(|stale| !is_fresh(stale));
        let key = replaced.then(|| self.fill.key().clone());
        self.fill.uncoalesced();
        if let Some(key) = key {
            // A failure is an event already, and the copy is stale.
            let _ = self.shared.cache.invalidate(key).await;
        }
    }

    async fn collect(mut self, plan: StorePlan, head: response::Parts, body: Body) {
        let size = body.size_hint();
        let mut collector = Collector::new(body, self.shared.config.max_body);
        match collector.gather_ready().await {
            Progress::Complete => self.answer_whole(plan, head, collector).await,
            Progress::Pending => self.pass_on(plan, head, collector, size.exact()).await,
            Progress::Over(pieces, cause) => {
                let refusal = refusal(cause);
                let report = self.refused(refusal);
                let body = collector.reader(size.exact());
                collector.end_with(pieces);
                self.give_passing(head, Body::new(body), report);
                self.withdraw(refusal).await;
            }
        }
    }

    /// For a body that was there at once: it is stored first, so that its answer can say so, and can be a 304.
    async fn answer_whole(mut self, plan: StorePlan, head: response::Parts, collector: Collector) {
        if !is_complete(&head, &collector) {
            let refusal = refusal(Cause::Broken);
            let report = self.refused(refusal);
            let body = collector.reader(None);
            collector.end_with(vec![Piece::End]);
            self.give_response(reported(&self.shared, head, Body::new(body), &report));
            self.fill.uncoalesced();
            return;
        }
        let stored = self.prepared(&plan, &head, collector.into_bytes());
        let report = report_status(Report::miss(self.forward), &stored, &self.context);
        self.store_and_answer(plan, stored, head.extensions, report).await;
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
        let stored = Arc::new(Stored::Response(stored));
        let withheld = plan.withheld.clone();
        let kept = store(&shared, &context, &slot, fill, &stored, plan).await;
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
        // A caller who has gone away needs no answer.
        let _ = caller.send(Answer::Response(response));
    }

    /// For a body that takes its time: each piece goes out as it comes.
    async fn pass_on(
        mut self,
        plan: StorePlan,
        head: response::Parts,
        mut collector: Collector,
        expected: Option<u64>,
    ) {
        if self.caller.is_some() {
            let response = self.first_answer(&plan, &head, collector.reader(expected));
            self.give_response(response);
        }
        let collecting = tokio::time::timeout(self.shared.config.max_body_time, collector.collect());
        let progress = match self.fill.renewing(collecting).await {
            Ok(progress) => progress,
            Err(_) => Progress::Over(vec![collector.take_rest()], Cause::TooSlow),
        };
        if let Progress::Over(pieces, cause) = progress {
            let refusal = refusal(cause);
            let _ = self.refused(refusal);
            collector.end_with(pieces);
            self.withdraw(refusal).await;
            return;
        }
        if is_complete(&head, &collector) {
            let stored = self.prepared(&plan, &head, collector.into_bytes());
            let stored = Arc::new(Stored::Response(stored));
            // What became of it is an event.
            let _ = store(&self.shared, &self.context, &self.slot, self.fill, &stored, plan).await;
        } else {
            collector.end_with(vec![Piece::End]);
            self.fill.uncoalesced();
        }
    }

    fn prepared(&self, plan: &StorePlan, head: &response::Parts, body: Bytes) -> StoredResponse {
        let Config { policy, own_etag, .. } = &self.shared.config;
        StoredResponse::prepare(policy, head, body, plan.lifetime, *own_etag)
    }

    /// The answer while its body is still being made.
    fn first_answer(&self, plan: &StorePlan, head: &response::Parts, body: TeeBody) -> Response<Body> {
        let is_storable = self.fill.is_storable();
        let has_cache_control = head.headers.contains_key(CACHE_CONTROL) || head.headers.contains_key(EXPIRES);
        let report = Report::miss(self.forward)
            .stored(is_storable)
            .detail((!is_storable).then_some(Detail::Outage));
        let (mut head, body, report) = select_passing(&self.context, head.clone(), Body::new(body), report);
        if !has_cache_control && head.status != StatusCode::RANGE_NOT_SATISFIABLE {
            let now = plan.lifetime.response_time;
            add_client_caching(
                &self.shared.config,
                &self.context.method,
                &mut head.headers,
                &plan.lifetime,
                now,
                is_storable,
            );
        }
        reported(&self.shared, head, body, &report)
    }
}

/// The request as the client sent it, if it is for a part.
fn with_range(context: &RequestContext, request: &Request<Body>) -> Option<Request<Body>> {
    if context.method != Method::GET || !context.headers.contains_key(RANGE) {
        return None;
    }
    let mut ranged = Request::new(Body::empty());
    ranged.method_mut().clone_from(request.method());
    ranged.uri_mut().clone_from(request.uri());
    *ranged.version_mut() = request.version();
    ranged.headers_mut().clone_from(&context.headers);
    ranged.extensions_mut().clone_from(request.extensions());
    Some(ranged)
}

/// Whether a response is known to be too large to be stored.
fn is_too_large(shared: &Shared, response: &Response<Body>) -> bool {
    let length = content_length(response.headers()).unwrap_or(0);
    response.status() == StatusCode::OK
        && length.max(response.body().size_hint().lower()) > shared.config.max_body as u64
}

fn refusal(cause: Cause) -> Refusal {
    if cause.is_lasting() {
        Refusal::lasting(cause.into())
    } else {
        Refusal::passing(cause.into())
    }
}

/// Whether the body is as long as the head says.
fn is_complete(head: &response::Parts, collector: &Collector) -> bool {
    content_length(&head.headers).is_none_or(|length| length == collector.len() as u64)
}

/// Names the handler's status where the answer has another one.
fn report_status(report: Report, stored: &StoredResponse, context: &RequestContext) -> Report {
    if asks_for_whole(&context.headers) {
        report
    } else {
        report.forward_status(stored.status.as_u16())
    }
}
