//! `POST /v1/subscriptions/{id}/rotate-secret`: deliveries are signed with a new key, and for a
//! while with the one so far as well.

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::shape_signing;
use super::subscriptions::{answer_with, visible};
use crate::domain::command::{Command, Refusal, Reply, Rotation};
use crate::domain::subscription::Signing;
use crate::faces::auth::need_manage;
use crate::faces::body::{self, Payload};
use crate::faces::codes;
use crate::faces::path::Segment;
use crate::faces::problem::Problem;
use crate::faces::router::Hub;
use crate::flow::Caller;

/// `POST /v1/subscriptions/{id}/rotate-secret`
pub(crate) async fn rotate(
    State(hub): State<Hub>,
    caller: Caller,
    Segment(id): Segment,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    need_manage(&caller)?;
    let asked: Value = match body.is_empty() {
        true => json!({}),
        false => body::json(&headers, &body, &["application/json"])?,
    };
    let held = visible(&hub, &caller, &id).await?;
    let Signing::StandardWebhooks(keys) = &held.wish.signing else {
        let refusal = Refusal::Unsigned(id);
        return Err(Problem::of_refusal(refusal, codes::SUBSCRIPTION_INVALID));
    };
    let default = hub.config.signing.overlap.0;
    let ((key, shown), overlap) = shape_signing::rotation(&asked, keys.newest.scheme(), default)
        .map_err(|error| Problem::invalid(codes::SUBSCRIPTION_INVALID, error))?;
    let rotation = Rotation { id, actor: caller.actor(), key, overlap };
    match hub.ingest.execute(Command::Rotate(Box::new(rotation))).await {
        Ok(Reply::Subscription { subscription, .. }) => {
            Ok(answer_with(&hub, StatusCode::OK, &subscription, shown))
        }
        Ok(_) => Err(Problem::new(codes::INTERNAL, "an unfitting answer")),
        Err(error) => Err(Problem::of(error, codes::SUBSCRIPTION_INVALID)),
    }
}
