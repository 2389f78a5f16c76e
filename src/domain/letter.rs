//! Dead letters by name: which one, and which ones are meant. Pure.

use std::fmt;

use super::delivery::DeadLetter;
use super::{Offset, Timestamp};

/// Most dead letters that can be named one by one.
pub const IDS_MAX: usize = 1_000;

/// Names a dead letter. A delivery has at most one: the newest takes the place of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The subscription's number.
    pub subscription: u32,
    /// The event.
    pub offset: Offset,
}

impl Id {
    /// Reads an id as it is printed.
    pub fn parse(text: &str) -> Option<Self> {
        let (subscription, offset) = text.split_once('-')?;
        let id = Self { subscription: subscription.parse().ok()?, offset: offset.parse().ok()? };
        (id.to_string() == text).then_some(id)
    }

    /// The first id after this one.
    #[must_use]
    pub fn next(self) -> Self {
        match self.offset.checked_add(1) {
            Some(offset) => Self { offset, ..self },
            None => Self { subscription: self.subscription.saturating_add(1), offset: 0 },
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.subscription, self.offset)
    }
}

impl DeadLetter {
    /// The letter's name.
    pub fn name(&self) -> Id {
        Id { subscription: self.subscription, offset: self.offset }
    }
}

/// Which dead letters are meant: those that fit everything that is said. Nothing said: all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    /// These and no others, in order and each once; empty: whichever.
    pub ids: Vec<Id>,
    /// Those of a subscription, by its id.
    pub subscription: Option<String>,
    /// Those with a code.
    pub code: Option<String>,
    /// Those given up at or after a time.
    pub since: Option<Timestamp>,
    /// Those given up before a time.
    pub until: Option<Timestamp>,
}

impl Choice {
    /// Whether a letter is meant.
    pub fn has(&self, letter: &DeadLetter) -> bool {
        (self.ids.is_empty() || self.ids.binary_search(&letter.name()).is_ok())
            && self.subscription.as_ref().is_none_or(|id| *id == letter.subscription_id)
            && self.code.as_ref().is_none_or(|code| code == letter.reason.code())
            && self.since.is_none_or(|since| letter.at >= since)
            && self.until.is_none_or(|until| letter.at < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::Reason;
    use crate::domain::samples::{at, letter};

    #[test]
    fn an_id_reads_back_and_nothing_else_does() {
        let id = Id { subscription: 7, offset: 42 };
        assert_eq!(Id::parse("7-42"), Some(id));
        for bad in ["", "7", "7-", "-42", "7-42-1", "07-42", "+7-42", "7-4294967296000000000000"] {
            assert_eq!(Id::parse(bad), None, "{bad}");
        }
        assert_eq!(id.next(), Id { subscription: 7, offset: 43 });
        assert_eq!(Id { offset: u64::MAX, ..id }.next(), Id { subscription: 8, offset: 0 });
    }

    #[test]
    fn a_choice_has_what_fits_everything_that_it_says() {
        let held = letter(7, 42, at(10));
        let check =
            |choice: Choice, expected| assert_eq!(choice.has(&held), expected, "{choice:?}");
        let id = |offset| Id { subscription: 7, offset };
        let text = |text: &str| Some(text.to_owned());
        check(Choice::default(), true);
        check(Choice { ids: vec![id(1), id(42)], ..Choice::default() }, true);
        check(Choice { ids: vec![id(1)], ..Choice::default() }, false);
        check(Choice { subscription: text("s7"), ..Choice::default() }, true);
        check(Choice { subscription: text("s8"), ..Choice::default() }, false);
        check(Choice { code: text(Reason::Exhausted.code()), ..Choice::default() }, true);
        check(Choice { code: text(Reason::Age.code()), ..Choice::default() }, false);
        check(Choice { since: Some(at(10)), until: Some(at(11)), ..Choice::default() }, true);
        check(Choice { since: Some(at(11)), ..Choice::default() }, false);
        check(Choice { until: Some(at(10)), ..Choice::default() }, false);
    }
}
