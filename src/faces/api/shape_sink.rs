//! Where deliveries go, in JSON. Credentials in headers are never printed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fields::Field;
use super::mask;
use super::shape::owned;
use crate::domain::Invalid;
use crate::domain::sink::{Method, Sink, check_url};
use crate::domain::subscription::Subscription;

/// Reads a sink. `held` is the subscription so far: masked headers are kept.
pub(crate) fn parse(sink: &Field<'_>, held: Option<&Subscription>) -> Result<Sink, Invalid> {
    let mut kinds = sink.fields()?;
    for later in ["mqtt", "stream"] {
        if let Some(kind) = kinds.get(later) {
            return Err(kind.bad("is not offered yet; use http"));
        }
    }
    let http = kinds.need("http")?;
    kinds.done(&[])?;
    let mut fields = http.fields()?;
    let target = fields.need("url")?;
    let url = target.text()?.parse().map_err(|error| target.bad(format!("is no URL: {error}")))?;
    check_url(&url).map_err(|error| error.under(&target.at))?;
    let method =
        fields.get("method").map_or(Ok(Method::Post), |field| field.parse(Method::parse))?;
    let mut headers = BTreeMap::new();
    if let Some(field) = fields.get("headers") {
        headers = owned(&field)?;
        let held = held.and_then(|held| match &held.wish.sink {
            Sink::Http { headers, .. } => Some(headers),
            Sink::Steps => None,
        });
        mask::unmask(&mut headers, held).map_err(|error| error.under(&field.at))?;
    }
    fields.done(&[])?;
    Ok(Sink::Http { url, method, headers })
}

/// Writes a sink.
pub(crate) fn print(sink: &Sink) -> Value {
    match sink {
        Sink::Http { url, method, headers } => json!({"http": {
            "url": url.as_str(),
            "method": method.as_str(),
            "headers": mask::mask(headers),
        }}),
        Sink::Steps => Value::Null,
    }
}
