//! Kill -9 under load, again and again, on the same data. Afterwards everything that was
//! acknowledged must be there: events in the log and at the webhook, subscriptions as they were.
//! `TIDINGS_SEED` repeats a run's dice.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests connect, measure and start threads as the hub itself must not"
)]

mod dice;
mod load;
mod oracle;
#[path = "../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the other tests need more of it")]
mod support;

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use dice::Dice;
use oracle::{Delivered, Ledger};
use support::Process;

const ROUNDS: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let mut dice = Dice::from_environment();
    println!("TIDINGS_SEED={}", dice.seed());
    let dir = tempfile::tempdir().expect("a directory");
    let delivered = Delivered::default();
    let receiver = oracle::receiver(delivered.clone(), dice.child()).await;
    let mut ledger = Ledger::default();
    for round in 0..ROUNDS {
        let hub = Process::dev(dir.path());
        if round == 0 {
            let path = "/v1/subscriptions/everything";
            hub.api().json(Method::PUT, path, &everything(&receiver.url("/"))).await.expect(201);
        }
        let time = Duration::from_millis(dice.between(50, 400));
        let work = tokio::spawn(load::run(hub.http, hub.mqtt, round));
        tokio::time::sleep(time).await;
        hub.kill();
        let acknowledged = work.await.expect("no panic in the load");
        println!("round {round}: killed after {time:?}, {}", acknowledged.summary());
        ledger.add(acknowledged);
    }
    let hub = Process::dev(dir.path());
    ledger.check_subscriptions(&hub.api()).await;
    ledger.check_log(&hub.api()).await;
    ledger.check_delivered(&delivered).await;
    hub.kill();
}

/// A subscription to all that the load publishes. It is tried often enough for no event to die.
fn everything(url: &str) -> Value {
    json!({
        "filter": {"topic": "crash/#"},
        "sink": {"http": {"url": url}},
        "lease_seconds": 86_400,
        "policy": {"timeout": "5s", "max_in_flight": 64, "retry": vec!["100ms"; 32]},
    })
}
