//! A request for one delivery: what is sent, and what a preview shows. Never sends it.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Request};
use http_body_util::Full;
use url::Url;

use super::keyring;
use crate::domain::cloudevents::{self, STRUCTURED};
use crate::domain::delivery::{Excerpt, Sent, delivery_id};
use crate::domain::encoding::Encoding;
use crate::domain::event::Event;
use crate::domain::sink::{MASK, Sink, is_credential};
use crate::domain::subscription::{Signing, Subscription};
use crate::domain::template;
use crate::domain::vault::{Locked, Vault};
use crate::domain::{Offset, Timestamp};
use crate::net::identity::Identity;

/// The longest part of a request's body that is kept with a dead letter.
const BODY_KEPT_MAX: usize = 4_096;

/// A request that can be sent, and shown.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) method: &'static str,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// TLS that its target asks for.
    pub(crate) identity: Option<Identity>,
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unmade {
    /// None can be made of the event, now or later.
    #[error("{0}")]
    Unfit(String),
    /// A secret cannot be opened, as long as the hub has the key that it has.
    #[error(transparent)]
    Locked(#[from] Locked),
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
    /// It is a test: the event is not in the log, and no delivery may be taken for this one.
    pub(crate) test: bool,
    pub(crate) at: Timestamp,
    /// The trace that it begins, where its event names none.
    pub(crate) trace: (u128, u64),
    /// Opens the subscription's secrets.
    pub(crate) vault: &'a Vault,
}

impl Occasion<'_> {
    /// The request that carries the whole event to the sink.
    pub(crate) fn whole(&self) -> Result<Made, Unmade> {
        let (headers, body) = content(&self.subscription.wish.encoding, self.event);
        self.for_sink(headers, body)
    }

    /// The request that carries the whole event and no other one.
    pub(crate) fn alone(&self) -> Result<Made, Unmade> {
        match self.subscription.wish.encoding {
            Encoding::Batch(_) => self.batch(&[self.event]),
            _ => self.whole(),
        }
    }

    /// The request that carries several events to the sink, this one first.
    pub(crate) fn batch(&self, events: &[&Event]) -> Result<Made, Unmade> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(cloudevents::BATCH));
        self.for_sink(headers, Bytes::from(cloudevents::print_batch(events)))
    }

    /// The request that a template's step made.
    pub(crate) fn of_step(&self, step: usize, request: template::Request) -> Result<Made, Unmade> {
        let (method, body) = (request.method.as_str(), request.body.unwrap_or_default());
        let (url, headers) = (request.url, HeaderMap::new());
        let mut made = Made { method, url, headers, body, identity: None };
        if request.to_sink {
            self.add_sinks_own(&mut made)?;
        }
        for (name, value) in &request.headers {
            made.insert(name, value, false)?;
        }
        self.finish(made, step)
    }

    fn for_sink(&self, headers: HeaderMap, body: Bytes) -> Result<Made, Unmade> {
        let Sink::Http { url, method, .. } = &self.subscription.wish.sink else {
            return Err(Unmade::Unfit("the subscription has no sink".to_owned()));
        };
        let (method, url) = (method.as_str(), url.clone());
        let mut made = Made { method, url, headers, body, identity: None };
        self.add_sinks_own(&mut made)?;
        self.finish(made, 0)
    }

    /// Adds what the sink says of every request: its headers, its credentials, its TLS.
    fn add_sinks_own(&self, made: &mut Made) -> Result<(), Unmade> {
        let Sink::Http { headers, access, .. } = &self.subscription.wish.sink else {
            return Ok(());
        };
        let owner = &self.subscription.id;
        for (name, value) in headers {
            made.insert(name, value, false)?;
        }
        for (name, value) in access.open_headers(self.vault, owner)? {
            made.insert(&name, &value, true)?;
        }
        if let Some(tls) = &access.tls {
            made.identity = Some(keyring::identity(self.vault, owner, tls)?);
        }
        Ok(())
    }

    /// The stable id of the delivery.
    fn id(&self) -> String {
        let number = self.subscription.number;
        match self.test {
            true => format!("msg_{number}_test_{}", self.event.id),
            false => delivery_id(number, self.offset),
        }
    }

    /// Adds what the hub says of a delivery, and the signature over its body.
    fn finish(&self, mut made: Made, step: usize) -> Result<Made, Unmade> {
        let mut hub = |name: &str, value: &str| made.insert(name, value, false);
        match self.test {
            true => hub("tidings-test", "true")?,
            false => hub("tidings-offset", &self.offset.to_string())?,
        }
        hub("tidings-attempt", &self.attempt.to_string())?;
        hub("tidings-subscription", &self.subscription.id)?;
        if self.replay {
            hub("tidings-replay", "true")?;
        }
        hub("traceparent", &traceparent(self.event, self.trace))?;
        hub("user-agent", concat!("tidings/", env!("CARGO_PKG_VERSION")))?;
        let id = step_id(&self.id(), step);
        hub("webhook-id", &id)?;
        hub("webhook-timestamp", &self.at.as_second().to_string())?;
        if let Signing::StandardWebhooks(keys) = &self.subscription.wish.signing {
            let owner = &self.subscription.id;
            let signature = keys.sign(self.vault, owner, &id, self.at, &made.body)?;
            made.insert("webhook-signature", &signature, false)?;
        }
        Ok(made)
    }
}

impl Made {
    /// Puts a header in the place of one of the same name. A credential is never shown.
    fn insert(&mut self, name: &str, value: &str, is_credential: bool) -> Result<(), Unmade> {
        let unfit = |error: http::Error| Unmade::Unfit(error.to_string());
        let name = HeaderName::try_from(name).map_err(|error| unfit(error.into()))?;
        let mut value = HeaderValue::try_from(value).map_err(|error| unfit(error.into()))?;
        value.set_sensitive(is_credential);
        self.headers.insert(name, value);
        Ok(())
    }

    /// The request as the client takes it.
    pub(crate) fn into_request(self) -> Result<Request<Full<Bytes>>, String> {
        let request = Request::builder().method(self.method).uri(self.url.as_str());
        let request = request.body(Full::new(self.body)).map_err(|error| error.to_string());
        request.map(|mut request| {
            *request.headers_mut() = self.headers;
            request
        })
    }

    /// The request as it is kept: credentials masked, the body's first bytes.
    pub(crate) fn sent(&self) -> Sent {
        self.shown(BODY_KEPT_MAX)
    }

    /// The request as it is shown: credentials masked, so many of the body's first bytes.
    pub(crate) fn shown(&self, body_bytes_max: usize) -> Sent {
        let show = |(name, value): (&HeaderName, &HeaderValue)| {
            let value = match value.is_sensitive() || is_credential(name.as_str()) {
                true => MASK.to_owned(),
                false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            };
            (name.to_string(), value)
        };
        Sent {
            method: self.method.to_owned(),
            url: self.url.to_string(),
            headers: self.headers.iter().map(show).collect(),
            body: Excerpt::of(&self.body, body_bytes_max),
        }
    }
}

/// The stable id of a step's delivery: receivers that know the delivery of one step must not take
/// another one for it.
fn step_id(id: &str, step: usize) -> String {
    match step {
        0 => id.to_owned(),
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
fn traceparent(event: &Event, (trace, span): (u128, u64)) -> String {
    match event.attribute("traceparent") {
        Some(given) if given.len() == 55 && given.is_ascii() => given.into_owned(),
        Some(_) | None => format!("00-{trace:032x}-{span:016x}-00"),
    }
}
