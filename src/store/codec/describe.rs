//! A record as the expected text of the corpus shows it. What a later version adds is left out
//! where it says nothing, so that the text of old files never changes.

use serde_json::{Map, Value, json};

use crate::domain::attribute;
use crate::domain::delivery::{Attempt, DeadLetter, Outcome};
use crate::domain::event::{Event, Message};
use crate::domain::grant::Grant;
use crate::domain::job::Job;
use crate::domain::letter::Id;
use crate::domain::policy::{Class, Policy};
use crate::domain::record::{Record, Token};
use crate::domain::secret::Secret;
use crate::domain::sink::Sink;
use crate::domain::subscription::{Signing, State, Subscription};

/// One record, every field of it.
pub(super) fn record(record: &Record) -> Value {
    match record {
        Record::Event(held) => json!({ "event": event(held) }),
        Record::Subscription(held) => json!({ "subscription": subscription(held) }),
        Record::SubscriptionRemoved { number, id } => {
            json!({ "subscription_removed": { "number": number, "id": id } })
        }
        Record::Token(held) => json!({ "token": token(held) }),
        Record::TokenRevoked { id } => json!({ "token_revoked": { "id": id } }),
        Record::Retry(retry) => json!({ "retry": {
            "subscription": retry.subscription,
            "offset": retry.offset,
            "due": retry.due.as_millisecond(),
            "attempts": attempts(&retry.attempts),
        }}),
        Record::Settled { subscription, offset } => {
            json!({ "settled": { "subscription": subscription, "offset": offset } })
        }
        Record::DeadLetter(letter) => json!({ "dead_letter": dead_letter(letter) }),
        Record::Progress(progress) => json!({ "progress": {
            "matched": progress.matched,
            "lagging": progress.lagging,
            "caught_up": progress.caught_up,
        }}),
        Record::Replay(replay) => json!({ "replay": {
            "subscription": replay.subscription,
            "from": replay.from,
            "to": replay.to,
            "cursor": replay.cursor,
        }}),
        Record::ExpiryTold { subscription } => {
            json!({ "expiry_told": { "subscription": subscription } })
        }
        Record::ReplayEnded { subscription } => {
            json!({ "replay_ended": { "subscription": subscription } })
        }
        Record::Gap { subscription, missing } => json!({ "gap": {
            "subscription": subscription,
            "from": missing.from,
            "to": missing.to,
        }}),
        Record::Job(held) => json!({ "job": job(held) }),
        Record::Redriven(redriven) => json!({ "redriven": {
            "job": redriven.job,
            "due": redriven.due.as_millisecond(),
            "letters": redriven.letters.iter().map(|handed| json!([
                handed.letter.to_string(), handed.key,
            ])).collect::<Value>(),
        }}),
        Record::Forgotten(forgotten) => json!({ "forgotten": {
            "letters": ids(&forgotten.letters),
            "jobs": forgotten.jobs,
            "why": format!("{:?}", forgotten.why),
        }}),
    }
}

fn job(job: &Job) -> Value {
    json!({
        "id": job.id,
        "owner": job.actor.owner,
        "admin": job.actor.admin,
        "ids": ids(&job.choice.ids),
        "subscription": job.choice.subscription,
        "code": job.choice.code,
        "since": job.choice.since.map(|time| time.as_millisecond()),
        "until": job.choice.until.map(|time| time.as_millisecond()),
        "rate_per_second": job.rate_per_second,
        "created_at": job.created_at.as_millisecond(),
        "total": job.total,
        "state": job.state.as_str(),
        "ended_at": job.ended_at().map(|time| time.as_millisecond()),
        "counts": format!("{:?}", job.counts),
        "skipped": format!("{:?}", job.skipped),
    })
}

fn ids(ids: &[Id]) -> Value {
    ids.iter().map(Id::to_string).collect()
}

fn event(event: &Event) -> Value {
    let extensions: Map<String, Value> = event
        .extensions
        .iter()
        .map(|(name, value)| {
            let value = match value {
                attribute::Value::Boolean(flag) => json!(flag),
                attribute::Value::Integer(number) => json!(number),
                attribute::Value::String(text) => json!(text),
            };
            (name.to_string(), value)
        })
        .collect();
    json!({
        "id": event.id,
        "source": event.source,
        "type": event.kind,
        "subject": event.subject,
        "time": event.time,
        "datacontenttype": event.datacontenttype,
        "dataschema": event.dataschema,
        "extensions": extensions,
        "topic": event.topic.as_str(),
        "data": event.data.as_ref().map(|data| json!({
            "form": format!("{:?}", data.form),
            "hex": hex(&data.bytes),
        })),
        "origin": format!("{:?}", event.origin),
        "message": event.message.as_deref().map(message),
    })
}

fn message(message: &Message) -> Value {
    json!({
        "publisher": message.publisher,
        "qos": message.qos,
        "utf8": message.utf8,
        "response_topic": message.response_topic,
        "correlation_data": message.correlation_data.as_deref().map(hex),
        "user_properties": message.user_properties,
    })
}

fn subscription(held: &Subscription) -> Value {
    let http = match &held.wish.sink {
        Sink::Http { url, method, headers, access } => {
            let mut headers = headers.clone();
            let open =
                |value: &Secret| String::from_utf8_lossy(value.as_open().expect("open")).into();
            headers.extend(access.headers.iter().map(|(name, value)| (name.clone(), open(value))));
            json!({ "url": url.as_str(), "method": method.as_str(), "headers": headers })
        }
        Sink::Steps => Value::Null,
    };
    json!({
        "id": held.id,
        "number": held.number,
        "version": held.version,
        "owner": held.owner,
        "name": held.wish.name,
        "labels": held.wish.labels,
        "filter": held.wish.filter.print(),
        "http": http,
        "encoding": held.wish.encoding.as_str(),
        "secret": match &held.wish.signing {
            Signing::None => Value::Null,
            Signing::StandardWebhooks(keys) => json!(keys.newest.reveal()),
        },
        "asked": format!("{:?}", held.wish.lease),
        "lease": held.lease.map(|lease| (lease.seconds, lease.expires_at.as_millisecond())),
        "start": format!("{:?}", held.wish.start),
        "policy": policy(&held.wish.policy),
        "state": match held.state {
            State::Active | State::Paused | State::Parked(_) => json!(held.state.as_str()),
            State::Ended(end, at) => json!([end.as_str(), at.as_millisecond()]),
        },
        "created_at": held.created_at.as_millisecond(),
        "updated_at": held.updated_at.as_millisecond(),
    })
}

fn policy(policy: &Policy) -> Value {
    let mut value = policy_v1(policy);
    if let Some(bytes) = policy.hold {
        value["hold"] = json!(bytes.to_string());
    }
    value
}

fn policy_v1(policy: &Policy) -> Value {
    let texts = |classes: &[Class]| classes.iter().map(Class::to_string).collect::<Value>();
    json!({
        "timeout_ms": policy.timeout.as_millis().to_string(),
        "max_in_flight": policy.max_in_flight,
        "rate_per_second": policy.rate_per_second,
        "ordering": format!("{:?}", policy.ordering),
        "retry_ms": policy.retry.iter().map(|wait| wait.as_millis().to_string()).collect::<Value>(),
        "retry_on": texts(&policy.retry_on),
        "ignore": texts(&policy.ignore),
        "on_gone": format!("{:?}", policy.on_gone),
        "on_exhausted": format!("{:?}", policy.on_exhausted),
        "max_age_ms": policy.max_age.map(|age| age.as_millis().to_string()),
    })
}

fn token(token: &Token) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "grants": token.grants.0.iter().map(Grant::to_string).collect::<Value>(),
        "digest": hex(&token.digest),
        "created_at": token.created_at.as_millisecond(),
    })
}

fn dead_letter(letter: &DeadLetter) -> Value {
    json!({
        "subscription": letter.subscription,
        "subscription_id": letter.subscription_id,
        "offset": letter.offset,
        "at": letter.at.as_millisecond(),
        "reason": letter.reason.code(),
        "attempts": attempts(&letter.attempts),
    })
}

fn attempts(attempts: &[Attempt]) -> Value {
    let one = |attempt: &Attempt| {
        json!({
            "at": attempt.at.as_millisecond(),
            "took_ms": attempt.took.as_millis().to_string(),
            "outcome": match &attempt.outcome {
                Outcome::Answered { status, retry_after } => json!({
                    "answered": status,
                    "retry_after_ms": retry_after.map(|wait| wait.as_millis().to_string()),
                }),
                Outcome::Failed(why) => json!({ "failed": why }),
                Outcome::Refused(why) => json!({ "refused": why }),
            },
        })
    };
    attempts.iter().map(one).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
