//! People, and what they ask for.

use http::Method;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// What the routes say of their answers. The first ones may be shared, as far as the request allows it.
const SHARED: [&str; 5] = ["plain", "public", "slow", "withheld", "validated"];
pub(crate) const OWN: [&str; 6] = ["session", "private", "no-store", "vary-any", "sometimes", "broken"];

/// Known by name in the test of declared users, and by nothing but their credentials in the others.
pub(crate) const USERS: [&str; 3] = ["Bearer ann", "Bearer ben", "Bearer cat"];

/// One request of one person.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// With the query.
    pub(crate) path: String,
    pub(crate) authorization: Vec<&'static [u8]>,
    pub(crate) cookies: Vec<&'static [u8]>,
    pub(crate) others: Vec<(&'static str, &'static str)>,
    pub(crate) title_case: bool,
    /// What `Host` says.
    pub(crate) host: &'static str,
    /// The host in the request's target, which counts where the two differ (RFC 9112, section 3.2.2).
    pub(crate) target_host: Option<&'static str>,
}

impl Asked {
    pub(crate) fn has_credentials(&self) -> bool {
        !self.authorization.is_empty() || !self.cookies.is_empty()
    }

    /// The hosts that a handler sees, by the field and by the target.
    pub(crate) fn hosts(&self) -> [&'static str; 2] {
        [self.host, self.target_host.unwrap_or(self.host)]
    }

    /// The target as the request has it.
    pub(crate) fn target(&self) -> String {
        let origin = self
            .target_host
            .map(|host| format!("http://{host}"))
            .unwrap_or_default();
        format!("{origin}{}", self.path)
    }

    pub(crate) fn says_no_store(&self) -> bool {
        self.others.contains(&("cache-control", "no-store"))
    }

    /// Without what caches read in different ways: a host in the target, empty fields and several of one name, bytes that
    /// are no text, and fields that `Connection` names.
    fn plain(mut self) -> Self {
        self.target_host = None;
        for values in [&mut self.authorization, &mut self.cookies] {
            values.retain(|value| !value.is_empty() && value.is_ascii());
            values.truncate(1);
        }
        self.others.retain(|(name, _)| *name != "connection");
        self
    }

    /// Who this is by a declaration that looks at `Authorization`.
    pub(crate) fn user(&self) -> Option<&'static str> {
        USERS
            .into_iter()
            .find(|user| self.authorization.first() == Some(&user.as_bytes()))
    }

    pub(crate) fn api_key(&self) -> Option<&'static str> {
        self.others
            .iter()
            .find(|(name, _)| *name == "x-api-key")
            .map(|(_, key)| *key)
    }
}

/// Some spell one parameter in many ways, and some add what nobody looks at.
const QUERIES: [&str; 8] = [
    "?page=1",
    "?page=2",
    "?p%61ge=2",
    "?%70age=1&page=2",
    "?page=2&%70age=1",
    "?page+=2",
    "?utm=1&page=1",
    "?utm=2",
];

/// At once; and what time it is for the cache afterwards.
pub(crate) type Round = (Vec<Asked>, u64);

fn asked(routes: Vec<&'static str>, mostly_users: bool) -> impl Strategy<Value = Asked> {
    let method = prop_oneof![16 => Just(Method::GET), 2 => Just(Method::HEAD), 2 => Just(Method::PUT)];
    let user = select(USERS[..2].to_vec()).prop_map(|user| vec![user.as_bytes()]);
    let host = || prop_oneof![9 => Just("app.test"), 1 => Just("other.test")];
    let query = prop_oneof![2 => Just(""), 1 => select(QUERIES.to_vec())];
    let path = (select(routes), query).prop_map(|(route, query)| format!("/{route}{query}"));
    let authorization: Vec<&[u8]> = vec![
        USERS[0].as_bytes(),
        USERS[1].as_bytes(),
        b"",
        b"basic \xff\xfe",
        b"Digest x",
    ];
    let cookies: Vec<&[u8]> = vec![b"session=1", b"session=2; theme=dark", b"", b"\xe4"];
    let others = vec![
        ("cache-control", "no-store"),
        ("cache-control", "no-cache"),
        ("cache-control", "max-stale"),
        ("cache-control", "max-age=3"),
        ("if-none-match", "*"),
        ("if-modified-since", "Sun, 06 Nov 2094 08:49:37 GMT"),
        ("range", "bytes=0-3"),
        ("x-api-key", "1"),
        ("x-api-key", "2"),
        ("accept-encoding", "gzip"),
        ("connection", "authorization, cookie"),
        ("x-forwarded-for", "192.0.2.1"),
    ];
    (
        method,
        path,
        prop_oneof![
            4 => Just(vec![]),
            1 => vec(select(authorization), 1..3),
            if mostly_users { 8 } else { 0 } => user,
        ],
        prop_oneof![4 => Just(vec![]), 1 => vec(select(cookies), 1..3)],
        prop_oneof![1 => Just(vec![]), 1 => subsequence(others, 1..3)],
        any::<bool>(),
        (host(), proptest::option::weighted(0.2, host())),
    )
        .prop_map(
            |(method, path, authorization, cookies, others, title_case, (host, target_host))| Asked {
                method,
                path,
                authorization,
                cookies,
                others,
                title_case,
                host,
                target_host,
            },
        )
}

/// All about two routes, so that people meet. `mostly_users` is whether most of them are known by name. `is_downstream` is
/// whether they ask through another cache: then they ask for nothing about whose sharing the application itself has
/// spoken, and send nothing that other caches read in other ways.
pub(crate) fn rounds(mostly_users: bool, is_downstream: bool) -> impl Strategy<Value = Vec<Round>> {
    let spoken_for = |route: &&str| is_downstream && ["public", "validated", "withheld"].contains(route);
    let routes: Vec<&str> = SHARED
        .into_iter()
        .chain(OWN)
        .chain(["keyed"])
        .filter(|route| !spoken_for(route))
        .collect();
    subsequence(routes, 2).prop_flat_map(move |routes| {
        let seconds = select(vec![0_u64, 0, 1, 7, 20, 100]);
        let asked =
            asked(routes, mostly_users).prop_map(move |asked| if is_downstream { asked.plain() } else { asked });
        vec((vec(asked, 1..12), seconds), 1..6)
    })
}
