//! Parses URLs such as `redis://…` and `redis-cluster://…`.

use std::borrow::Cow;
use std::path::PathBuf;

use cache_core::Error;
use fred::types::config::{ClusterDiscoveryPolicy, Server, ServerConfig};
use url::Url;

use crate::error::configuration;

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26379;

/// The settings in a URL.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) server: ServerConfig,
    pub(crate) tls: bool,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Deployment {
    Single,
    Cluster,
    Sentinel,
    Unix,
}

/// Returns the deployment that a scheme names, and whether it uses TLS.
fn scheme(scheme: &str) -> Option<(Deployment, bool)> {
    let (base, deployment) = match scheme.split_once(['-', '+']) {
        None if scheme == "unix" => return Some((Deployment::Unix, false)),
        None => (scheme, Deployment::Single),
        Some((base, "cluster")) => (base, Deployment::Cluster),
        Some((base, "sentinel")) => (base, Deployment::Sentinel),
        Some((base, "unix")) => (base, Deployment::Unix),
        Some(_) => return None,
    };
    match base {
        "redis" | "valkey" => Some((deployment, false)),
        "rediss" | "valkeys" if deployment != Deployment::Unix => Some((deployment, true)),
        _ => None,
    }
}

/// Parses a URL.
///
/// # Errors
/// Fails with [`Configuration`](cache_core::ErrorKind::Configuration). The message names the URL without its secrets.
pub(crate) fn parse(text: &str) -> Result<Target, Error> {
    read(text).map_err(|message| configuration(format!("{message}, in {:?}", redacted(text))))
}

fn read(text: &str) -> Result<Target, Cow<'static, str>> {
    // Checked before any part is quoted, since the rest may belong to a password.
    if let Some((_, rest)) = text.split_once("://")
        && let Some((_, after)) = rest.split_once(['/', '?', '#'])
        && after.contains('@')
    {
        return Err("there is an `@` after the host (in a password, / ? # @ are written %2F %3F %23 %40)".into());
    }
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let (deployment, tls) = scheme(url.scheme()).ok_or(
        "the scheme must be redis, rediss (TLS), redis-cluster, rediss-cluster, redis-sentinel, rediss-sentinel or \
         redis+unix",
    )?;
    if url.fragment().is_some() {
        return Err("a `#` has no meaning here (in a password it is written %23)".into());
    }
    let mut query = Query::read(&url, deployment)?;
    let server = match deployment {
        Deployment::Single => ServerConfig::Centralized {
            server: host(&url, DEFAULT_PORT)?,
        },
        Deployment::Cluster => ServerConfig::Clustered {
            hosts: hosts(&url, DEFAULT_PORT, query.nodes)?,
            // The nodes that the Cluster reports may outlive those in the URL.
            policy: ClusterDiscoveryPolicy::UseCache,
        },
        Deployment::Sentinel => ServerConfig::Sentinel {
            hosts: hosts(&url, DEFAULT_SENTINEL_PORT, query.nodes)?,
            service_name: query
                .service
                .ok_or("the master's name is missing: add ?sentinelServiceName=…")?,
            username: query.sentinel_username,
            password: query.sentinel_password,
        },
        Deployment::Unix => ServerConfig::Unix {
            path: socket_path(&url)?,
        },
    };
    if let Some(database) = path_database(&url, deployment)? {
        query.database = Some(database);
    }
    Ok(Target {
        server,
        tls,
        username: non_empty(decoded(url.username())?),
        password: url.password().map(decoded).transpose()?.and_then(non_empty),
        database: query.database,
    })
}

#[derive(Default)]
struct Query {
    nodes: Vec<Server>,
    service: Option<String>,
    sentinel_username: Option<String>,
    sentinel_password: Option<String>,
    database: Option<u8>,
}

impl Query {
    /// A misspelt parameter is an error, so that no node is silently missing.
    fn read(url: &Url, deployment: Deployment) -> Result<Self, Cow<'static, str>> {
        let mut query = Self::default();
        for (name, value) in url.query_pairs() {
            let (name, value) = (&*name, value.into_owned());
            match (name, deployment) {
                ("node", Deployment::Cluster | Deployment::Sentinel) => query.nodes.push(node(&value)?),
                ("sentinelServiceName", Deployment::Sentinel) => query.service = non_empty(value),
                ("sentinelUsername", Deployment::Sentinel) => query.sentinel_username = non_empty(value),
                ("sentinelPassword", Deployment::Sentinel) => query.sentinel_password = non_empty(value),
                ("db", Deployment::Unix) => query.database = Some(database(&value)?),
                _ => return Err(format!("the parameter {name:?} has no meaning with this scheme").into()),
            }
        }
        Ok(query)
    }
}

fn host(url: &Url, default_port: u16) -> Result<Server, Cow<'static, str>> {
    match url.host_str() {
        Some(host) if !host.is_empty() => Ok(Server::new(without_brackets(host), url.port().unwrap_or(default_port))),
        _ => Err("the host is missing".into()),
    }
}

fn hosts(url: &Url, default_port: u16, others: Vec<Server>) -> Result<Vec<Server>, Cow<'static, str>> {
    let mut hosts = vec![host(url, default_port)?];
    hosts.extend(others);
    Ok(hosts)
}

/// Parses `host:port`, where an IPv6 address is in brackets.
fn node(text: &str) -> Result<Server, Cow<'static, str>> {
    text.rsplit_once(':')
        .filter(|(host, _)| !host.is_empty() && (!host.contains(':') || host.starts_with('[')))
        .and_then(|(host, port)| Some(Server::new(without_brackets(host), port.parse().ok()?)))
        .ok_or_else(|| format!("a node is written host:port, not {text:?}").into())
}

/// Removes the brackets around an IPv6 address, which only URLs have.
fn without_brackets(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn path_database(url: &Url, deployment: Deployment) -> Result<Option<u8>, Cow<'static, str>> {
    match (url.path().trim_start_matches('/'), deployment) {
        (_, Deployment::Unix) | ("", _) => Ok(None),
        (_, Deployment::Cluster) => Err("a Cluster has no databases to choose from".into()),
        (path, _) => database(path).map(Some),
    }
}

fn database(text: &str) -> Result<u8, Cow<'static, str>> {
    text.parse()
        .map_err(|_| format!("the database must be a number from 0 to 255, not {text:?}").into())
}

fn socket_path(url: &Url) -> Result<PathBuf, Cow<'static, str>> {
    match decoded(url.path())? {
        path if path.len() > 1 => Ok(path.into()),
        _ => Err("the path of the socket is missing".into()),
    }
}

/// Decodes percent-encoded text outside of a query. In a query, `url` does it.
fn decoded(text: &str) -> Result<String, Cow<'static, str>> {
    // Outside of a query, `+` is a literal plus; in a query it is a space.
    let query = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
    let value = url::form_urlencoded::parse(query.as_bytes()).next();
    match value {
        Some((_, value)) if !value.contains(char::REPLACEMENT_CHARACTER) => Ok(value.into_owned()),
        _ => Err("what is percent-encoded must be UTF-8".into()),
    }
}

fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Returns a URL, or text that was meant as one, without anything that might be secret.
pub(crate) fn redacted(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        // Text such as `redis:password@host` has no separator after which the secret begins.
        return "(not a URL)".to_owned();
    };
    // Splits at the last `@`, since the password may contain one that is not encoded.
    let rest = match rest.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => rest.to_owned(),
    };
    let (address, query) = rest.split_once('?').unwrap_or((&rest, ""));
    let parameters: Vec<Cow<'_, str>> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| match parameter.split_once('=') {
            Some((name @ ("node" | "sentinelServiceName" | "sentinelUsername" | "db"), value)) => {
                format!("{name}={value}").into()
            }
            Some((name, _)) => format!("{name}=***").into(),
            None => parameter.into(),
        })
        .collect();
    let separator = if parameters.is_empty() { "" } else { "?" };
    format!("{scheme}://{address}{separator}{}", parameters.join("&"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ok(text: &str) -> Target {
        match parse(text) {
            Ok(target) => target,
            Err(error) => panic!("{error}"),
        }
    }

    fn message(text: &str) -> String {
        match parse(text) {
            Ok(_) => panic!("{text} is taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn one_server() {
        let target = ok("redis://localhost");
        assert_eq!(target.server, ServerConfig::new_centralized("localhost", 6379));
        assert_eq!(
            (target.tls, target.username, target.password, target.database),
            (false, None, None, None)
        );

        let target = ok("rediss://ada:p%40ss%2F+%3A@cache.example:7000/3");
        assert_eq!(target.server, ServerConfig::new_centralized("cache.example", 7000));
        assert!(target.tls);
        assert_eq!(target.username.as_deref(), Some("ada"));
        assert_eq!(target.password.as_deref(), Some("p@ss/+:"));
        assert_eq!(target.database, Some(3));

        let target = ok("valkey://:secret@[::1]:7000/");
        assert_eq!(target.server, ServerConfig::new_centralized("::1", 7000));
        assert_eq!((target.username, target.password.as_deref()), (None, Some("secret")));
    }

    #[test]
    fn a_cluster() {
        for scheme in ["redis-cluster", "redis+cluster", "valkey-cluster"] {
            let target = ok(&format!("{scheme}://a?node=b:7001&node=[::1]:7002"));
            let ServerConfig::Clustered { hosts, .. } = target.server else {
                panic!("{scheme} is no Cluster");
            };
            let hosts: Vec<_> = hosts.iter().map(|server| (&*server.host, server.port)).collect();
            assert_eq!(hosts, [("a", 6379), ("b", 7001), ("::1", 7002)]);
        }
        assert!(ok("rediss-cluster://a").tls);
    }

    #[test]
    fn sentinels() {
        let target =
            ok("redis-sentinel://u:p@a/2?sentinelServiceName=main&node=b:1&sentinelUsername=s&sentinelPassword=t");
        let expected = ServerConfig::Sentinel {
            hosts: vec![Server::new("a", 26379), Server::new("b", 1)],
            service_name: "main".to_owned(),
            username: Some("s".to_owned()),
            password: Some("t".to_owned()),
        };
        assert_eq!(target.server, expected);
        assert_eq!((target.password.as_deref(), target.database), (Some("p"), Some(2)));
    }

    #[test]
    fn a_socket() {
        for scheme in ["unix", "redis+unix", "valkey+unix"] {
            let target = ok(&format!("{scheme}:///run/my%20redis.sock?db=4"));
            assert_eq!(target.server, ServerConfig::new_unix_socket("/run/my redis.sock"));
            assert_eq!(target.database, Some(4));
        }
        assert_eq!(ok("redis+unix://u:p@x/s").password.as_deref(), Some("p"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, part) in [
            ("localhost:6379", "scheme must be"),
            ("http://localhost", "scheme must be"),
            ("rediss+unix:///s", "scheme must be"),
            ("redis-clutser://a", "scheme must be"),
            ("redis://", "host"),
            ("redis://a:port", "port"),
            ("redis://a/x", "database must be a number"),
            ("redis://a/256", "database must be a number"),
            ("redis://a/1/2", "database must be a number"),
            ("redis://a#b", "%23"),
            ("redis://:pass?word@a", "%3F"),
            ("redis://a?node=b:1", "\"node\" has no meaning"),
            ("redis-cluster://a/1", "no databases"),
            ("redis-cluster://a?node=b", "host:port"),
            ("redis-cluster://a?node=::1:1", "host:port"),
            ("redis-sentinel://a", "sentinelServiceName"),
            ("redis-sentinel://a?sentinelServicename=x", "\"sentinelServicename\""),
            ("redis+unix://", "path"),
            ("redis://%ff@a", "UTF-8"),
        ] {
            let message = message(url);
            assert!(message.contains(part), "{url}: {message}");
            assert!(message.starts_with("redis: configuration: "), "{message}");
        }
    }

    #[test]
    fn errors_name_the_url_without_its_secrets() {
        assert_eq!(
            message("redis-sentinel://u:se:cret@a@b?sentinelPassword=secret&sentinelSrviceName=x&node=c:1"),
            "redis: configuration: the parameter \"sentinelSrviceName\" has no meaning with this scheme, in \
             \"redis-sentinel://***@b?sentinelPassword=***&sentinelSrviceName=***&node=c:1\""
        );
        assert!(!message("redis:secret@host").contains("secret"));
    }

    proptest! {
        #[test]
        fn no_password_is_ever_shown(
            start in "(redis|rediss|redis-cluster|redis-sentinel|http)://",
            user in "[a-z:@/?#]{0,4}",
            end in "(@host|@host:1/x|@|@host?node=1)",
        ) {
            if let Err(error) = parse(&format!("{start}{user}:hunter2{end}")) {
                prop_assert!(!format!("{error:?}").contains("hunter2"), "{}", error);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = parse(&text);
        }
    }
}
