//! A subscription as JSON asks for it. The only place that knows the native form's member names;
//! errors carry the JSON pointer of what is wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::fields::{Field, Fields};
use super::{shape_encoding, shape_policy, shape_signing, shape_sink};
use crate::config::Size;
use crate::domain::encoding::Encoding;
use crate::domain::filter::{Filter, Limits};
use crate::domain::lease::Asked;
use crate::domain::policy::Policy;
use crate::domain::sink::Sink;
use crate::domain::subscription::{Start, Subscription, Wish};
use crate::domain::{Invalid, Timestamp};

/// Members that the hub sets.
const READ_ONLY: [&str; 12] = [
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
    "replay",
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
    /// It is to start with the first event at or after this time, which the log has to say.
    pub(crate) start_time: Option<Timestamp>,
}

/// Reads a subscription.
pub(crate) fn parse(value: &Value, context: Context<'_>) -> Result<Parsed, Invalid> {
    let mut fields = Fields::of(value, "")?;
    let name = fields.get("name").map(|field| field.text().map(str::to_owned)).transpose()?;
    let labels = fields.get("labels").map_or(Ok(BTreeMap::new()), |field| owned(&field))?;
    let filter = fields.need("filter")?;
    let filter = Filter::parse_within(filter.value, &context.filters)
        .map_err(|error| error.under(&filter.at))?;
    let encoding = shape_encoding::parse(fields.get("encoding"), fields.get("template"))?;
    let sink = match (&encoding, fields.get("sink")) {
        (_, Some(sink)) => shape_sink::parse(&sink, context.held)?,
        (Encoding::Template(_), None) => Sink::Steps,
        (_, None) => return Err(Invalid::new("/sink", "is required")),
    };
    let held = context.held.map(|held| &held.wish.signing);
    let (signing, made_secret) = shape_signing::parse(fields.get("signing"), held)?;
    let lease = parse_lease(&mut fields, context)?;
    let start = fields.get("start").map_or(Ok((Start::Now, None)), |field| parse_start(&field));
    let (start, start_time) = start?;
    let policy = fields
        .get("policy")
        .map_or(Ok(Policy::default()), |field| shape_policy::parse(&field, context.hold_max))?;
    fields.done(&READ_ONLY)?;
    let policy = Arc::new(policy);
    let wish = Wish { name, labels, filter, sink, encoding, signing, lease, start, policy };
    wish.check()?;
    Ok(Parsed { wish, made_secret, start_time })
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

/// Where it starts, or the time that says where.
fn parse_start(field: &Field<'_>) -> Result<(Start, Option<Timestamp>), Invalid> {
    match field.value {
        Value::String(text) if text == "now" => Ok((Start::Now, None)),
        Value::String(text) if text == "earliest" => Ok((Start::Earliest, None)),
        Value::Number(number) if number.is_u64() => Ok((Start::Offset(field.number()?), None)),
        Value::String(text) => match text.parse() {
            Ok(time) => Ok((Start::Now, Some(time))),
            Err(_) => {
                Err(field.bad("must be \"now\", \"earliest\", an offset, or a time (RFC 3339)"))
            }
        },
        _ => Err(field.bad("must be \"now\", \"earliest\", an offset, or a time (RFC 3339)")),
    }
}

pub(super) fn owned(field: &Field<'_>) -> Result<BTreeMap<String, String>, Invalid> {
    let texts = field.texts()?.into_iter();
    Ok(texts.map(|(name, text)| (name.to_owned(), text.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::merge::merge;
    use super::super::printed;
    use super::*;
    use crate::domain::sign::{Key, Keys};
    use crate::domain::subscription::Signing;

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
        let Parsed { wish, made_secret, .. } = parse(&minimal(), NEW).expect("minimal");
        assert_eq!((wish.encoding, wish.start), (Encoding::Structured, Start::Now));
        assert_eq!((wish.lease, wish.signing), (Asked::Default, Signing::None));
        assert_eq!((&*wish.policy, made_secret), (&Policy::default(), None));
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
        check(with(json!({"encoding": {"batch": {"max": 0}}})), "/encoding/batch/max");
        check(with(json!({"encoding": {"batch": {"wait": 5}}})), "/encoding/batch/wait");
        check(with(json!({"encoding": {"xml": {}}})), "/encoding/xml");
        check(with(json!({"encoding": "template"})), "/template");
        let template = json!({"steps": [{"method": "PURGE", "url": "http://{{data.host}}/"}]});
        let asked = json!({"encoding": "template", "template": template});
        check(with(asked), "/template/steps/0/url");
        let lost = json!({"encoding": "template", "sink": null,
            "template": {"steps": [{"method": "PURGE"}]}});
        check(with(lost), "/template/steps/0/url");
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
    fn bad_access_is_refused_at_its_field() {
        let check = |member: Value, pointer: &str| {
            let error = parse(&with(json!({"sink": {"http": member}})), NEW).expect_err(pointer);
            assert_eq!(error.pointer, pointer, "{error}");
        };
        check(json!({"auth": {}}), "/sink/http/auth");
        check(json!({"auth": {"bearer": {"token": " "}}}), "/sink/http/auth/bearer/token");
        let twice = json!({"headers": {"Authorization": "x"}, "auth": {"bearer": {"token": "t"}}});
        check(twice, "/sink/http/headers/Authorization");
        check(json!({"tls": {"ca": "x"}, "url": "http://a.lan/"}), "/sink/http/tls");
        check(json!({"tls": {"certificate": "x"}}), "/sink/http/tls/key");
        check(json!({"tls": {}}), "/sink/http/tls");
    }

    #[test]
    fn secrets_are_made_once_and_kept_unseen() {
        let asked = with(json!({"signing": {"standard_webhooks": {}},
            "sink": {"http": {"headers": {"Authorization": "Bearer x"}}}}));
        let first = parse(&asked, NEW).expect("valid");
        let secret = first.made_secret.clone().expect("made");
        let key = Key::parse(&secret).expect("own");
        assert_eq!(first.wish.signing, Signing::StandardWebhooks(Keys::new(key)));
        let held = printed::tests::subscription(first.wish);
        let shown = printed::wish(&held);
        assert_eq!(shown["signing"], json!({"standard_webhooks": {"scheme": "v1"}}));
        assert!(!shown.to_string().contains("Bearer"));
        let context = Context { held: Some(&held), ..NEW };
        let again = parse(&shown, context).expect("round trip");
        assert_eq!(again.made_secret, None);
        assert_eq!((&again.wish.sink, &again.wish.signing), (&held.wish.sink, &held.wish.signing));
        let own = json!({"signing": {"standard_webhooks": {"secret": secret}}});
        assert_eq!(parse(&with(own), NEW).expect("valid").made_secret, None);
    }
}
