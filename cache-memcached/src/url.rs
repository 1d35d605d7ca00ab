//! Parses the URLs `memcached://host:port,host:port`, `memcacheds://…` and `memcached+unix:///path`.

use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::fleet::WhenDown;
use crate::stream::{Address, address};

/// The settings in a URL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Settings {
    /// The servers, or the configuration endpoints if there is auto discovery.
    pub(crate) servers: Vec<Address>,
    pub(crate) tls: bool,
    pub(crate) auto_discovery: bool,
    pub(crate) node_refresh: Option<Duration>,
    pub(crate) connections: Option<usize>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) operation_timeout: Option<Duration>,
    pub(crate) max_value_bytes: Option<usize>,
    pub(crate) when_down: Option<WhenDown>,
}

/// Parses a URL. A valid one holds no secrets, so errors may quote it.
pub(crate) fn parse(text: &str) -> Result<Settings, String> {
    if has_user(text) {
        // Quotes nothing, for the password.
        return Err("a URL of Memcached has no user and no password: write memcached://host:port".to_owned());
    }
    read(text).map_err(|problem| format!("{problem}, in {text:?}"))
}

fn has_user(text: &str) -> bool {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let place = rest.split_once('?').map_or(rest, |(place, _)| place);
    // The path of a socket may have the sign.
    !scheme.ends_with("+unix") && place.contains('@')
}

fn read(text: &str) -> Result<Settings, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut settings = Settings::default();
    let is_unix = matches!(scheme, "memcached+unix" | "memcache+unix");
    match scheme {
        "memcached" | "memcache" | "memcacheds" | "memcached+tls" | "memcache+tls" => {
            settings.tls = !matches!(scheme, "memcached" | "memcache");
            let hosts = place.strip_suffix('/').unwrap_or(place);
            for host in hosts.split(',') {
                settings.servers.push(address(host)?);
            }
        }
        _ if is_unix => {
            for path in place.split(',') {
                let path = percent_decode_str(path)
                    .decode_utf8()
                    .map_err(|_| "what is percent-encoded must be UTF-8")?;
                if !path.starts_with('/') || path.len() == 1 {
                    return Err("the path of the socket must be absolute".to_owned());
                }
                settings.servers.push(Address::Unix(path.into_owned().into()));
            }
        }
        _ => return Err("the scheme must be memcached, memcacheds (TLS) or memcached+unix".to_owned()),
    }
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "connections" => settings.connections = Some(number(name, value)?),
            "connect_timeout_ms" => settings.connect_timeout = Some(Duration::from_millis(number(name, value)?)),
            "operation_timeout_ms" => settings.operation_timeout = Some(Duration::from_millis(number(name, value)?)),
            "auto_discovery" if is_unix => {
                return Err("auto_discovery needs servers with a host and a port".to_owned());
            }
            "auto_discovery" => {
                settings.auto_discovery = match value {
                    "true" => true,
                    "false" => false,
                    _ => return Err(format!("auto_discovery is true or false, not {value:?}")),
                };
            }
            "node_refresh_ms" => settings.node_refresh = Some(Duration::from_millis(number(name, value)?)),
            "max_value_bytes" => settings.max_value_bytes = Some(number(name, value)?),
            "when_down" => {
                settings.when_down = Some(match value {
                    "fail" => WhenDown::Fail,
                    "skip" => WhenDown::Skip,
                    _ => return Err(format!("when_down is fail or skip, not {value:?}")),
                });
            }
            // A misspelt parameter must not be ignored, since nobody would notice.
            _ => return Err(format!("unknown parameter {name:?}")),
        }
    }
    Ok(settings)
}

fn number<N: FromStr>(name: &str, value: &str) -> Result<N, String> {
    value
        .parse()
        .map_err(|_| format!("{name} must be a number, not {value:?}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn servers(text: &str) -> Vec<String> {
        let settings = parse(text).unwrap();
        settings.servers.iter().map(Address::name).collect()
    }

    #[test]
    fn one_server_or_several() {
        assert_eq!(servers("memcached://localhost"), ["localhost:11211"]);
        assert_eq!(
            servers("memcached://a:1,b,[::1]:2,[::2]/"),
            ["a:1", "b:11211", "[::1]:2", "[::2]:11211"]
        );
        assert_eq!(servers("memcached+unix:///run/a%20b.sock"), ["/run/a b.sock"]);
    }

    #[test]
    fn parameters() {
        let url = "memcached://a?connections=4&connect_timeout_ms=50&operation_timeout_ms=70&max_value_bytes=8&when_down=skip";
        let expected = Settings {
            servers: vec![Address::Tcp("a:11211".to_owned())],
            tls: false,
            auto_discovery: false,
            node_refresh: None,
            connections: Some(4),
            connect_timeout: Some(Duration::from_millis(50)),
            operation_timeout: Some(Duration::from_millis(70)),
            max_value_bytes: Some(8),
            when_down: Some(WhenDown::Skip),
        };
        assert_eq!(parse(url), Ok(expected));
    }

    #[test]
    fn tls_and_auto_discovery() {
        for (url, tls, auto_discovery) in [
            ("memcached://a", false, false),
            ("memcacheds://a", true, false),
            ("memcached+tls://a", true, false),
            ("memcache+tls://a", true, false),
            ("memcacheds://a?auto_discovery=true", true, true),
            ("memcached://a?auto_discovery=false", false, false),
        ] {
            let settings = parse(url).unwrap();
            assert_eq!((settings.tls, settings.auto_discovery), (tls, auto_discovery), "{url}");
        }
        let settings = parse("memcached://a?auto_discovery=true&node_refresh_ms=5000").unwrap();
        assert_eq!(settings.node_refresh, Some(Duration::from_secs(5)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, part) in [
            ("localhost:11211", "scheme must be"),
            ("redis://a", "scheme must be"),
            ("memcached://", "host:port"),
            ("memcached://a,,b", "host:port"),
            ("memcached://a:port", "host:port"),
            ("memcached://a:1:2", "host:port"),
            ("memcached://::1", "host:port"),
            ("memcached://[::1", "host:port"),
            ("memcached://user@a", "no user and no password"),
            ("memcached://a?conections=1", "\"conections\""),
            ("memcached://a?connections=many", "connections must be a number"),
            ("memcached://a?when_down=explode", "fail or skip"),
            ("memcached://a?auto_discovery=yes", "true or false"),
            ("memcached+unix:///a?auto_discovery=true", "a host and a port"),
            ("memcacheds+unix:///a", "scheme must be"),
            ("memcached+unix://", "absolute"),
            ("memcached+unix://run/x", "absolute"),
        ] {
            let message = parse(url).unwrap_err();
            assert!(message.contains(part), "{url}: {message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*|memcacheds?://[a:,\\[\\]0-9?&=]{0,12}") {
            let _ = parse(&text);
        }

        #[test]
        fn every_server_of_a_url_comes_back(
            scheme in "memcacheds?|memcached?\\+tls", hosts in prop::collection::vec("[a-z0-9][a-z0-9.-]{0,12}|\\[[0-9a-f:]{2,12}\\]", 1..5),
            port in proptest::option::of(1_u16..), discovery: Option<bool>,
        ) {
            let port = port.map_or_else(String::new, |port| format!(":{port}"));
            let places: Vec<String> = hosts.iter().map(|host| format!("{host}{port}")).collect();
            let query = discovery.map_or_else(String::new, |on| format!("?auto_discovery={on}"));
            let settings = parse(&format!("{scheme}://{}{query}", places.join(","))).unwrap();
            let port = if port.is_empty() { ":11211" } else { &port };
            let names: Vec<String> = hosts.iter().map(|host| format!("{host}{port}")).collect();
            prop_assert_eq!(settings.servers.iter().map(Address::name).collect::<Vec<_>>(), names);
            prop_assert_eq!(settings.tls, scheme.ends_with('s'));
            prop_assert_eq!(settings.auto_discovery, discovery.unwrap_or(false));
        }
    }
}
