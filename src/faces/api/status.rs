//! `GET /v1/status` and `GET /service`: how the hub is, and what it offers. Tells nothing of single
//! events or subscriptions.

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use http::header::HOST;
use http::uri::Authority;
use serde_json::{Value, json};

use crate::clock;
use crate::domain::subscription::Encoding;
use crate::faces::auth::need_manage;
use crate::faces::problem::Problem;
use crate::faces::router::Hub;
use crate::flow::Caller;

/// `GET /v1/status`
pub(crate) async fn status(State(hub): State<Hub>, caller: Caller) -> Result<Json<Value>, Problem> {
    need_manage(&caller)?;
    let counts = hub.reader.counts();
    let verdict = hub.metrics.health.verdict();
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": hub.since.elapsed().as_secs(),
        "health": { "ready": verdict.is_ok(), "reason": verdict.err() },
        "log": {
            "oldest_offset": hub.reader.oldest_offset(),
            "next_offset": hub.reader.next_offset(),
            "bytes": counts.log_bytes,
        },
        "counts": {
            "subscriptions": counts.subscriptions,
            "retries": counts.retries,
            "dead_letters": counts.dead_letters,
            "tokens": counts.tokens,
            "streams": hub.metrics.faces_streams.get(),
            "mqtt_connections": hub.metrics.broker_connections.get(),
        },
        "listeners": {
            "http": hub.config.http.listen.to_string(),
            "mqtt": hub.config.mqtt.listen.to_string(),
        },
        "clock": {
            "now": clock::now().to_string(),
            "behind_seconds": hub.metrics.health.wall_clock_behind(),
        },
    })))
}

/// `GET /service`: the mechanisms by which events can be had, with what a client needs to connect.
pub(crate) async fn service(
    State(hub): State<Hub>,
    _caller: Caller,
    headers: HeaderMap,
) -> Json<Value> {
    let host = headers.get(HOST).and_then(|value| value.to_str().ok());
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    let name = host.as_ref().map_or("localhost", |host| host.host());
    let encodings = [Encoding::Structured, Encoding::Binary, Encoding::Raw].map(Encoding::as_str);
    Json(json!({
        "name": "Tidings",
        "version": env!("CARGO_PKG_VERSION"),
        "publish": [
            { "name": "http", "method": "POST", "path": "/v1/events",
              "modes": ["structured", "binary", "batch", "raw"] },
            { "name": "mqtt", "url": format!("mqtt://{name}:{}", hub.config.mqtt.listen.port()),
              "versions": ["3.1.1", "5"] },
        ],
        "event_stream_mechanisms": [
            { "name": "webhooks", "path": "/v1/subscriptions", "encodings": encodings,
              "signing": ["standard_webhooks"], "lease": true },
            { "name": "mqtt", "url": format!("mqtt://{name}:{}", hub.config.mqtt.listen.port()),
              "versions": ["3.1.1", "5"], "credentials": "password = token" },
            { "name": "sse", "method": "GET", "path": "/v1/stream",
              "resume": "Last-Event-ID", "credentials": "bearer token or session cookie" },
        ],
    }))
}
