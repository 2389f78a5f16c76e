//! The oracle: it knows every acknowledged event and subscription, and what must be true of them.
//! What was under way when the hub died is unknown: it may be there, but not twice.

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
        if dice.one_in(FAILURES_ONE_IN) {
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
    /// Keys of some events by the offset that was acknowledged.
    pub(crate) offsets: BTreeMap<u64, String>,
    /// Subscriptions by id as the hub last showed them; `None` where a change of one is unknown.
    pub(crate) subscriptions: BTreeMap<String, Option<Value>>,
    /// Events with an id of their own that were said and not acknowledged.
    pub(crate) in_doubt: BTreeSet<String>,
}

/// How often each key is in the log.
pub(crate) type Stored = BTreeMap<String, usize>;

/// Reads the log.
pub(crate) async fn stored(api: &Api) -> Stored {
    let mut stored = Stored::new();
    for event in history(api).await {
        if let Some(key) = event["data"].as_str() {
            *stored.entry(key.to_owned()).or_default() += 1;
        }
    }
    stored
}

impl Ledger {
    pub(crate) fn add(&mut self, mut other: Self) {
        self.in_doubt.retain(|key| !other.events.contains(key));
        self.events.append(&mut other.events);
        self.offsets.append(&mut other.offsets);
        self.subscriptions.append(&mut other.subscriptions);
        self.in_doubt.append(&mut other.in_doubt);
    }

    pub(crate) fn summary(&self) -> String {
        let (events, subscriptions) = (self.events.len(), self.subscriptions.len());
        format!("{events} events and {subscriptions} subscriptions acknowledged")
    }

    /// What was acknowledged and is not there.
    pub(crate) fn lost(&self, stored: &Stored) -> Vec<String> {
        self.events.iter().filter(|key| !stored.contains_key(*key)).cloned().collect()
    }

    /// Every acknowledged event is in the log, once where it had an id of its own, and where it was
    /// said to be.
    pub(crate) async fn check_log(&self, api: &Api) {
        let stored = stored(api).await;
        let lost = self.lost(&stored);
        assert!(lost.is_empty(), "{} events are not in the log: {lost:?}", lost.len());
        let doubled: Vec<_> = stored.iter().filter(|(_, count)| **count > 1).collect();
        assert!(doubled.is_empty(), "stored more than once: {doubled:?}");
        for (offset, key) in &self.offsets {
            let event = api.get(&format!("/v1/events/{offset}")).await.expect(200);
            assert_eq!(event["data"], key.as_str(), "at {offset}");
        }
    }

    /// Every acknowledged event arrives, at the latest now that the hub is left alone; and nothing
    /// has arrived, now or before, that is not in the log.
    pub(crate) async fn check_delivered(&self, api: &Api, delivered: &Delivered) {
        let missing = || {
            let delivered = delivered.lock().expect("no panic");
            self.events.difference(&delivered).next().cloned()
        };
        let what = "every acknowledged event reaches the webhook";
        eventually_within(BACKLOG_LIMIT, what, async || missing().is_none().then_some(())).await;
        let stored = stored(api).await;
        let delivered = delivered.lock().expect("no panic");
        let foreign: Vec<_> = delivered.iter().filter(|key| !stored.contains_key(*key)).collect();
        assert!(foreign.is_empty(), "delivered and not in the log: {foreign:?}");
    }

    /// Every subscription and lease is as it was acknowledged.
    pub(crate) async fn check_subscriptions(&self, api: &Api) {
        for (id, acknowledged) in &self.subscriptions {
            let found = api.get(&format!("/v1/subscriptions/{id}")).await.expect(200);
            let Some(acknowledged) = acknowledged else { continue };
            for member in ["state", "expires_at", "lease_seconds", "filter"] {
                assert!(!acknowledged[member].is_null(), "no {member} in {acknowledged}");
                assert_eq!(found[member], acknowledged[member], "{member} of {id}");
            }
        }
    }
}
