//! What became of an event's delivery to one subscription, from what the hub keeps: exceptions. A
//! success leaves nothing behind, so it is inferred, and that is said.

use serde_json::{Value, json};

use super::dead_letters::print_attempt;
use crate::domain::delivery::{Attempt, DeadLetter, Retry};
use crate::domain::letter::Id;
use crate::domain::policy::OnExhausted;
use crate::domain::subscription::{State, Subscription};
use crate::domain::{Offset, Timestamp};
use crate::faces::problem::Problem;
use crate::faces::router::App;
use crate::flow::{LaneStatus, Subject};

/// What became of the delivery of an event to a subscription that takes it. `lane` is asked before
/// the letters are read: what fails meanwhile is then found among the exceptions.
pub(super) async fn fate(
    hub: &App,
    subscription: &Subscription,
    subject: &Subject,
    lane: Option<&LaneStatus>,
) -> Result<Value, Problem> {
    let offset = subject.offset.unwrap_or(Offset::MAX);
    let number = subscription.number;
    let id = Id { subscription: number, offset };
    if let Some(letter) = hub.reader.dead_letter(id).await? {
        return Ok(dead(subscription, subject, &letter));
    }
    if let Some(retry) = hub.reader.retry(number, offset).await? {
        return Ok(waiting(subscription, subject, &retry));
    }
    let told = |state: &str, detail: String| base(subscription, subject, state, detail);
    if let State::Ended(end, since) = subscription.state {
        let end = end.as_str();
        let detail = format!("it ended ({end}) at {since}; what was delivered before is not kept");
        return Ok(told("ended", detail));
    }
    let Some(lane) = lane else {
        return Ok(told("queued", "its delivery has not begun yet".to_owned()));
    };
    if lane.cursor <= offset {
        let detail = match (subscription.state, lane.parked_until) {
            (State::Paused, _) => "it is paused; its cursor waits before the event".to_owned(),
            (State::Parked(_), Some(until)) => {
                format!("its target does not work and is tried next at {until}")
            }
            (State::Active | State::Parked(_) | State::Ended(..), _) => {
                let cursor = lane.cursor;
                format!("its cursor stands at {cursor}: the event waits or is under way")
            }
        };
        return Ok(told("queued", detail));
    }
    let mut detail =
        "inferred: its cursor is past the event, and neither a retry nor a dead letter \
                      is there"
            .to_owned();
    if subscription.wish.policy.on_exhausted == OnExhausted::Drop {
        detail.push_str("; it may have been dropped as well (policy.on_exhausted)");
    }
    Ok(told("delivered", detail))
}

/// When a subscription last changed, if that was after an event was stored: what is said of it now
/// may not have been so then.
pub(super) fn changed_at(subscription: &Subscription, stored: Timestamp) -> Option<String> {
    let is_later = subscription.updated_at.as_millisecond() > stored.as_millisecond();
    is_later.then(|| subscription.updated_at.to_string())
}

fn base(subscription: &Subscription, subject: &Subject, state: &str, detail: String) -> Value {
    json!({
        "subscription": subscription.id,
        "name": subscription.wish.name,
        "state": state,
        "detail": detail,
        "changed_at": changed_at(subscription, subject.at),
        "due": null,
        "dead_letter": null,
        "attempts": [],
    })
}

fn waiting(subscription: &Subscription, subject: &Subject, retry: &Retry) -> Value {
    let (state, detail) = match retry.delayed {
        true => ("delayed", "it is sent no earlier, as the event says (policy.delay_until)"),
        false => ("waiting", "it failed and is tried again"),
    };
    let mut value = base(subscription, subject, state, detail.to_owned());
    value["due"] = json!(retry.due.to_string());
    value["attempts"] = attempts(&retry.attempts);
    value
}

fn dead(subscription: &Subscription, subject: &Subject, letter: &DeadLetter) -> Value {
    let detail = letter.note.clone().unwrap_or_else(|| "it was given up".to_owned());
    let mut value = base(subscription, subject, "dead_letter", detail);
    value["dead_letter"] = json!({
        "id": format!("{}-{}", letter.subscription, letter.offset),
        "code": letter.reason.code(),
        "at": letter.at.to_string(),
    });
    value["attempts"] = attempts(&letter.attempts);
    value
}

fn attempts(attempts: &[Attempt]) -> Value {
    attempts.iter().map(print_attempt).collect()
}
