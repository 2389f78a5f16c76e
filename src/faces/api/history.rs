//! Reading the log back: pages of history and single events. Bounded in records looked at and in
//! bytes answered, never in one go over the whole log.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::domain::gap::{Missing, missing};
use crate::domain::{Offset, cloudevents};
use crate::faces::codes;
use crate::faces::path::Segment;
use crate::faces::problem::Problem;
use crate::faces::query::Query;
use crate::faces::router::Hub;
use crate::faces::select::{Position, Selection};
use crate::flow::Caller;
use crate::store::Stretch;

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
    let selection = Selection::parse(caller, &query, &hub.config.filters.limits())?;
    let Page { events, next, gaps, .. } = collect(&hub, &selection, start, limit).await?;
    let gap = |gap: &Missing| json!({ "from": gap.from, "to": gap.to });
    let gaps: Value = gaps.iter().map(gap).collect();
    let mut body = br#"{"events":["#.to_vec();
    body.extend_from_slice(&events.join(&b','));
    body.extend_from_slice(format!("],\"next\":{next},\"gaps\":{gaps}}}").as_bytes());
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

/// What a page has so far.
struct Page {
    events: Vec<Vec<u8>>,
    bytes: usize,
    /// Where the next page begins.
    next: Offset,
    /// Offsets of the page that the log no longer has.
    gaps: Vec<Missing>,
}

impl Page {
    /// Looks at a stretch until the page is full. What comes after that is the next page's.
    fn add(&mut self, stretch: &Stretch, selection: &Selection, limit: usize) -> bool {
        let (from, mut to, mut full) = (self.next, stretch.to, false);
        for entry in &stretch.entries {
            let Some(event) = entry.event().filter(|event| selection.passes(event)) else {
                continue;
            };
            let printed = cloudevents::print(event);
            self.bytes += printed.len();
            self.events.push(printed);
            full = self.events.len() >= limit || self.bytes >= PAGE_BYTES;
            if full {
                to = entry.offset + 1;
                break;
            }
        }
        self.gaps.extend(missing(from, &stretch.entries, to));
        self.next = to;
        full
    }
}

async fn collect(
    hub: &Hub,
    selection: &Selection,
    start: Offset,
    limit: usize,
) -> Result<Page, Problem> {
    let mut page = Page { events: Vec::new(), bytes: 0, next: start, gaps: Vec::new() };
    let mut looked_at = 0;
    while looked_at < SCAN_MAX {
        let stretch = hub.reader.read_on(page.next, CHUNK).await?;
        let at_the_end = stretch.to == page.next;
        looked_at += stretch.entries.len().max(1);
        if at_the_end || page.add(&stretch, selection, limit) {
            break;
        }
    }
    Ok(page)
}
