//! `POST /v1/subscriptions/{id}/test`: a marked event goes to the subscription's target, and the
//! receiver's answer comes back. Nothing is stored and nothing spent.

use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};

use super::fields::Fields;
use super::planned;
use super::subscriptions::visible;
use crate::clock;
use crate::domain::command::Refusal;
use crate::domain::delivery::Outcome;
use crate::faces::body::{self, Payload};
use crate::faces::codes;
use crate::faces::path::Segment;
use crate::faces::problem::Problem;
use crate::faces::router::Hub;
use crate::flow::{Caller, Exchange};

/// `POST /v1/subscriptions/{id}/test`
pub(crate) async fn test(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(id): Segment,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Json<Value>, Problem> {
    let data = data(&headers, &body)?;
    let subscription = visible(&hub, &caller, &id).await?;
    subscription
        .check_live(clock::now())
        .map_err(|end| Problem::of_refusal(Refusal::Ended(end), codes::SUBSCRIPTION_INVALID))?;
    let tried = hub.trial.run(&subscription, data.as_ref()).await;
    let tried = tried.ok_or_else(|| Problem::new(codes::TESTS_FULL, "try again in a moment"))?;
    Ok(Json(json!({
        "event": planned::structured(&tried.event),
        "delivered": tried.is_delivered,
        "exchanges": tried.exchanges.iter().map(print).collect::<Value>(),
    })))
}

/// The body of a test: nothing, or an object with the data that the event is to have.
fn data(headers: &HeaderMap, body: &Bytes) -> Result<Option<Value>, Problem> {
    if body.is_empty() {
        return Ok(None);
    }
    let value = body::json(headers, body, &["application/json"])?;
    let read = || {
        let mut fields = Fields::of(&value, "")?;
        let data = fields.get("data").map(|field| field.value.clone());
        fields.done(&[])?;
        Ok(data)
    };
    read().map_err(|error| Problem::invalid(codes::SUBSCRIPTION_INVALID, error))
}

fn print(exchange: &Exchange) -> Value {
    let mut answer = Value::Null;
    let mut error = None;
    match &exchange.outcome {
        Some(Outcome::Answered { status, .. }) => {
            answer = json!({ "status": status });
            if let Some(held) = &exchange.answer {
                answer["headers"] = planned::headers(&held.headers);
                planned::put_body(&mut answer, &held.body);
            }
        }
        Some(Outcome::Failed(why) | Outcome::Refused(why)) => error = Some(why),
        None => {}
    }
    let took_ms = u64::try_from(exchange.took.as_millis()).unwrap_or(u64::MAX);
    json!({
        "request": planned::planned(&exchange.planned),
        "answer": answer,
        "error": error,
        "took_ms": took_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_may_say_its_data() {
        let check = |body: &'static str, expected: Option<Option<Value>>| {
            let read = data(&HeaderMap::new(), &Bytes::from_static(body.as_bytes()));
            assert_eq!(read.ok(), expected, "{body}");
        };
        check("", Some(None));
        check("{}", Some(None));
        check(r#"{"data": {"a": 1}}"#, Some(Some(json!({"a": 1}))));
        check(r#"{"event": {}}"#, None);
        check("[]", None);
    }
}
