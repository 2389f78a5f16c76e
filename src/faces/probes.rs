//! Probes, metrics and the two interface descriptions. Probes and descriptions ask for no
//! credentials; nothing here tells of events or subscriptions.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::auth::need_manage;
use super::codes;
use super::problem::Problem;
use super::router::Hub;
use crate::flow::{Behind, Caller};

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
    let named = named(if caller.grants.is_admin() { hub.lanes.furthest_behind() } else { vec![] });
    encode_registry(&mut text, &hub.registry)
        .and_then(|()| encode_registry(&mut text, &named))
        .and_then(|()| encode_eof(&mut text))
        .map_err(|_| Problem::new(codes::INTERNAL, "the metrics could not be written"))?;
    Ok(([(CONTENT_TYPE, OPENMETRICS)], text).into_response())
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    subscription: String,
}

/// The subscriptions that are furthest behind, by name: few, so that their labels stay few.
fn named(behind: Vec<Behind>) -> Registry {
    let [records, seconds, pending]: [Family<Named, Gauge>; 3] = Default::default();
    for Behind { id, records: late, seconds: age, pending: open } in behind {
        let label = Named { subscription: id };
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        records.get_or_create(&label).set(gauge(late));
        seconds.get_or_create(&label).set(gauge(age));
        pending.get_or_create(&label).set(i64::try_from(open).unwrap_or(i64::MAX));
    }
    let mut all = Registry::with_prefix("tidings_flow_subscription");
    all.register("behind_records", "Records it is behind; the furthest few", records);
    let help = "Age of its oldest event not done; the furthest few";
    all.register_with_unit("behind", help, Unit::Seconds, seconds);
    all.register("pending", "Deliveries queued, under way or waiting; the furthest few", pending);
    all
}

/// `GET /openapi.json`
pub(crate) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// `GET /asyncapi.json`
pub(crate) async fn asyncapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], ASYNCAPI).into_response()
}
