//! A topic trie: finds the filters that match a topic in time that does not grow with those that do
//! not. Used by the matcher (subscriptions) and by the MQTT router (sessions).

use std::collections::{BTreeSet, HashMap};

use super::topic::TopicFilter;

/// Values filed under topic filters. One value may be filed under several filters, once each, and
/// several values under one.
#[derive(Debug)]
pub struct Trie<T> {
    root: Node<T>,
    entries: usize,
}

// Small, since there is one for each level of each filter: what most nodes have not takes no room.
#[derive(Debug)]
#[expect(clippy::box_collection, reason = "most nodes have no table, and are many")]
struct Node<T> {
    levels: Option<Box<HashMap<Box<str>, Node<T>>>>,
    any: Option<Box<Node<T>>>,
    rest: Values<T>,
    here: Values<T>,
}

/// Values in order, so that taking one out takes no longer where there are many.
#[derive(Debug)]
#[expect(clippy::box_collection, reason = "most hold one value, and are many")]
enum Values<T> {
    None,
    One(T),
    Many(Box<BTreeSet<T>>),
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { levels: None, any: None, rest: Values::None, here: Values::None }
    }
}

impl<T> Node<T> {
    fn is_empty(&self) -> bool {
        let is_none = |values: &Values<T>| matches!(values, Values::None);
        self.levels.is_none() && self.any.is_none() && is_none(&self.rest) && is_none(&self.here)
    }
}

impl<T> Values<T> {
    fn each<'a>(&'a self, found: &mut impl FnMut(&'a T)) {
        match self {
            Self::None => {}
            Self::One(value) => found(value),
            Self::Many(values) => values.iter().for_each(found),
        }
    }
}

impl<T: Ord> Values<T> {
    /// False: it was there before.
    fn insert(&mut self, value: T) -> bool {
        match std::mem::replace(self, Self::None) {
            Self::None => {
                *self = Self::One(value);
                true
            }
            Self::One(held) => {
                let is_new = held != value;
                *self = match is_new {
                    true => Self::Many(Box::new(BTreeSet::from([held, value]))),
                    false => Self::One(held),
                };
                is_new
            }
            Self::Many(mut values) => {
                let is_new = values.insert(value);
                *self = Self::Many(values);
                is_new
            }
        }
    }

    fn remove(&mut self, value: &T) -> bool {
        let (is_removed, is_empty) = match self {
            Self::None => (false, true),
            Self::One(held) => (held == value, held == value),
            Self::Many(values) => (values.remove(value), values.is_empty()),
        };
        if is_empty {
            *self = Self::None;
        }
        is_removed
    }
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { root: Node::default(), entries: 0 }
    }
}

impl<T: Ord> Trie<T> {
    /// Files a value under a filter; one that is filed there already stays as it is.
    pub fn insert(&mut self, filter: &TopicFilter, value: T) {
        let mut node = &mut self.root;
        for level in filter.as_str().split('/') {
            match level {
                "#" => {
                    self.entries += usize::from(node.rest.insert(value));
                    return;
                }
                "+" => node = node.any.get_or_insert_default(),
                name => {
                    let levels = node.levels.get_or_insert_default();
                    node = levels.entry(name.into()).or_default();
                }
            }
        }
        self.entries += usize::from(node.here.insert(value));
    }

    /// Takes a value out from under a filter. Branches left empty are freed.
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
        node.rest.each(found);
    }
    let Some((first, below)) = levels.split_first() else {
        node.here.each(found);
        return;
    };
    if let Some(child) = node.levels.as_ref().and_then(|levels| levels.get(*first)) {
        walk(child, below, false, found);
    }
    if let (Some(any), false) = (&node.any, reserved) {
        walk(any, below, false, found);
    }
}

fn remove_below<T: Ord>(node: &mut Node<T>, levels: &[&str], value: &T) -> bool {
    let Some((first, below)) = levels.split_first() else {
        return node.here.remove(value);
    };
    match *first {
        "#" => node.rest.remove(value),
        "+" => {
            let Some(child) = &mut node.any else { return false };
            let removed = remove_below(child, below, value);
            if child.is_empty() {
                node.any = None;
            }
            removed
        }
        name => {
            let Some(levels) = &mut node.levels else { return false };
            let Some(child) = levels.get_mut(name) else { return false };
            let removed = remove_below(child, below, value);
            if child.is_empty() {
                levels.remove(name);
            }
            if levels.is_empty() {
                node.levels = None;
            }
            removed
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::cmp::Ordering;

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

    thread_local! {
        static COMPARISONS: Cell<u64> = const { Cell::new(0) };
    }

    /// A value that counts how often it is compared.
    #[derive(Debug)]
    struct Counted(u32);

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Counted {}

    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl Ord for Counted {
        fn cmp(&self, other: &Self) -> Ordering {
            COMPARISONS.set(COMPARISONS.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    #[test]
    fn taking_a_value_out_does_not_look_at_all_others() {
        const VALUES: u32 = 2_000;
        for text in ["a/b", "a/#", "+/b"] {
            let filter = TopicFilter::parse(text).expect(text);
            let mut trie = Trie::default();
            (0..VALUES).for_each(|number| trie.insert(&filter, Counted(number)));
            COMPARISONS.set(0);
            for number in (0..VALUES).rev() {
                assert!(trie.remove(&filter, &Counted(number)));
            }
            let each = COMPARISONS.get() / u64::from(VALUES);
            assert!(trie.is_empty() && each < 100, "{text}: {each} comparisons a removal");
        }
    }

    #[test]
    fn a_value_is_filed_under_a_filter_once() {
        let filter = TopicFilter::parse("a/#").expect("valid");
        let mut trie = Trie::default();
        trie.insert(&filter, 1);
        trie.insert(&filter, 1);
        assert_eq!(trie.len(), 1);
        assert!(trie.remove(&filter, &1) && !trie.remove(&filter, &1) && trie.is_empty());
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
