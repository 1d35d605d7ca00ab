//! What the current task runs in: a load, a bypass, both or nothing. Each hit asks, so the answer is one read of a
//! thread-local number.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

thread_local! {
    /// The flags of the future that is being polled.
    static FLAGS: Cell<u8> = const { Cell::new(0) };
}

const LOAD: u8 = 1;
const BYPASS: u8 = 2;
#[cfg(feature = "functions")]
const ASKED: u8 = 4;

/// Flags to set or clear while something runs. The others stay as they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ambient {
    mask: u8,
    flags: u8,
}

impl Ambient {
    /// Says whether what runs is a part of a load.
    pub(crate) const fn load(is_within: bool) -> Self {
        Self::new(LOAD, is_within)
    }

    /// Says whether what runs goes past the caches.
    pub(crate) const fn bypass(is_bypassed: bool) -> Self {
        Self::new(BYPASS, is_bypassed)
    }

    /// Says whether something is asked of the next lookup of a function, instead of its result.
    #[cfg(feature = "functions")]
    pub(crate) const fn asked(is_asked: bool) -> Self {
        Self::new(ASKED, is_asked)
    }

    const fn new(mask: u8, is_set: bool) -> Self {
        let flags = if is_set { mask } else { 0 };
        Self { mask, flags }
    }

    /// Sets the flags whenever `future` is polled.
    pub(crate) fn around<F: Future>(self, future: F) -> Within<F> {
        Within { ambient: self, future }
    }

    /// Sets the flags while `work` runs.
    #[inline]
    pub(crate) fn enter<R>(self, work: impl FnOnce() -> R) -> R {
        let before = FLAGS.get();
        let _restored = Restore(before);
        FLAGS.set(before & !self.mask | self.flags);
        work()
    }
}

/// Returns whether the current task runs in a load.
#[inline]
pub(crate) fn is_within_load() -> bool {
    FLAGS.get() & LOAD != 0
}

/// Returns whether the current task goes past the caches.
#[inline]
pub(crate) fn is_bypassed() -> bool {
    FLAGS.get() & BYPASS != 0
}

/// What the current task runs in, read once.
#[cfg(feature = "functions")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flags(u8);

/// Returns what the current task runs in.
#[cfg(feature = "functions")]
#[inline]
pub(crate) fn flags() -> Flags {
    Flags(FLAGS.get())
}

#[cfg(feature = "functions")]
impl Flags {
    /// Returns whether the task runs in nothing, and nothing is asked.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(crate) fn is_within_load(self) -> bool {
        self.0 & LOAD != 0
    }

    #[inline]
    pub(crate) fn is_bypassed(self) -> bool {
        self.0 & BYPASS != 0
    }

    /// Returns whether something is asked of the next lookup of a function.
    #[inline]
    pub(crate) fn is_asked(self) -> bool {
        self.0 & ASKED != 0
    }

    /// Makes what is asked no question any more: it is asked of one lookup only.
    pub(crate) fn end_question(self) {
        FLAGS.set(self.0 & !ASKED);
    }
}

/// Also after a panic.
struct Restore(u8);

impl Drop for Restore {
    fn drop(&mut self) {
        FLAGS.set(self.0);
    }
}

pin_project! {
    /// A future that is polled with flags.
    pub(crate) struct Within<F> {
        ambient: Ambient,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.ambient.enter(|| this.future.poll(context))
    }
}
