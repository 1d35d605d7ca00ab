//! Bodies of responses that are sent while the handler's body is still being collected.

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

/// How a body continues for its readers, if it is not collected to its end.
pub(crate) enum Ending {
    /// The body has ended.
    End,
    /// The body has ended, except for these trailers.
    Trailers(HeaderMap),
    /// The body is no longer collected: the rest comes from the source.
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

/// Limits for reading a body that is no longer collected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The maximum number of bytes that are retained for slower readers.
    pub(crate) kept: usize,
    /// How long a slow reader may delay the others.
    pub(crate) patience: Duration,
}

impl Bounds {
    /// Returns the limits for a body that has at most one reader, which delays no other.
    pub(crate) fn of_one_reader(kept: usize) -> Self {
        Self {
            kept,
            patience: Duration::MAX,
        }
    }
}

/// The state that the collector of a body shares with its readers.
#[derive(Debug)]
pub(crate) struct Tee {
    state: Mutex<State>,
    /// The readers that wait for more. Separate from the state, so that the source can wake them without owning the
    /// owner of the source.
    waiting: Arc<Waiting>,
    /// Notified when the first reader arrives, when the last one leaves, and when the body is no longer collected.
    changed: Notify,
    bounds: Bounds,
}

#[derive(Debug)]
struct State {
    buffer: Buffer,
    /// The total number of bytes that have arrived.
    len: usize,
    /// When the last piece arrived, or the head.
    last: Instant,
    /// `None` for a reader that has left.
    readers: Vec<Option<Reader>>,
    source: Source,
    stall: Stall,
}

#[derive(Debug, Default)]
struct Reader {
    cursor: Cursor,
    /// Whether the reader was behind for too long.
    is_cut_off: bool,
}

/// Where more data comes from.
#[derive(Debug)]
enum Source {
    /// The collector.
    Collector,
    /// The rest of the body, which the readers poll. `None` while one of them polls it.
    Rest { body: Option<Body>, is_missed: bool },
    /// No source: the body has arrived and is complete.
    Complete,
    /// No source: the body has ended in this way.
    Ended(End),
}

enum End {
    Clean,
    Trailers(HeaderMap),
    Failed(Arc<BoxError>),
    /// The first reader that gets here takes the payload.
    Panicked(Option<Box<dyn Any + Send>>, String),
    /// The collector was dropped.
    CutShort,
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("End")
    }
}

/// How long slow readers have delayed the others.
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
        // Wakers are foreign code, so they are not called while the lock is held.
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
    /// Returns whether more may be read from the source, given what is retained for slower readers.
    fn has_room(&self, bounds: Bounds) -> bool {
        self.buffer.kept() == 0 || self.buffer.kept() < bounds.kept
    }

    fn readers(&self) -> impl Iterator<Item = &Reader> + Clone {
        self.readers.iter().flatten()
    }

    /// Releases what all readers have read, if nothing else needs it. Returns whether there is room again.
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

    /// Cuts off the readers that are furthest behind, until there is room.
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
                last: Instant::now(),
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
        // Nothing that can panic runs while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a piece that has arrived.
    pub(crate) fn push(&self, piece: Bytes) {
        {
            let mut state = self.lock();
            state.len += piece.len();
            state.last = Instant::now();
            state.buffer.push(piece);
        }
        self.waiting.wake_all();
    }

    /// Returns everything that has arrived.
    pub(crate) fn pieces(&self) -> VecDeque<Bytes> {
        self.lock().buffer.pieces()
    }

    /// Marks the body as complete. `whole` is all of it in one piece, so that a slow reader holds no pieces of its own.
    pub(crate) fn complete(&self, whole: Bytes) {
        {
            let mut state = self.lock();
            state.buffer.replace(whole);
            state.source = Source::Complete;
        }
        self.wake();
    }

    /// Stops collecting the body. Without a reader, the source is dropped.
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

    /// Handles a dropped collector: readers see that the body was cut short, except if its end is already known.
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

    /// Adds a reader that starts at the beginning. Returns `None` if the beginning has been released, or the body does
    /// not end successfully.
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

    /// Returns whether more is to come, and nothing has come for more than this time.
    pub(crate) fn is_stalled(&self, time: Duration) -> bool {
        let state = self.lock();
        matches!(state.source, Source::Collector) && state.last.elapsed() > time
    }

    /// Waits until the body has no reader.
    pub(crate) async fn unread(&self) {
        self.until(|state| state.readers().next().is_none()).await;
    }

    /// Waits until the body has a reader.
    pub(crate) async fn is_read(&self) {
        self.until(|state| state.readers().next().is_some()).await;
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Registered before the state is read, so that no change between the two is missed.
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

/// An error that all readers share.
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

/// The body of a response that is sent while the handler's body is collected. It reads the collected data, so that
/// nothing else is retained for a slow client.
///
/// Once the body is no longer collected, data comes from the source itself, as fast as the fastest reader reads. The
/// [bounds](Bounds) limit how much is retained for slower readers.
#[derive(Debug)]
pub(crate) struct TeeBody {
    tee: Arc<Tee>,
    reader: usize,
    /// The number of bytes to come, if the source knew it.
    expected: Option<u64>,
    /// Runs while a slower reader delays this one.
    stalled: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

/// The next step of a reader.
enum Next {
    /// Return this data. The flag shows whether there is room again, so that the other readers can continue.
    Data(Bytes, bool),
    Wait,
    /// Wait until then, when slower readers are cut off.
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
    /// Waits until the body is complete, so that its length is known. Returns `false` if it is not collected to its
    /// end.
    pub(crate) async fn measure(&mut self) -> bool {
        self.tee.until(|state| !matches!(state.source, Source::Collector)).await;
        let state = self.tee.lock();
        let is_complete = matches!(state.source, Source::Complete);
        if is_complete {
            self.expected = Some(state.len as u64);
        }
        is_complete
    }

    /// Returns whether more has arrived than may be collected.
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
                // Another reader polls the source, and does not know of this one.
                None => *is_missed = true,
            },
        }
        self.tee.waiting.add(self.reader, waker);
        Next::Wait
    }

    /// Polls the source for all waiting readers. Returns `Pending` if it has no data yet. An empty piece is not stored,
    /// but returned.
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

    /// Cuts off the slower readers, once that time has come.
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
        // The reader that delayed the others may be gone.
        self.tee.waiting.wake_all();
        if is_last {
            self.tee.changed.notify_waiters();
        }
    }
}
