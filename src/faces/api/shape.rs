//! A subscription as JSON asks for it. The only place that knows the native form's member names;
//! errors carry the JSON pointer of what is wrong.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::{Field, Fields};
use super::{mask, shape_policy};
use crate::clock;
use crate::config::Size;
use crate::domain::Invalid;
use crate::domain::encoding::Encoding;
use crate::domain::filter::{Filter, Limits};
use crate::domain::lease::Asked;
use crate::domain::policy::Policy;
use crate::domain::sign::Secret;
use crate::domain::sink::{Method, Sink, check_url};
use crate::domain::subscription::{Signing, Start, Subscription, Wish};

/// Members that the hub sets.
const READ_ONLY: [&str; 11] = [
    "id",
    "version",
    "state",
    "reason",
    "parked_since",
    "owner",
    "created_at",
    "updated_at",
    "expires_at",
    "status",
    "gap",
];

/// What reading a subscription depends on.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The subscription so far: masked headers and unnamed secrets are kept.
    pub(crate) held: Option<&'a Subscription>,
    /// Whether the caller may ask for a lease without end.
    pub(crate) admin: bool,
    /// The largest `policy.hold` that the operator allows.
    pub(crate) hold_max: Size,
    /// How large a filter may be.
    pub(crate) filters: Limits,
}

/// What was asked for, and the secret that the hub made for it, to be shown once.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// What was asked for.
    pub(crate) wish: Wish,
    /// A signing secret made just now.
    pub(crate) made_secret: Option<String>,
}

/// Reads a subscription.
pub(crate) fn parse(value: &Value, context: Context<'_>) -> Result<Parsed, Invalid> {
    let mut fields = Fields::of(value, "")?;
    let name = fields.get("name").map(|field| field.text().map(str::to_owned)).transpose()?;
    let labels = fields.get("labels").map_or(Ok(BTreeMap::new()), |field| owned(&field))?;
    let filter = fields.need("filter")?;
    let filter = Filter::parse_within(filter.value, &context.filters)
        .map_err(|error| error.under(&filter.at))?;
    let sink = parse_sink(&fields.need("sink")?, context)?;
    let encoding =
        fields.get("encoding").map_or(Ok(Encoding::Structured), |f| parse_encoding(&f))?;
    if let Some(template) = fields.get("template") {
        return Err(template.bad("is not offered yet; leave it out"));
    }
    let (signing, made_secret) = parse_signing(fields.get("signing"), context)?;
    let lease = parse_lease(&mut fields, context)?;
    let start = fields.get("start").map_or(Ok(Start::Now), |field| parse_start(&field))?;
    let policy = fields
        .get("policy")
        .map_or(Ok(Policy::default()), |field| shape_policy::parse(&field, context.hold_max))?;
    fields.done(&READ_ONLY)?;
    let wish = Wish { name, labels, filter, sink, encoding, signing, lease, start, policy };
    wish.check()?;
    Ok(Parsed { wish, made_secret })
}

fn parse_sink(sink: &Field<'_>, context: Context<'_>) -> Result<Sink, Invalid> {
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
        let held = context.held.map(|held| {
            let Sink::Http { headers, .. } = &held.wish.sink;
            headers
        });
        mask::unmask(&mut headers, held).map_err(|error| error.under(&field.at))?;
    }
    fields.done(&[])?;
    Ok(Sink::Http { url, method, headers })
}

fn parse_encoding(field: &Field<'_>) -> Result<Encoding, Invalid> {
    let later = ["batch", "template"];
    let is_later = match field.value {
        Value::String(text) => later.contains(&text.as_str()),
        Value::Object(members) => later.iter().any(|name| members.contains_key(*name)),
        _ => false,
    };
    if is_later {
        return Err(field.bad("is not offered yet; use structured, binary or raw"));
    }
    field.parse(Encoding::parse)
}

fn parse_signing(
    field: Option<Field<'_>>,
    context: Context<'_>,
) -> Result<(Signing, Option<String>), Invalid> {
    let Some(field) = field else { return Ok((Signing::None, None)) };
    let mut kinds = field.fields()?;
    let standard = kinds.need("standard_webhooks")?;
    kinds.done(&[])?;
    let mut fields = standard.fields()?;
    let given = fields.get("secret").map(|secret| secret.parse(Secret::parse)).transpose()?;
    fields.done(&[])?;
    if let Some(secret) = given {
        return Ok((Signing::StandardWebhooks(secret), None));
    }
    match context.held.map(|held| &held.wish.signing) {
        Some(kept @ Signing::StandardWebhooks(_)) => Ok((kept.clone(), None)),
        Some(Signing::None) | None => {
            let secret = Secret::new(clock::random());
            let shown = secret.reveal();
            Ok((Signing::StandardWebhooks(secret), Some(shown)))
        }
    }
}

/// Absent: the default. A number: that many seconds. `null`: no end, which an administrator may
/// ask for and anybody may leave as it is.
fn parse_lease(fields: &mut Fields<'_>, context: Context<'_>) -> Result<Asked, Invalid> {
    if let Some(field) = fields.get("lease_seconds") {
        return match field.number()? {
            0 => Err(field.bad("must be at least 1")),
            seconds => Ok(Asked::Seconds(seconds)),
        };
    }
    if !fields.is_null("lease_seconds") {
        return Ok(Asked::Default);
    }
    if context.admin || context.held.is_some_and(|held| held.lease.is_none()) {
        return Ok(Asked::Forever);
    }
    Err(Invalid::new("/lease_seconds", "a lease without end (null) needs the grant admin"))
}

fn parse_start(field: &Field<'_>) -> Result<Start, Invalid> {
    match field.value {
        Value::String(text) if text == "now" => Ok(Start::Now),
        Value::String(text) if text == "earliest" => Ok(Start::Earliest),
        Value::Number(number) if number.is_u64() => field.number().map(Start::Offset),
        _ => Err(field.bad("must be \"now\", \"earliest\" or an offset")),
    }
}

fn owned(field: &Field<'_>) -> Result<BTreeMap<String, String>, Invalid> {
    let texts = field.texts()?.into_iter();
    Ok(texts.map(|(name, text)| (name.to_owned(), text.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::merge::merge;
    use super::super::printed;
    use super::*;

    const NEW: Context<'_> =
        Context { held: None, admin: false, hold_max: Size(4 << 30), filters: Limits::HARD };

    fn minimal() -> Value {
        json!({"filter": {"topic": "a/#"}, "sink": {"http": {"url": "https://w.lan/hook"}}})
    }

    fn with(patch: Value) -> Value {
        merge(minimal(), &patch)
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let Parsed { wish, made_secret } = parse(&minimal(), NEW).expect("minimal");
        assert_eq!((wish.encoding, wish.start), (Encoding::Structured, Start::Now));
        assert_eq!((wish.lease, wish.signing), (Asked::Default, Signing::None));
        assert_eq!((wish.policy, made_secret), (Policy::default(), None));
    }

    #[test]
    fn a_bad_subscription_is_refused_at_its_field() {
        let check = |value: Value, pointer: &str| {
            let error = parse(&value, NEW).expect_err(pointer);
            assert_eq!(error.pointer, pointer, "{error}");
        };
        check(json!([]), "");
        check(json!({"sink": {"http": {"url": "http://a/"}}}), "/filter");
        check(with(json!({"filter": {"topic": null, "all": [{"sql": 1}]}})), "/filter/all/0/sql");
        check(with(json!({"sink": null})), "/sink");
        check(with(json!({"sink": {"mqtt": {}}})), "/sink/mqtt");
        check(with(json!({"sink": {"smtp": {}}})), "/sink/smtp");
        check(with(json!({"sink": {"http": {"url": "hook"}}})), "/sink/http/url");
        check(with(json!({"sink": {"http": {"url": "ftp://a/"}}})), "/sink/http/url");
        check(with(json!({"sink": {"http": {"method": "GET"}}})), "/sink/http/method");
        check(
            with(json!({"sink": {"http": {"headers": {"Host": "a"}}}})),
            "/sink/http/headers/Host",
        );
        check(with(json!({"sink": {"http": {"headers": {"x": 1}}}})), "/sink/http/headers/x");
        check(
            with(json!({"sink": {"http": {"headers": {"x-key": "***"}}}})),
            "/sink/http/headers/x-key",
        );
        check(with(json!({"encoding": {"batch": {"max": 1}}})), "/encoding");
        check(with(json!({"encoding": "template"})), "/encoding");
        check(with(json!({"encoding": "xml"})), "/encoding");
        check(with(json!({"template": {"steps": []}})), "/template");
        check(with(json!({"signing": {"hmac": {}}})), "/signing/standard_webhooks");
        let weak = json!({"signing": {"standard_webhooks": {"secret": "whsec_AAEC"}}});
        check(with(weak), "/signing/standard_webhooks/secret");
        check(with(json!({"lease_seconds": 0})), "/lease_seconds");
        check(with(json!({"lease_seconds": 1.5})), "/lease_seconds");
        check(with(json!({"start": "tomorrow"})), "/start");
        check(with(json!({"policy": {"timeout": "1h"}})), "/policy/timeout");
        check(with(json!({"policy": {"hold": "5GiB"}})), "/policy/hold");
        check(with(json!({"labels": {"a": 1}})), "/labels/a");
        check(with(json!({"state": "paused"})), "/state");
        check(with(json!({"filters": {}})), "/filters");
        let mut endless = minimal();
        endless["lease_seconds"] = Value::Null;
        check(endless.clone(), "/lease_seconds");
        let parsed = parse(&endless, Context { admin: true, ..NEW }).expect("admin");
        assert_eq!(parsed.wish.lease, Asked::Forever);
    }

    #[test]
    fn secrets_are_made_once_and_kept_unseen() {
        let asked = with(json!({"signing": {"standard_webhooks": {}},
            "sink": {"http": {"headers": {"Authorization": "Bearer x"}}}}));
        let first = parse(&asked, NEW).expect("valid");
        let secret = first.made_secret.clone().expect("made");
        assert_eq!(
            first.wish.signing,
            Signing::StandardWebhooks(Secret::parse(&secret).expect("own"))
        );
        let held = printed::tests::subscription(first.wish);
        let shown = printed::wish(&held);
        assert_eq!(shown["signing"], json!({"standard_webhooks": {}}));
        assert!(!shown.to_string().contains("Bearer"));
        let context = Context { held: Some(&held), ..NEW };
        let again = parse(&shown, context).expect("round trip");
        assert_eq!(again.made_secret, None);
        assert_eq!((&again.wish.sink, &again.wish.signing), (&held.wish.sink, &held.wish.signing));
        let own = json!({"signing": {"standard_webhooks": {"secret": secret}}});
        assert_eq!(parse(&with(own), NEW).expect("valid").made_secret, None);
    }
}
