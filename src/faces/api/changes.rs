//! Changes of a subscription that there is: renew, pause, resume, delete. Decided by the single
//! writer, never here.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::fields::Fields;
use super::precondition::Precondition;
use super::subscriptions::{answer, visible};
use crate::domain::Invalid;
use crate::domain::command::{Change, Command, Refusal, Reply};
use crate::faces::auth::need_manage;
use crate::faces::body::{self, Payload};
use crate::faces::codes;
use crate::faces::path::Segment;
use crate::faces::problem::Problem;
use crate::faces::router::Hub;
use crate::flow::Caller;

/// `POST /v1/subscriptions/{id}/renew`
pub(crate) async fn renew(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(id): Segment,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    let seconds = lease_seconds(&headers, &body)?;
    change(&hub, &caller, id, Change::Renew(seconds)).await
}

/// `POST /v1/subscriptions/{id}/pause`
pub(crate) async fn pause(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<Response, Problem> {
    change(&hub, &caller, id, Change::Pause).await
}

/// `POST /v1/subscriptions/{id}/resume`
pub(crate) async fn resume(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<Response, Problem> {
    change(&hub, &caller, id, Change::Resume).await
}

/// `DELETE /v1/subscriptions/{id}`. `If-Match` is compared before, not together with, the deletion.
pub(crate) async fn delete(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    need_manage(&caller)?;
    let precondition = Precondition::of(&headers)?;
    if precondition != Precondition::Anything {
        let held = visible(&hub, &caller, &id).await?;
        if precondition.expect(Some(held.version)).is_none() {
            return Err(refused(Refusal::VersionMismatch(held.version)));
        }
    }
    let command = Command::Change { id, actor: caller.actor(), change: Change::Delete };
    let done = hub.ingest.execute(command).await;
    done.map_err(|error| Problem::of(error, codes::SUBSCRIPTION_INVALID))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn change(
    hub: &Hub,
    caller: &Caller,
    id: String,
    change: Change,
) -> Result<Response, Problem> {
    need_manage(caller)?;
    let command = Command::Change { id, actor: caller.actor(), change };
    match hub.ingest.execute(command).await {
        Ok(Reply::Subscription { subscription, .. }) => {
            Ok(answer(hub, StatusCode::OK, &subscription))
        }
        Ok(_) => Err(Problem::new(codes::INTERNAL, "an unfitting answer")),
        Err(error) => Err(Problem::of(error, codes::SUBSCRIPTION_INVALID)),
    }
}

/// The body of a renewal: nothing, or an object with `lease_seconds`.
fn lease_seconds(headers: &HeaderMap, body: &Bytes) -> Result<Option<u64>, Problem> {
    if body.is_empty() {
        return Ok(None);
    }
    let value = body::json(headers, body, &["application/json"])?;
    let read = || {
        let mut fields = Fields::of(&value, "")?;
        let seconds = fields.get("lease_seconds").map(|field| field.number()).transpose()?;
        fields.done(&[])?;
        match seconds {
            Some(0) => Err(Invalid::new("/lease_seconds", "must be at least 1")),
            seconds => Ok(seconds),
        }
    };
    read().map_err(|error| Problem::invalid(codes::SUBSCRIPTION_INVALID, error))
}

fn refused(refusal: Refusal) -> Problem {
    Problem::of_refusal(refusal, codes::SUBSCRIPTION_INVALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_asks_for_seconds_or_for_as_long_as_before() {
        let check = |body: &'static str, expected: Option<Option<u64>>| {
            let read = lease_seconds(&HeaderMap::new(), &Bytes::from_static(body.as_bytes()));
            assert_eq!(read.ok(), expected, "{body}");
        };
        check("", Some(None));
        check("{}", Some(None));
        check(r#"{"lease_seconds":null}"#, Some(None));
        check(r#"{"lease_seconds":60}"#, Some(Some(60)));
        check(r#"{"lease_seconds":0}"#, None);
        check(r#"{"lease_seconds":"60"}"#, None);
        check(r#"{"seconds":60}"#, None);
        check("[]", None);
    }
}
