//! The oracle: it knows every acknowledged event and subscription, and what must be true of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::dice::Dice;
use crate::support::hub::history;
use crate::support::wait::eventually_within;
use crate::support::{Api, Receiver, Reply};

/// One delivery in so many is answered with 503.
const FAILURES_ONE_IN: u64 = 5;

/// How long the backlog of all rounds may take to arrive.
const BACKLOG_LIMIT: Duration = Duration::from_secs(60);

/// What the webhook took.
pub(crate) type Delivered = Arc<Mutex<BTreeSet<String>>>;

/// A receiver that refuses some and writes down what it took.
pub(crate) async fn receiver(delivered: Delivered, mut dice: Dice) -> Receiver {
    Receiver::answering(move |_, request| {
        if dice.between(1, FAILURES_ONE_IN) == 1 {
            return Reply::Status(503);
        }
        let key = request.json()["data"].as_str().expect("a key as data").to_owned();
        delivered.lock().expect("no panic").insert(key);
        Reply::Status(200)
    })
    .await
}

/// What the hub acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Events by the key in their data.
    pub(crate) events: BTreeSet<String>,
    /// Subscriptions by id, as the hub last showed them.
    pub(crate) subscriptions: BTreeMap<String, Value>,
}

impl Ledger {
    pub(crate) fn add(&mut self, mut other: Self) {
        self.events.append(&mut other.events);
        self.subscriptions.append(&mut other.subscriptions);
    }

    pub(crate) fn summary(&self) -> String {
        let (events, subscriptions) = (self.events.len(), self.subscriptions.len());
        format!("{events} events and {subscriptions} subscriptions acknowledged")
    }

    /// Every acknowledged event is in the log, once where it had an id of its own.
    pub(crate) async fn check_log(&self, api: &Api) {
        let mut stored = BTreeMap::<String, usize>::new();
        for event in history(api).await {
            if let Some(key) = event["data"].as_str() {
                *stored.entry(key.to_owned()).or_default() += 1;
            }
        }
        let lost: Vec<&String> =
            self.events.iter().filter(|key| !stored.contains_key(*key)).collect();
        assert!(lost.is_empty(), "{} events are not in the log: {lost:?}", lost.len());
        let doubled: Vec<_> = stored.iter().filter(|(_, count)| **count > 1).collect();
        assert!(doubled.is_empty(), "stored more than once: {doubled:?}");
        println!("{} events in the log, {} acknowledged", stored.len(), self.events.len());
    }

    /// Every acknowledged event arrives, at the latest now that the hub is left alone.
    pub(crate) async fn check_delivered(&self, delivered: &Delivered) {
        let missing = || {
            let delivered = delivered.lock().expect("no panic");
            self.events.difference(&delivered).cloned().collect::<Vec<_>>()
        };
        let what = "every acknowledged event reaches the webhook";
        eventually_within(BACKLOG_LIMIT, what, async || missing().is_empty().then_some(())).await;
    }

    /// Every subscription and lease is as it was acknowledged.
    pub(crate) async fn check_subscriptions(&self, api: &Api) {
        for (id, acknowledged) in &self.subscriptions {
            let found = api.get(&format!("/v1/subscriptions/{id}")).await.expect(200);
            for member in ["state", "expires_at", "lease_seconds", "filter"] {
                assert!(!acknowledged[member].is_null(), "no {member} in {acknowledged}");
                assert_eq!(found[member], acknowledged[member], "{member} of {id}");
            }
        }
    }
}
