//! `GET /v1/status` and `GET /service`: how the hub is, and what it offers. Tells nothing of single
//! events or subscriptions.

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use http::header::HOST;
use http::uri::Authority;
use serde_json::{Value, json};

use crate::clock;
use crate::domain::encoding::Encoding;
use crate::domain::sign::Scheme;
use crate::faces::auth::need_manage;
use crate::faces::problem::Problem;
use crate::faces::router::Hub;
use crate::flow::Caller;
use crate::store::{Damage, Snapshot, StoreStatus};

/// `GET /v1/status`
pub(crate) async fn status(State(hub): State<Hub>, caller: Caller) -> Result<Json<Value>, Problem> {
    need_manage(&caller)?;
    let counts = hub.reader.counts();
    let log = hub.reader.store_status();
    let verdict = hub.metrics.health.verdict();
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": hub.since.elapsed().as_secs(),
        "health": { "ready": verdict.is_ok(), "reason": verdict.err() },
        "log": log_status(&log),
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

fn log_status(log: &StoreStatus) -> Value {
    let snapshot = |held: &Snapshot| {
        let at = held.at.to_string();
        json!({ "as_of": held.as_of, "bytes": held.bytes, "at": at })
    };
    let damage = |held: &Damage| {
        json!({
            "file": held.file,
            "from_byte": held.from_byte,
            "to_byte": held.to_byte,
            "from_offset": held.from_offset,
            "to_offset": held.to_offset,
            "found_at": held.found_at.to_string(),
        })
    };
    json!({
        "oldest_offset": log.oldest_offset,
        "next_offset": log.next_offset,
        "bytes": log.bytes,
        "segments": log.segments,
        "snapshots": log.snapshots.iter().map(snapshot).collect::<Value>(),
        "damage": log.damage.iter().map(damage).collect::<Value>(),
        "disk": {
            "free_bytes": log.disk.free_bytes,
            "floor_bytes": log.disk.floor_bytes,
            "refusing": log.disk.refusing,
        },
    })
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
            { "name": "webhooks", "path": "/v1/subscriptions", "encodings": Encoding::NAMES,
              "signing": ["standard_webhooks"], "signing_schemes": Scheme::NAMES,
              "auth": ["bearer", "basic", "header", "mutual_tls"], "lease": true },
            { "name": "mqtt", "url": format!("mqtt://{name}:{}", hub.config.mqtt.listen.port()),
              "versions": ["3.1.1", "5"], "credentials": "password = token" },
            { "name": "sse", "method": "GET", "path": "/v1/stream",
              "resume": "Last-Event-ID", "credentials": "bearer token or session cookie" },
        ],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::store::Disk;

    #[test]
    fn the_logs_status_tells_of_snapshots_damage_and_room() {
        let at = Timestamp::UNIX_EPOCH;
        let damage = Damage {
            file: "00.seg".to_owned(),
            from_byte: 1,
            to_byte: 2,
            from_offset: 3,
            to_offset: 4,
            found_at: at,
        };
        let status = log_status(&StoreStatus {
            oldest_offset: 5,
            next_offset: 6,
            bytes: 7,
            segments: 8,
            snapshots: vec![Snapshot { as_of: 9, bytes: 10, at }],
            damage: vec![damage],
            disk: Disk { free_bytes: 11, floor_bytes: 12, refusing: true },
        });
        let at = "1970-01-01T00:00:00Z";
        let expected = json!({
            "oldest_offset": 5, "next_offset": 6, "bytes": 7, "segments": 8,
            "snapshots": [{"as_of": 9, "bytes": 10, "at": at}],
            "damage": [{"file": "00.seg", "from_byte": 1, "to_byte": 2,
                "from_offset": 3, "to_offset": 4, "found_at": at}],
            "disk": {"free_bytes": 11, "floor_bytes": 12, "refusing": true},
        });
        assert_eq!(status, expected);
    }
}
