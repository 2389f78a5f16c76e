//! Figures of delivery: what matching costs, webhooks beside a bare loop of the same client, and
//! what the dead cost the living. Prints and judges nothing; run it by `tests/bench/run delivery`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark connects, measures and prints as the hub itself must not"
)]

// As in the binary.
#[cfg(feature = "mimalloc")]
use mimalloc as _;

mod burst;
mod dead_half;
mod idle;
#[path = "../latency.rs"]
mod latency;
mod matching;
mod sink;
mod steady;
#[path = "../../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests need more of it")]
mod support;
mod webhooks;

use std::path::Path;

use serde_json::{Value, json};
use support::Process;

fn main() -> anyhow::Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with("--")).collect();
    let wants = |section: &str| asked.is_empty() || asked.iter().any(|asked| asked == section);
    if wants("matching") {
        matching::measure();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
        if wants("webhooks") {
            webhooks::measure(place).await?;
        }
        if wants("steady") {
            steady::measure(place).await?;
        }
        if wants("dead") {
            dead_half::measure(place).await?;
        }
        if wants("burst") {
            burst::measure(place).await?;
        }
        if wants("idle") {
            idle::measure(place).await?;
        }
        Ok(())
    })
}

/// A hub whose log lines do not stand between the figures.
fn hub(dir: &Path) -> Process {
    Process::start(dir, &["serve", "--dev"], &[("TIDINGS__TELEMETRY__LOG_LEVEL", "error")])
}

/// One event of about 600 bytes on a topic.
fn event(id: u64, topic: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id.to_string(), "source": "/bench", "type": "bench",
        "topic": topic, "data": {"filler": "x".repeat(440)},
    })
}

/// Has events stored by one request, all in one group commit or two.
async fn publish(hub: &Process, events: Vec<Value>) {
    let headers = [("content-type", support::http::BATCH)];
    let body = Value::from(events).to_string();
    hub.api().send(http::Method::POST, "/v1/events", &headers, body).await.expect(201);
}

/// A whole number as one with a fraction.
fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}
