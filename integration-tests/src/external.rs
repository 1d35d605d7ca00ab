//! Running stores that environment variables name.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

/// Returns the value of a variable, if it is set.
///
/// # Panics
///
/// Panics if the variable is empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    let value = match std::env::var(name) {
        Ok(value) => value,
        Err(std::env::VarError::NotPresent) => return None,
        Err(error) => panic!("{name}: {error}"),
    };
    assert!(
        !value.trim().is_empty(),
        "{name} is set but empty: give it a value, or unset it to have a container started"
    );
    Some(value.trim().to_owned())
}

/// Returns the URL in a variable.
///
/// # Panics
///
/// Panics if it is not a URL with a host and one of `schemes`.
pub(crate) fn parse(name: &str, value: &str, schemes: &[&str]) -> Url {
    let url = Url::parse(value).unwrap_or_else(|error| panic!("{name} is not a URL ({error}): {value:?}"));
    assert!(
        schemes.contains(&url.scheme()) && url.host_str().is_some_and(|host| !host.is_empty()),
        "{name} must read {}://host:port…, not {value:?}",
        schemes.join(":// or ")
    );
    url
}

/// Returns `host:port` of a URL and of each of its `node=host:port` parameters.
pub(crate) fn addresses(url: &Url, default_port: u16) -> Vec<String> {
    let host = url.host_str().unwrap_or_default();
    let first = format!("{host}:{}", url.port().unwrap_or(default_port));
    let nodes = url.query_pairs().filter(|(name, _)| name == "node");
    std::iter::once(first)
        .chain(nodes.map(|(_, node)| node.into_owned()))
        .collect()
}

/// # Panics
///
/// Panics if an address accepts no connection within five seconds.
pub(crate) async fn must_answer(name: &str, addresses: &[String]) {
    for address in addresses {
        match timeout(Duration::from_secs(5), TcpStream::connect(address)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => panic!("{name} names {address}, which does not answer: {error}"),
            Err(_) => panic!("{name} names {address}, which does not answer within five seconds"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_the_host_and_the_nodes() {
        let url = parse("X", "redis-cluster://a:1?node=b:2&node=c:3", &["redis-cluster"]);
        assert_eq!(addresses(&url, 6379), ["a:1", "b:2", "c:3"]);
        let url = parse("X", "redis://a/3", &["redis"]);
        assert_eq!(addresses(&url, 6379), ["a:6379"]);
    }

    #[test]
    #[should_panic(expected = "X must read redis://host:port…, not \"memcached://a:1\"")]
    fn the_url_of_another_store_is_refused() {
        parse("X", "memcached://a:1", &["redis"]);
    }

    #[test]
    #[should_panic(expected = "X must read redis://host:port…, not \"redis:\"")]
    fn a_url_without_a_host_is_refused() {
        parse("X", "redis:", &["redis"]);
    }

    #[tokio::test]
    #[should_panic(expected = "does not answer")]
    async fn a_store_that_does_not_answer_is_a_failure() {
        let closed = crate::ports::free_ports(1)[0];
        must_answer("X", &[format!("127.0.0.1:{closed}")]).await;
    }
}
