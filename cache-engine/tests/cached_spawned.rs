//! `#[cached]` calls in spawned tasks, with every error type that the documentation names, and all kinds of borrowed
//! arguments.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::multiple_bound_locations
)]

use std::error::Error;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use cache_engine::{Cache, CallError, cached};

#[derive(Clone)]
struct App {
    cache: Cache,
}

/// An error that is no more than an error.
#[derive(Debug)]
struct Plain(std::cell::Cell<u8>);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plain")
    }
}

impl Error for Plain {}

#[derive(Debug, Clone)]
struct Cloneable;

#[derive(Debug)]
enum Shop {
    Io(std::io::Error),
    Cache(CallError),
}

impl From<CallError> for Shop {
    fn from(error: CallError) -> Self {
        Self::Cache(error)
    }
}

impl From<std::io::Error> for Shop {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Shop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

macro_rules! functions {
    ($($name:ident: $error:ty;)*) => {$(
        mod $name {
            use super::*;

            #[cached(cache = app.cache, skip(app))]
            pub async fn borrowed(app: &App, text: &str, list: &[&str], maybe: Option<&String>) -> Result<String, $error> {
                tokio::task::yield_now().await;
                Ok(format!("{text}{list:?}{maybe:?}"))
            }

            #[cached(cache = app.cache, skip(app), stale_while_revalidate = "1s")]
            pub async fn detached(app: &App, text: &str) -> Result<Option<String>, $error> {
                tokio::task::yield_now().await;
                Ok(Some(text.to_owned()))
            }

            impl App {
                #[cached(cache = self.cache, skip(self), negative_ttl = "1s", error_ttl = "1s", jitter = 0.1)]
                pub async fn $name(&self, text: &str) -> Result<Option<Arc<String>>, $error> {
                    Ok(Some(Arc::new(borrowed(self, text, &[text], None).await?)))
                }
            }

            pub async fn run(app: App) -> u8 {
                let task = tokio::spawn(async move {
                    let text = String::from("text");
                    let mut values = 0;
                    values += u8::from(borrowed(&app, &text, &[&text], Some(&text)).await.is_ok());
                    values += u8::from(detached(&app, &text).await.is_ok());
                    let calls = ["a", "b"].map(|text| app.$name(text));
                    for call in calls {
                        values += u8::from(call.await.is_ok());
                    }
                    values
                });
                task.await.unwrap()
            }
        }
    )*};
}

functions! {
    cloneable: Cloneable;
    plain: Plain;
    shop: Shop;
    io: std::io::Error;
    dynamic: Box<dyn Error + Send + Sync>;
    send_only: Box<dyn Error + Send>;
    any: anyhow::Error;
    text: String;
    call: CallError;
    shared_dynamic: Arc<dyn Error + Send + Sync>;
    shared: Arc<Shop>;
    unit: ();
    infallible: std::convert::Infallible;
}

/// A future that is not `Send` needs no more than a plain function does.
#[cached(cache = app.cache, skip(app, counter))]
async fn not_send(app: &App, counter: Rc<u8>) -> Result<u8, Box<dyn Error>> {
    tokio::task::yield_now().await;
    Ok(*counter)
}

#[cached(cache = app.cache, skip(app))]
async fn lifetimes<'a, 'b: 'a>(app: &'a App, first: &'a str, second: &'b [u8], pair: (&str, &u8)) -> usize {
    first.len() + second.len() + pair.0.len()
}

#[cached(cache = app.cache, skip(app))]
async fn conditional<T: serde::Serialize + Sync, const N: usize>(
    app: &App,
    mut items: Vec<T>,
    #[allow(unused)] unused: u8,
    #[cfg(any())] absent: Missing,
) -> usize
where
    T: Clone,
{
    items.reverse();
    items.len() + N
}

fn app() -> App {
    App {
        cache: Cache::builder(cache_memory::MemoryBackend::default()).build(),
    }
}

#[tokio::test]
async fn calls_run_in_tasks_with_every_type_of_error() {
    let app = app();
    let values = [
        cloneable::run(app.clone()).await,
        plain::run(app.clone()).await,
        shop::run(app.clone()).await,
        io::run(app.clone()).await,
        dynamic::run(app.clone()).await,
        send_only::run(app.clone()).await,
        any::run(app.clone()).await,
        text::run(app.clone()).await,
        call::run(app.clone()).await,
        shared::run(app.clone()).await,
        shared_dynamic::run(app.clone()).await,
        unit::run(app.clone()).await,
        infallible::run(app.clone()).await,
    ];
    assert_eq!(values, [4; 13]);
}

#[tokio::test]
async fn what_is_not_send_is_cached_without_a_task() {
    assert_eq!(not_send(&app(), Rc::new(7)).await.unwrap(), 7);
}

#[tokio::test]
async fn lifetimes_and_conditions_are_as_in_plain_functions() {
    let task = tokio::spawn(async move {
        let app = app();
        (
            lifetimes(&app, "a", &[1], ("b", &1)).await,
            conditional::<_, 2>(&app, vec![1, 2], 0).await,
        )
    });
    assert_eq!(task.await.unwrap(), (3, 4));
}
