//! Reading the log back: pages of history and single events. Bounded in records looked at and in
//! bytes answered, never in one go over the whole log.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;

use crate::domain::{Offset, cloudevents};
use crate::faces::codes;
use crate::faces::path::Segment;
use crate::faces::problem::Problem;
use crate::faces::query::Query;
use crate::faces::router::Hub;
use crate::faces::select::{Position, Selection};
use crate::flow::Caller;

/// Most events on a page.
const LIMIT_MAX: usize = 1_000;

/// Events on a page when nothing else is asked for.
const LIMIT_DEFAULT: usize = 100;

/// Most records looked at for a page.
const SCAN_MAX: usize = 10_000;

/// Records read at a time.
const CHUNK: usize = 128;

/// Bytes of events after which a page ends.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// `GET /v1/events`: the events from a position on, and where the next page begins.
pub(crate) async fn page(
    State(hub): State<Hub>,
    caller: Caller,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::parse(raw.as_deref(), &[&Selection::KEYS[..], &["limit"]].concat())?;
    let limit = query.number("limit", 1..=LIMIT_MAX, LIMIT_DEFAULT)?;
    let start = Position::parse(query.get("from").unwrap_or("earliest"))?.resolve(&hub).await?;
    let selection = Selection::parse(caller, &query)?;
    let (events, next) = collect(&hub, &selection, start, limit).await?;
    let mut body = br#"{"events":["#.to_vec();
    body.extend_from_slice(&events.join(&b','));
    body.extend_from_slice(format!("],\"next\":{next}}}").as_bytes());
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// `GET /v1/events/{offset}`: one event in structured form.
pub(crate) async fn one(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(offset): Segment,
) -> Result<Response, Problem> {
    let unknown = || Problem::new(codes::EVENT_UNKNOWN, format!("nothing to see at {offset:?}"));
    let offset: Offset = offset.parse().map_err(|_| unknown())?;
    if offset < hub.reader.oldest_offset() || offset >= hub.reader.next_offset() {
        return Err(unknown());
    }
    let entries = hub.reader.read(offset, 1).await?;
    let entry = entries.first().filter(|entry| entry.offset == offset);
    let event = entry.and_then(|entry| entry.event());
    let event = event.filter(|event| caller.grants.may_receive(event.topic.as_str()));
    let body = cloudevents::print(event.ok_or_else(unknown)?);
    Ok(([(CONTENT_TYPE, cloudevents::STRUCTURED)], body).into_response())
}

async fn collect(
    hub: &Hub,
    selection: &Selection,
    start: Offset,
    limit: usize,
) -> Result<(Vec<Vec<u8>>, Offset), Problem> {
    let mut next = start.max(hub.reader.oldest_offset());
    let (mut events, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
    while looked_at < SCAN_MAX {
        let entries = hub.reader.read(next, CHUNK).await?;
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            looked_at += 1;
            next = entry.offset + 1;
            if let Some(event) = entry.event().filter(|event| selection.passes(event)) {
                let printed = cloudevents::print(event);
                bytes += printed.len();
                events.push(printed);
            }
            if events.len() >= limit || bytes >= PAGE_BYTES {
                return Ok((events, next));
            }
        }
    }
    Ok((events, next))
}
