//! Which events a reader asks for and from where on: the query of history pages and streams.

use super::codes;
use super::problem::Problem;
use super::query::{Query, invalid};
use super::router::Hub;
use crate::domain::event::Event;
use crate::domain::filter::{Filter, Limits};
use crate::domain::grant::Grant;
use crate::domain::topic::TopicFilter;
use crate::domain::{Offset, Timestamp};
use crate::flow::Caller;

/// What a reader may see and wants to.
pub(crate) struct Selection {
    caller: Caller,
    filter: Option<Filter>,
}

impl Selection {
    /// Keys that select events.
    pub(crate) const KEYS: [&str; 6] = ["topic", "type", "subject", "source", "filter", "from"];

    /// Reads `topic`, `type`, `subject`, `source` and `filter`; all of them must hold.
    pub(crate) fn parse(caller: Caller, query: &Query, limits: &Limits) -> Result<Self, Problem> {
        let reads = |grant: &Grant| matches!(grant, Grant::Subscribe(_) | Grant::Admin);
        if !caller.grants.0.iter().any(reads) {
            return Err(super::auth::grant_missing("subscribe:FILTER"));
        }
        let mut all = Vec::new();
        if let Some(text) = query.get("topic") {
            let topic = TopicFilter::parse(text).map_err(|error| error.under("topic"));
            all.push(Filter::Topic(topic.map_err(bad)?));
        }
        for name in ["type", "subject", "source"] {
            if let Some(text) = query.get(name) {
                all.push(Filter::Exact([(name.to_owned(), text.to_owned())].into()));
            }
        }
        if let Some(text) = query.get("filter") {
            let value = serde_json::from_str(text)
                .map_err(|error| invalid("filter", format!("is not JSON: {error}")))?;
            let filter =
                Filter::parse_within(&value, limits).map_err(|error| error.under("filter"));
            all.push(filter.map_err(bad)?);
        }
        let filter = if all.len() > 1 { Some(Filter::All(all)) } else { all.pop() };
        Ok(Self { caller, filter })
    }

    /// Whether the reader gets an event.
    pub(crate) fn passes(&self, event: &Event) -> bool {
        self.caller.grants.may_receive(event.topic.as_str())
            && self.filter.as_ref().is_none_or(|filter| filter.matches(event))
    }

    /// Who reads.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }
}

/// Where reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// At the oldest event.
    Earliest,
    /// After the newest event.
    Latest,
    /// At an offset.
    Offset(Offset),
    /// At the first event stored at or after a time.
    Time(Timestamp),
}

impl Position {
    /// Reads `earliest`, `latest`, an offset, or a time.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => {
                let offset = text.parse().map(Self::Offset).ok();
                offset.or_else(|| text.parse().map(Self::Time).ok()).ok_or_else(|| {
                    invalid("from", "must be an offset, an RFC 3339 time, earliest or latest")
                })
            }
        }
    }

    /// The offset to start at. It can lie before the oldest that is still there.
    pub(crate) async fn resolve(self, hub: &Hub) -> Result<Offset, Problem> {
        let (oldest, next) = (hub.reader.oldest_offset(), hub.reader.next_offset());
        match self {
            Self::Earliest => Ok(oldest),
            Self::Latest => Ok(next),
            Self::Offset(offset) if offset <= next => Ok(offset),
            Self::Offset(_) => {
                let detail = format!("lies beyond the end of the log; the next offset is {next}");
                Err(invalid("from", detail))
            }
            Self::Time(time) => Ok(hub.reader.offset_at(time).await?.max(oldest)),
        }
    }
}

fn bad(error: crate::domain::Invalid) -> Problem {
    Problem::invalid(codes::QUERY_INVALID, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cloudevents;
    use crate::domain::grant::Grants;

    #[test]
    fn a_reader_gets_what_is_asked_for_and_allowed() {
        let text = br#"{"specversion":"1.0","id":"1","source":"s","type":"a.b","subject":"x"}"#;
        let event = cloudevents::parse(text).expect("valid");
        let check = |grant: &str, raw: &str, expected: Option<bool>| {
            let grants = Grants(vec![Grant::parse(grant).expect(grant)]);
            let caller = Caller { owner: None, grants: grants.into() };
            let query = Query::parse(Some(raw), &Selection::KEYS).expect("known keys");
            let selection = Selection::parse(caller, &query, &Limits::HARD);
            assert_eq!(selection.ok().map(|it| it.passes(&event)), expected, "{grant} {raw}");
        };
        check("admin", "", Some(true));
        check("subscribe:a/#", "topic=a/%2B&type=a.b&subject=x", Some(true));
        check("subscribe:b/#", "", Some(false));
        check("admin", "type=a.c", Some(false));
        check("admin", "filter=%7B%22prefix%22:%7B%22type%22:%22a.%22%7D%7D", Some(true));
        check("admin", "filter=%7B%22sql%22:1%7D", None);
        check("admin", "topic=a/%23/b", None);
        check("manage", "", None);
    }

    #[test]
    fn a_start_is_an_offset_a_time_or_a_word() {
        assert_eq!(Position::parse("12").expect("offset"), Position::Offset(12));
        assert_eq!(Position::parse("earliest").expect("word"), Position::Earliest);
        assert!(matches!(
            Position::parse("2026-01-01T00:00:00Z").expect("time"),
            Position::Time(_)
        ));
        assert!(Position::parse("yesterday").is_err() && Position::parse("-1").is_err());
    }
}
