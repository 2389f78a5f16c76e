//! `POST` and `DELETE /v1/subscriptions/{id}/replay`: a subscription is given a range of the log
//! once more. Decided by the single writer, never here.

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::fields::{Field, Fields};
use super::subscriptions::{answer, visible};
use crate::domain::command::Command;
use crate::domain::{Invalid, Offset};
use crate::faces::auth::need_manage;
use crate::faces::body::{self, Payload};
use crate::faces::codes;
use crate::faces::path::Segment;
use crate::faces::problem::Problem;
use crate::faces::router::Hub;
use crate::faces::select::Position;
use crate::flow::Caller;

/// `POST /v1/subscriptions/{id}/replay`
pub(crate) async fn begin(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(id): Segment,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    need_manage(&caller)?;
    let value = body::json(&headers, &body, &["application/json"])?;
    let (from, to) = range(&value).map_err(invalid)?;
    let from = place(&hub, &from, "/from").await?;
    let to = match to {
        Some(to) => Some(place(&hub, &to, "/to").await?),
        None => None,
    };
    let command = Command::Replay { id: id.clone(), actor: caller.actor(), from, to };
    let done = hub.ingest.execute(command).await;
    done.map_err(|error| Problem::of(error, codes::SUBSCRIPTION_INVALID))?;
    let subscription = visible(&hub, &caller, &id).await?;
    Ok(answer(&hub, StatusCode::ACCEPTED, &subscription))
}

/// `DELETE /v1/subscriptions/{id}/replay`
pub(crate) async fn cancel(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<StatusCode, Problem> {
    need_manage(&caller)?;
    let command = Command::EndReplay { id, actor: caller.actor() };
    let done = hub.ingest.execute(command).await;
    done.map_err(|error| Problem::of(error, codes::SUBSCRIPTION_INVALID))?;
    Ok(StatusCode::NO_CONTENT)
}

fn range(value: &Value) -> Result<(Position, Option<Position>), Invalid> {
    let mut fields = Fields::of(value, "")?;
    let from = position(&fields.need("from")?)?;
    let to = fields.get("to").map(|field| position(&field)).transpose()?;
    fields.done(&[])?;
    Ok((from, to))
}

/// A place in the log: an offset, a time, `earliest` or `latest`.
pub(super) fn position(field: &Field<'_>) -> Result<Position, Invalid> {
    match field.value {
        Value::Number(_) => field.number().map(Position::Offset),
        _ => Position::parse(field.text()?).map_err(|problem| field.bad(problem.fault().detail)),
    }
}

async fn place(hub: &Hub, position: &Position, at: &str) -> Result<Offset, Problem> {
    let place = position.resolve(hub).await;
    place.map_err(|problem| match problem.code() {
        codes::QUERY_INVALID => invalid(Invalid::new(at, problem.fault().detail)),
        _ => problem,
    })
}

fn invalid(error: Invalid) -> Problem {
    Problem::invalid(codes::SUBSCRIPTION_INVALID, error)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_range_begins_at_a_place_and_may_end_at_one() {
        let check = |value: Value, expected: Result<bool, &str>| {
            let read = range(&value).map(|(_, to)| to.is_some());
            let read = read.map_err(|error| error.pointer);
            assert_eq!(read, expected.map_err(str::to_owned), "{value}");
        };
        check(json!({"from": 7}), Ok(false));
        check(json!({"from": "earliest", "to": "2026-11-21T10:00:00Z"}), Ok(true));
        check(json!({"to": 7}), Err("/from"));
        check(json!({"from": "yesterday"}), Err("/from"));
        check(json!({"from": 1, "to": -1}), Err("/to"));
        check(json!({"from": 1, "until": 2}), Err("/until"));
    }
}
