//! A delivery policy in JSON. What is left out has the domain's default.

use std::time::Duration;

use serde_json::{Value, json};

use super::fields::Field;
use crate::config::Size;
use crate::domain::Invalid;
use crate::domain::policy::{Class, OnExhausted, OnGone, Ordering, Policy, Sample};
use crate::domain::quantity::{parse_duration, parse_size, print_duration, print_size};
use crate::domain::template::Line;

const ORDERINGS: [(&str, Ordering); 3] =
    [("none", Ordering::None), ("key", Ordering::Key), ("strict", Ordering::Strict)];

/// Digits of a sample's rate: it is kept in millionths.
const RATE_DIGITS: f64 = 1_000_000.0;

const ON_GONE: [(&str, OnGone); 2] = [("end", OnGone::End), ("fail", OnGone::Fail)];

const ON_EXHAUSTED: [(&str, OnExhausted); 2] =
    [("dead_letter", OnExhausted::DeadLetter), ("drop", OnExhausted::Drop)];

/// Reads a policy.
pub(crate) fn parse(policy: &Field<'_>, hold_max: Size) -> Result<Policy, Invalid> {
    let default = Policy::default();
    let mut fields = policy.fields()?;
    let list = |field: Option<Field<'_>>, default| match field {
        Some(field) => field.items()?.iter().map(|item| item.parse(Class::parse)).collect(),
        None => Ok(default),
    };
    let (ordering, key) = ordering(fields.get("ordering"), default.ordering)?;
    let read = Policy {
        timeout: fields.get("timeout").map_or(Ok(default.timeout), |f| duration(&f))?,
        max_in_flight: fields
            .get("max_in_flight")
            .map_or(Ok(default.max_in_flight), |f| number(&f))?,
        rate_per_second: fields.get("rate_per_second").map(|f| number(&f)).transpose()?,
        ordering,
        key,
        retry: match fields.get("retry") {
            Some(field) => field.items()?.iter().map(duration).collect::<Result<_, _>>()?,
            None => default.retry,
        },
        retry_on: list(fields.get("retry_on"), default.retry_on)?,
        ignore: list(fields.get("ignore"), default.ignore)?,
        on_gone: word(fields.get("on_gone"), &ON_GONE, default.on_gone)?,
        on_exhausted: word(fields.get("on_exhausted"), &ON_EXHAUSTED, default.on_exhausted)?,
        max_age: fields.get("max_age").map(|f| duration(&f)).transpose()?,
        hold: fields.get("hold").map(|f| hold(&f, hold_max)).transpose()?,
        delay_until: fields.get("delay_until").map(|f| f.parse(Line::parse)).transpose()?,
        sample: fields.get("sample").map(|f| sample(&f)).transpose()?,
    };
    fields.done(&[])?;
    Ok(read)
}

/// Writes a policy with every field.
pub(crate) fn print(policy: &Policy) -> Value {
    let classes = |classes: &[Class]| classes.iter().map(Class::to_string).collect::<Value>();
    json!({
        "timeout": print_duration(policy.timeout),
        "max_in_flight": policy.max_in_flight,
        "rate_per_second": policy.rate_per_second,
        "ordering": match &policy.key {
            Some(key) => json!({"key": key.to_string()}),
            None => json!(name(&ORDERINGS, policy.ordering)),
        },
        "retry": policy.retry.iter().map(|wait| print_duration(*wait)).collect::<Value>(),
        "retry_on": classes(&policy.retry_on),
        "ignore": classes(&policy.ignore),
        "on_gone": name(&ON_GONE, policy.on_gone),
        "on_exhausted": name(&ON_EXHAUSTED, policy.on_exhausted),
        "max_age": policy.max_age.map(print_duration),
        "hold": policy.hold.map(print_size),
        "delay_until": policy.delay_until.as_ref().map(Line::to_string),
        "sample": policy.sample.as_ref().map(|sample| json!({
            "rate": f64::from(sample.parts) / RATE_DIGITS,
            "key": sample.key.as_ref().map(Line::to_string),
        })),
    })
}

/// A word, or `{"key": TEXT}`: the key that orders.
fn ordering(
    field: Option<Field<'_>>,
    default: Ordering,
) -> Result<(Ordering, Option<Line>), Invalid> {
    let mut fields = match field {
        Some(field) if field.value.is_object() => field.fields()?,
        field => return Ok((word(field, &ORDERINGS, default)?, None)),
    };
    let key = fields.need("key")?.parse(Line::parse)?;
    fields.done(&[])?;
    Ok((Ordering::Key, Some(key)))
}

fn sample(field: &Field<'_>) -> Result<Sample, Invalid> {
    let mut fields = field.fields()?;
    let rate = fields.need("rate")?;
    let share = rate.value.as_f64().filter(|share| (0.0..=1.0).contains(share));
    let share = share.ok_or_else(|| rate.bad("must be a number from 0 to 1"))?;
    let key = fields.get("key").map(|field| field.parse(Line::parse)).transpose()?;
    fields.done(&[])?;
    Ok(Sample { parts: parts(share), key })
}

/// Millionths of a share from 0 to 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to a million")]
fn parts(share: f64) -> u32 {
    (share * RATE_DIGITS).round() as u32
}

pub(super) fn duration(field: &Field<'_>) -> Result<Duration, Invalid> {
    parse_duration(field.text()?).map_err(|detail| field.bad(detail))
}

/// A size as text or as a number of bytes.
fn hold(field: &Field<'_>, max: Size) -> Result<u64, Invalid> {
    let bytes = match field.value {
        Value::Number(_) => field.number()?,
        _ => parse_size(field.text()?).map_err(|detail| field.bad(detail))?,
    };
    match bytes <= max.0 {
        true => Ok(bytes),
        false => Err(field.bad(format!("subscriptions.hold_max is {}", print_size(max.0)))),
    }
}

fn number(field: &Field<'_>) -> Result<u32, Invalid> {
    u32::try_from(field.number()?).map_err(|_| field.bad("is too large"))
}

fn word<T: Copy>(field: Option<Field<'_>>, words: &[(&str, T)], default: T) -> Result<T, Invalid> {
    let Some(field) = field else { return Ok(default) };
    let text = field.text()?;
    words.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
        field.bad(format!("must be one of {}", names.join(", ")))
    })
}

fn name<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, held)| *held == value).map_or("", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &Value) -> Result<Policy, Invalid> {
        parse(&Field { value, at: "/policy".to_owned() }, Size(4 << 30))
    }

    #[test]
    fn what_is_left_out_has_its_default_and_all_of_it_prints_back() {
        assert_eq!(read(&json!({})).expect("empty"), Policy::default());
        let printed = print(&Policy::default());
        assert_eq!(printed["retry"], json!(["5s", "30s", "2m", "10m", "1h", "6h"]));
        assert_eq!(printed["retry_on"], json!(["408", "425", "429", "5xx", "network"]));
        let full = json!({"timeout": "5s", "max_in_flight": 1, "rate_per_second": 10,
            "ordering": {"key": "{{data.page}}"},
            "retry": [], "retry_on": ["503"], "ignore": ["412"],
            "on_gone": "fail", "on_exhausted": "drop", "max_age": "1h",
            "hold": "512MiB", "delay_until": "{{event.delayuntil}}",
            "sample": {"rate": 0.25, "key": "{{event.subject}}"}});
        assert_eq!(print(&read(&full).expect("valid")), full);
    }

    #[test]
    fn a_hold_is_a_size_as_text_or_in_bytes() {
        let check = |value: Value, expected: Option<u64>, printed: Value| {
            let policy = read(&json!({"hold": value})).expect("valid");
            assert_eq!((policy.hold, &print(&policy)["hold"]), (expected, &printed));
        };
        check(json!(null), None, json!(null));
        check(json!("4GiB"), Some(4 << 30), json!("4GiB"));
        check(json!(1_000), Some(1_000), json!("1000B"));
        check(json!(0), Some(0), json!("0B"));
    }

    #[test]
    fn a_bad_policy_is_refused_at_its_field() {
        let check = |value: Value, pointer: &str| {
            assert_eq!(read(&value).expect_err(pointer).pointer, pointer);
        };
        check(json!([]), "/policy");
        check(json!({"timeout": 30}), "/policy/timeout");
        check(json!({"timeout": "30"}), "/policy/timeout");
        check(json!({"retry": ["5s", "soon"]}), "/policy/retry/1");
        check(json!({"retry_on": ["9xx"]}), "/policy/retry_on/0");
        check(json!({"max_in_flight": 4294967296u64}), "/policy/max_in_flight");
        check(json!({"rate_per_second": -1}), "/policy/rate_per_second");
        check(json!({"ordering": "total"}), "/policy/ordering");
        check(json!({"ordering": {"key": "{{data"}}), "/policy/ordering/key");
        check(json!({"ordering": {}}), "/policy/ordering/key");
        check(json!({"delay_until": "{{steps[0].response.status}}"}), "/policy/delay_until");
        check(json!({"sample": {"rate": 1.01}}), "/policy/sample/rate");
        check(json!({"sample": {"key": "a"}}), "/policy/sample/rate");
        check(json!({"hold": "much"}), "/policy/hold");
        check(json!({"hold": -1}), "/policy/hold");
        check(json!({"hold": "4097MiB"}), "/policy/hold");
        check(json!({"hold": (4u64 << 30) + 1}), "/policy/hold");
        check(json!({"on_gone": null, "retries": 3}), "/policy/retries");
    }
}
