//! Parses the URLs `memcached://host:port,host:port` and `memcached+unix:///path`.

use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::fleet::WhenDown;
use crate::stream::Address;

pub(crate) const DEFAULT_PORT: u16 = 11211;

/// The settings in a URL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Settings {
    pub(crate) servers: Vec<Address>,
    pub(crate) connections: Option<usize>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) operation_timeout: Option<Duration>,
    pub(crate) max_value_bytes: Option<usize>,
    pub(crate) when_down: Option<WhenDown>,
}

/// Parses a URL. It holds no secrets, so errors may quote it.
pub(crate) fn parse(text: &str) -> Result<Settings, String> {
    read(text).map_err(|problem| format!("{problem}, in {text:?}"))
}

fn read(text: &str) -> Result<Settings, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut settings = Settings::default();
    match scheme {
        "memcached" | "memcache" => {
            let hosts = place.strip_suffix('/').unwrap_or(place);
            for host in hosts.split(',') {
                settings.servers.push(address(host)?);
            }
        }
        "memcached+unix" | "memcache+unix" => {
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
        _ => return Err("the scheme must be memcached or memcached+unix".to_owned()),
    }
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "connections" => settings.connections = Some(number(name, value)?),
            "connect_timeout_ms" => settings.connect_timeout = Some(Duration::from_millis(number(name, value)?)),
            "operation_timeout_ms" => settings.operation_timeout = Some(Duration::from_millis(number(name, value)?)),
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

/// Parses `host` or `host:port`, where an IPv6 address is in brackets.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    let wrong = || format!("a server is written host:port, not {text:?}");
    let after_host = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or_else(wrong)?.1,
        None => text.find(':').map_or("", |colon| &text[colon..]),
    };
    let host = &text[..text.len() - after_host.len()];
    let plain = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]%".contains(&byte));
    if host.is_empty() || host == "[]" || !plain {
        return Err(wrong());
    }
    let port = match after_host.strip_prefix(':') {
        Some(port) => port.parse().map_err(|_| wrong())?,
        None if after_host.is_empty() => DEFAULT_PORT,
        None => return Err(wrong()),
    };
    Ok(Address::Tcp(format!("{host}:{port}")))
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
            connections: Some(4),
            connect_timeout: Some(Duration::from_millis(50)),
            operation_timeout: Some(Duration::from_millis(70)),
            max_value_bytes: Some(8),
            when_down: Some(WhenDown::Skip),
        };
        assert_eq!(parse(url), Ok(expected));
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
            ("memcached://user@a", "host:port"),
            ("memcached://a?conections=1", "\"conections\""),
            ("memcached://a?connections=many", "connections must be a number"),
            ("memcached://a?when_down=explode", "fail or skip"),
            ("memcached+unix://", "absolute"),
            ("memcached+unix://run/x", "absolute"),
        ] {
            let message = parse(url).unwrap_err();
            assert!(message.contains(part), "{url}: {message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*|memcached://[a:,\\[\\]0-9?&=]{0,12}") {
            let _ = parse(&text);
        }
    }
}
