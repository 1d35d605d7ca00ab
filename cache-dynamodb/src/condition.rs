//! The conditions of writes, as condition expressions.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use cache_core::{Timestamp, Version};

use crate::item::{DEADLINE, Item, KEY, TTL, VALUE, VERSION, number, version_attribute};

/// A condition expression with its names and values. Every name is a placeholder with `#`, since `key`, `value` and
/// `ttl` are reserved words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    pub(crate) expression: String,
    pub(crate) names: HashMap<String, String>,
    pub(crate) values: HashMap<String, AttributeValue>,
}

impl Condition {
    fn new(expression: impl Into<String>) -> Self {
        Self {
            expression: expression.into(),
            names: HashMap::new(),
            values: HashMap::new(),
        }
    }

    fn name(mut self, name: &str) -> Self {
        self.names.insert(format!("#{name}"), name.to_owned());
        self
    }

    fn value(mut self, name: &str, value: AttributeValue) -> Self {
        self.values.insert(format!(":{name}"), value);
        self
    }

    /// There is an item, expired or not.
    pub(crate) fn exists() -> Self {
        Self::new("attribute_exists(#key)").name(KEY)
    }

    /// There is no record: no item, or an expired one.
    pub(crate) fn absent(now: Timestamp) -> Self {
        Self::new(
            "attribute_not_exists(#key) OR #deadline <= :now OR (attribute_not_exists(#deadline) AND #ttl <= :seconds)",
        )
        .name(KEY)
        .name(DEADLINE)
        .name(TTL)
        .value("now", number(now.as_millis()))
        .value("seconds", number(now.as_millis() / 1000))
    }

    /// There is a record of this version that has not expired.
    pub(crate) fn version(version: Version, now: Timestamp) -> Self {
        Self::new("#version = :version AND (attribute_not_exists(#deadline) OR #deadline > :now)")
            .name(VERSION)
            .name(DEADLINE)
            .value("version", version_attribute(version))
            .value("now", number(now.as_millis()))
    }

    /// There is an item, and it has not changed since it was read. For foreign items, which have no version attribute.
    pub(crate) fn unchanged(item: &Item) -> Self {
        let mut condition = Self::exists();
        for name in [VALUE, TTL, VERSION, DEADLINE] {
            condition = condition.name(name);
            match item.get(name) {
                Some(value) => {
                    condition.expression.push_str(&format!(" AND #{name} = :{name}"));
                    condition = condition.value(name, value.clone());
                }
                None => condition
                    .expression
                    .push_str(&format!(" AND attribute_not_exists(#{name})")),
            }
        }
        condition
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::primitives::Blob;

    use super::*;

    /// DynamoDB refuses a placeholder that is defined but not used, or used but not defined.
    fn is_closed(condition: &Condition) {
        let text = &condition.expression;
        let used: std::collections::HashSet<&str> = text
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '#' || c == ':' || c == '_'))
            .filter(|word| word.starts_with(['#', ':']))
            .collect();
        let named: std::collections::HashSet<&str> = condition
            .names
            .keys()
            .chain(condition.values.keys())
            .map(String::as_str)
            .collect();
        assert_eq!(used, named, "{text}");
    }

    #[test]
    fn conditions_name_what_they_use() {
        let now = Timestamp::from_millis(1_700_000_000_123);
        is_closed(&Condition::exists());
        is_closed(&Condition::absent(now));
        is_closed(&Condition::version(Version::from_u128(1), now));
        is_closed(&Condition::unchanged(&Item::new()));
        let item = Item::from([(VALUE.to_owned(), AttributeValue::B(Blob::new("a")))]);
        let condition = Condition::unchanged(&item);
        is_closed(&condition);
        assert_eq!(
            condition.expression,
            "attribute_exists(#key) AND #value = :value AND attribute_not_exists(#ttl) AND \
             attribute_not_exists(#version) AND attribute_not_exists(#deadline)"
        );
    }
}
