//! No headers make the rules of HTTP caching panic or break their invariants.
//!
//! The input is a request, a response to it and a later response, each as header lines followed by an empty line. The
//! very first line has the method, the target, the status and the seconds between the responses.
#![no_main]

use std::time::Duration;

use cache_core::Timestamp;
use cache_http::{
    ContentRange, Framing, Lifetime, Multipart, NoVarySearch, Normalization, Outcome, Policy, Preference, RangeOutcome,
    Reason, RequestDirectives, ResponseDirectives, Storable, Validators, Vary, answers_later_get,
    applicable_directives, cache_groups, count_down, evaluate, evaluate_range, format_date, freshen, head_confirms,
    invalidated_groups, invalidated_targets, invalidated_uris, is_content_of_target, is_freshened_by, is_safe,
    make_conditional, may_collapse, normal_authority, normal_path, not_modified_headers, parse_date, parse_targeted,
    partial_headers, prepare_for_store, remove_hop_by_hop, request_bypass, set_age, storable, target_authority,
    unsatisfiable_headers, validation, variant_key,
};
use http::header::{AGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION, COOKIE, DATE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use libfuzzer_sys::fuzz_target;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// The length of the complete body that ranges are taken from.
const LENGTH: u64 = 1000;

struct Exchange {
    method: Method,
    target: Uri,
    status: StatusCode,
    request: HeaderMap,
    response: HeaderMap,
    later: HeaderMap,
    /// When the later response arrived.
    then: Timestamp,
}

impl Exchange {
    /// Skips lines that are not valid headers, since they would not reach a cache.
    fn read(input: &[u8]) -> Self {
        let mut lines = input.split(|&byte| byte == b'\n');
        let mut first = lines.next().unwrap_or_default().split(|&byte| byte == b' ');
        let mut next = || first.next().unwrap_or_default();
        Self {
            method: Method::from_bytes(next()).unwrap_or(Method::GET),
            target: Uri::try_from(next()).unwrap_or_else(|_| Uri::from_static("https://example.com/a?b")),
            status: StatusCode::from_bytes(next()).unwrap_or(StatusCode::OK),
            then: NOW + seconds(next()),
            request: message(&mut lines),
            response: message(&mut lines),
            later: message(&mut lines),
        }
    }
}

fn seconds(text: &[u8]) -> Duration {
    let text = std::str::from_utf8(text).unwrap_or_default();
    Duration::from_secs(text.parse().unwrap_or_default())
}

fn message<'a>(lines: &mut impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_bytes(value.trim_ascii()),
        ) {
            headers.append(name, value);
        }
    }
    headers
}

fuzz_target!(|input: &[u8]| {
    let exchange = Exchange::read(input);
    for policy in [Policy::route(), Policy::shared()] {
        storing(&policy, &exchange);
        freshening(&policy, &exchange);
    }
    answering(&exchange);
    variants(&exchange);
    invalidating(&exchange);
    spelling(&exchange);
    fields(&exchange.response);
});

fn storing(policy: &Policy, exchange: &Exchange) {
    let Exchange {
        method,
        status,
        request,
        response,
        then,
        ..
    } = exchange;
    let bypass = request_bypass(policy, method, request);
    let lifetime = Lifetime::from_response(policy, *status, response, NOW, *then);
    let verdict = storable(policy, method, request, *status, response, &lifetime);
    if verdict == Storable::Yes {
        assert_eq!(bypass, None);
        let directives = policy.directives(response);
        assert!(!directives.private.is_whole());
        assert!(!directives.no_store || directives.must_understand);
        let allowed = directives.public || directives.s_maxage.is_some() || directives.must_revalidate;
        assert!(may_collapse(policy, request) || allowed);
    }
    if *method == Method::HEAD {
        assert_eq!(verdict.reason(), Some(Reason::Method));
    }

    let asked = RequestDirectives::from_headers(request);
    for now in [NOW, *then, *then + Duration::from_secs(60)] {
        let _ = (lifetime.reuse(&asked, now), lifetime.usable_on_error(&asked, now));
        let _ = lifetime.usable_when_disconnected(&asked, policy.stale_if_disconnected, now);
        let _ = (lifetime.ttl_seconds(now), lifetime.fresh_until(), lifetime.usable_for());
        assert_eq!(lifetime.is_fresh(now), lifetime.age(now) < lifetime.fresh);
        set_age(&mut response.clone(), lifetime.age(now));
    }

    let mut stored = response.clone();
    prepare_for_store(policy, &mut stored, *then);
    assert!(stored.contains_key(DATE) && !stored.contains_key(CONNECTION));
    assert_withheld(&policy.directives(response), &stored);
}

/// `Date` is excepted, since it is set again.
fn assert_withheld(directives: &ResponseDirectives, stored: &HeaderMap) {
    for name in directives.withheld_fields().filter(|name| *name != DATE) {
        assert!(!stored.contains_key(name), "{name} is for one user");
    }
}

fn freshening(policy: &Policy, exchange: &Exchange) {
    let Exchange {
        response, later, then, ..
    } = exchange;
    let mut stored = response.clone();
    prepare_for_store(policy, &mut stored, NOW);
    let validators = Validators::from_headers(&stored);
    let _ = (is_freshened_by(&validators, later, true), head_confirms(&stored, later));
    let _ = (validation(exchange.status), validators.any());
    let _ = Framing::from_request(Version::HTTP_11, later);

    let had_cookie = stored.contains_key(SET_COOKIE);
    let before = policy.directives(&stored);
    let own = freshen(policy, &mut stored, later, *then);
    for directives in [&before, &policy.directives(later), &policy.directives(&stored)] {
        assert_withheld(directives, &stored);
    }
    assert!(stored.contains_key(DATE) && !stored.contains_key(AGE) || later.contains_key(AGE));
    let mut shared = later.clone();
    remove_hop_by_hop(&mut shared);
    for name in own.keys() {
        assert_eq!(
            lines(&own, name),
            lines(&shared, name),
            "{name} is the later response's own"
        );
    }
    if policy.set_cookie == Policy::route().set_cookie && later.contains_key(SET_COOKIE) {
        assert!(had_cookie || !stored.contains_key(SET_COOKIE));
    }
}

/// All equivalent spellings of a target have one normal form, and a rule on queries is symmetric.
fn spelling(exchange: &Exchange) {
    let target = &exchange.target;
    let normal = normal_path(target.path()).into_owned();
    assert_eq!(normal_path(&normal), normal);
    // What a URI cannot contain takes three bytes in place of one.
    assert!(normal.len() <= 3 * target.path().len());
    if let Ok(authority) = target_authority(target, &exchange.request) {
        let normal = normal_authority(authority, target.scheme());
        assert!(normal.len() <= authority.len());
    }
    let rules = NoVarySearch::from_headers(&exchange.response);
    let query = target.query().unwrap_or_default();
    let normal = rules.normal_query(query);
    assert!(rules.are_equivalent(query, &normal));
    assert_eq!(rules.normal_query(&normal), normal);
}

fn lines<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

fn answering(exchange: &Exchange) {
    let Exchange {
        method,
        status,
        request,
        response,
        later,
        ..
    } = exchange;
    let validators = Validators::from_headers(response);
    if evaluate(method, request, *status, &validators, NOW) == Outcome::NotModified {
        assert!(is_safe(method) && status.is_success());
        assert!(!not_modified_headers(response).contains_key("content-length"));
    }
    let mut conditional = request.clone();
    if !make_conditional(&mut conditional, [response, later]) {
        assert_eq!(conditional, *request);
    }
    match evaluate_range(method, request, *status, &validators, LENGTH) {
        RangeOutcome::Single(range) => {
            assert!(range.first <= range.last && range.last < LENGTH);
            let headers = partial_headers(response, range, LENGTH);
            let written = ContentRange::from_headers(&headers).expect("what is written can be read");
            assert_eq!((written.range, written.complete_length), (Some(range), Some(LENGTH)));
        }
        RangeOutcome::Several(ranges) => {
            // The ranges do not overlap, so the answer is never much longer than the whole content.
            let mut bytes: Vec<u64> = ranges.iter().flat_map(|range| range.first..=range.last).collect();
            let sent = bytes.len();
            bytes.sort_unstable();
            bytes.dedup();
            assert!(bytes.len() == sent && bytes.last() < Some(&LENGTH));
            let plan = Multipart::new(response, &ranges, LENGTH, "boundary");
            assert_eq!(plan.parts.len(), ranges.len());
        }
        RangeOutcome::Unsatisfiable => {
            let headers = unsatisfiable_headers(LENGTH);
            assert_eq!(
                ContentRange::from_headers(&headers).and_then(|range| range.complete_length),
                Some(LENGTH)
            );
        }
        RangeOutcome::Whole => {}
    }
}

fn variants(exchange: &Exchange) {
    let Exchange {
        request,
        response,
        later,
        ..
    } = exchange;
    let mut known = Normalization::default();
    known.accept_encoding = Some(Preference::OneOf(vec!["br".to_owned(), "gzip".to_owned()]));
    known.accept_language = Some(Preference::OneOf(vec!["de-AT".to_owned(), "en".to_owned()]));
    if let Vary::Fields(fields) = Vary::from_headers(response) {
        for normalization in [
            Normalization::default(),
            Normalization::by_quality(),
            Normalization::by_quality_and_order(),
            known,
        ] {
            let key = variant_key(&fields, request, &normalization);
            assert!(key.bytes().all(|byte| byte.is_ascii_graphic()));
            let mut chosen = request.clone();
            normalization.choose(&mut chosen);
            assert_eq!(variant_key(&fields, &chosen, &normalization), key);
        }
    }
    // Credentials are equal only if they are equal line by line.
    let key = |headers| variant_key(&[AUTHORIZATION, COOKIE], headers, &Normalization::by_quality());
    let is_same = [AUTHORIZATION, COOKIE]
        .iter()
        .all(|name| lines(request, name) == lines(later, name));
    assert_eq!(key(request) == key(later), is_same);
}

fn invalidating(exchange: &Exchange) {
    let Exchange {
        method,
        target,
        status,
        response,
        ..
    } = exchange;
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    let uris = invalidated_uris(method, target, *status, response);
    assert!(uris.iter().all(|uri| host(uri) == host(target)));
    assert!(uris.is_empty() || !is_safe(method));
    let targets = invalidated_targets(method, target, &exchange.request, *status, response);
    assert!(targets.iter().all(|uri| uri.authority() == target.authority()));
    assert_eq!(targets.is_empty(), uris.is_empty());
    let _ = is_content_of_target(target, response);
    let lifetime = Lifetime::from_response(&Policy::shared(), *status, response, NOW, NOW);
    assert!(!answers_later_get(method, target, *status, response, &lifetime) || *method == Method::POST);
    assert!(invalidated_groups(method, response).is_empty() || !is_safe(method));
    let _ = cache_groups(response);
}

/// Parses each value as the value of every field.
fn fields(headers: &HeaderMap) {
    for value in headers.values() {
        if let Some(date) = parse_date(value.as_bytes()) {
            assert_eq!(parse_date(format_date(date).as_bytes()), Some(date));
        }
        let _ = (parse_targeted([value]), Vary::named_fields([value]));
        let directives = ResponseDirectives::parse([value]);
        // Written directives forbid at least as much as the parsed ones.
        let written = ResponseDirectives::parse([directives.to_string()]);
        assert_eq!(written.private, directives.private);
        assert_eq!(written.no_cache, directives.no_cache);
        assert_eq!(
            (written.no_store, written.must_revalidate, written.proxy_revalidate),
            (
                directives.no_store,
                directives.must_revalidate,
                directives.proxy_revalidate
            )
        );
        assert_eq!(
            (written.max_age, written.s_maxage),
            (directives.max_age, directives.s_maxage)
        );
    }
    let name = HeaderName::from_static("cdn-cache-control");
    let applicable = applicable_directives(&[name], headers);
    assert!(applicable.targeted || applicable.directives == ResponseDirectives::from_headers(headers));

    let mut left = headers.clone();
    count_down(&mut left, 7);
    let (before, after) = (
        ResponseDirectives::from_headers(headers),
        ResponseDirectives::from_headers(&left),
    );
    assert_eq!(after.max_age, before.max_age.map(|seconds| seconds.saturating_sub(7)));
    assert_eq!((&after.private, after.no_store), (&before.private, before.no_store));
    assert_eq!(
        left.get_all(CACHE_CONTROL).iter().count(),
        headers.get_all(CACHE_CONTROL).iter().count()
    );
}
