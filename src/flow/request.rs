//! A request for one delivery: what is sent, and what a preview shows. Never sends it.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Request};
use http_body_util::Full;
use url::Url;

use crate::clock;
use crate::domain::cloudevents::{self, STRUCTURED};
use crate::domain::delivery::{Excerpt, Sent, delivery_id};
use crate::domain::encoding::Encoding;
use crate::domain::event::Event;
use crate::domain::sink::{MASK, Sink, is_credential};
use crate::domain::subscription::{Signing, Subscription};
use crate::domain::template;
use crate::domain::{Offset, Timestamp};

/// The longest part of a request's body that is kept with a dead letter.
const BODY_KEPT_MAX: usize = 4_096;

/// A request that can be sent, and shown.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) method: &'static str,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Which attempt of which delivery a request is made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Occasion<'a> {
    pub(crate) subscription: &'a Subscription,
    pub(crate) event: &'a Event,
    pub(crate) offset: Offset,
    /// The attempt's number, counted from 1.
    pub(crate) attempt: usize,
    pub(crate) replay: bool,
    pub(crate) at: Timestamp,
}

impl Occasion<'_> {
    /// The request that carries the whole event to the sink.
    pub(crate) fn whole(&self) -> Result<Made, String> {
        let Sink::Http { url, method, .. } = &self.subscription.wish.sink else {
            return Err("the subscription has no sink".to_owned());
        };
        let (mut headers, body) = content(&self.subscription.wish.encoding, self.event);
        self.add_sinks_headers(&mut headers).map_err(|error| error.to_string())?;
        let (method, url) = (method.as_str(), url.clone());
        self.finish(Made { method, url, headers, body }, 0)
    }

    /// The request that carries several events to the sink, this one first.
    pub(crate) fn batch(&self, events: &[&Event]) -> Result<Made, String> {
        let Sink::Http { url, method, .. } = &self.subscription.wish.sink else {
            return Err("the subscription has no sink".to_owned());
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(cloudevents::BATCH));
        self.add_sinks_headers(&mut headers).map_err(|error| error.to_string())?;
        let body = Bytes::from(cloudevents::print_batch(events));
        let (method, url) = (method.as_str(), url.clone());
        self.finish(Made { method, url, headers, body }, 0)
    }

    /// The request that a template's step made.
    pub(crate) fn of_step(&self, step: usize, request: template::Request) -> Result<Made, String> {
        let mut headers = HeaderMap::new();
        let mut add = || -> Result<(), http::Error> {
            if request.to_sink {
                self.add_sinks_headers(&mut headers)?;
            }
            for (name, value) in &request.headers {
                headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
            }
            Ok(())
        };
        add().map_err(|error| error.to_string())?;
        let (method, body) = (request.method.as_str(), request.body.unwrap_or_default());
        self.finish(Made { method, url: request.url, headers, body }, step)
    }

    fn add_sinks_headers(&self, headers: &mut HeaderMap) -> Result<(), http::Error> {
        let Sink::Http { headers: own, .. } = &self.subscription.wish.sink else { return Ok(()) };
        for (name, value) in own {
            headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        Ok(())
    }

    /// Adds what the hub says of a delivery, and the signature over its body.
    fn finish(&self, mut made: Made, step: usize) -> Result<Made, String> {
        let mut hub = |name: &'static str, value: &str| -> Result<(), String> {
            let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            made.headers.insert(HeaderName::from_static(name), value);
            Ok(())
        };
        hub("tidings-offset", &self.offset.to_string())?;
        hub("tidings-attempt", &self.attempt.to_string())?;
        hub("tidings-subscription", &self.subscription.id)?;
        if self.replay {
            hub("tidings-replay", "true")?;
        }
        hub("traceparent", &traceparent(self.event))?;
        hub("user-agent", concat!("tidings/", env!("CARGO_PKG_VERSION")))?;
        let id = step_id(self.subscription.number, self.offset, step);
        let seconds = self.at.as_second();
        hub("webhook-id", &id)?;
        hub("webhook-timestamp", &seconds.to_string())?;
        if let Signing::StandardWebhooks(secret) = &self.subscription.wish.signing {
            let signature = secret.sign(&id, seconds, &made.body);
            hub("webhook-signature", &signature)?;
        }
        Ok(made)
    }
}

impl Made {
    /// The request as the client takes it.
    pub(crate) fn into_request(self) -> Result<Request<Full<Bytes>>, String> {
        let request = Request::builder().method(self.method).uri(self.url.as_str());
        let request = request.body(Full::new(self.body)).map_err(|error| error.to_string());
        request.map(|mut request| {
            *request.headers_mut() = self.headers;
            request
        })
    }

    /// The request as it is kept and shown: credentials masked, the body's first bytes.
    pub(crate) fn sent(&self) -> Sent {
        let show = |(name, value): (&HeaderName, &HeaderValue)| {
            let value = match is_credential(name.as_str()) {
                true => MASK.to_owned(),
                false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            };
            (name.to_string(), value)
        };
        Sent {
            method: self.method.to_owned(),
            url: self.url.to_string(),
            headers: self.headers.iter().map(show).collect(),
            body: Excerpt::of(&self.body, BODY_KEPT_MAX),
        }
    }
}

/// The stable id of a step's delivery: receivers that know the delivery of one step must not take
/// another one for it.
fn step_id(subscription: u32, offset: Offset, step: usize) -> String {
    let id = delivery_id(subscription, offset);
    match step {
        0 => id,
        step => format!("{id}_{step}"),
    }
}

fn content(encoding: &Encoding, event: &Event) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    if !matches!(encoding, Encoding::Binary | Encoding::Raw) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(STRUCTURED));
        return (headers, Bytes::from(cloudevents::print(event)));
    }
    let media_type = event.datacontenttype.as_deref().map(HeaderValue::from_str);
    if let Some(Ok(media_type)) = media_type {
        headers.insert(CONTENT_TYPE, media_type);
    }
    if *encoding == Encoding::Binary {
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
