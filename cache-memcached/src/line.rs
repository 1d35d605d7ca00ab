//! A line: one connection that many calls share.
//!
//! A call queues its command and waits for its answer. A task of the line's own sends what is queued, all in one piece,
//! and gives each answer to the oldest command that waits for one: the server answers in order. So an answer reaches
//! the call it belongs to, or, if that call was dropped, nobody. If an answer does not fit its command, the line ends.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::Fault;
use crate::protocol::{Answer, Command, Form, Parser};
use crate::stream::BoxedStream;

/// The most bytes of commands that wait to be sent. A longer command is queued alone.
const MOST_QUEUED: usize = 64 << 20;

/// What a command that waits takes up besides its bytes.
const OVERHEAD: usize = 256;

/// The bytes read at a time, at first.
const READ: usize = 16 * 1024;

/// The bytes read at a time once answers have filled that.
const MOST_READ: usize = 64 * 1024;

/// The most room that is made for a value before its bytes arrive.
const MOST_ROOM: usize = 1 << 20;

/// A larger buffer is given back when it is empty.
const KEPT: usize = 128 * 1024;

/// A longer command is not copied, to be sent together with others.
const LONG: usize = 16 * 1024;

/// A line on which more than this is being read or waits to be written holds up the calls after it.
const MUCH: usize = 256 * 1024;

/// The most commands for which a line that has sent them keeps room.
const MOST_SPARE: usize = 1024;

/// Thirty years, for a limit that is no limit.
const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The answers to a [`Command`].
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) first: Answer,
    pub(crate) second: Option<Answer>,
}

/// Why a command has no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The line had ended before the command was sent, because of this fault, so it can be sent on another one.
    Unsent(Command, Fault),
    Failed(Fault),
}

type Reply = oneshot::Sender<Result<Answers, Unanswered>>;

type Request = (Command, Reply);

/// A connection that calls share.
pub(crate) struct Line {
    queue: Mutex<Queue>,
    waker: AtomicWaker,
    /// The commands that are queued or wait for their answer.
    in_flight: AtomicUsize,
    has_ended: AtomicBool,
    /// Whether the line ends as soon as no command waits.
    is_closing: AtomicBool,
    has_answered: AtomicBool,
    is_held_up: AtomicBool,
    /// Whether commands are queued that are soon sent together.
    is_gathering: AtomicBool,
    silence: Duration,
}

#[derive(Default)]
struct Queue {
    requests: VecDeque<Request>,
    /// The sizes of the commands.
    bytes: usize,
    /// When the line's task last looked, or a command was queued after it had taken all.
    since: Option<Instant>,
    /// Why the line has ended.
    ended: Option<Fault>,
}

impl Queue {
    /// Returns whether there is room for this many bytes.
    fn has_room(&self, size: usize) -> bool {
        self.requests.is_empty() || self.bytes + size <= MOST_QUEUED
    }
}

impl Line {
    /// Starts a line on the caller's runtime. It ends if the server sends nothing for as long as `silence` while a command
    /// waits for its answer.
    pub(crate) fn start(stream: BoxedStream, silence: Duration) -> Arc<Self> {
        let line = Arc::new(Self {
            queue: Mutex::default(),
            waker: AtomicWaker::new(),
            in_flight: AtomicUsize::new(0),
            has_ended: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            has_answered: AtomicBool::new(false),
            is_held_up: AtomicBool::new(false),
            is_gathering: AtomicBool::new(false),
            silence,
        });
        tokio::spawn(Driver {
            line: Arc::clone(&line),
            stream,
            has_given_way: false,
            unsent: VecDeque::new(),
            is_flushed: true,
            waiting: VecDeque::new(),
            taken: VecDeque::new(),
            input: BytesMut::new(),
            room: READ,
            parser: Parser::default(),
            silence,
            heard: Instant::now(),
            alarm: None,
        });
        line
    }

    /// Returns whether commands can be sent.
    pub(crate) fn is_open(&self) -> bool {
        !self.has_ended.load(Ordering::Acquire) && !self.is_closing.load(Ordering::Acquire)
    }

    /// Returns why the line has ended.
    fn ended(&self) -> Option<Fault> {
        if !self.has_ended.load(Ordering::Acquire) {
            return None;
        }
        self.queue.lock().ended.as_ref().map(Fault::of_the_next)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Returns whether a command was answered.
    pub(crate) fn has_answered(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
    }

    /// Returns whether a long command or answer holds up those after it.
    pub(crate) fn is_held_up(&self) -> bool {
        self.is_held_up.load(Ordering::Relaxed)
    }

    /// Returns whether a command that is queued now is sent together with others.
    pub(crate) fn is_gathering(&self) -> bool {
        self.is_gathering.load(Ordering::Relaxed)
    }

    /// Ends the line as soon as no command waits for its answer.
    pub(crate) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Sends a command and waits for its answer.
    ///
    /// If the future is dropped, the command may be sent or not. Nobody gets its answer.
    pub(crate) async fn ask(&self, command: Command) -> Result<Answers, Unanswered> {
        let (reply, answer) = oneshot::channel();
        let is_first;
        {
            let mut queue = self.queue.lock();
            if let Some(fault) = &queue.ended {
                return Err(Unanswered::Unsent(command, fault.of_the_next()));
            }
            if queue.requests.is_empty() {
                queue.since = Some(Instant::now());
            } else if queue.since.is_some_and(|since| since.elapsed() >= self.silence) {
                // The runtime of the line's task stands still.
                drop(queue);
                self.end(Fault::Silent(self.silence));
                self.waker.wake();
                return Err(Unanswered::Unsent(command, Fault::Silent(self.silence)));
            }
            let size = size(&command);
            if !queue.has_room(size) {
                self.forget_dropped(&mut queue);
            }
            if !queue.has_room(size) {
                return Err(Unanswered::Failed(Fault::Busy));
            }
            queue.bytes += size;
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            is_first = queue.requests.is_empty();
            queue.requests.push_back((command, reply));
            if is_first {
                self.is_gathering.store(true, Ordering::Relaxed);
            }
        }
        if is_first {
            // With the others, the line's task has been woken already.
            self.waker.wake();
        }
        // The line ended with its runtime, which says nothing about the server.
        answer
            .await
            .unwrap_or_else(|_| Err(Unanswered::Failed(gone().of_a_bystander())))
    }

    /// Removes the commands whose calls were dropped.
    fn forget_dropped(&self, queue: &mut Queue) {
        let before = queue.requests.len();
        queue.requests.retain(|(_, reply)| !reply.is_closed());
        queue.bytes = queue.requests.iter().map(|(command, _)| size(command)).sum();
        self.in_flight
            .fetch_sub(before - queue.requests.len(), Ordering::Relaxed);
    }

    /// Takes no more commands, and hands back those that are queued. The first fault counts.
    fn end(&self, fault: Fault) {
        let unsent = {
            let mut queue = self.queue.lock();
            queue.ended.get_or_insert_with(|| fault.of_the_next());
            self.has_ended.store(true, Ordering::Release);
            queue.bytes = 0;
            std::mem::take(&mut queue.requests)
        };
        for (command, reply) in unsent {
            let _ = reply.send(Err(Unanswered::Unsent(command, fault.of_the_next())));
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("is_open", &self.is_open())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// A command that was sent.
struct Waiting {
    form: Form,
    then: Option<Form>,
    /// The command or a part of it, and where in it the keys stand whose values it requests, with spaces between them.
    text: Vec<u8>,
    keys: Range<usize>,
    /// The first of two answers.
    first: Option<Answer>,
    reply: Reply,
}

/// The task of a line.
struct Driver {
    line: Arc<Line>,
    stream: BoxedStream,
    /// Whether the other tasks that are ready had a chance to queue their commands, too.
    has_given_way: bool,
    unsent: VecDeque<Bytes>,
    is_flushed: bool,
    /// The commands that wait for their answers, in order.
    waiting: VecDeque<Waiting>,
    /// Empty, in exchange for what is queued.
    taken: VecDeque<Request>,
    input: BytesMut,
    /// The room for what is read at a time.
    room: usize,
    parser: Parser,
    silence: Duration,
    /// When the server last sent something, or a command began to wait.
    heard: Instant,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        match driver.advance(context) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => {
                driver.line.end(gone());
                Poll::Ready(())
            }
            Err(fault) => {
                driver.fail(fault);
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Driver {
    /// Also when the runtime ends.
    fn drop(&mut self) {
        self.line.end(gone());
    }
}

impl Driver {
    /// Reads and writes what can be read and written now. Returns when the line was closed.
    fn advance(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, Fault> {
        self.line.waker.register(context.waker());
        // Reads first: if the server has closed the connection, commands that are queued are not sent on it.
        self.read(context)?;
        if let Some(fault) = self.line.ended() {
            return Err(fault);
        }
        self.write(context)?;
        if self.unsent.is_empty() {
            self.take_requests(context);
            self.write(context)?;
        } else {
            self.line.queue.lock().since = Some(Instant::now());
            // What is queued is not sent soon.
            self.line.is_gathering.store(false, Ordering::Relaxed);
        }
        let unsent: usize = self.unsent.iter().map(Bytes::len).sum();
        self.line
            .is_held_up
            .store(self.parser.size().max(unsent) > MUCH, Ordering::Relaxed);
        if self.is_silent(context) {
            return Err(Fault::Silent(self.silence));
        }
        let is_idle = self.waiting.is_empty() && self.unsent.is_empty();
        Ok(
            if is_idle && self.line.is_closing.load(Ordering::Acquire) && self.line.queue.lock().requests.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            },
        )
    }

    fn read(&mut self, context: &mut Context<'_>) -> Result<(), Fault> {
        loop {
            let room = self.input.capacity() - self.input.len();
            // An empty buffer begins at its start again, which costs nothing.
            if room < READ / 4 || self.input.is_empty() {
                let missing = self.parser.missing(&self.input);
                self.input.reserve(missing.clamp(self.room, MOST_ROOM));
            }
            let room = self.input.capacity() - self.input.len();
            let read = pin!(self.stream.read_buf(&mut self.input)).poll(context);
            match read {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(Fault::Io(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Ok(read)) => {
                    if read == room {
                        self.room = (2 * self.room).min(MOST_READ);
                    }
                    self.heard = Instant::now();
                    self.hand_out()?;
                }
                Poll::Ready(Err(error)) => return Err(broken(error)),
            }
        }
    }

    /// Gives the answers that have arrived to the commands that wait.
    fn hand_out(&mut self) -> Result<(), Fault> {
        while let Some(oldest) = self.waiting.front_mut() {
            let form = match (&oldest.first, oldest.then) {
                (Some(_), Some(second)) => second,
                _ => oldest.form,
            };
            let keys = &oldest.text[oldest.keys.clone()];
            let Some(answer) = self.parser.answer(form, keys, &mut self.input)? else {
                return Ok(());
            };
            match &answer {
                // The server has skipped what belongs to the command, and expects the next one. After another error, its
                // state is unknown.
                Answer::Error(text) if !text.starts_with("SERVER_ERROR") => return Err(Fault::Answer(text.clone())),
                _ => {}
            }
            if oldest.then.is_some() && oldest.first.is_none() {
                oldest.first = Some(answer);
                continue;
            }
            let Some(answered) = self.waiting.pop_front() else {
                break;
            };
            self.line.in_flight.fetch_sub(1, Ordering::Relaxed);
            self.line.has_answered.store(true, Ordering::Relaxed);
            let answers = match answered.first {
                Some(first) => Answers {
                    first,
                    second: Some(answer),
                },
                None => Answers {
                    first: answer,
                    second: None,
                },
            };
            // The call may have been dropped.
            let _ = answered.reply.send(Ok(answers));
        }
        if !self.input.is_empty() {
            let text = String::from_utf8_lossy(&self.input[..self.input.len().min(80)]).into_owned();
            return Err(Fault::OutOfStep(format!("an answer to no command: {text:?}")));
        }
        if self.input.capacity() > KEPT {
            self.input = BytesMut::new();
        }
        Ok(())
    }

    /// Takes the commands that are queued, to be sent.
    fn take_requests(&mut self, context: &mut Context<'_>) {
        {
            let mut queue = self.line.queue.lock();
            if queue.requests.is_empty() {
                return;
            }
            // The other tasks that are ready queue theirs first, so that all are sent with one system call.
            if !std::mem::replace(&mut self.has_given_way, true) {
                context.waker().wake_by_ref();
                return;
            }
            queue.bytes = 0;
            self.line.is_gathering.store(false, Ordering::Relaxed);
            std::mem::swap(&mut queue.requests, &mut self.taken);
        }
        self.has_given_way = false;
        if self.waiting.is_empty() {
            self.heard = Instant::now();
        }
        let is_single = self.taken.len() == 1;
        let mut room: usize = self
            .taken
            .iter()
            .map(|(command, _)| command.bytes.len())
            .filter(|len| *len <= LONG)
            .sum();
        let mut together = Vec::new();
        for (command, reply) in self.taken.drain(..) {
            if reply.is_closed() {
                // Its call was dropped.
                self.line.in_flight.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let Command {
                bytes,
                form,
                then,
                keys,
            } = command;
            let mut waiting = Waiting {
                form,
                then,
                text: Vec::new(),
                keys: 0..keys.len(),
                first: None,
                reply,
            };
            let is_long = bytes.len() > LONG;
            if is_long || is_single && form != Form::Values {
                if !together.is_empty() {
                    self.unsent.push_back(std::mem::take(&mut together).into());
                }
                waiting.text.extend_from_slice(&bytes[keys]);
                self.unsent.push_back(bytes.into());
            } else {
                together.reserve(std::mem::take(&mut room));
                together.extend_from_slice(&bytes);
                if form == Form::Values {
                    // It has little else than its keys.
                    (waiting.text, waiting.keys) = (bytes, keys);
                } else {
                    waiting.text.extend_from_slice(&bytes[keys]);
                }
            }
            self.waiting.push_back(waiting);
        }
        if !together.is_empty() {
            self.unsent.push_back(together.into());
        }
        self.taken.shrink_to(MOST_SPARE);
    }

    fn write(&mut self, context: &mut Context<'_>) -> Result<(), Fault> {
        while let Some(bytes) = self.unsent.front_mut() {
            match Pin::new(&mut self.stream).poll_write(context, bytes) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(Fault::Io(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    self.is_flushed = false;
                    bytes.advance(written);
                    if bytes.is_empty() {
                        self.unsent.pop_front();
                    }
                }
                Poll::Ready(Err(error)) => return Err(broken(error)),
            }
        }
        if !self.is_flushed {
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.is_flushed = true,
                Poll::Ready(Err(error)) => return Err(broken(error)),
            }
        }
        Ok(())
    }

    /// Returns when the server will have been silent for too long.
    fn due(&self) -> Instant {
        self.heard
            .checked_add(self.silence)
            .unwrap_or_else(|| self.heard + FAR_FUTURE)
    }

    /// Returns whether the server has been silent for too long.
    fn is_silent(&mut self, context: &mut Context<'_>) -> bool {
        // A server may answer a command before it is sent in full.
        let is_waiting = !self.waiting.is_empty() || !self.unsent.is_empty();
        let due = self.due();
        // The alarm is not reset for each answer, since that would cost as much as all else.
        let alarm = match &mut self.alarm {
            Some(alarm) => alarm,
            None if !is_waiting => return false,
            alarm @ None => alarm.insert(Box::pin(sleep_until(due))),
        };
        while alarm.as_mut().poll(context).is_ready() {
            if !is_waiting {
                self.alarm = None;
                return false;
            }
            if Instant::now() >= due {
                return true;
            }
            alarm.as_mut().reset(due);
        }
        false
    }

    /// Ends the line. The oldest call that still waits gets the fault, and those after it that the connection has ended.
    fn fail(&mut self, fault: Fault) {
        self.line.end(fault.of_the_next());
        let next = fault.of_a_bystander();
        let mut own = Some(fault);
        for waiting in self.waiting.drain(..).filter(|waiting| !waiting.reply.is_closed()) {
            let fault = own.take().unwrap_or_else(|| next.of_a_bystander());
            let _ = waiting.reply.send(Err(Unanswered::Failed(fault)));
        }
    }
}

/// Returns the room that a command takes up in the queue.
fn size(command: &Command) -> usize {
    command.bytes.len() + OVERHEAD
}

/// The fault of a connection that was closed by this process.
fn gone() -> Fault {
    Fault::Io(io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the connection was closed",
    ))
}

/// Classifies an error of the stream.
fn broken(error: io::Error) -> Fault {
    // Such as the server's refusal of the client's certificate, which arrives with the first answer.
    #[cfg(feature = "rustls")]
    if let Some(source) = error.get_ref().filter(|source| source.is::<rustls::Error>()) {
        let text = format!("TLS: {source}");
        return Fault::Io(io::Error::new(error.kind(), text));
    }
    match error.kind() {
        io::ErrorKind::InvalidData => Fault::OutOfStep(format!("an unexpected answer ({error})")),
        _ => Fault::Io(error),
    }
}
