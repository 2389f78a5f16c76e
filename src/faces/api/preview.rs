//! `POST /v1/subscriptions/preview`: what a subscription would get of some events, and the requests
//! that would be sent. Nothing is sent or stored, and no secret is shown.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::planned;
use super::shape::{self, Context};
use super::subscriptions::{check_target, may_see};
use crate::clock;
use crate::domain::event::Event;
use crate::domain::quantity::print_size;
use crate::domain::subscription::{Signing, State as Standing, Subscription, Wish, check_id};
use crate::domain::{Invalid, Offset, cloudevents};
use crate::faces::auth::need_manage;
use crate::faces::body::{self, Payload};
use crate::faces::codes;
use crate::faces::problem::Problem;
use crate::faces::router::Hub;
use crate::flow::{Caller, Seen, Subject};

/// Most events of the log that are looked at.
const LAST_MAX: u64 = 1_000;

/// Most events that a request may bring.
const EVENTS_MAX: usize = 100;

/// Most records looked at to find events that the caller may receive.
const SCAN_MAX: u64 = 10_000;

/// Records read at a time.
const CHUNK: u64 = 128;

/// Bytes of events after which no more are collected.
const COLLECTED_BYTES_MAX: usize = 16 << 20;

/// `POST /v1/subscriptions/preview`
pub(crate) async fn preview(
    State(hub): State<Hub>,
    caller: Caller,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Json<Value>, Problem> {
    need_manage(&caller)?;
    let value = body::json(&headers, &body, &["application/json"])?;
    let Asked { wish, id, events } =
        Asked::parse(value, &body, hub.config.events.size_max.bytes())?;
    let (subscription, is_held) = subscription(&hub, &caller, id.as_deref(), &wish).await?;
    let provisional = provisional(&subscription, id.is_some(), is_held, &events);
    let mut collected = match events {
        Events::Given(events) => Collected::of(events),
        Events::Last(count) => newest(&hub, &caller, count).await?,
    };
    let subjects = std::mem::take(&mut collected.subjects);
    let sight = hub.preview.look(subscription, subjects).await;
    let sight = sight.map_err(|error| Problem::of(error, codes::SUBSCRIPTION_INVALID))?;
    if !sight.is_whole {
        collected.from = sight.seen.last().and_then(|seen| seen.subject.offset);
    }
    Ok(Json(json!({
        "events": sight.seen.iter().map(print).collect::<Value>(),
        "from": collected.from,
        "complete": collected.is_whole && sight.is_whole,
        "provisional": provisional,
    })))
}

/// What a request asks for. The wish is still JSON: reading it needs what is held.
struct Asked {
    wish: Value,
    id: Option<String>,
    events: Events,
}

enum Events {
    Given(Vec<Event>),
    /// So many of the newest.
    Last(u64),
}

/// The body once more, for the bytes of the event's data as they came.
#[derive(serde::Deserialize)]
struct Raw<'a> {
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
}

impl Asked {
    fn parse(mut wish: Value, body: &Bytes, event_bytes_max: usize) -> Result<Self, Problem> {
        let invalid = |pointer: &str, detail: String| {
            Problem::invalid(codes::SUBSCRIPTION_INVALID, Invalid::new(pointer, detail))
        };
        let Some(members) = wish.as_object_mut() else {
            return Err(invalid("", "must be an object".to_owned()));
        };
        let mut take = |name: &str| members.remove(name).filter(|value| !value.is_null());
        let (id, event, last) = (take("id"), take("event"), take("last"));
        let id = match id {
            None => None,
            Some(Value::String(id)) => {
                let checked = check_id(&id);
                checked.map_err(|error| Problem::invalid(codes::SUBSCRIPTION_INVALID, error))?;
                Some(id)
            }
            Some(_) => return Err(invalid("/id", "must be a string".to_owned())),
        };
        let events = match (event, last) {
            (Some(_), Some(_)) => {
                return Err(invalid("/last", "give event or last, not both".to_owned()));
            }
            (None, None) => return Err(invalid("/event", "is required, or last".to_owned())),
            (None, Some(last)) => {
                let count = last.as_u64().filter(|count| (1..=LAST_MAX).contains(count));
                let bad = || invalid("/last", format!("must be a number from 1 to {LAST_MAX}"));
                Events::Last(count.ok_or_else(bad)?)
            }
            (Some(_), None) => Events::Given(given(body, event_bytes_max)?),
        };
        Ok(Self { wish, id, events })
    }
}

/// The events of a request, one or a list of them, with the bytes of their data as they came.
fn given(body: &Bytes, event_bytes_max: usize) -> Result<Vec<Event>, Problem> {
    let raw: Raw<'_> = serde_json::from_slice(body)
        .map_err(|error| Problem::new(codes::JSON_INVALID, error.to_string()))?;
    let text = raw.event.map_or("", RawValue::get);
    let read = |text: &str, at: &str| {
        if text.len() > event_bytes_max {
            let size_max = print_size(u64::try_from(event_bytes_max).unwrap_or(u64::MAX));
            let fault = Invalid::new(at, format!("events.size_max is {size_max}"));
            return Err(Problem::invalid(codes::EVENT_TOO_LARGE, fault));
        }
        let parsed = cloudevents::parse(text.as_bytes());
        parsed.map_err(|error| Problem::invalid(codes::EVENT_INVALID, error.under(at)))
    };
    if !text.starts_with('[') {
        return Ok(vec![read(text, "/event")?]);
    }
    let items = cloudevents::split_batch(text.as_bytes(), EVENTS_MAX)
        .map_err(|error| Problem::invalid(codes::EVENT_INVALID, error.under("/event")))?;
    let read = |(at, item): (usize, &&RawValue)| read(item.get(), &format!("/event/{at}"));
    items.iter().enumerate().map(read).collect()
}

/// The subscription as it would be, and whether there is one with its id already, which says what
/// is masked in the wish and what only the hub knows.
async fn subscription(
    hub: &Hub,
    caller: &Caller,
    id: Option<&str>,
    wish: &Value,
) -> Result<(Subscription, bool), Problem> {
    let held = match id {
        Some(id) => hub.reader.subscription(id).await?.filter(|held| may_see(caller, held)),
        None => None,
    };
    let wish = parse(hub, caller, held.as_ref(), wish)?;
    let live = held.filter(|held| !held.state.is_ended());
    let now = clock::now();
    let made = || clock::sortable_id().to_string();
    let is_held = live.is_some();
    let owner = live.as_ref().map_or_else(|| caller.actor().owner, |live| live.owner.clone());
    let subscription = Subscription {
        id: id.map_or_else(made, str::to_owned),
        number: live.as_ref().map_or(0, |live| live.number),
        version: live.as_ref().map_or(0, |live| live.version) + 1,
        owner,
        wish,
        lease: None,
        state: Standing::Active,
        created_at: now,
        updated_at: now,
    };
    let checked = hub.keyring.check(&subscription.id, &subscription.wish);
    checked.map_err(|error| Problem::invalid(codes::SUBSCRIPTION_INVALID, error))?;
    Ok((subscription, is_held))
}

fn parse(
    hub: &Hub,
    caller: &Caller,
    held: Option<&Subscription>,
    wish: &Value,
) -> Result<Wish, Problem> {
    let hold_max = hub.config.subscriptions.hold_max;
    let filters = hub.config.filters.limits();
    let context = Context { held, admin: caller.grants.is_admin(), hold_max, filters };
    let parsed = shape::parse(wish, context)
        .map_err(|error| Problem::invalid(codes::SUBSCRIPTION_INVALID, error))?;
    check_target(&hub.guard, &parsed.wish)?;
    Ok(parsed.wish)
}

/// Headers that will have another value when a request is sent.
fn provisional(
    subscription: &Subscription,
    is_named: bool,
    is_held: bool,
    events: &Events,
) -> BTreeSet<&'static str> {
    let mut names = BTreeSet::from(["traceparent", "webhook-timestamp"]);
    if subscription.wish.signing != Signing::None {
        names.insert("webhook-signature");
    }
    if !is_held {
        names.insert("webhook-id");
    }
    if !is_named {
        names.insert("tidings-subscription");
    }
    if let Events::Given(_) = events {
        names.extend(["tidings-offset", "webhook-id"]);
    }
    names
}

/// Events to look at.
struct Collected {
    subjects: Vec<Subject>,
    /// How far back the log was looked at.
    from: Option<Offset>,
    /// Nothing that was asked for is left out.
    is_whole: bool,
}

impl Collected {
    fn of(events: Vec<Event>) -> Self {
        let at = clock::now();
        let subject = |event| Subject { offset: None, at, event: Arc::new(event) };
        let subjects = events.into_iter().map(subject).collect();
        Self { subjects, from: None, is_whole: true }
    }
}

/// So many of the newest events that the caller may receive, newest first.
async fn newest(hub: &Hub, caller: &Caller, count: u64) -> Result<Collected, Problem> {
    let oldest = hub.reader.oldest_offset();
    let next = hub.reader.next_offset();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let (mut subjects, mut bytes, mut end) = (Vec::new(), 0, next);
    while end > oldest {
        if next - end >= SCAN_MAX || bytes >= COLLECTED_BYTES_MAX {
            return Ok(Collected { subjects, from: Some(end), is_whole: false });
        }
        let start = end.saturating_sub(CHUNK).max(oldest);
        let records_max = usize::try_from(end - start).unwrap_or(usize::MAX);
        let entries = hub.reader.read(start, records_max).await?;
        for entry in entries.iter().rev().filter(|entry| entry.offset < end) {
            let Some(subject) = Subject::of(entry) else { continue };
            if !caller.grants.may_receive(subject.event.topic.as_str()) {
                continue;
            }
            bytes += entry.weight();
            subjects.push(subject);
            if subjects.len() == count {
                return Ok(Collected { subjects, from: Some(entry.offset), is_whole: true });
            }
        }
        end = start;
    }
    Ok(Collected { subjects, from: Some(end), is_whole: true })
}

fn print(seen: &Seen) -> Value {
    let event = &seen.subject.event;
    json!({
        "offset": seen.subject.offset,
        "id": event.id,
        "source": event.source,
        "type": event.kind,
        "topic": event.topic.as_str(),
        "matches": seen.objection.is_none(),
        "refusal": seen.objection.as_ref().map(planned::objection),
        "too_old": seen.is_too_old,
        "delayed_until": seen.delayed_until.map(|until| until.to_string()),
        "requests": seen.requests.iter().map(planned::planned).collect::<Value>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_asks_about_events_or_about_the_newest() {
        let check = |body: &str, expected: Result<usize, &str>| {
            let value = serde_json::from_str(body).expect(body);
            let asked = Asked::parse(value, &Bytes::copy_from_slice(body.as_bytes()), 200);
            let asked = asked.map(|asked| match asked.events {
                Events::Given(events) => events.len(),
                Events::Last(count) => usize::try_from(count).expect("small"),
            });
            let asked = asked.map_err(|problem| problem.fault().pointer);
            assert_eq!(asked, expected.map_err(str::to_owned), "{body}");
        };
        let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
        check(&format!(r#"{{"event":{event}}}"#), Ok(1));
        check(&format!(r#"{{"event": [{event},{event}], "last": null}}"#), Ok(2));
        check(r#"{"last": 1000}"#, Ok(1_000));
        check("{}", Err("/event"));
        check(r#"{"event": 1, "last": 1}"#, Err("/last"));
        check(r#"{"last": 1001}"#, Err("/last"));
        check(r#"{"last": 0}"#, Err("/last"));
        check(r#"{"last": "1"}"#, Err("/last"));
        check(r#"{"id": "a/b", "last": 1}"#, Err("/id"));
        check(r#"{"id": 1, "last": 1}"#, Err("/id"));
        check("[]", Err(""));
        check(r#"{"event": {"specversion": "1.0"}}"#, Err("/event/id"));
        check(&format!(r#"{{"event": [{event}, {{}}]}}"#), Err("/event/1/specversion"));
        check(&format!(r#"{{"event": {{"x": "{}"}}}}"#, "y".repeat(200)), Err("/event"));
    }

    #[test]
    fn data_of_a_given_event_keeps_its_bytes() {
        let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"z": 1.0}}"#;
        let body = Bytes::from(format!(r#"{{"event":{event}}}"#));
        let events = given(&body, 1_000).expect("valid");
        let data = events[0].data.as_ref().expect("data");
        assert_eq!(data.bytes.as_ref(), br#"{"z": 1.0}"#);
    }
}
