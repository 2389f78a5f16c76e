//! Filters: which events a subscription wants. One syntax tree for every face.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Invalid;
use super::attribute::{check_name, escape_pointer};
use super::event::Event;
use super::topic::TopicFilter;

/// Deepest nesting of a filter.
pub const FILTER_DEPTH_MAX: usize = 16;

/// Most nodes of a filter.
pub const FILTER_NODES_MAX: usize = 256;

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
    /// Every filter in the list holds.
    All(Vec<Filter>),
    /// At least one filter in the list holds.
    Any(Vec<Filter>),
    /// The filter does not hold.
    Not(Box<Filter>),
}

/// Something that must be true of an event for a filter to match it: what an index can file by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anchor {
    /// The topic lies in this topic filter.
    Topic(TopicFilter),
    /// This attribute equals this text.
    Attribute(String, String),
}

impl Filter {
    /// Reads a filter from its JSON form. Errors point at the node.
    pub fn parse(value: &Value) -> Result<Self, Invalid> {
        parse_node(value, "", 1, &mut 0)
    }

    /// Writes the JSON form.
    pub fn print(&self) -> Value {
        let list = |filters: &[Filter]| filters.iter().map(Filter::print).collect::<Value>();
        match self {
            Self::Topic(filter) => json!({ "topic": filter.as_str() }),
            Self::Exact(texts) => json!({ "exact": texts }),
            Self::Prefix(texts) => json!({ "prefix": texts }),
            Self::Suffix(texts) => json!({ "suffix": texts }),
            Self::All(filters) => json!({ "all": list(filters) }),
            Self::Any(filters) => json!({ "any": list(filters) }),
            Self::Not(filter) => json!({ "not": filter.print() }),
        }
    }

    /// Whether an event passes.
    pub fn matches(&self, event: &Event) -> bool {
        let every = |texts: &BTreeMap<String, String>, holds: fn(&str, &str) -> bool| {
            texts
                .iter()
                .all(|(name, text)| event.attribute(name).is_some_and(|value| holds(&value, text)))
        };
        match self {
            Self::Topic(filter) => filter.matches(event.topic.as_str()),
            Self::Exact(texts) => every(texts, |value, text| value == text),
            Self::Prefix(texts) => every(texts, |value, text| value.starts_with(text)),
            Self::Suffix(texts) => every(texts, |value, text| value.ends_with(text)),
            Self::All(filters) => filters.iter().all(|filter| filter.matches(event)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(event)),
            Self::Not(filter) => !filter.matches(event),
        }
    }

    /// Anchors of which at least one is true of every event that this filter matches. `None`: the
    /// filter has to be asked about every event.
    pub fn anchors(&self) -> Option<Vec<Anchor>> {
        match self {
            Self::Topic(filter) if filter.as_str() == "#" => None,
            Self::Topic(filter) => Some(vec![Anchor::Topic(filter.clone())]),
            Self::Exact(texts) => {
                let best = ["subject", "type", "source"]
                    .into_iter()
                    .find_map(|name| texts.get_key_value(name));
                let (name, text) = best.or_else(|| texts.first_key_value())?;
                Some(vec![Anchor::Attribute(name.clone(), text.clone())])
            }
            Self::All(filters) => filters.iter().filter_map(Filter::anchors).min_by_key(Vec::len),
            Self::Any(filters) => {
                let each: Option<Vec<_>> = filters.iter().map(Filter::anchors).collect();
                each.map(|anchors| anchors.into_iter().flatten().collect())
            }
            Self::Prefix(_) | Self::Suffix(_) | Self::Not(_) => None,
        }
    }
}

fn parse_node(value: &Value, at: &str, depth: usize, nodes: &mut usize) -> Result<Filter, Invalid> {
    *nodes += 1;
    if depth > FILTER_DEPTH_MAX || *nodes > FILTER_NODES_MAX {
        let detail = format!(
            "at most {FILTER_DEPTH_MAX} levels deep and {FILTER_NODES_MAX} nodes in a filter"
        );
        return Err(Invalid::new(at, detail));
    }
    let form = "must be an object with exactly one of: topic, exact, prefix, suffix, all, any, not";
    let single = value
        .as_object()
        .filter(|object| object.len() == 1)
        .and_then(|object| object.iter().next());
    let Some((operator, operand)) = single else { return Err(Invalid::new(at, form)) };
    let at = format!("{at}/{}", escape_pointer(operator));
    match operator.as_str() {
        "topic" => {
            let text = operand
                .as_str()
                .ok_or_else(|| Invalid::new(&at, "must be a topic filter as a string"))?;
            TopicFilter::parse(text).map(Filter::Topic).map_err(|error| error.under(&at))
        }
        "exact" => parse_texts(operand, &at).map(Filter::Exact),
        "prefix" => parse_texts(operand, &at).map(Filter::Prefix),
        "suffix" => parse_texts(operand, &at).map(Filter::Suffix),
        "all" => parse_list(operand, &at, depth, nodes).map(Filter::All),
        "any" => parse_list(operand, &at, depth, nodes).map(Filter::Any),
        "not" => {
            parse_node(operand, &at, depth + 1, nodes).map(|filter| Filter::Not(Box::new(filter)))
        }
        unknown => Err(Invalid::new(&at, format!("{unknown:?} is not a filter; a filter {form}"))),
    }
}

fn parse_list(
    value: &Value,
    at: &str,
    depth: usize,
    nodes: &mut usize,
) -> Result<Vec<Filter>, Invalid> {
    let items = value.as_array().filter(|items| !items.is_empty());
    let items = items.ok_or_else(|| Invalid::new(at, "must be a list of at least one filter"))?;
    let parse_item = |(index, item)| parse_node(item, &format!("{at}/{index}"), depth + 1, nodes);
    items.iter().enumerate().map(parse_item).collect()
}

fn parse_texts(value: &Value, at: &str) -> Result<BTreeMap<String, String>, Invalid> {
    let object: &Map<String, Value> =
        value.as_object().filter(|object| !object.is_empty()).ok_or_else(|| {
            Invalid::new(at, "must be an object of attribute names and texts, not empty")
        })?;
    let parse_entry = |(name, text): (&String, &Value)| {
        check_name(name).map_err(|error| error.under(at))?;
        match text.as_str() {
            Some(text) if !text.is_empty() => Ok((name.clone(), text.to_owned())),
            _ => Err(Invalid::new(
                format!("{at}/{}", escape_pointer(name)),
                "must be a string, not empty",
            )),
        }
    };
    object.iter().map(parse_entry).collect()
}

#[cfg(test)]
mod tests {
    use super::super::cloudevents;
    use super::*;

    fn event() -> Event {
        let text = br#"{"specversion":"1.0","id":"1","source":"/s","type":"flows.created",
            "subject":"f1","n":5}"#;
        cloudevents::parse(text).expect("valid event")
    }

    #[test]
    fn a_filter_says_yes_and_no_where_it_should() {
        let check = |filter: Value, expected: bool| {
            let parsed = Filter::parse(&filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
            assert_eq!(parsed.matches(&event()), expected, "{filter}");
            assert_eq!(parsed.print(), filter);
        };
        check(json!({"topic": "flows/+"}), true);
        check(json!({"topic": "other/#"}), false);
        check(json!({"exact": {"type": "flows.created", "subject": "f1"}}), true);
        check(json!({"exact": {"type": "flows.created", "subject": "f2"}}), false);
        check(json!({"exact": {"n": "5"}}), true);
        check(json!({"prefix": {"source": "/"}}), true);
        check(json!({"suffix": {"type": ".created"}}), true);
        check(json!({"prefix": {"missing": "x"}}), false);
        check(json!({"not": {"prefix": {"missing": "x"}}}), true);
        check(json!({"all": [{"topic": "#"}, {"exact": {"id": "1"}}]}), true);
        check(json!({"any": [{"topic": "x"}, {"exact": {"id": "2"}}]}), false);
    }

    #[test]
    fn a_bad_filter_is_refused_at_its_node() {
        let check = |filter: Value, pointer: &str| {
            assert_eq!(Filter::parse(&filter).expect_err("refused").pointer, pointer, "{filter}");
        };
        check(json!("x"), "");
        check(json!({}), "");
        check(json!({"topic": "a", "exact": {"id": "1"}}), "");
        check(json!({"sql": "true"}), "/sql");
        check(json!({"topic": "a/#/b"}), "/topic");
        check(json!({"all": []}), "/all");
        check(json!({"all": [{"topic": "a"}, {"exact": {}}]}), "/all/1/exact");
        check(json!({"not": {"exact": {"type": 5}}}), "/not/exact/type");
        check(json!({"exact": {"Type": "x"}}), "/exact/Type");
        let mut deep = json!({"topic": "a"});
        for _ in 0..FILTER_DEPTH_MAX {
            deep = json!({ "not": deep });
        }
        assert!(Filter::parse(&deep).is_err());
    }

    #[test]
    fn anchors_never_miss_a_match() {
        let check = |filter: Value, anchored: Option<usize>| {
            let anchors = Filter::parse(&filter).expect("valid").anchors();
            assert_eq!(anchors.map(|anchors| anchors.len()), anchored, "{filter}");
        };
        check(json!({"topic": "a/+"}), Some(1));
        check(json!({"topic": "#"}), None);
        check(json!({"all": [{"topic": "#"}, {"exact": {"type": "t"}}]}), Some(1));
        check(json!({"any": [{"topic": "a"}, {"exact": {"type": "t"}}]}), Some(2));
        check(json!({"any": [{"topic": "a"}, {"prefix": {"type": "t"}}]}), None);
        check(json!({"not": {"topic": "a"}}), None);
    }
}
