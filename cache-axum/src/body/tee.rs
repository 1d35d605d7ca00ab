//! The bodies of answers that are made while the handler's body is collected: each reads along.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::body::buffer::{Buffer, Cursor};

/// How a body goes on for those who read it, where it is not collected to its end.
pub(crate) enum Ending {
    /// That was all.
    End,
    /// That was all but these.
    Trailers(HeaderMap),
    /// It is not collected any further: the rest comes from the source.
    Rest(Body),
    Failed(BoxError),
    Panicked(Box<dyn Any + Send>),
}

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End => "End",
            Self::Trailers(_) => "Trailers",
            Self::Rest(_) => "Rest",
            Self::Failed(_) => "Failed",
            Self::Panicked(_) => "Panicked",
        })
    }
}

/// What bounds the reading of a body that is not collected any further.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The most bytes that are kept for those who are behind.
    pub(crate) kept: usize,
    /// How long one who is behind holds the others up.
    pub(crate) patience: Duration,
}

impl Bounds {
    /// For a body of which there is one reader at most, who holds up nobody.
    pub(crate) fn of_one_reader(kept: usize) -> Self {
        Self {
            kept,
            patience: Duration::MAX,
        }
    }
}

/// What is between the one who collects a body and those who read it.
#[derive(Debug)]
pub(crate) struct Tee {
    state: Mutex<State>,
    /// Those who wait for more. Apart, so that the source can wake them without owning what owns the source.
    waiting: Arc<Waiting>,
    /// Notified when the first reader comes, when the last one leaves, and when the body is not collected any further.
    changed: Notify,
    bounds: Bounds,
}

#[derive(Debug)]
struct State {
    buffer: Buffer,
    /// The length of all that has come.
    len: usize,
    /// `None` where a reader has left.
    readers: Vec<Option<Reader>>,
    source: Source,
    stall: Stall,
}

#[derive(Debug, Default)]
struct Reader {
    cursor: Cursor,
    /// It was behind for too long.
    is_cut_off: bool,
}

/// Where more comes from.
#[derive(Debug)]
enum Source {
    /// From the one who collects.
    Collector,
    /// From the body, which the readers poll. It is out while one of them polls it.
    Rest { body: Option<Body>, is_missed: bool },
    /// From nowhere: all has come, and is complete.
    Complete,
    /// From nowhere.
    Ended(End),
}

enum End {
    Clean,
    Trailers(HeaderMap),
    Failed(Arc<BoxError>),
    /// The first one to read it gets the payload.
    Panicked(Option<Box<dyn Any + Send>>, String),
    /// The one who collected has gone away.
    CutShort,
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("End")
    }
}

/// How long those who are behind have held up the others.
#[derive(Debug, Default)]
struct Stall {
    since: Option<Instant>,
    spent: Duration,
}

#[derive(Debug, Default)]
struct Waiting(Mutex<Vec<Option<Waker>>>);

impl Waiting {
    fn add(&self, reader: usize, waker: &Waker) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() <= reader {
            waiting.resize(reader + 1, None);
        }
        match &mut waiting[reader] {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    fn wake_all(&self) {
        // Wakers are foreign code, and so are not called under the lock.
        let woken: Vec<Waker> = {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.iter_mut().filter_map(Option::take).collect()
        };
        for waker in woken {
            waker.wake();
        }
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}

impl State {
    /// Whether more may be taken from the source, with so much kept for those who are behind.
    fn has_room(&self, bounds: Bounds) -> bool {
        self.buffer.kept() == 0 || self.buffer.kept() < bounds.kept
    }

    fn readers(&self) -> impl Iterator<Item = &Reader> + Clone {
        self.readers.iter().flatten()
    }

    /// Lets go what all have read, if nobody needs it for anything else. Returns whether there is room again.
    fn release(&mut self, bounds: Bounds) -> bool {
        if !matches!(self.source, Source::Rest { .. } | Source::Ended(_)) {
            return false;
        }
        let had_room = self.has_room(bounds);
        let behind = self.readers.iter().flatten().filter(|reader| !reader.is_cut_off);
        self.buffer.release(behind.map(|reader| reader.cursor));
        let has_room = self.has_room(bounds);
        if has_room && let Some(since) = self.stall.since.take() {
            self.stall.spent += since.elapsed();
        }
        has_room && !had_room
    }

    /// Cuts off those who are furthest behind, until there is room.
    fn cut_off(&mut self, bounds: Bounds) {
        while !self.has_room(bounds) {
            let kept = self.readers().filter(|reader| !reader.is_cut_off);
            let Some(furthest) = kept.map(|reader| reader.cursor.read()).min() else {
                break;
            };
            for reader in self.readers.iter_mut().flatten() {
                reader.is_cut_off |= reader.cursor.read() <= furthest;
            }
            self.release(bounds);
        }
        self.stall = Stall::default();
    }
}

impl Tee {
    pub(crate) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                buffer: Buffer::default(),
                len: 0,
                readers: Vec::new(),
                source: Source::Collector,
                stall: Stall::default(),
            }),
            waiting: Arc::default(),
            changed: Notify::new(),
            bounds,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A piece has come.
    pub(crate) fn push(&self, piece: Bytes) {
        {
            let mut state = self.lock();
            state.len += piece.len();
            state.buffer.push(piece);
        }
        self.waiting.wake_all();
    }

    /// All that has come.
    pub(crate) fn pieces(&self) -> VecDeque<Bytes> {
        self.lock().buffer.pieces()
    }

    /// All has come, and is complete. This is all of it in one piece, so that whoever reads slowly holds no pieces of its
    /// own.
    pub(crate) fn complete(&self, whole: Bytes) {
        {
            let mut state = self.lock();
            state.buffer.replace(whole);
            state.source = Source::Complete;
        }
        self.wake();
    }

    /// It is not collected any further. Without a reader the source is dropped.
    pub(crate) fn end(&self, ending: Ending) {
        let mut superfluous = None;
        {
            let mut state = self.lock();
            if !matches!(state.source, Source::Collector) {
                return;
            }
            state.source = match ending {
                Ending::End => Source::Ended(End::Clean),
                Ending::Trailers(trailers) => Source::Ended(End::Trailers(trailers)),
                Ending::Failed(error) => Source::Ended(End::Failed(Arc::new(error))),
                Ending::Panicked(panic) => Source::Ended(End::panicked(panic)),
                Ending::Rest(body) if state.readers().next().is_none() => {
                    superfluous = Some(body);
                    Source::Ended(End::CutShort)
                }
                Ending::Rest(body) => Source::Rest {
                    body: Some(body),
                    is_missed: false,
                },
            };
            state.release(self.bounds);
        }
        drop(superfluous);
        self.wake();
    }

    /// The one who collects has gone away: whoever reads sees that the body was cut short, unless it is known how it ends.
    pub(crate) fn abandon(&self) {
        {
            let mut state = self.lock();
            if !matches!(state.source, Source::Collector) {
                return;
            }
            state.source = Source::Ended(End::CutShort);
        }
        self.wake();
    }

    fn wake(&self) {
        self.waiting.wake_all();
        self.changed.notify_waiters();
    }

    /// One more who reads it from its beginning. `None` if its beginning is gone, or it does not come to a good end.
    pub(crate) fn read_along(self: &Arc<Self>, expected: Option<u64>) -> Option<TeeBody> {
        let reader = {
            let mut state = self.lock();
            if matches!(state.source, Source::Rest { .. } | Source::Ended(_)) {
                return None;
            }
            let free = state.readers.iter().position(Option::is_none);
            let reader = free.unwrap_or(state.readers.len());
            if free.is_none() {
                state.readers.push(None);
            }
            state.readers[reader] = Some(Reader::default());
            reader
        };
        self.changed.notify_waiters();
        Some(TeeBody {
            tee: Arc::clone(self),
            reader,
            expected,
            stalled: None,
            ended: false,
        })
    }

    /// Waits until nobody reads it.
    pub(crate) async fn unread(&self) {
        self.until(|state| state.readers().next().is_none()).await;
    }

    /// Waits until somebody reads it.
    pub(crate) async fn is_read(&self) {
        self.until(|state| state.readers().next().is_some()).await;
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Registered before the state is looked at, so that nothing between the two is missed.
            changed.as_mut().enable();
            if is_so(&self.lock()) {
                return;
            }
            changed.await;
        }
    }
}

impl End {
    fn panicked(panic: Box<dyn Any + Send>) -> Self {
        let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
            (Some(message), _) => (*message).to_owned(),
            (_, Some(message)) => message.clone(),
            _ => "the body of the response panicked".to_owned(),
        };
        Self::Panicked(Some(panic), message)
    }
}

/// An error for all who read.
#[derive(Debug)]
struct SharedError(Arc<BoxError>);

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SharedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&**self.0)
    }
}

/// The body of an answer that is made while the handler's body is collected. It reads what is collected, so that nothing
/// is kept for a slow client beside that.
///
/// What is not collected any further comes from the source itself, as fast as the fastest reads, with so much kept for
/// those who are behind as the [bounds](Bounds) say.
#[derive(Debug)]
pub(crate) struct TeeBody {
    tee: Arc<Tee>,
    reader: usize,
    /// The bytes to come, where the source knew.
    expected: Option<u64>,
    /// Runs while one who is behind holds this one up.
    stalled: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

/// What a reader is to do next.
enum Next {
    /// Hand this on. The others may go on too, if there is room again.
    Data(Bytes, bool),
    Wait,
    /// Wait until then, when those who are behind are cut off.
    WaitUntil(Instant),
    Poll(Body),
    CutOff,
    Complete,
    Trailers(HeaderMap),
    Failed(BoxError),
    Panicked(Box<dyn Any + Send>),
    CutShort,
}

impl TeeBody {
    /// Waits until the body is complete, so that its length is known. False if it is not collected to its end.
    pub(crate) async fn measure(&mut self) -> bool {
        self.tee.until(|state| !matches!(state.source, Source::Collector)).await;
        let state = self.tee.lock();
        let is_complete = matches!(state.source, Source::Complete);
        if is_complete {
            self.expected = Some(state.len as u64);
        }
        is_complete
    }

    /// Whether more has come than may be collected.
    pub(crate) fn has_outgrown(&self) -> bool {
        self.tee.lock().len > self.tee.bounds.kept
    }

    fn next(&self, waker: &Waker) -> Next {
        let bounds = self.tee.bounds;
        let mut state = self.tee.lock();
        let state = &mut *state;
        let is_last = state.readers().nth(1).is_none();
        let Some(Some(reader)) = state.readers.get_mut(self.reader) else {
            return Next::CutShort;
        };
        if reader.is_cut_off {
            return Next::CutOff;
        }
        if let Some(data) = state.buffer.read(&mut reader.cursor) {
            return Next::Data(data, state.release(bounds));
        }
        let has_room = state.has_room(bounds);
        match &mut state.source {
            Source::Collector => {}
            Source::Complete | Source::Ended(End::Clean) => return Next::Complete,
            Source::Ended(End::CutShort) => return Next::CutShort,
            Source::Ended(End::Trailers(trailers)) => return Next::Trailers(trailers.clone()),
            Source::Ended(End::Panicked(panic, message)) => {
                let panic = panic.take().unwrap_or_else(|| Box::new(message.clone()));
                return Next::Panicked(panic);
            }
            Source::Ended(end @ End::Failed(_)) if is_last => {
                if let End::Failed(error) = std::mem::replace(end, End::CutShort) {
                    let error = Arc::try_unwrap(error).unwrap_or_else(|error| Box::new(SharedError(error)));
                    return Next::Failed(error);
                }
            }
            Source::Ended(End::Failed(error)) => return Next::Failed(Box::new(SharedError(Arc::clone(error)))),
            Source::Rest { .. } if !has_room => {
                let now = Instant::now();
                let since = *state.stall.since.get_or_insert(now);
                let left = bounds.patience.saturating_sub(state.stall.spent);
                self.tee.waiting.add(self.reader, waker);
                return Next::WaitUntil(since.checked_add(left).unwrap_or(now));
            }
            Source::Rest { body, is_missed } => match body.take() {
                Some(body) => {
                    self.tee.waiting.add(self.reader, waker);
                    return Next::Poll(body);
                }
                // Another reader polls it, and does not know of this one.
                None => *is_missed = true,
            },
        }
        self.tee.waiting.add(self.reader, waker);
        Next::Wait
    }

    /// Polls the source for all who wait. `Pending` if nothing has come of it. An empty piece is not kept, but returned.
    fn poll_source(&self, mut source: Body) -> Poll<Option<Bytes>> {
        let waker = Waker::from(Arc::clone(&self.tee.waiting));
        let mut context = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut source).poll_frame(&mut context)));
        let is_pending = matches!(polled, Ok(Poll::Pending));
        let (mut source, mut empty) = (Some(source), None);
        let is_missed = {
            let mut state = self.tee.lock();
            let end = match polled {
                Ok(Poll::Pending) => None,
                Ok(Poll::Ready(Some(Ok(frame)))) => match frame.into_data() {
                    Ok(data) => {
                        if data.is_empty() {
                            empty = Some(data);
                        } else {
                            state.buffer.push(data);
                        }
                        None
                    }
                    Err(frame) => Some(frame.into_trailers().map_or(End::Clean, End::Trailers)),
                },
                Ok(Poll::Ready(Some(Err(error)))) => Some(End::Failed(Arc::new(error.into_inner()))),
                Ok(Poll::Ready(None)) => Some(End::Clean),
                Err(panic) => Some(End::panicked(panic)),
            };
            match (end, &mut state.source) {
                (Some(end), rest) => {
                    *rest = Source::Ended(end);
                    false
                }
                (None, Source::Rest { body, is_missed }) => {
                    *body = source.take();
                    std::mem::take(is_missed)
                }
                (None, _) => false,
            }
        };
        drop(source);
        if is_missed || !is_pending {
            self.tee.waiting.wake_all();
        }
        if is_pending { Poll::Pending } else { Poll::Ready(empty) }
    }

    /// Cuts off those who are behind, once that time has come.
    fn poll_patience(&mut self, until: Instant, context: &mut Context<'_>) -> Poll<()> {
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if stalled.deadline() != until {
            stalled.as_mut().reset(until);
        }
        ready!(stalled.as_mut().poll(context));
        self.stalled = None;
        self.tee.lock().cut_off(self.tee.bounds);
        self.tee.waiting.wake_all();
        Poll::Ready(())
    }
}

impl http_body::Body for TeeBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            let last = match self.next(context.waker()) {
                Next::Data(data, has_room_again) => {
                    if has_room_again {
                        self.tee.waiting.wake_all();
                    }
                    if let Some(expected) = &mut self.expected {
                        *expected = expected.saturating_sub(data.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Next::Wait => return Poll::Pending,
                Next::WaitUntil(until) => {
                    ready!(self.poll_patience(until, context));
                    continue;
                }
                Next::Poll(source) => match ready!(self.poll_source(source)) {
                    Some(empty) => return Poll::Ready(Some(Ok(Frame::data(empty)))),
                    None => continue,
                },
                Next::Complete => None,
                Next::Trailers(trailers) => Some(Ok(Frame::trailers(trailers))),
                Next::Failed(error) => Some(Err(error)),
                Next::CutShort => Some(Err("the response was cut short".into())),
                Next::CutOff => Some(Err("the response was not read fast enough".into())),
                Next::Panicked(panic) => {
                    self.ended = true;
                    resume_unwind(panic);
                }
            };
            self.ended = true;
            return Poll::Ready(last);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.expected.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for TeeBody {
    fn drop(&mut self) {
        let mut superfluous = None;
        let is_last = {
            let mut state = self.tee.lock();
            if let Some(reader) = state.readers.get_mut(self.reader) {
                *reader = None;
            }
            let is_last = state.readers().next().is_none();
            if is_last && let Source::Rest { body, .. } = &mut state.source {
                superfluous = body.take();
                state.source = Source::Ended(End::CutShort);
            }
            state.release(self.tee.bounds);
            is_last
        };
        drop(superfluous);
        // What has kept the others waiting may be gone.
        self.tee.waiting.wake_all();
        if is_last {
            self.tee.changed.notify_waiters();
        }
    }
}
