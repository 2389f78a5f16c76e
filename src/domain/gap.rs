//! Gaps: offsets that were to be read and that the log no longer has, since retention removed them
//! or damage took them. Pure; never decides what is removed.

use super::record::Entry;
use super::{Offset, Timestamp};

/// Offsets that are not in the log any more: `from` on, before `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The first of them.
    pub from: Offset,
    /// The first after them.
    pub to: Offset,
}

/// What the log no longer had when a subscription came to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The newest range.
    pub newest: Missing,
    /// When that was noted.
    pub at: Timestamp,
    /// Offsets passed over, all ranges together.
    pub total: u64,
}

impl Missing {
    /// How many offsets these are.
    pub fn count(self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// What of it is not known yet: a range is met again when a crash forgot that it was passed.
    pub fn beyond(self, known: Option<Gap>) -> Option<Self> {
        let from = known.map_or(self.from, |gap| self.from.max(gap.newest.to));
        (from < self.to).then_some(Self { from, ..self })
    }
}

impl Gap {
    /// Adds a range to what is known.
    pub fn after(known: Option<Self>, newest: Missing, at: Timestamp) -> Self {
        let before = known.map_or(0, |gap| gap.total);
        Self { newest, at, total: before.saturating_add(newest.count()) }
    }
}

/// What is missing of `from..to` where the log gave `entries` for it.
pub fn missing(from: Offset, entries: &[Entry], to: Offset) -> Vec<Missing> {
    let (mut next, mut found) = (from, Vec::new());
    for offset in entries.iter().map(|entry| entry.offset).filter(|offset| *offset < to) {
        if offset > next {
            found.push(Missing { from: next, to: offset });
        }
        next = offset.saturating_add(1);
    }
    if next < to {
        found.push(Missing { from: next, to });
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::record::{Progress, Record};
    use crate::domain::samples::at;

    #[test]
    fn what_is_missing_is_what_no_entry_stands_for() {
        let check = |from, offsets: &[Offset], to, expected: &[(Offset, Offset)]| {
            let entry = |offset: &Offset| {
                let record = Record::Progress(Arc::new(Progress::default()));
                Entry { offset: *offset, at: at(0), record }
            };
            let entries: Vec<_> = offsets.iter().map(entry).collect();
            let found = missing(from, &entries, to);
            let found: Vec<_> = found.iter().map(|missing| (missing.from, missing.to)).collect();
            assert_eq!(found, expected, "{from}..{to} gave {offsets:?}");
        };
        check(0, &[0, 1, 2], 3, &[]);
        check(5, &[], 5, &[]);
        check(0, &[4, 5], 6, &[(0, 4)]);
        check(0, &[0, 3, 4, 7], 8, &[(1, 3), (5, 7)]);
        check(2, &[], 9, &[(2, 9)]);
        check(2, &[3, 9], 6, &[(2, 3), (4, 6)]);
    }

    #[test]
    fn a_range_that_is_met_again_is_counted_once() {
        let missing = |from, to| Missing { from, to };
        let first = Gap::after(None, missing(10, 20), at(1));
        assert_eq!(first.total, 10);
        assert_eq!(missing(10, 20).beyond(Some(first)), None);
        assert_eq!(missing(15, 25).beyond(Some(first)), Some(missing(20, 25)));
        assert_eq!(missing(30, 31).beyond(Some(first)), Some(missing(30, 31)));
        let second = Gap::after(Some(first), missing(20, 25), at(2));
        assert_eq!((second.total, second.newest, second.at), (15, missing(20, 25), at(2)));
    }
}
