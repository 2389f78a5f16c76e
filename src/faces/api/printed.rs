//! A subscription as JSON shows it. Never shows a secret: not the signing key, not a header that
//! looks like a credential.

use std::time::Duration;

use serde_json::{Value, json};

use super::{shape_encoding, shape_policy, shape_sink};
use crate::clock;
use crate::domain::gap::Gap;
use crate::domain::replay::Replay;
use crate::domain::subscription::{Signing, Start, State, Subscription};
use crate::faces::router::App;
use crate::flow::LaneStatus;

/// The whole subscription with what delivery is doing.
pub(crate) fn subscription(hub: &App, subscription: &Subscription) -> Value {
    let mut value = wish(subscription);
    let lane = hub.lanes.status(subscription.number);
    let next = hub.reader.next_offset();
    value["id"] = json!(subscription.id);
    value["version"] = json!(subscription.version);
    value["state"] = json!(subscription.state.as_str());
    match subscription.state {
        State::Ended(end, _) => value["reason"] = json!(end.as_str()),
        State::Parked(since) => {
            value["reason"] = json!("target_failing");
            value["parked_since"] = json!(since.to_string());
        }
        State::Active | State::Paused => {}
    }
    value["owner"] = json!(subscription.owner);
    value["created_at"] = json!(subscription.created_at.to_string());
    value["updated_at"] = json!(subscription.updated_at.to_string());
    value["expires_at"] = json!(subscription.lease.map(|lease| lease.expires_at.to_string()));
    value["gap"] = lane.as_ref().and_then(|lane| lane.gap).map_or(Value::Null, gap);
    value["replay"] = lane.as_ref().and_then(|lane| lane.replay).map_or(Value::Null, replay);
    value["status"] = lane.map_or(Value::Null, |lane| status(&lane, next));
    value
}

/// What was asked for, in the form in which it can be asked for again. `lease_seconds` is what was
/// granted.
pub(crate) fn wish(subscription: &Subscription) -> Value {
    let wish = &subscription.wish;
    let (encoding, template) = shape_encoding::print(&wish.encoding);
    json!({
        "name": wish.name,
        "labels": wish.labels,
        "filter": wish.filter.print(),
        "sink": shape_sink::print(&wish.sink),
        "encoding": encoding,
        "template": template,
        "signing": match wish.signing {
            Signing::None => Value::Null,
            Signing::StandardWebhooks(_) => json!({"standard_webhooks": {}}),
        },
        "lease_seconds": subscription.lease.map(|lease| lease.seconds),
        "start": match wish.start {
            Start::Now => json!("now"),
            Start::Earliest => json!("earliest"),
            Start::Offset(offset) => json!(offset),
        },
        "policy": shape_policy::print(&wish.policy),
    })
}

fn gap(gap: Gap) -> Value {
    json!({
        "from": gap.newest.from,
        "to": gap.newest.to,
        "at": gap.at.to_string(),
        "total": gap.total,
    })
}

fn replay(replay: Replay) -> Value {
    json!({ "from": replay.from, "to": replay.to, "cursor": replay.cursor })
}

fn quantiles((half, most): (Duration, Duration)) -> Value {
    let millis = |time: Duration| time.as_micros() as f64 / 1_000.0;
    json!({ "p50": millis(half), "p99": millis(most) })
}

fn status(lane: &LaneStatus, next: u64) -> Value {
    json!({
        "cursor": lane.cursor,
        "lag": next.saturating_sub(lane.cursor),
        "lag_seconds": lane.age(clock::now()),
        "pending": lane.pending(),
        "in_flight": lane.in_flight,
        "queued": lane.queued,
        "retrying": lane.retrying,
        "parked_until": lane.parked_until.map(|until| until.to_string()),
        "attempt_ms": lane.attempt.map(quantiles),
        "delay_ms": lane.delay.map(quantiles),
        "delivered": lane.delivered,
        "failed": lane.failed,
        "last_error": lane.last_error,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::domain::Timestamp;
    use crate::domain::lease::Lease;
    use crate::domain::subscription::{State, Subscription, Wish};

    /// A subscription for tests.
    pub(crate) fn subscription(wish: Wish) -> Subscription {
        Subscription {
            id: "s1".to_owned(),
            number: 1,
            version: 1,
            owner: Some("t1".to_owned()),
            wish,
            lease: Some(Lease { seconds: 3_600, expires_at: Timestamp::UNIX_EPOCH }),
            state: State::Active,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }
}
