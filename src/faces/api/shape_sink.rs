//! Where deliveries go, in JSON. Credentials are never printed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fields::Field;
use super::shape::owned;
use super::{mask, shape_access};
use crate::domain::Invalid;
use crate::domain::access::Access;
use crate::domain::sink::{Method, Sink, check_url};
use crate::domain::subscription::Subscription;

/// Reads a sink. `held` is the subscription so far: masked secrets are kept.
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
    let held = held.and_then(|held| match &held.wish.sink {
        Sink::Http { access, .. } => Some(&**access),
        Sink::Steps => None,
    });
    let (mut headers, mut access) = (BTreeMap::new(), Access::default());
    if let Some(field) = fields.get("headers") {
        (headers, access) = Access::of_headers(owned(&field)?);
        let unmasked = mask::unmask(&mut access.headers, held.map(|held| &held.headers));
        unmasked.map_err(|error| error.under(&field.at))?;
    }
    let (auth, tls) = (fields.get("auth"), fields.get("tls"));
    access.auth = auth.map(|field| shape_access::parse_auth(&field, held)).transpose()?;
    access.tls = tls.map(|field| shape_access::parse_tls(&field, held)).transpose()?;
    fields.done(&[])?;
    Ok(Sink::Http { url, method, headers, access: Box::new(access) })
}

/// Writes a sink.
pub(crate) fn print(sink: &Sink) -> Value {
    match sink {
        Sink::Http { url, method, headers, access } => json!({"http": {
            "url": url.as_str(),
            "method": method.as_str(),
            "headers": mask::mask(headers, &access.headers),
            "auth": access.auth.as_ref().map(shape_access::print_auth),
            "tls": access.tls.as_ref().map(shape_access::print_tls),
        }}),
        Sink::Steps => Value::Null,
    }
}
