//! One attempt of one delivery: encode, judge the address, sign, send. The order is fixed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Request};
use http_body_util::Full;

use super::targets::Server;
use crate::clock::{self, Stopwatch};
use crate::domain::cloudevents::{self, STRUCTURED};
use crate::domain::delivery::{Attempt, Outcome, delivery_id, is_too_old};
use crate::domain::encoding::Encoding;
use crate::domain::event::Event;
use crate::domain::record::Entry;
use crate::domain::sink::Sink;
use crate::domain::subscription::{Signing, Subscription};
use crate::domain::{Offset, Timestamp};
use crate::net::dial::{Client, Failure};
use crate::store::Reader;

/// What an attempt needs to know.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) subscription: Arc<Subscription>,
    pub(super) offset: Offset,
    /// The event, where it is still in memory.
    pub(super) entry: Option<Entry>,
    /// The attempt's number, counted from 1.
    pub(super) number: usize,
    pub(super) server: Server,
    /// What comes of it decides for all that deliver there.
    pub(super) probe: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Report {
    /// The subscription as it was when the attempt started.
    pub(super) sent: Arc<Subscription>,
    pub(super) offset: Offset,
    pub(super) server: Server,
    pub(super) probe: bool,
    /// The event, unless it cannot be read.
    pub(super) entry: Option<Entry>,
    pub(super) result: Result<Attempt, Unsent>,
}

/// Why nothing was sent. Spends no attempt.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The event is older than `policy.max_age`.
    TooOld,
    /// The event is no longer in the log.
    Gone,
    /// This machine is cut off: what the target would have said is not known.
    Offline(String),
    /// The log cannot be read now.
    Unreadable(String),
}

/// Carries an attempt out.
pub(super) async fn run(task: Task, client: Client, reader: Reader) -> Report {
    let (at, watch) = (clock::now(), Stopwatch::start());
    let (sent, offset) = (task.subscription.clone(), task.offset);
    let (server, probe) = (task.server.clone(), task.probe);
    let report = |entry, result| Report { sent, offset, server, probe, entry, result };
    let entry = match &task.entry {
        Some(entry) => entry.clone(),
        None => match read(&reader, offset).await {
            Ok(entry) => entry,
            Err(why) => return report(None, Err(why)),
        },
    };
    if is_too_old(&task.subscription.wish.policy, entry.at, at) {
        return report(Some(entry), Err(Unsent::TooOld));
    }
    let outcome = send(&task, entry.event(), &client, at).await;
    let attempt = |outcome| Attempt { at, took: watch.elapsed(), outcome };
    report(Some(entry), outcome.map(attempt))
}

async fn read(reader: &Reader, offset: Offset) -> Result<Entry, Unsent> {
    let read = reader.read_on(offset, 1).await;
    let stretch = read.map_err(|error| Unsent::Unreadable(error.to_string()))?;
    let entry = stretch.entries.into_iter().find(|entry| entry.offset == offset);
    entry.ok_or_else(|| match stretch.to > offset {
        true => Unsent::Gone,
        false => Unsent::Unreadable("it lies beyond the end of the log".to_owned()),
    })
}

async fn send(
    task: &Task,
    event: Option<&Event>,
    client: &Client,
    at: Timestamp,
) -> Result<Outcome, Unsent> {
    let Some(event) = event else {
        return Ok(Outcome::Refused("the record is not an event".to_owned()));
    };
    let request = match encode(task, event, at) {
        Ok(request) => request,
        Err(error) => return Ok(Outcome::Refused(format!("no request can be made: {error}"))),
    };
    Ok(match client.send(request, task.subscription.wish.policy.timeout).await {
        Ok(answer) => Outcome::Answered {
            status: answer.status.as_u16(),
            retry_after: retry_after(&answer.headers, at),
        },
        Err(refused @ Failure::Refused { .. }) => Outcome::Refused(refused.to_string()),
        Err(Failure::Failed(why)) => Outcome::Failed(why),
        Err(Failure::Offline(why)) => return Err(Unsent::Offline(why)),
    })
}

fn encode(task: &Task, event: &Event, at: Timestamp) -> Result<Request<Full<Bytes>>, http::Error> {
    let Task { subscription, offset, number, .. } = task;
    let Sink::Http { url, method, headers } = &subscription.wish.sink;
    let (mut all, body) = content(subscription.wish.encoding, event);
    for (name, value) in headers {
        all.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    let mut hub = |name: &'static str, value: &str| -> Result<(), http::Error> {
        all.insert(HeaderName::from_static(name), HeaderValue::try_from(value)?);
        Ok(())
    };
    hub("tidings-offset", &offset.to_string())?;
    hub("tidings-attempt", &number.to_string())?;
    hub("tidings-subscription", &subscription.id)?;
    hub("traceparent", &traceparent(event))?;
    hub("user-agent", concat!("tidings/", env!("CARGO_PKG_VERSION")))?;
    let id = delivery_id(subscription.number, *offset);
    let seconds = at.as_second();
    hub("webhook-id", &id)?;
    hub("webhook-timestamp", &seconds.to_string())?;
    if let Signing::StandardWebhooks(secret) = &subscription.wish.signing {
        hub("webhook-signature", &secret.sign(&id, seconds, &body))?;
    }
    let mut request =
        Request::builder().method(method.as_str()).uri(url.as_str()).body(Full::new(body))?;
    *request.headers_mut() = all;
    Ok(request)
}

fn content(encoding: Encoding, event: &Event) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    if encoding == Encoding::Structured {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(STRUCTURED));
        return (headers, Bytes::from(cloudevents::print(event)));
    }
    let media_type = event.datacontenttype.as_deref().map(HeaderValue::from_str);
    if let Some(Ok(media_type)) = media_type {
        headers.insert(CONTENT_TYPE, media_type);
    }
    if encoding == Encoding::Binary {
        for (name, value) in event.attributes() {
            let name = HeaderName::try_from(format!("ce-{name}"));
            let value = HeaderValue::try_from(cloudevents::encode_header(&value.canonical()));
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.insert(name, value);
            }
        }
    }
    (headers, event.data.as_ref().map(|data| data.bytes.clone()).unwrap_or_default())
}

/// The trace that the event names, or the beginning of one (W3C Trace Context, section 3.2).
fn traceparent(event: &Event) -> String {
    match event.attribute("traceparent") {
        Some(given) if given.len() == 55 && given.is_ascii() => given.into_owned(),
        Some(_) | None => {
            let (trace, span) = clock::trace();
            format!("00-{trace:032x}-{span:016x}-00")
        }
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Duration::try_from(date.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().expect("valid");
        let check = |text: &str, expected: Option<u64>| {
            let headers =
                HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).expect("valid"))]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{text}");
        };
        check("120", Some(120));
        check("Sat, 21 Nov 2026 10:00:30 GMT", Some(30));
        check("Sat, 21 Nov 2026 09:00:00 GMT", None);
        check("soon", None);
        check("-5", None);
    }
}
