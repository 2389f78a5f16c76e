//! The matcher's index: finds the subscriptions that an event might match in time that does not
//! grow with those that it cannot. What it finds is asked its whole filter.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::domain::filter::{Anchor, Facts, Filter, Path};
use crate::domain::trie::Trie;

/// Subscriptions by a text. In order, so that taking one out takes no longer where there are many.
type Texts = HashMap<String, BTreeSet<u32>>;

/// Subscriptions by what must be true of their events.
#[derive(Debug, Default)]
pub struct Index {
    topics: Trie<u32>,
    attributes: HashMap<String, Texts>,
    data: HashMap<Path, Texts>,
    rest: BTreeSet<u32>,
}

impl Index {
    /// Files a subscription under its filter.
    pub fn insert(&mut self, number: u32, filter: &Filter) {
        let Some(anchors) = filter.anchors() else {
            self.rest.insert(number);
            return;
        };
        for anchor in anchors {
            let (texts, text) = match anchor {
                Anchor::Topic(topic) => {
                    self.topics.insert(&topic, number);
                    continue;
                }
                Anchor::Attribute(name, text) => (self.attributes.entry(name).or_default(), text),
                Anchor::Data(path, text) => (self.data.entry(path).or_default(), text),
            };
            texts.entry(text).or_default().insert(number);
        }
    }

    /// Takes a subscription out again. The filter is the one it was filed under.
    pub fn remove(&mut self, number: u32, filter: &Filter) {
        let Some(anchors) = filter.anchors() else {
            self.rest.remove(&number);
            return;
        };
        for anchor in anchors {
            match anchor {
                Anchor::Topic(topic) => {
                    self.topics.remove(&topic, &number);
                }
                Anchor::Attribute(name, text) => take(&mut self.attributes, &name, &text, number),
                Anchor::Data(path, text) => take(&mut self.data, &path, &text, number),
            }
        }
    }

    /// Subscriptions that might match an event, each once, in the order of their numbers.
    pub fn candidates(&self, facts: &Facts<'_>, found: &mut Vec<u32>) {
        found.clear();
        found.extend(&self.rest);
        self.topics.matches(facts.event.topic.as_str(), &mut |number| found.push(*number));
        for (name, texts) in &self.attributes {
            if let Some(text) = facts.event.attribute(name)
                && let Some(numbers) = texts.get(text.as_ref())
            {
                found.extend(numbers);
            }
        }
        if !self.data.is_empty()
            && let Some(data) = facts.data()
        {
            self.data_candidates(data, found);
        }
        found.sort_unstable();
        found.dedup();
    }

    fn data_candidates(&self, data: &Value, found: &mut Vec<u32>) {
        for (path, texts) in &self.data {
            let text = path.find(data).and_then(Anchor::scalar);
            if let Some(numbers) = text.and_then(|text| texts.get(&text)) {
                found.extend(numbers);
            }
        }
    }
}

fn take<K: std::hash::Hash + Eq>(held: &mut HashMap<K, Texts>, key: &K, text: &str, number: u32) {
    let Some(texts) = held.get_mut(key) else { return };
    if let Some(numbers) = texts.get_mut(text) {
        numbers.remove(&number);
        if numbers.is_empty() {
            texts.remove(text);
        }
    }
    if texts.is_empty() {
        held.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::cloudevents;

    fn value() -> impl Strategy<Value = Value> {
        let values = [json!(0), json!(0.0), json!(-0.0), json!(1), json!(1.0), json!("1")];
        let more = [json!(null), json!(true), json!([1]), json!([1.0, "1"]), json!({"a": 1})];
        proptest::sample::select([&values[..], &more].concat())
    }

    fn filter() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            "[ab]|\\+|#".prop_map(|topic| json!({ "topic": topic })),
            "[ab]/([ab]|\\+|#)".prop_map(|topic| json!({ "topic": topic })),
            "[ab]\\.[ab]".prop_map(|kind| json!({"exact": {"type": kind}})),
            "[xy]".prop_map(|subject| json!({"exact": {"subject": subject, "source": "s"}})),
            "[ab]".prop_map(|kind| json!({"prefix": {"type": kind}})),
            "subject|time".prop_map(|name| json!({ "exists": name })),
            ("[mn]", value())
                .prop_map(|(path, value)| { json!({"data": {"path": path, "equals": value}}) }),
            ("[mn]", proptest::collection::vec(value(), 1..3))
                .prop_map(|(path, values)| { json!({"data": {"path": path, "in": values}}) }),
            ("[mn]", any::<bool>())
                .prop_map(|(path, wanted)| { json!({"data": {"path": path, "exists": wanted}}) }),
            "[01]".prop_map(|text| json!({"data": {"path": "m", "regex": text}})),
            value().prop_map(|value| json!({"data": {"path": "n", "contains": value}})),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 1..3)
                    .prop_map(|all| json!({ "all": all })),
                proptest::collection::vec(inner.clone(), 1..3)
                    .prop_map(|any| json!({ "any": any })),
                inner.prop_map(|not| json!({ "not": not })),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_index_finds_what_each_filter_alone_would(
            filters in proptest::collection::vec(filter(), 1..12),
            kind in "[ab]\\.[ab]",
            subject in "[xyz]",
            data in proptest::option::of((value(), proptest::option::of(value()))),
            gone in 0u32..12,
        ) {
            let mut text = json!({
                "specversion": "1.0", "id": "1", "source": "s", "type": kind, "subject": subject,
            });
            if let Some((m, n)) = data {
                text["data"] = n.map_or(json!({"m": m.clone()}), |n| json!({"m": m, "n": n}));
            }
            let event = cloudevents::parse(text.to_string().as_bytes()).expect("valid");
            let parse = |filter: &Value| Filter::parse(filter).expect("valid");
            let filters: Vec<(u32, Filter)> = (0..).zip(filters.iter().map(parse)).collect();
            let mut index = Index::default();
            filters.iter().for_each(|(number, filter)| index.insert(*number, filter));
            let found = |index: &Index| {
                let mut found = Vec::new();
                index.candidates(&Facts::new(&event), &mut found);
                found.retain(|number| {
                    filters.iter().any(|(at, filter)| at == number && filter.matches(&event))
                });
                found
            };
            let mut expected: Vec<u32> = Vec::new();
            let matching = filters.iter().filter(|(_, filter)| filter.matches(&event));
            expected.extend(matching.map(|(number, _)| number));
            prop_assert_eq!(found(&index), expected.clone());
            for (number, filter) in filters.iter().filter(|(number, _)| *number == gone) {
                index.remove(*number, filter);
                expected.retain(|held| held != number);
            }
            prop_assert_eq!(found(&index), expected);
            for (number, filter) in filters.iter().filter(|(number, _)| *number != gone) {
                index.remove(*number, filter);
            }
            prop_assert!(index.attributes.is_empty() && index.topics.is_empty());
            prop_assert!(index.data.is_empty());
            prop_assert!(index.rest.is_empty());
        }
    }
}
