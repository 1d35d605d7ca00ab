//! Nested `#[cached]` functions: their futures are small and grow linearly with the depth, and so does the stack.

#![allow(clippy::unwrap_used, clippy::expect_used)]
// As 64 plain async functions within each other need it too.
#![recursion_limit = "4096"]

mod support;

use std::pin::Pin;

use cache_core::ManualClock;
use cache_engine::{Cache, cached};
use support::{Remote, local, over};

/// How much larger than its body's a cached function's future may be.
const OVERHEAD: usize = 512;

fn cache() -> Cache {
    local(&ManualClock::new()).build()
}

/// Functions of which each calls the next, cached and plain.
macro_rules! nested {
    ($first:ident $second:ident $($rest:ident)*) => {
        #[cached(cache = cache, skip(cache))]
        async fn $first(cache: &Cache, id: u32) -> u32 {
            $second(cache, id).await + 1
        }

        nested!($second $($rest)*);
    };
    ($last:ident) => {
        #[cached(cache = cache, skip(cache))]
        async fn $last(cache: &Cache, id: u32) -> u32 {
            tokio::task::yield_now().await;
            id
        }
    };
}

nested!(
    f63 f62 f61 f60 f59 f58 f57 f56 f55 f54 f53 f52 f51 f50 f49 f48 f47 f46 f45 f44 f43 f42 f41 f40 f39 f38 f37 f36 f35
    f34 f33 f32 f31 f30 f29 f28 f27 f26 f25 f24 f23 f22 f21 f20 f19 f18 f17 f16 f15 f14 f13 f12 f11 f10 f9 f8 f7 f6 f5
    f4 f3 f2 f1 f0
);

/// Runs `work` in a task on a worker as tokio makes them, whose stack has two megabytes.
fn on_a_worker<F: Future<Output: Send> + Send + 'static>(work: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(work).await.unwrap() })
}

/// In a debug build, a function needs stack for each future that it holds anywhere. With the load in the future of the
/// call, which may begin it in several places, a call needed a megabyte more, and the stack of a worker overflowed.
#[test]
fn a_borrowing_call_needs_little_stack() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).thread_stack_size(768 * 1024).enable_all();
    runtime.build().unwrap().block_on(async {
        let call = async {
            let cache = over(&Remote::new()).build();
            let load = || async { Ok::<_, std::convert::Infallible>(1_u32) };
            *cache.borrowing().get_or_load("key", load).await.unwrap()
        };
        assert_eq!(tokio::spawn(call).await.unwrap(), 1);
    });
}

#[test]
fn a_future_is_a_little_larger_than_its_bodys_at_each_level() {
    let cache = cache();
    let sizes = [
        size_of_val(&f0(&cache, 1)),
        size_of_val(&f1(&cache, 1)),
        size_of_val(&f2(&cache, 1)),
        size_of_val(&f3(&cache, 1)),
        size_of_val(&f4(&cache, 1)),
        size_of_val(&f5(&cache, 1)),
        size_of_val(&f6(&cache, 1)),
        size_of_val(&f7(&cache, 1)),
    ];
    println!("{sizes:?}");
    let mut body = 0;
    for size in sizes {
        assert!(size < body + OVERHEAD, "{sizes:?}");
        body = size;
    }
}

#[cached(cache = cache, skip(cache))]
async fn with_a_large_body(cache: &Cache) -> usize {
    let large = [1_u8; 4096];
    tokio::task::yield_now().await;
    large.len()
}

#[cached(cache = cache, skip(cache), detached)]
async fn detached(cache: &Cache) -> usize {
    let large = [1_u8; 4096];
    tokio::task::yield_now().await;
    large.len()
}

#[test]
fn a_hit_does_not_carry_the_body() {
    let cache = cache();
    assert!(size_of_val(&with_a_large_body(&cache)) < OVERHEAD);
    assert!(size_of_val(&detached(&cache)) < OVERHEAD);
}

#[test]
fn sixty_four_levels_fit_the_stack_of_a_worker() {
    let result = on_a_worker(async {
        let cache = cache();
        (f63(&cache, 1).await, f63(&cache, 1).await)
    });
    assert_eq!(result, (64, 64));
}

#[test]
fn so_they_do_over_a_store_elsewhere() {
    let result = on_a_worker(async {
        let cache = over(&Remote::new()).build();
        f63(&cache, 1).await
    });
    assert_eq!(result, 64);
}

fn countdown(cache: &Cache, from: u32) -> Pin<Box<dyn Future<Output = u32> + Send + '_>> {
    Box::pin(count_from(cache, from))
}

thread_local! {
    /// Where the stack was at the last level.
    static STACK: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cached(cache = cache, skip(cache))]
async fn count_from(cache: &Cache, from: u32) -> u32 {
    {
        let here = 0_u8;
        let here = std::ptr::from_ref(&here).addr();
        let last = STACK.replace(here);
        if from == 7 {
            println!("{} bytes of stack for each level", last.wrapping_sub(here));
        }
    }
    match from.checked_sub(1) {
        Some(next) => countdown(cache, next).await + 1,
        None => {
            tokio::task::yield_now().await;
            0
        }
    }
}

#[test]
fn shallow() {
    on_a_worker(async {
        let cache = cache();
        countdown(&cache, 10).await
    });
}

#[test]
fn recursion_is_as_deep_as_the_stack_allows() {
    let depth = if cfg!(debug_assertions) { 200 } else { 2_000 };
    let result = on_a_worker(async move {
        let cache = cache();
        countdown(&cache, depth).await
    });
    assert_eq!(result, depth);
}
