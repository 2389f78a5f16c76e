//! `POST /v1/events`: takes events in and answers once they are on disk. Never answers earlier.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::mode::{self, Mode};
use crate::domain::event::Event;
use crate::domain::quantity::print_size;
use crate::domain::{Invalid, cloudevents};
use crate::faces::auth::grant_missing;
use crate::faces::body::Payload;
use crate::faces::codes;
use crate::faces::problem::Problem;
use crate::faces::query::{Query, invalid};
use crate::faces::router::Hub;
use crate::flow::{Caller, Receipt};

/// `POST /v1/events`
pub(crate) async fn publish(
    State(hub): State<Hub>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    let mode = mode::detect(&headers)?;
    let keys: &[&str] = if mode == Mode::Raw { &["topic", "type"] } else { &[] };
    let query = Query::parse(query.as_deref(), keys)?;
    let intake = Intake { hub: &hub, caller: &caller };
    match mode {
        Mode::Batch => intake.batch(&body).await,
        Mode::Structured => intake.single(intake.structured(&body)).await,
        Mode::Binary => {
            let event = intake.fits(body.len()).and_then(|()| {
                mode::binary(&headers, body).map_err(|e| Problem::invalid(codes::EVENT_INVALID, e))
            });
            intake.single(event).await
        }
        Mode::Raw => intake.single(intake.raw(&query, &headers, body)).await,
    }
}

/// What every way in shares: who publishes, and the limits.
struct Intake<'a> {
    hub: &'a Hub,
    caller: &'a Caller,
}

impl Intake<'_> {
    async fn single(&self, event: Result<Event, Problem>) -> Result<Response, Problem> {
        let result = match self.store(vec![event]).await.pop() {
            Some(result) => result?,
            None => return Err(Problem::new(codes::INTERNAL, "the event got no answer")),
        };
        Ok(results(StatusCode::CREATED, vec![result]))
    }

    async fn batch(&self, body: &[u8]) -> Result<Response, Problem> {
        let items = cloudevents::split_batch(body, self.hub.config.events.batch_max)
            .map_err(|error| not_an_event(body, error))?;
        let read = |item: &&RawValue| self.structured(item.get().as_bytes());
        let outcomes = self.store(items.iter().map(read).collect()).await;
        if !outcomes.is_empty() && outcomes.iter().all(Result::is_err) {
            return Err(all_bad(outcomes.into_iter().filter_map(Result::err).collect()));
        }
        let whole = outcomes.iter().all(Result::is_ok);
        let status = if whole { StatusCode::CREATED } else { StatusCode::MULTI_STATUS };
        let print = |outcome: Result<Value, Problem>| {
            outcome.unwrap_or_else(|problem| json!({ "error": problem.item() }))
        };
        Ok(results(status, outcomes.into_iter().map(print).collect()))
    }

    fn structured(&self, text: &[u8]) -> Result<Event, Problem> {
        self.fits(text.len())?;
        cloudevents::parse(text).map_err(|error| not_an_event(text, error))
    }

    fn raw(&self, query: &Query, headers: &HeaderMap, body: Bytes) -> Result<Event, Problem> {
        let (topic, kind) = (query.get("topic"), query.get("type"));
        let Some(kind) = kind else {
            return Err(match topic {
                Some(_) => invalid("type", "is required beside topic"),
                None => unknown_media_type(),
            });
        };
        self.fits(body.len())?;
        mode::raw(headers, body, self.caller.owner.as_deref(), kind, topic).map_err(|error| {
            match error.pointer.as_str() {
                "topic" => Problem::invalid(codes::QUERY_INVALID, error),
                "/type" => invalid("type", error.detail),
                _ => Problem::invalid(codes::EVENT_INVALID, error),
            }
        })
    }

    fn fits(&self, bytes: usize) -> Result<(), Problem> {
        let size_max = self.hub.config.events.size_max;
        if bytes <= size_max.bytes() {
            return Ok(());
        }
        let detail = format!("events.size_max is {}", print_size(size_max.0));
        Err(Problem::new(codes::EVENT_TOO_LARGE, detail))
    }

    /// Stores what is good; outcomes are in the order of the items.
    async fn store(&self, items: Vec<Result<Event, Problem>>) -> Vec<Result<Value, Problem>> {
        let mut named = Vec::with_capacity(items.len());
        let mut events = Vec::with_capacity(items.len());
        for item in items {
            named.push(item.and_then(|event| self.allow(event)).map(|event| {
                let name = (event.id.clone(), event.source.clone());
                events.push(event);
                name
            }));
        }
        let receipts = match events.is_empty() {
            true => Vec::new(),
            false => self.hub.ingest.publish_all(events).await,
        };
        let mut receipts = receipts.into_iter();
        let lost = || Problem::new(codes::INTERNAL, "the event got no answer");
        let outcome = |name: Result<(SmolStr, SmolStr), Problem>| {
            let (id, source) = name?;
            let Receipt { offset, duplicate } = receipts
                .next()
                .ok_or_else(lost)?
                .map_err(|error| Problem::of(error, codes::EVENT_INVALID))?;
            Ok(json!({ "id": id, "source": source, "offset": offset, "duplicate": duplicate }))
        };
        named.into_iter().map(outcome).collect()
    }

    fn allow(&self, event: Event) -> Result<Event, Problem> {
        match self.caller.grants.may_publish(event.topic.as_str()) {
            true => Ok(event),
            false => Err(grant_missing(&format!("publish:{}", event.topic))),
        }
    }
}

fn results(status: StatusCode, results: Vec<Value>) -> Response {
    (status, axum::Json(json!({ "results": results }))).into_response()
}

/// One problem for a batch of which nothing was taken: the hub's own if there is one, since then
/// the batch is worth repeating; else theirs if it is the same one; else a list.
fn all_bad(problems: Vec<Problem>) -> Problem {
    let first = problems.first().map_or(codes::EVENT_INVALID, Problem::code);
    let same = problems.iter().all(|problem| problem.code() == first);
    let theirs = if same { first } else { codes::EVENT_INVALID };
    let ours = problems.iter().map(Problem::code).find(|(_, status, _)| *status >= 500);
    let code = ours.unwrap_or(theirs);
    let place = |(index, problem): (usize, &Problem)| problem.fault().under(&format!("/{index}"));
    let faults = problems.iter().enumerate().map(place).collect();
    Problem::new(code, "no event of the batch was taken").with_errors(faults)
}

fn not_an_event(text: &[u8], error: Invalid) -> Problem {
    let is_json = serde_json::from_slice::<&RawValue>(text).is_ok();
    let code = if is_json { codes::EVENT_INVALID } else { codes::JSON_INVALID };
    Problem::invalid(code, error)
}

fn unknown_media_type() -> Problem {
    let detail = "send a CloudEvent (Content-Type application/cloudevents+json, or ce- headers), \
                  or say what these bytes are with ?topic=TOPIC&type=TYPE";
    Problem::new(codes::MEDIA_TYPE_UNKNOWN, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_without_a_good_event_is_one_problem() {
        let bad = |pointer: &str| {
            Problem::invalid(codes::EVENT_INVALID, Invalid::new(pointer, "is required"))
        };
        let problem = all_bad(vec![bad("/id"), bad("/type")]);
        assert_eq!(problem.code(), codes::EVENT_INVALID);
        assert_eq!(problem.fault().pointer, "/0/id");
        let mixed = all_bad(vec![grant_missing("publish:a"), bad("/type")]);
        assert_eq!(mixed.code(), codes::EVENT_INVALID);
        let refused = all_bad(vec![grant_missing("publish:a"), grant_missing("publish:b")]);
        assert_eq!(refused.code(), codes::GRANT_MISSING);
        for ours in [codes::STORE_BUSY, codes::STORE_FULL, codes::STORE_FAILED] {
            let failed = all_bad(vec![bad("/id"), Problem::new(ours, "x"), bad("/type")]);
            assert_eq!((failed.code(), failed.fault().pointer.as_str()), (ours, "/0/id"));
        }
    }

    #[test]
    fn bad_json_is_told_from_a_bad_event() {
        let error = || Invalid::new("", "x");
        assert_eq!(not_an_event(b"{", error()).code(), codes::JSON_INVALID);
        assert_eq!(not_an_event(b"[]", error()).code(), codes::EVENT_INVALID);
    }
}
