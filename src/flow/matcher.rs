//! The matcher's index: finds the subscriptions that an event might match in time that does not
//! grow with those that it cannot. What it finds is asked its whole filter.

use std::collections::HashMap;

use crate::domain::event::Event;
use crate::domain::filter::{Anchor, Filter};
use crate::domain::trie::Trie;

/// Subscriptions by what must be true of their events.
#[derive(Debug, Default)]
pub(super) struct Index {
    topics: Trie<u32>,
    attributes: HashMap<String, HashMap<String, Vec<u32>>>,
    rest: Vec<u32>,
}

impl Index {
    /// Files a subscription under its filter.
    pub(super) fn insert(&mut self, number: u32, filter: &Filter) {
        let Some(anchors) = filter.anchors() else {
            self.rest.push(number);
            return;
        };
        for anchor in anchors {
            match anchor {
                Anchor::Topic(topic) => self.topics.insert(&topic, number),
                Anchor::Attribute(name, text) => {
                    let texts = self.attributes.entry(name).or_default();
                    texts.entry(text).or_default().push(number);
                }
            }
        }
    }

    /// Takes a subscription out again. The filter is the one it was filed under.
    pub(super) fn remove(&mut self, number: u32, filter: &Filter) {
        let Some(anchors) = filter.anchors() else {
            self.rest.retain(|held| *held != number);
            return;
        };
        for anchor in anchors {
            match anchor {
                Anchor::Topic(topic) => {
                    self.topics.remove(&topic, &number);
                }
                Anchor::Attribute(name, text) => self.remove_attribute(number, &name, &text),
            }
        }
    }

    /// Subscriptions that might match an event, each once, in the order of their numbers.
    pub(super) fn candidates(&self, event: &Event, found: &mut Vec<u32>) {
        found.clear();
        found.extend_from_slice(&self.rest);
        self.topics.matches(event.topic.as_str(), &mut |number| found.push(*number));
        for (name, texts) in &self.attributes {
            if let Some(text) = event.attribute(name)
                && let Some(numbers) = texts.get(text.as_ref())
            {
                found.extend_from_slice(numbers);
            }
        }
        found.sort_unstable();
        found.dedup();
    }

    fn remove_attribute(&mut self, number: u32, name: &str, text: &str) {
        let Some(texts) = self.attributes.get_mut(name) else { return };
        if let Some(numbers) = texts.get_mut(text) {
            if let Some(position) = numbers.iter().position(|held| *held == number) {
                numbers.swap_remove(position);
            }
            if numbers.is_empty() {
                texts.remove(text);
            }
        }
        if texts.is_empty() {
            self.attributes.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::cloudevents;

    fn filter() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            "[ab]|\\+|#".prop_map(|topic| json!({ "topic": topic })),
            "[ab]/([ab]|\\+|#)".prop_map(|topic| json!({ "topic": topic })),
            "[ab]\\.[ab]".prop_map(|kind| json!({"exact": {"type": kind}})),
            "[xy]".prop_map(|subject| json!({"exact": {"subject": subject, "source": "s"}})),
            "[ab]".prop_map(|kind| json!({"prefix": {"type": kind}})),
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
            gone in 0u32..12,
        ) {
            let text = json!({
                "specversion": "1.0", "id": "1", "source": "s", "type": kind, "subject": subject,
            });
            let event = cloudevents::parse(text.to_string().as_bytes()).expect("valid");
            let parse = |filter: &Value| Filter::parse(filter).expect("valid");
            let filters: Vec<(u32, Filter)> = (0..).zip(filters.iter().map(parse)).collect();
            let mut index = Index::default();
            filters.iter().for_each(|(number, filter)| index.insert(*number, filter));
            let found = |index: &Index| {
                let mut found = Vec::new();
                index.candidates(&event, &mut found);
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
            prop_assert!(index.rest.is_empty());
        }
    }
}
