//! The load: the handler's answer on its way to the caller and into the store. It belongs to no caller.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use cache_engine::cache_core::{ErrorKind, Windows};
use cache_engine::{Fill, Lookup, Policy, StoreOutcome};
use cache_http::{Forward, Outcome, Validation, Validators, evaluate, validation};
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::{Request, Response, StatusCode, response};
use http_body::Body as _;
use tokio::sync::{mpsc, oneshot};
use tower::ServiceExt;
use tower_service::Service;

use crate::answer::{answer, headers_without_content};
use crate::body::{PassingBody, Piece};
use crate::collect::{Cause, Collector, Progress};
use crate::control::Control;
use crate::find::Place;
use crate::judge::{Asked, Plan, Refusal, content_length, judge};
use crate::options::Options;
use crate::report::Report;
use crate::stored::{Stored, StoredResponse, Variants, marker_windows, windows};

/// What the caller gets.
pub(crate) enum Answer<E> {
    Response(Response<Body>),
    Failed(E),
    Panicked(Box<dyn Any + Send>),
}

/// A load, from the fill that it ends to the caller who waits for its answer. A refresh has none.
pub(crate) struct Load<E> {
    pub(crate) options: Arc<Options>,
    pub(crate) asked: Asked,
    pub(crate) place: Place,
    pub(crate) fill: Fill<Stored>,
    pub(crate) forward: Forward,
    pub(crate) caller: Option<oneshot::Sender<Answer<E>>>,
}

impl<E> Load<E> {
    pub(crate) async fn run<S, B>(mut self, inner: S, request: Request<Body>)
    where
        S: Service<Request<Body>, Response = Response<B>, Error = E>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let call = AssertUnwindSafe(inner.oneshot(request)).catch_unwind();
        match self.fill.renewing(call).await {
            Ok(Ok(response)) => self.take(response.map(Body::new)).await,
            Ok(Err(error)) => {
                if let Err(mut load) = self.answer_stale(None).await {
                    load.give(Answer::Failed(error));
                    load.fill.fail_apart();
                }
            }
            Err(panic) => {
                self.give(Answer::Panicked(panic));
                self.fill.fail_apart();
            }
        }
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
    async fn answer_stale(mut self, status: Option<StatusCode>) -> Result<(), Self> {
        let Some(found) = self.fill.stale_if_error().await else {
            return Err(self);
        };
        let Stored::Response(stale) = &*found.value else {
            return Err(self);
        };
        let now = self.options.now();
        if !stale.lifetime.usable_on_error(&self.asked.directives, now) {
            return Err(self);
        }
        if self.caller.is_some() {
            let report = Report::stale_if_error(status.map(|status| status.as_u16()));
            let Asked { method, headers, .. } = &self.asked;
            let response = answer(&self.options, method, headers, stale, now, true, &report);
            self.give_response(response);
        }
        self.fill.share_stale(found).await;
        Ok(())
    }

    async fn take(self, response: Response<Body>) {
        let mut load = if validation(response.status()) == Validation::Failed {
            match self.answer_stale(Some(response.status())).await {
                Ok(()) => return,
                Err(load) => load,
            }
        } else {
            self
        };
        let (mut head, body) = response.into_parts();
        let control = head.extensions.remove::<Control>();
        let now = load.options.now();
        match judge(&load.options, &load.asked, &head, &body.size_hint(), control, now) {
            Ok(plan) => load.collect(plan, head, body).await,
            Err(refusal) => {
                let report = load.refused(refusal);
                load.give_response(reported(&load.options, head, body, &report));
                load.withdraw(refusal).await;
            }
        }
    }

    /// Takes note of a refusal.
    fn refused(&self, refusal: Refusal) -> Report {
        if refusal.is_lasting {
            self.options.marks.insert(&self.place.primary, self.options.now());
        }
        Report::miss(self.forward).detail(Some(refusal.detail))
    }

    /// Lets all who wait go on alone. What was stored before the handler changed its mind goes.
    async fn withdraw(self, refusal: Refusal) {
        let replaced = refusal.is_lasting && self.fill.stale().is_some();
        let key = replaced.then(|| self.fill.key().clone());
        self.fill.apart();
        if let Some(key) = key {
            // A failure is an event already, and the copy is stale.
            let _ = self.options.cache.invalidate(key).await;
        }
    }

    async fn collect(mut self, plan: Plan, head: response::Parts, body: Body) {
        let size = body.size_hint();
        let mut collector = Collector::new(body, self.options.max_body);
        match collector.gather_ready().await {
            Progress::Complete => self.answer_whole(plan, head, collector).await,
            Progress::Pending => self.pass_on(plan, head, collector, size.exact()).await,
            Progress::Over(pieces, cause) => {
                let refusal = refusal(cause);
                let report = self.refused(refusal);
                let body = PassingBody::of(collector.into_chunks(), pieces, size.exact());
                self.give_response(reported(&self.options, head, Body::new(body), &report));
                self.withdraw(refusal).await;
            }
        }
    }

    /// For a body that was there at once: it is stored first, so that its answer can say so, and can be a 304.
    async fn answer_whole(mut self, plan: Plan, head: response::Parts, collector: Collector) {
        if !is_complete(&head, &collector) {
            let refusal = refusal(Cause::Broken);
            let report = self.refused(refusal);
            let body = PassingBody::of(collector.into_chunks(), vec![Piece::End], None);
            self.give_response(reported(&self.options, head, Body::new(body), &report));
            self.fill.apart();
            return;
        }
        let stored = self.prepared(&plan, &head, collector.into_bytes());
        let Self {
            options,
            asked,
            place,
            fill,
            forward,
            caller,
        } = self;
        let kept = keep(&options, &asked, &place, fill, &stored, plan).await;
        let (Some(caller), Stored::Response(stored)) = (caller, &*stored) else {
            return;
        };
        let report = Report::miss(forward).stored(kept.is_ok()).detail(kept.err());
        let mut response = answer(
            &options,
            &asked.method,
            &asked.headers,
            stored,
            stored.lifetime.response_time,
            false,
            &report_status(report, stored, &asked),
        );
        *response.extensions_mut() = head.extensions;
        // A caller who has gone away needs no answer.
        let _ = caller.send(Answer::Response(response));
    }

    /// For a body that takes its time: each piece goes out as it comes.
    async fn pass_on(mut self, plan: Plan, head: response::Parts, mut collector: Collector, expected: Option<u64>) {
        let (send, receive) = mpsc::unbounded_channel();
        if self.caller.is_some() {
            let body = PassingBody::new(collector.chunks(), receive, expected);
            let response = self.first_answer(&plan, &head, body);
            self.give_response(response);
        }
        let collecting = tokio::time::timeout(self.options.max_body_time, collector.collect(&send));
        let progress = match self.fill.renewing(collecting).await {
            Ok(progress) => progress,
            Err(_) => Progress::Over(vec![collector.take_rest()], Cause::TooSlow),
        };
        if let Progress::Over(pieces, cause) = progress {
            let refusal = refusal(cause);
            let _ = self.refused(refusal);
            for piece in pieces {
                // With nobody there to take it, the rest is dropped, and the handler's body with it.
                let _ = send.send(piece);
            }
            self.withdraw(refusal).await;
            return;
        }
        let _ = send.send(Piece::End);
        if is_complete(&head, &collector) {
            let stored = self.prepared(&plan, &head, collector.into_bytes());
            // What became of it is an event.
            let _ = keep(&self.options, &self.asked, &self.place, self.fill, &stored, plan).await;
        } else {
            self.fill.apart();
        }
    }

    fn prepared(&self, plan: &Plan, head: &response::Parts, body: Bytes) -> Arc<Stored> {
        let policy = &self.options.policy;
        Arc::new(Stored::Response(StoredResponse::prepare(
            policy,
            head,
            body,
            plan.lifetime,
            self.options.weak_etags,
        )))
    }

    /// The answer while its body is still being made.
    fn first_answer(&self, plan: &Plan, head: &response::Parts, body: PassingBody) -> Response<Body> {
        let is_storable = self.fill.is_storable();
        let mut report = Report::miss(self.forward)
            .stored(is_storable)
            .detail((!is_storable).then_some(OUTAGE));
        let length = body.size_hint().exact();
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = head.status;
        *response.version_mut() = head.version;
        *response.headers_mut() = head.headers.clone();
        *response.extensions_mut() = head.extensions.clone();
        let asked = &self.asked;
        if asked.headers.contains_key(IF_NONE_MATCH) || asked.headers.contains_key(IF_MODIFIED_SINCE) {
            let validators = Validators::of(&head.headers);
            let arrived = plan.lifetime.response_time;
            if evaluate(&asked.method, &asked.headers, head.status, &validators, arrived) == Outcome::NotModified {
                report = report.forward_status(head.status.as_u16());
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                let length = content_length(&head.headers).or(length);
                *response.headers_mut() = headers_without_content(&head.headers, length);
                *response.body_mut() = Body::empty();
            }
        }
        if !head.headers.contains_key(CACHE_CONTROL) {
            let now = plan.lifetime.response_time;
            self.options.client.apply(response.headers_mut(), &plan.lifetime, now);
        }
        report.write(&self.options, response.headers_mut());
        response
    }
}

const OUTAGE: &str = "outage";

fn refusal(cause: Cause) -> Refusal {
    Refusal {
        detail: cause.as_str(),
        is_lasting: cause.is_lasting(),
    }
}

/// The handler's answer as it is, and how it came about.
pub(crate) fn reported(options: &Options, head: response::Parts, body: Body, report: &Report) -> Response<Body> {
    let mut response = Response::from_parts(head, body);
    report.write(options, response.headers_mut());
    response
}

/// Whether the body is as long as the head says.
fn is_complete(head: &response::Parts, collector: &Collector) -> bool {
    content_length(&head.headers).is_none_or(|length| length == collector.len() as u64)
}

/// Names the handler's status where the answer has another one.
fn report_status(report: Report, stored: &StoredResponse, asked: &Asked) -> Report {
    let is_whole = [IF_NONE_MATCH, IF_MODIFIED_SINCE, http::header::RANGE]
        .iter()
        .all(|name| !asked.headers.contains_key(name));
    if is_whole {
        report
    } else {
        report.forward_status(stored.status.as_u16())
    }
}

/// Stores a response where it belongs, and says why not if it could not be stored.
async fn keep(
    options: &Options,
    asked: &Asked,
    place: &Place,
    fill: Fill<Stored>,
    stored: &Arc<Stored>,
    plan: Plan,
) -> Result<(), &'static str> {
    let kept = windows(&plan.lifetime);
    let coder = options.cache.coder();
    match place.variants() {
        None if plan.fields.is_empty() && plan.namespace.is_none() => {
            said(fill.store(Arc::clone(stored), coder, kept).await)
        }
        None if plan.namespace.is_some() => {
            // Nothing stood in that namespace while the response was made, so nothing would show that it was cleared
            // meanwhile. Only what leads there is stored; the next load has its lease there.
            let marker = Arc::new(Stored::Variants(Variants::new(plan.fields, plan.namespace)));
            said(fill.store(marker, coder, marker_windows(&kept)).await).and(Err("namespace-learned"))
        }
        None => {
            let variants = Variants::new(plan.fields, None);
            keep_variant(options, asked, place, fill, stored, variants, kept).await
        }
        Some(variants) if variants.covers(&plan.fields, plan.namespace.as_deref()) => {
            said(fill.store(Arc::clone(stored), coder, kept).await)
        }
        Some(variants) => {
            // It varies by more than was known. Nobody has looked by the new fields yet, and its load may be older than
            // an invalidation by now, so only the marker is replaced.
            let widened = variants.widened(&plan.fields, plan.namespace);
            fill.apart();
            if let Lookup::Miss(fill) = options.cache.lookup_anew::<Stored>(&place.primary).await {
                let marker = Arc::new(Stored::Variants(widened));
                let _ = fill.store(marker, coder, marker_windows(&kept)).await;
            }
            Err("vary-changed")
        }
    }
}

/// Stores the first variant of a URL, and then what leads to it. Nothing leads to the variant before, so the fence of
/// the marker is all that it needs.
async fn keep_variant(
    options: &Options,
    asked: &Asked,
    place: &Place,
    fill: Fill<Stored>,
    stored: &Arc<Stored>,
    variants: Variants,
    kept: Windows,
) -> Result<(), &'static str> {
    if fill.is_storable() {
        let key = options.variant(&variants, &place.primary, &asked.headers);
        let policy = Policy::default()
            .with_ttl(kept.fresh)
            .with_stale_while_revalidate(kept.stale_while_revalidate)
            .with_stale_if_error(kept.stale_if_error);
        let cache = options.cache.with_policy(policy);
        if let Err(error) = cache.set_shared(key, Arc::clone(stored)).await {
            fill.apart();
            return said(StoreOutcome::Failed(error));
        }
    }
    let marker = Arc::new(Stored::Variants(variants));
    said(fill.store(marker, options.cache.coder(), marker_windows(&kept)).await)
}

fn said(outcome: StoreOutcome) -> Result<(), &'static str> {
    match outcome {
        StoreOutcome::Stored => Ok(()),
        StoreOutcome::Fenced => Err("invalidated"),
        StoreOutcome::Unavailable => Err(OUTAGE),
        StoreOutcome::Failed(error) if error.kind() == ErrorKind::TooLarge => Err("too-large"),
        _ => Err("store-failed"),
    }
}
