//! Arguments with the names of all variables in the generated code, and options that use arguments which the body consumes.

use std::time::Duration;

use cache_engine::cache_core::Json;
use cache_engine::{Cache, cached, invalidates};
use cache_memory::MemoryBackend;

#[cached(
    cache = cache,
    skip(cache),
    ttl = Duration::from_secs(slots),
    jitter = f64::from(policy) / 10.0,
    stale_if_error = Duration::from_secs(plan.into()),
    store_if = move |_| keep == 1 && hit == 1,
    tags = ["{entry}", "{output}"],
    namespace = "{key}",
    when = condition,
    contributes = capture == 1,
    coder = Json,
    version = missed.into()
)]
#[rustfmt::skip]
async fn every_name(
    cache: Cache, plan: u8, coder: u8, key: u8, looked: u8, missed: u8, settings: u8, policy: u8, body: u8, keep: u8,
    shape: u8, output: u8, capture: u8, slots: u64, flight: u8, ran: u8, landing: u8, own: u8, ended: u8, hit: u8,
    entry: u8, call: u8, here: u8, name: u8, condition: bool, this: u8, own_entry: u8, displayed: u8,
) -> u64 {
    drop(cache);
    assert!(condition);
    let names = [
        plan, coder, key, looked, missed, settings, policy, body, keep, shape, output, capture, flight, ran, landing, own,
        ended, hit, entry, call, here, name, this, own_entry, displayed,
    ];
    names.into_iter().map(u64::from).sum::<u64>() + slots
}

#[cached(
    cache = cache,
    early_refresh_after = f64::from(policy) / 10.0,
    soft_timeout = Duration::from_secs(slots),
    ttl_of = move |_| Duration::from_secs(u64::from(own + ended)),
    unless = !condition,
    key = name
)]
#[rustfmt::skip]
async fn detached(
    cache: Cache, plan: u8, coder: u8, key: u8, looked: u8, missed: u8, settings: u8, policy: u8, body: u8, keep: u8,
    shape: u8, output: u8, capture: u8, slots: u64, flight: u8, ran: u8, landing: u8, own: u8, ended: u8, hit: u8,
    entry: &u8, call: u8, here: u8, name: u8, condition: bool, this: u8, own_entry: u8, displayed: u8,
) -> u64 {
    drop(cache);
    assert!(condition);
    let names = [
        plan, coder, key, looked, missed, settings, policy, body, keep, shape, output, capture, flight, ran, landing, own,
        ended, hit, *entry, call, here, name, this, own_entry, displayed,
    ];
    names.into_iter().map(u64::from).sum::<u64>() + slots
}

// With an item in its body, the entry function calls it.
#[cached(cache = cache, skip(cache), ttl = Duration::from_secs(slots))]
#[rustfmt::skip]
async fn with_item(
    cache: Cache, plan: u8, coder: u8, key: u8, looked: u8, missed: u8, settings: u8, policy: u8, body: u8, keep: u8,
    shape: u8, output: u8, capture: u8, slots: u64, flight: u8, ran: u8, landing: u8, own: u8, ended: u8, hit: u8,
    entry: u8, call: u8, here: u8, name: u8, condition: bool, this: u8, own_entry: u8, displayed: u8,
) -> u64 {
    fn nothing() {}
    nothing();
    drop(cache);
    assert!(condition);
    let names = [
        plan, coder, key, looked, missed, settings, policy, body, keep, shape, output, capture, flight, ran, landing, own,
        ended, hit, entry, call, here, name, this, own_entry, displayed,
    ];
    names.into_iter().map(u64::from).sum::<u64>() + slots
}

#[invalidates(cache = cache, key = "{invalidations}", tags = ["{output}", "{completion}"])]
async fn written(cache: Cache, invalidations: u8, output: u8, completion: u8) -> u8 {
    drop(cache);
    invalidations + output + completion
}

#[derive(Clone, serde::Serialize)]
struct Request {
    id: u32,
    ttl: Duration,
    owner: String,
}

#[cached(
    cache = cache,
    skip(cache),
    ttl = request.ttl,
    tags = [format!("owner:{}", request.owner)],
    store_if = { let owner = request.owner.clone(); move |text: &String| *text != owner },
)]
async fn answer(cache: &Cache, request: Request) -> String {
    let Request { id, owner, .. } = request;
    format!("{id} {owner}")
}

#[cached(cache = cache, skip(cache), ttl = request.ttl, stale_while_revalidate = request.ttl)]
async fn answer_detached(cache: &Cache, request: Request) -> String {
    request.owner
}

/// The options of a call that is not cached are not evaluated.
#[cached(cache = cache, skip(cache), when = ttl.is_some(), ttl = ttl.unwrap())]
async fn perhaps(cache: &Cache, ttl: Option<Duration>) -> Option<Duration> {
    ttl
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let _ = (every_name, every_name_entry, detached, detached_entry, with_item, with_item_entry);
    let cache = Cache::builder(MemoryBackend::default()).build();
    let request = |seconds| Request {
        id: 1,
        ttl: Duration::from_secs(seconds),
        owner: "Ada".to_owned(),
    };
    assert_eq!(answer(&cache, request(60)).await, "1 Ada");
    assert_eq!(answer_entry(&cache, request(60)).get().await.unwrap().as_deref(), Some("1 Ada"));
    assert_eq!(answer(&cache, request(0)).await, "1 Ada");
    assert_eq!(answer_entry(&cache, request(0)).get().await.unwrap(), None, "its own lifetime");
    assert_eq!(answer_detached(&cache, request(60)).await, "Ada");
    assert_eq!(perhaps(&cache, None).await, None);
    assert_eq!(written(cache, 1, 2, 3).await, 6);
}
