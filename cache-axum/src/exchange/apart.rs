//! Large futures that are awaited on the way to the handler, kept out of the frames of their callers.

use std::pin::Pin;

/// Makes a future in a frame of its own and moves it to the heap.
///
/// `Box::pin(make())` would do the same, but without optimisation the future is first a local variable of its caller.
/// What the caller awaits then adds up, layer by layer, on the stack of whoever polls the outermost one.
pub(super) fn apart<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::pin(make())
}
