//! A topic trie: finds the filters that match a topic in time that does not grow with those that do
//! not. Used by the matcher (subscriptions) and by the MQTT router (sessions).

use std::collections::HashMap;

use super::topic::TopicFilter;

/// Values filed under topic filters. One value may be filed under several filters, and several
/// values under one.
#[derive(Debug)]
pub struct Trie<T> {
    root: Node<T>,
    entries: usize,
}

#[derive(Debug)]
struct Node<T> {
    levels: HashMap<Box<str>, Node<T>>,
    any: Option<Box<Node<T>>>,
    rest: Vec<T>,
    here: Vec<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { levels: HashMap::new(), any: None, rest: Vec::new(), here: Vec::new() }
    }
}

impl<T> Node<T> {
    fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.any.is_none() && self.rest.is_empty() && self.here.is_empty()
    }
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { root: Node::default(), entries: 0 }
    }
}

impl<T: PartialEq> Trie<T> {
    /// Files a value under a filter.
    pub fn insert(&mut self, filter: &TopicFilter, value: T) {
        let mut node = &mut self.root;
        for level in filter.as_str().split('/') {
            match level {
                "#" => {
                    node.rest.push(value);
                    self.entries += 1;
                    return;
                }
                "+" => node = node.any.get_or_insert_default(),
                name => node = node.levels.entry(name.into()).or_default(),
            }
        }
        node.here.push(value);
        self.entries += 1;
    }

    /// Takes one filing of a value under a filter back. Branches left empty are freed.
    pub fn remove(&mut self, filter: &TopicFilter, value: &T) -> bool {
        let levels: Vec<&str> = filter.as_str().split('/').collect();
        let removed = remove_below(&mut self.root, &levels, value);
        self.entries -= usize::from(removed);
        removed
    }

    /// Calls `found` for each value filed under a filter that matches, once per filing.
    pub fn matches<'a>(&'a self, topic: &str, found: &mut impl FnMut(&'a T)) {
        let levels: Vec<&str> = topic.split('/').collect();
        walk(&self.root, &levels, topic.starts_with('$'), found);
    }

    /// How many filings there are.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether nothing is filed.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }
}

fn walk<'a, T>(node: &'a Node<T>, levels: &[&str], reserved: bool, found: &mut impl FnMut(&'a T)) {
    if !reserved {
        node.rest.iter().for_each(&mut *found);
    }
    let Some((first, below)) = levels.split_first() else {
        node.here.iter().for_each(found);
        return;
    };
    if let Some(child) = node.levels.get(*first) {
        walk(child, below, false, found);
    }
    if let (Some(any), false) = (&node.any, reserved) {
        walk(any, below, false, found);
    }
}

fn remove_below<T: PartialEq>(node: &mut Node<T>, levels: &[&str], value: &T) -> bool {
    let Some((first, below)) = levels.split_first() else {
        return take(&mut node.here, value);
    };
    match *first {
        "#" => take(&mut node.rest, value),
        "+" => {
            let Some(child) = &mut node.any else { return false };
            let removed = remove_below(child, below, value);
            if child.is_empty() {
                node.any = None;
            }
            removed
        }
        name => {
            let Some(child) = node.levels.get_mut(name) else { return false };
            let removed = remove_below(child, below, value);
            if child.is_empty() {
                node.levels.remove(name);
            }
            removed
        }
    }
}

fn take<T: PartialEq>(values: &mut Vec<T>, value: &T) -> bool {
    let Some(position) = values.iter().position(|held| held == value) else { return false };
    values.swap_remove(position);
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn levels() -> impl Strategy<Value = String> {
        proptest::collection::vec("[ab]|\\+", 1..5).prop_map(|parts| parts.join("/"))
    }

    proptest! {
        #[test]
        fn the_trie_finds_what_each_filter_alone_would(
            mut filters in proptest::collection::vec((levels(), any::<bool>()), 0..12),
            topic in proptest::collection::vec("[ab]", 1..6).prop_map(|parts| parts.join("/")),
            gone in 0usize..12,
        ) {
            let mut trie = Trie::default();
            let parsed: Vec<TopicFilter> = filters
                .drain(..)
                .map(|(text, rest)| if rest { format!("{text}/#") } else { text })
                .map(|text| TopicFilter::parse(&text).expect("built valid"))
                .collect();
            for (index, filter) in parsed.iter().enumerate() {
                trie.insert(filter, index);
            }
            if gone < parsed.len() {
                prop_assert!(trie.remove(&parsed[gone], &gone));
            }
            let mut found = Vec::new();
            trie.matches(&topic, &mut |index| found.push(*index));
            found.sort_unstable();
            let matching = |index: &usize| *index != gone && parsed[*index].matches(&topic);
            let expected: Vec<usize> = (0..parsed.len()).filter(matching).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn an_emptied_trie_holds_no_branches() {
        let mut trie = Trie::default();
        let filters =
            ["a/b/#", "a/+/c", "+/x", "#"].map(|text| TopicFilter::parse(text).expect(text));
        filters.iter().for_each(|filter| trie.insert(filter, 1));
        filters.iter().for_each(|filter| assert!(trie.remove(filter, &1)));
        assert!(trie.is_empty() && trie.root.is_empty());
        assert!(!trie.remove(&filters[0], &1));
    }
}
