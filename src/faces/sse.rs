//! `GET /v1/stream`: Server-Sent Events straight from the log, one cursor from catching up to
//! live. Never skips an event in silence, never holds more than one small batch in memory.
//!
//! The `id` of a block is the offset up to which the client has seen everything, itself included:
//! `Last-Event-ID: n` goes on at `n + 1`. The first block only primes `id` and `retry`; on an empty
//! log that id is `-1`.
//!
//! `event: gap` with `{"from","to"}` says that reading goes on at `to` instead of `from`: what was
//! in between is no longer in the log, or, where `from` is greater, the log was reset and begins
//! anew.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_stream::Stream;

use super::auth::session_of;
use super::codes;
use super::problem::Problem;
use super::query::{Query, invalid};
use super::router::Hub;
use super::select::{Position, Selection};
use super::sessions::Key;
use crate::clock;
use crate::domain::{Invalid, Offset, cloudevents};
use crate::flow::Caller;
use crate::store::Stretch;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How long a client waits before it comes back.
const RETRY: Duration = Duration::from_secs(2);

/// How long it waits when all streams are taken. A 503 would make browsers give up for good.
const RETRY_FULL: Duration = Duration::from_secs(30);

/// Most records read at a time.
const BATCH_MAX: usize = 32;

/// Bytes of frames after which a batch is handed over.
const CHUNK_BYTES: usize = 256 * 1024;

/// `GET /v1/stream`
pub(crate) async fn stream(
    State(hub): State<Hub>,
    caller: Caller,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let known = [&Selection::KEYS[..], &["lastEventId"]].concat();
    let query = Query::parse(raw.as_deref(), &known)?;
    let Start { cursor, gap } = start(&hub, &query, &headers).await?;
    let session = session_of(&headers, &caller);
    let selection = Selection::parse(caller, &query, &hub.config.filters.limits())?;
    let Ok(permit) = hub.streams.clone().try_acquire_owned() else {
        return Ok(answer(Body::from(retry_block(RETRY_FULL))));
    };
    let gap = gap.map_or(String::new(), |from| gap_block(from, cursor));
    let first = Bytes::from(format!("{}{}{gap}", retry_line(RETRY), id_block(cursor)));
    let reader = Cursor::new(hub, selection, session, cursor, permit);
    Ok(answer(Body::from_stream(Frames::new(first, reader))))
}

/// Where a stream begins.
struct Start {
    cursor: Offset,
    /// Where the client would have gone on, if that lies beyond the log's end.
    gap: Option<Offset>,
}

/// Where to begin: `Last-Event-ID`, else `lastEventId`, else `from`, else after the newest.
///
/// An id beyond the log's end was true once, before the data directory was reset or restored. It is
/// no fault of a client that comes back by itself, and a browser would give up on an error.
async fn start(hub: &Hub, query: &Query, headers: &HeaderMap) -> Result<Start, Problem> {
    let header = headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?"));
    let seen = header.or(query.get("lastEventId")).filter(|text| !text.is_empty());
    let Some(seen) = seen else {
        let position = Position::parse(query.get("from").unwrap_or("latest"))?;
        return Ok(Start { cursor: position.resolve(hub).await?, gap: None });
    };
    let cursor = after(seen).ok_or_else(|| {
        let detail = "must be the id of a block of this stream";
        match header {
            Some(_) => {
                let fault = Invalid::new(LAST_EVENT_ID.as_str(), detail);
                Problem::invalid(codes::HEADER_INVALID, fault)
            }
            None => invalid("lastEventId", detail),
        }
    })?;
    let next = hub.reader.next_offset();
    Ok(Start { cursor: cursor.min(next), gap: (cursor > next).then_some(cursor) })
}

fn answer(body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, body).into_response()
}

/// One client's place in the log.
struct Cursor {
    hub: Hub,
    selection: Selection,
    /// The session of the page that let the client in, if it was one.
    session: Option<Key>,
    place: Place,
    heartbeat: Interval,
    _open: Open,
}

/// How far a client is.
#[derive(Debug)]
struct Place {
    /// The record that is looked at next.
    next: Offset,
    /// The cursor that the newest `id` told the client.
    told: Offset,
}

/// Counts a stream as open until it is dropped.
struct Open(
    Gauge,
    #[expect(dead_code, reason = "held until the stream ends")] OwnedSemaphorePermit,
);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What woke the cursor.
enum Woken {
    Stopping,
    Idle,
    Read(Result<Stretch, Problem>),
}

impl Cursor {
    fn new(
        hub: Hub,
        selection: Selection,
        session: Option<Key>,
        next: Offset,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let gauge = hub.metrics.faces_streams.clone();
        gauge.inc();
        let mut heartbeat =
            interval(hub.config.http.stream_heartbeat.0.max(Duration::from_millis(1)));
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.reset();
        let _open = Open(gauge, permit);
        let place = Place { next, told: next };
        Self { hub, selection, session, place, heartbeat, _open }
    }

    /// The next bytes for the client; `None` ends the stream.
    async fn advance(&mut self) -> Option<Bytes> {
        loop {
            if !self.is_welcome() {
                return None;
            }
            match self.wake().await {
                Woken::Stopping | Woken::Read(Err(_)) => return None,
                Woken::Idle => return Some(self.place.beat()),
                Woken::Read(Ok(stretch)) => {
                    let frames = self.place.print(&stretch, &self.selection);
                    if !frames.is_empty() {
                        self.heartbeat.reset();
                        return Some(Bytes::from(frames));
                    }
                }
            }
        }
    }

    /// Whether the client may still be here: its token was not revoked, its session is not over.
    fn is_welcome(&self) -> bool {
        let is_open = |session: &Key| self.hub.sessions.is_open(session, clock::now());
        self.hub.gate.still_valid(self.selection.caller())
            && self.session.as_ref().is_none_or(is_open)
    }

    /// Every arm only waits or reads: dropping one half-way loses nothing, the cursor stands.
    async fn wake(&mut self) -> Woken {
        let (reader, next) = (&self.hub.reader, self.place.next);
        let read = async {
            let stretch = reader.read_on(next, BATCH_MAX).await?;
            if stretch.to == next {
                reader.changed(next).await;
            }
            Ok(stretch)
        };
        tokio::select! {
            biased;
            () = self.hub.stop.wait() => Woken::Stopping,
            _ = self.heartbeat.tick() => Woken::Idle,
            stretch = read => Woken::Read(stretch),
        }
    }
}

impl Place {
    /// The frames of a stretch, and of the gaps in it: in front, in the middle, or up to its end.
    fn print(&mut self, stretch: &Stretch, selection: &Selection) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in &stretch.entries {
            self.pass_over(entry.offset, &mut out);
            if let Some(event) = entry.event().filter(|event| selection.passes(event)) {
                out.extend_from_slice(format!("id: {}\ndata: ", entry.offset).as_bytes());
                out.extend_from_slice(&cloudevents::print_line(event));
                out.extend_from_slice(b"\n\n");
                self.told = entry.offset + 1;
            }
            self.next = entry.offset + 1;
            if out.len() >= CHUNK_BYTES {
                return out;
            }
        }
        self.pass_over(stretch.to, &mut out);
        out
    }

    /// The log has nothing up to an offset: `from` is the first one missed, `to` the one read next.
    fn pass_over(&mut self, to: Offset, out: &mut Vec<u8>) {
        if self.next < to {
            out.extend_from_slice(gap_block(self.next, to).as_bytes());
            (self.next, self.told) = (to, to);
        }
    }

    /// A comment, and how far the log was seen if that changed: events that the filter kept back
    /// need not be read again after a reconnection.
    fn beat(&mut self) -> Bytes {
        if self.told == self.next {
            return Bytes::from_static(b":\n\n");
        }
        self.told = self.next;
        Bytes::from(format!(":\n{}", id_block(self.next)))
    }
}

/// A cursor on its way to the next bytes.
type Step = Pin<Box<dyn Future<Output = Option<(Bytes, Cursor)>> + Send>>;

/// The body: pulled by the connection, so a slow reader slows its own cursor and nothing else.
struct Frames {
    first: Option<Bytes>,
    step: Step,
}

impl Frames {
    fn new(first: Bytes, cursor: Cursor) -> Self {
        Self { first: Some(first), step: Box::pin(step(cursor)) }
    }
}

impl Stream for Frames {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        self.step.as_mut().poll(context).map(|done| {
            let (bytes, cursor) = done?;
            self.step = Box::pin(step(cursor));
            Some(Ok(bytes))
        })
    }
}

async fn step(mut cursor: Cursor) -> Option<(Bytes, Cursor)> {
    let bytes = cursor.advance().await?;
    Some((bytes, cursor))
}

/// The offset after a last event id; `None` if it is no number.
fn after(seen: &str) -> Option<Offset> {
    match seen {
        "-1" => Some(0),
        _ => Some(seen.parse::<Offset>().ok()?.saturating_add(1)),
    }
}

/// The last event id of a client that has seen all before a cursor.
fn last(cursor: Offset) -> String {
    cursor.checked_sub(1).map_or("-1".to_owned(), |seen| seen.to_string())
}

fn id_block(cursor: Offset) -> String {
    format!("id: {}\n\n", last(cursor))
}

fn gap_block(from: Offset, to: Offset) -> String {
    let data = serde_json::json!({ "from": from, "to": to });
    format!("event: gap\ndata: {data}\n{}", id_block(to))
}

fn retry_line(wait: Duration) -> String {
    format!("retry: {}\n", wait.as_millis())
}

fn retry_block(wait: Duration) -> String {
    format!("{}\n", retry_line(wait))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::filter::Limits;
    use crate::domain::grant::Grants;
    use crate::domain::record::{Entry, Record};
    use crate::domain::samples::at;

    #[test]
    fn a_gap_is_told_before_between_and_after_what_was_read() {
        let event = |offset: Offset| {
            let text =
                format!(r#"{{"specversion":"1.0","id":"{offset}","source":"s","type":"t"}}"#);
            let event = cloudevents::parse(text.as_bytes()).expect("valid");
            Entry { offset, at: at(0), record: Record::Event(Arc::new(event)) }
        };
        let caller = Caller { owner: None, grants: Grants::all().into() };
        let query = Query::parse(None, &Selection::KEYS).expect("valid");
        let selection = Selection::parse(caller, &query, &Limits::HARD).expect("valid");
        let mut place = Place { next: 2, told: 2 };
        let stretch = Stretch { entries: [5, 6, 8].map(event).to_vec(), to: 12 };
        let text = String::from_utf8(place.print(&stretch, &selection)).expect("text");
        let blocks = text.split_terminator("\n\n").map(|block| match block.split_once("data: ") {
            Some(("event: gap\n", data)) => data.to_owned(),
            _ => block.lines().next().unwrap_or_default().to_owned(),
        });
        let expected = [
            "{\"from\":2,\"to\":5}\nid: 4",
            "id: 5",
            "id: 6",
            "{\"from\":7,\"to\":8}\nid: 7",
            "id: 8",
            "{\"from\":9,\"to\":12}\nid: 11",
        ];
        assert_eq!(blocks.collect::<Vec<_>>(), expected);
        assert_eq!((place.next, place.told), (12, 12));
    }

    #[test]
    fn a_last_event_id_goes_on_where_it_ended() {
        for cursor in [0, 1, 2, 1_000_000] {
            assert_eq!(after(&last(cursor)), Some(cursor));
        }
        assert_eq!(after("18446744073709551615"), Some(Offset::MAX));
        for bad in ["", "-2", "x", "1.0", "18446744073709551616"] {
            assert_eq!(after(bad), None, "{bad}");
        }
    }

    #[test]
    fn blocks_are_framed_as_the_standard_says() {
        assert_eq!(id_block(0), "id: -1\n\n");
        assert_eq!(id_block(8), "id: 7\n\n");
        let gap = "event: gap\ndata: {\"from\":9,\"to\":3}\nid: 2\n\n";
        assert_eq!(gap_block(9, 3), gap);
        assert_eq!(retry_block(RETRY_FULL), "retry: 30000\n\n");
    }
}
