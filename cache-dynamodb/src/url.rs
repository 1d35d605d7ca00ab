//! Parses the URL `dynamodb://table?region=…&endpoint=…`.

use cache_core::Error;
use url::Url;

use crate::error::configuration;

/// The settings in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) table: String,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) consistent_reads: bool,
    pub(crate) create_table_if_missing: bool,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            table: String::new(),
            region: None,
            endpoint: None,
            consistent_reads: true,
            create_table_if_missing: false,
        }
    }
}

/// Parses a URL.
///
/// # Errors
/// Fails with [`Configuration`](cache_core::ErrorKind::Configuration). The message names the URL, unless it might
/// contain a secret.
pub(crate) fn parse(text: &str) -> Result<Target, Error> {
    // The URL has no place for credentials, but a user may put them there.
    if text.split(['?', '#']).next().is_some_and(|start| start.contains('@')) {
        return Err(configuration(
            "a dynamodb URL has no credentials: they are taken from the environment",
        ));
    }
    read(text).map_err(|message| configuration(format!("{message}, in {text:?}")))
}

fn read(text: &str) -> Result<Target, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if url.scheme() != "dynamodb" {
        return Err("the scheme must be dynamodb".to_owned());
    }
    if !matches!(url.path(), "" | "/") || url.port().is_some() || url.fragment().is_some() {
        return Err("after the table there are only parameters: dynamodb://table?region=…".to_owned());
    }
    let mut target = Target {
        table: url.host_str().unwrap_or_default().to_owned(),
        ..Target::default()
    };
    if target.table.is_empty() {
        return Err("the table is missing: dynamodb://table".to_owned());
    }
    for (name, value) in url.query_pairs() {
        match &*name {
            "region" => target.region = Some(non_empty(&name, &value)?),
            "endpoint" => target.endpoint = Some(non_empty(&name, &value)?),
            "consistent_reads" => target.consistent_reads = boolean(&name, &value)?,
            "create_table_if_missing" => target.create_table_if_missing = boolean(&name, &value)?,
            _ => return Err(format!("the parameter {name:?} has no meaning")),
        }
    }
    Ok(target)
}

fn non_empty(name: &str, value: &str) -> Result<String, String> {
    match value {
        "" => Err(format!("the parameter {name:?} is empty")),
        value => Ok(value.to_owned()),
    }
}

fn boolean(name: &str, value: &str) -> Result<bool, String> {
    value
        .parse()
        .map_err(|_| format!("the parameter {name:?} is true or false, not {value:?}"))
}

/// Checks the URL of an endpoint.
pub(crate) fn check_endpoint(endpoint: &str) -> Result<(), String> {
    let wrong = || format!("the endpoint must read http://host:port or https://host, not {endpoint:?}");
    let url = Url::parse(endpoint).map_err(|_| wrong())?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(())
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_says_table_region_and_endpoint() {
        let target = parse("dynamodb://My-Table_1.x?region=eu-central-1&endpoint=http://localhost:8000").unwrap();
        assert_eq!(target.table, "My-Table_1.x");
        assert_eq!(target.region.as_deref(), Some("eu-central-1"));
        assert_eq!(target.endpoint.as_deref(), Some("http://localhost:8000"));
        assert!(target.consistent_reads && !target.create_table_if_missing);

        let target = parse("dynamodb://cache/?consistent_reads=false&create_table_if_missing=true").unwrap();
        assert_eq!((&*target.table, target.region), ("cache", None));
        assert!(!target.consistent_reads && target.create_table_if_missing);
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for (url, part) in [
            ("dynamodb://", "table is missing"),
            ("dynamodb:cache", "table"),
            ("dynamo://cache", "scheme"),
            ("dynamodb://cache/other", "only parameters"),
            ("dynamodb://cache:8000", "only parameters"),
            ("dynamodb://cache#x", "only parameters"),
            ("dynamodb://cache?reigon=x", "\"reigon\""),
            ("dynamodb://cache?region=", "empty"),
            ("dynamodb://cache?consistent_reads=yes", "true or false"),
            ("cache", "relative URL"),
        ] {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
        }
    }

    #[test]
    fn credentials_are_refused_and_not_repeated() {
        let error = parse("dynamodb://AKIA:hunter2@cache").unwrap_err().to_string();
        assert!(error.contains("credentials") && !error.contains("hunter2"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in "(dynamodb:(//)?)?\\PC{0,40}") {
            let _ = parse(&text);
            let _ = check_endpoint(&text);
        }

        #[test]
        fn every_name_of_a_table_is_read_back(table in "[A-Za-z0-9_.-]{3,40}") {
            prop_assert_eq!(parse(&format!("dynamodb://{table}?region=x")).unwrap().table, table);
        }
    }
}
