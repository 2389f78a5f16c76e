//! Why a filter does not hold: which of its clauses said no, in words. Never decides by itself;
//! what holds is the tree's to say.

use std::collections::BTreeMap;

use serde_json::Value;

use super::data::{DataTest, Test};
use super::facts::Facts;
use super::tree::Filter;
use crate::domain::attribute::escape_pointer;
use crate::domain::event::Form;

/// Most characters that are told of one value.
const SHOWN_CHARACTERS_MAX: usize = 80;

/// A clause that said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// JSON pointer into the filter.
    pub pointer: String,
    /// What it wanted and what it got.
    pub detail: String,
    /// What each branch of an `any` said; empty for everything else.
    pub branches: Vec<Refusal>,
}

impl Refusal {
    fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into(), branches: Vec::new() }
    }

    /// Bytes that it takes to tell, roughly.
    pub fn weight(&self) -> usize {
        let branches = self.branches.iter().map(Self::weight);
        self.pointer.len() + self.detail.len() + branches.sum::<usize>()
    }

    /// The same refusal seen from one level further out.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self.branches = self.branches.into_iter().map(|branch| branch.under(prefix)).collect();
        self
    }
}

impl Filter {
    /// The first clause that says no to an event; `None` exactly when the filter holds. Asks no
    /// clause twice, but to put into words what it found.
    pub fn refusal(&self, facts: &Facts<'_>) -> Option<Refusal> {
        match self {
            Self::All(filters) => {
                let said = |(at, filter): (usize, &Self)| {
                    Some(filter.refusal(facts)?.under(&format!("/all/{at}")))
                };
                filters.iter().enumerate().find_map(said)
            }
            Self::Any(filters) => {
                let said = |(at, filter): (usize, &Self)| {
                    Some(filter.refusal(facts)?.under(&format!("/any/{at}")))
                };
                let branches = filters.iter().enumerate().map(said).collect::<Option<Vec<_>>>()?;
                let detail = format!("none of its {} branches holds", filters.len());
                Some(Refusal { branches, ..Refusal::new("/any", detail) })
            }
            Self::Not(filter) => match &**filter {
                Self::Not(inner) => inner.refusal(facts).map(|said| said.under("/not/not")),
                inner if !inner.holds(facts) => None,
                _ => Some(Refusal::new("/not", "what stands in it holds")),
            },
            leaf if leaf.holds(facts) => None,
            Self::Topic(filter) => {
                let topic = shown(facts.event.topic.as_str());
                let detail =
                    format!("the topic {topic} does not lie in {}", shown(filter.as_str()));
                Some(Refusal::new("/topic", detail))
            }
            Self::Exact(texts) => {
                comparison("exact", "is not", texts, facts, |value, text| value == text)
            }
            Self::Prefix(texts) => {
                comparison("prefix", "does not start with", texts, facts, |value, text| {
                    value.starts_with(text)
                })
            }
            Self::Suffix(texts) => {
                comparison("suffix", "does not end with", texts, facts, |value, text| {
                    value.ends_with(text)
                })
            }
            Self::Exists(names) => {
                let missing = names.iter().find(|name| facts.event.attribute(name).is_none())?;
                Some(Refusal::new("/exists", format!("the event has no attribute {missing}")))
            }
            Self::Data(test) => Some(of_data(test, facts).under("/data")),
        }
    }
}

fn comparison(
    clause: &str,
    verb: &str,
    texts: &BTreeMap<String, String>,
    facts: &Facts<'_>,
    holds: fn(&str, &str) -> bool,
) -> Option<Refusal> {
    texts.iter().find_map(|(name, text)| {
        let value = facts.event.attribute(name);
        let detail = match &value {
            Some(value) if holds(value, text) => return None,
            Some(value) => format!("{name} is {} and {verb} {}", shown(value), shown(text)),
            None => format!("the event has no attribute {name}"),
        };
        Some(Refusal::new(format!("/{clause}/{}", escape_pointer(name)), detail))
    })
}

fn of_data(test: &DataTest, facts: &Facts<'_>) -> Refusal {
    let path = &test.path;
    let Some(data) = facts.data() else {
        let detail = match facts.event.data.as_ref().map(|data| data.form) {
            None => "the event has no data",
            Some(Form::Json) => "the data is nested too deep to be read",
            Some(Form::Text | Form::Binary) => "the data is not JSON",
        };
        return Refusal::new("", detail);
    };
    let found = path.find(data);
    let (clause, verb, wanted) = match &test.test {
        Test::Exists(true) => return Refusal::new("/exists", format!("nothing stands at {path}")),
        Test::Exists(false) => {
            return Refusal::new("/exists", format!("something stands at {path}"));
        }
        Test::Equals(value) => ("/equals", "is not", shown_json(value)),
        Test::In(values) => ("/in", "is none of", format!("the {} values", values.len())),
        Test::Contains(value) => ("/contains", "is no list with", shown_json(value)),
        Test::Regex(pattern) if found.is_some_and(Value::is_string) => {
            ("/regex", "has no match for", pattern.as_str().to_owned())
        }
        Test::Regex(_) => ("/regex", "is", "no text".to_owned()),
    };
    match found {
        None => Refusal::new("/path", format!("nothing stands at {path}")),
        Some(value) => {
            let detail = format!("{path} is {} and {verb} {wanted}", shown_json(value));
            Refusal::new(clause, detail)
        }
    }
}

/// A value as people read it, cut if it is long. Only as much of it is written as is shown.
fn shown_json(value: &Value) -> String {
    match value {
        Value::String(text) => shown(text),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(members) => format!("an object of {}", members.len()),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;
