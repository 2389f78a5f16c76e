//! Probes, metrics and the two interface descriptions. Probes and descriptions ask for no
//! credentials; nothing here tells of events or subscriptions.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::auth::need_manage;
use super::codes;
use super::problem::Problem;
use super::router::Hub;
use crate::flow::Caller;

/// The description of the HTTP interface.
pub(crate) const OPENAPI: &str = include_str!("../../config/openapi.json");

/// The description of the events that the hub takes and gives.
pub(crate) const ASYNCAPI: &str = include_str!("../../config/asyncapi.json");

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /livez`: the process answers.
pub(crate) async fn live() -> &'static str {
    "ok"
}

/// `GET /readyz`: whether requests should be sent here.
pub(crate) async fn ready(State(hub): State<Hub>) -> (StatusCode, &'static str) {
    match hub.metrics.health.verdict() {
        Ok(()) => (StatusCode::OK, "ok"),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}

/// `GET /metrics`
pub(crate) async fn metrics(State(hub): State<Hub>, caller: Caller) -> Result<Response, Problem> {
    need_manage(&caller)?;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &hub.registry)
        .map_err(|_| Problem::new(codes::INTERNAL, "the metrics could not be written"))?;
    Ok(([(CONTENT_TYPE, OPENMETRICS)], text).into_response())
}

/// `GET /openapi.json`
pub(crate) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// `GET /asyncapi.json`
pub(crate) async fn asyncapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], ASYNCAPI).into_response()
}
