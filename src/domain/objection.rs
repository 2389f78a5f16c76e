//! Why a subscription is not given an event: which of its terms said no, in words. Pure; tells
//! what holds now, not what held when the event was stored.

use super::filter::{Facts, Refusal};
use super::policy::SAMPLE_PARTS;
use super::subscription::{Start, State, Subscription};
use super::{Offset, Timestamp};

/// What said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The filter.
    Filter,
    /// The sample that the policy takes.
    Sample,
    /// The grants of the subscription's owner.
    Grant,
    /// Where the subscription starts.
    Start,
    /// The subscription's end.
    End,
}

impl By {
    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Sample => "sample",
            Self::Grant => "grant",
            Self::Start => "start",
            Self::End => "end",
        }
    }
}

/// A no to one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// What said it.
    pub by: By,
    /// JSON pointer into the subscription, and why. Of a filter: the clause.
    pub refusal: Refusal,
}

impl Objection {
    /// A no without branches.
    pub fn new(by: By, pointer: &str, detail: impl Into<String>) -> Self {
        let (pointer, detail) = (pointer.to_owned(), detail.into());
        Self { by, refusal: Refusal { pointer, detail, branches: Vec::new() } }
    }
}

impl Subscription {
    /// What of the subscription says no to what an event is: its filter, then its sample.
    pub fn objection(&self, facts: &Facts<'_>) -> Option<Objection> {
        if let Some(refusal) = self.wish.filter.refusal(facts) {
            return Some(Objection { by: By::Filter, refusal: refusal.under("/filter") });
        }
        if self.samples(facts.event) {
            return None;
        }
        let parts = self.wish.policy.sample.as_ref().map_or(0, |sample| sample.parts);
        let rate = f64::from(parts) / f64::from(SAMPLE_PARTS);
        let detail = format!("the event is not in the sample, which takes {rate} of all");
        Some(Objection::new(By::Sample, "/policy/sample", detail))
    }

    /// What of the subscription says no to where an event stands: it starts later, or was over
    /// before. Times are compared by the millisecond, as the log keeps them.
    pub fn objection_to_place(&self, offset: Offset, at: Timestamp) -> Option<Objection> {
        if let State::Ended(end, since) = self.state
            && since.as_millisecond() < at.as_millisecond()
        {
            let detail = format!("it had ended ({}) at {since}", end.as_str());
            return Some(Objection::new(By::End, "/state", detail));
        }
        let detail = match self.wish.start {
            Start::Now if self.created_at.as_millisecond() > at.as_millisecond() => {
                format!("it was created at {}, after the event", self.created_at)
            }
            Start::Offset(from) if from > offset => format!("it starts with offset {from}"),
            Start::Now | Start::Offset(_) | Start::Earliest => return None,
        };
        Some(Objection::new(By::Start, "/start", detail))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::cloudevents;
    use crate::domain::filter::Filter;
    use crate::domain::policy::Sample;
    use crate::domain::samples::{at, subscription};
    use crate::domain::subscription::End;

    #[test]
    fn the_filter_speaks_before_the_sample() {
        let text = br#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b"}"#;
        let event = cloudevents::parse(text).expect("valid");
        let facts = Facts::new(&event);
        let mut held = subscription(1, 600);
        assert_eq!(held.objection(&facts), None);
        std::sync::Arc::make_mut(&mut held.wish.policy).sample =
            Some(Sample { parts: 0, key: None });
        let said = held.objection(&facts).expect("none is taken");
        assert_eq!((said.by, said.refusal.pointer.as_str()), (By::Sample, "/policy/sample"));
        held.wish.filter = Filter::parse(&json!({"all": [{"topic": "x"}]})).expect("valid");
        let said = held.objection(&facts).expect("no match");
        assert_eq!((said.by, said.refusal.pointer.as_str()), (By::Filter, "/filter/all/0/topic"));
    }

    #[test]
    fn what_stands_outside_of_a_subscriptions_time_is_told() {
        let check = |start: Start, state: State, stored: i64, expected: Option<By>| {
            let mut held = subscription(1, 600);
            held.created_at = at(100);
            (held.wish.start, held.state) = (start, state);
            let said = held.objection_to_place(7, at(stored));
            assert_eq!(said.map(|said| said.by), expected, "{start:?} {state:?} {stored}");
        };
        check(Start::Now, State::Active, 100, None);
        check(Start::Now, State::Active, 99, Some(By::Start));
        check(Start::Earliest, State::Paused, 99, None);
        check(Start::Offset(7), State::Active, 99, None);
        check(Start::Offset(8), State::Active, 200, Some(By::Start));
        check(Start::Now, State::Ended(End::Expired, at(300)), 300, None);
        check(Start::Now, State::Ended(End::Expired, at(300)), 301, Some(By::End));
    }
}
