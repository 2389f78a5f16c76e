//! The tree: what its nodes mean, and how they are printed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::data::DataTest;
use super::facts::Facts;
use crate::domain::event::Event;
use crate::domain::topic::TopicFilter;

/// A filter. A missing attribute makes a comparison false, and so its `not` true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// The event's topic lies in an MQTT topic filter.
    Topic(TopicFilter),
    /// Every named attribute equals its text.
    Exact(BTreeMap<String, String>),
    /// Every named attribute starts with its text.
    Prefix(BTreeMap<String, String>),
    /// Every named attribute ends with its text.
    Suffix(BTreeMap<String, String>),
    /// The event has every named attribute.
    Exists(BTreeSet<String>),
    /// The test holds of the event's data; false where that is not JSON.
    Data(DataTest),
    /// Every filter in the list holds.
    All(Vec<Filter>),
    /// At least one filter in the list holds.
    Any(Vec<Filter>),
    /// The filter does not hold.
    Not(Box<Filter>),
}

impl Filter {
    /// Writes the JSON form.
    pub fn print(&self) -> Value {
        let list = |filters: &[Self]| filters.iter().map(Self::print).collect::<Value>();
        match self {
            Self::Topic(filter) => json!({ "topic": filter.as_str() }),
            Self::Exact(texts) => json!({ "exact": texts }),
            Self::Prefix(texts) => json!({ "prefix": texts }),
            Self::Suffix(texts) => json!({ "suffix": texts }),
            Self::Exists(names) => json!({ "exists": names }),
            Self::Data(test) => json!({ "data": test.print() }),
            Self::All(filters) => json!({ "all": list(filters) }),
            Self::Any(filters) => json!({ "any": list(filters) }),
            Self::Not(filter) => json!({ "not": filter.print() }),
        }
    }

    /// Whether an event passes.
    pub fn matches(&self, event: &Event) -> bool {
        self.holds(&Facts::new(event))
    }

    /// Whether an event passes of which other filters may have asked something before.
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        let every = |texts: &BTreeMap<String, String>, holds: fn(&str, &str) -> bool| {
            let is_true = |(name, text): (&String, &String)| {
                facts.event.attribute(name).is_some_and(|value| holds(&value, text))
            };
            texts.iter().all(is_true)
        };
        match self {
            Self::Topic(filter) => filter.matches(facts.event.topic.as_str()),
            Self::Exact(texts) => every(texts, |value, text| value == text),
            Self::Prefix(texts) => every(texts, |value, text| value.starts_with(text)),
            Self::Suffix(texts) => every(texts, |value, text| value.ends_with(text)),
            Self::Exists(names) => names.iter().all(|name| facts.event.attribute(name).is_some()),
            Self::Data(test) => facts.data().is_some_and(|data| test.holds(data)),
            Self::All(filters) => filters.iter().all(|filter| filter.holds(facts)),
            Self::Any(filters) => filters.iter().any(|filter| filter.holds(facts)),
            Self::Not(filter) => !filter.holds(facts),
        }
    }

    /// What the named groups of regular expressions found in an event that passes. Of two groups
    /// with one name the first counts; what stands below a `not` found nothing.
    pub fn captures(&self, facts: &Facts<'_>) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        self.capture(facts, &mut found);
        found
    }

    fn capture(&self, facts: &Facts<'_>, found: &mut BTreeMap<String, String>) {
        match self {
            Self::Data(test) => {
                if let Some(data) = facts.data() {
                    test.capture(data, found);
                }
            }
            Self::All(filters) => filters.iter().for_each(|filter| filter.capture(facts, found)),
            Self::Any(filters) => {
                let holding = filters.iter().filter(|filter| filter.holds(facts));
                holding.for_each(|filter| filter.capture(facts, found));
            }
            Self::Topic(_)
            | Self::Exact(_)
            | Self::Prefix(_)
            | Self::Suffix(_)
            | Self::Exists(_)
            | Self::Not(_) => {}
        }
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
