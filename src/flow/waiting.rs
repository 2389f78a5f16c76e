//! Deliveries of one strand that wait for a time: those that failed, and those that their publisher
//! wants to be late. In memory, in the order of the log; the lane bounds their number.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use smol_str::SmolStr;

use crate::domain::Offset;
use crate::domain::delivery::Attempt;
use crate::domain::template::Response;

/// What is behind a delivery.
#[derive(Debug, Clone, Default)]
pub(super) struct Past {
    /// Every attempt.
    pub(super) attempts: Vec<Attempt>,
    /// What a template's steps were answered that are done.
    pub(super) responses: Vec<Response>,
}

/// A delivery that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) past: Past,
    pub(super) key: Option<SmolStr>,
    /// It was never tried: its publisher wants it to be late.
    pub(super) delayed: bool,
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Waitings {
    held: BTreeMap<Offset, Waiting>,
    /// Those whose time has come.
    due: BTreeSet<Offset>,
    /// Where in the log those with a key stand.
    keys: HashMap<SmolStr, BTreeSet<Offset>>,
    /// How many of them were never tried.
    delayed: usize,
}

impl Waitings {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// How many of them were never tried.
    pub(super) fn delayed(&self) -> usize {
        self.delayed
    }

    pub(super) fn contains(&self, offset: Offset) -> bool {
        self.held.contains_key(&offset)
    }

    pub(super) fn first(&self) -> Option<Offset> {
        self.held.first_key_value().map(|(offset, _)| *offset)
    }

    pub(super) fn last(&self) -> Option<Offset> {
        self.held.last_key_value().map(|(offset, _)| *offset)
    }

    /// The first with a key.
    pub(super) fn first_of(&self, key: &str) -> Option<Offset> {
        self.keys.get(key).and_then(|offsets| offsets.first().copied())
    }

    pub(super) fn key(&self, offset: Offset) -> Option<&SmolStr> {
        self.held.get(&offset).and_then(|waiting| waiting.key.as_ref())
    }

    pub(super) fn insert(&mut self, offset: Offset, waiting: Waiting) {
        self.remove(offset);
        self.delayed += usize::from(waiting.delayed);
        if let Some(key) = &waiting.key {
            self.keys.entry(key.clone()).or_default().insert(offset);
        }
        self.held.insert(offset, waiting);
    }

    pub(super) fn remove(&mut self, offset: Offset) -> Option<Waiting> {
        let waiting = self.held.remove(&offset)?;
        self.due.remove(&offset);
        self.delayed -= usize::from(waiting.delayed);
        if let Some(key) = &waiting.key
            && let Some(offsets) = self.keys.get_mut(key)
        {
            offsets.remove(&offset);
            if offsets.is_empty() {
                self.keys.remove(key);
            }
        }
        Some(waiting)
    }

    /// The time of one has come. False: it does not wait, or was due before.
    pub(super) fn fall_due(&mut self, offset: Offset) -> bool {
        self.held.contains_key(&offset) && self.due.insert(offset)
    }

    /// The time of all has come that failed: what they failed by was the target.
    pub(super) fn fall_all_due(&mut self) {
        if self.due.len() < self.held.len() {
            let tried = self.held.iter().filter(|(_, waiting)| !waiting.delayed);
            self.due.extend(tried.map(|(offset, _)| *offset));
        }
    }

    /// Those whose time has come, in the order of the log.
    pub(super) fn due(&self) -> impl Iterator<Item = Offset> {
        self.due.iter().copied()
    }

    pub(super) fn is_due(&self, offset: Offset) -> bool {
        self.due.contains(&offset)
    }
}
