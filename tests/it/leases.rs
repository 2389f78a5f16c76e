//! Leases: they end, they are renewed, they survive a restart, and a pause loses nothing.

use http::Method;
use serde_json::{Value, json};

use crate::support::hub::{event, id_of, wish};
use crate::support::{Receiver, TestHub, eventually};

fn leased(topic: &str, url: &str, seconds: u64) -> Value {
    let mut wanted = wish(topic, url);
    wanted["lease_seconds"] = json!(seconds);
    wanted
}

/// The events that tell of a subscription's expiry.
async fn notices(hub: &TestHub, id: &str) -> Vec<Value> {
    notices_of(hub, id, "expired").await
}

async fn notices_of(hub: &TestHub, id: &str, kind: &str) -> Vec<Value> {
    let told = |event: &Value| event["type"] == format!("tidings.subscription.{kind}");
    let about = |event: &Value| event["data"]["id"] == id;
    hub.history().await.into_iter().filter(|event| told(event) && about(event)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_not_renewed_ends_and_says_so() {
    let hub = TestHub::start().await;
    let (receiver, listener) = (Receiver::start().await, Receiver::start().await);
    hub.api.subscribe(&wish("tidings/subscription/expired", &listener.url("/"))).await;
    let id = id_of(&hub.api.subscribe(&leased("a/b", &receiver.url("/"), 1)).await);
    hub.in_state(&id, "ended").await;
    let told = listener.wait_for(1).await;
    let notice = told[0].json();
    assert_eq!(notice["type"], "tidings.subscription.expired");
    assert_eq!(notice["data"]["id"], id, "{notice}");
    assert_eq!(notices(&hub, &id).await.len(), 1);

    let witness = Receiver::start().await;
    hub.api.subscribe(&wish("a/b", &witness.url("/"))).await;
    hub.api.publish(&event("late", "a.b", json!(1))).await;
    witness.wait_for(1).await;
    assert_eq!(receiver.count(), 0, "no delivery starts after the end");
    let renewal = json!({"lease_seconds": 60});
    let late = hub.api.post(&format!("/v1/subscriptions/{id}/renew"), &renewal).await;
    assert!(late.status.is_client_error(), "{late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expiring_lease_is_told_before_its_end() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let listener = Receiver::start().await;
    hub.api.subscribe(&wish("tidings/subscription/expiring", &listener.url("/"))).await;
    // A tenth of it is longer than the sweeper sleeps.
    let held = hub.api.subscribe(&leased("a/b", &receiver.url("/"), 15)).await;
    let id = id_of(&held);
    let notice = listener.wait_for(1).await.remove(0).json();
    assert_eq!(notice["data"]["id"], id, "{notice}");
    assert_eq!(notice["data"]["expires_at"], held["expires_at"], "{notice}");
    assert!(notice["time"].as_str() < held["expires_at"].as_str(), "{notice}");
    assert_eq!(notices_of(&hub, &id, "expiring").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_lease_lasts_from_now_on() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let created = hub.api.subscribe(&leased("a/b", &receiver.url("/"), 2)).await;
    let id = id_of(&created);
    let path = format!("/v1/subscriptions/{id}");
    let renewal = json!({"lease_seconds": 3600});
    hub.api.post(&format!("{path}/renew"), &renewal).await.expect(200);
    let renewed = hub.api.get(&path).await.expect(200);
    assert!(renewed["expires_at"].as_str() > created["expires_at"].as_str(), "{renewed}");
    // A neighbour with the old lease ends; this one does not.
    let other = id_of(&hub.api.subscribe(&leased("a/b", &receiver.url("/other"), 2)).await);
    hub.in_state(&other, "ended").await;
    assert_eq!(hub.api.get(&path).await.expect(200)["state"], "active");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patch_leaves_the_lease_alone_unless_it_names_it() {
    let hub = TestHub::start().await;
    let created = hub.api.subscribe(&leased("a/b", "http://10.0.0.1/", 3600)).await;
    let path = format!("/v1/subscriptions/{}", id_of(&created));
    let patch = async |patch: Value| hub.api.json(Method::PATCH, &path, &patch).await.expect(200);
    let renamed = patch(json!({"name": "renamed"})).await;
    assert_eq!(renamed["expires_at"], created["expires_at"]);
    assert_eq!((&renamed["lease_seconds"], &renamed["version"]), (&json!(3600), &json!(2)));
    let longer = patch(json!({"lease_seconds": 7200})).await;
    assert!(longer["expires_at"].as_str() > created["expires_at"].as_str(), "{longer}");
    let mut silent = wish("a/b", "http://10.0.0.1/");
    silent.as_object_mut().expect("an object").remove("lease_seconds");
    let put = hub.api.json(Method::PUT, &path, &silent).await.expect(200);
    assert_eq!(put["lease_seconds"], 86_400, "the default");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_granted_within_the_bounds() {
    let keys = [("lease.min", "60s"), ("lease.max", "2h"), ("lease.default", "1h")];
    let hub = TestHub::with(&keys).await;
    let granted = async |asked: Value| {
        let mut wanted = wish("a", "http://10.0.0.1/");
        wanted["lease_seconds"] = asked;
        hub.api.subscribe(&wanted).await["lease_seconds"].clone()
    };
    assert_eq!(granted(json!(1)).await, 60);
    assert_eq!(granted(json!(90)).await, 90);
    assert_eq!(granted(json!(99_999_999)).await, 7200);
    let mut silent = wish("a", "http://10.0.0.1/");
    silent.as_object_mut().expect("an object").remove("lease_seconds");
    assert_eq!(hub.api.subscribe(&silent).await["lease_seconds"], 3600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_survives_a_restart() {
    let mut hub = TestHub::start().await;
    let long = hub.api.subscribe(&leased("a", "http://10.0.0.1/", 3600)).await;
    let short = id_of(&hub.api.subscribe(&leased("a", "http://10.0.0.1/", 2)).await);
    hub.restart().await;
    let path = format!("/v1/subscriptions/{}", id_of(&long));
    assert_eq!(hub.api.get(&path).await.expect(200)["expires_at"], long["expires_at"]);
    hub.in_state(&short, "ended").await;
    assert_eq!(notices(&hub, &short).await.len(), 1);
    assert_eq!(hub.api.get(&path).await.expect(200)["state"], "active");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_subscription_waits_and_resumes_without_loss() {
    let mut hub = TestHub::start().await;
    let (receiver, witness) = (Receiver::start().await, Receiver::start().await);
    let id = id_of(&hub.api.subscribe(&wish("a/b", &receiver.url("/"))).await);
    hub.api.subscribe(&wish("a/b", &witness.url("/"))).await;
    hub.api.publish(&event("0", "a.b", json!(0))).await;
    receiver.wait_for(1).await;
    hub.api.post(&format!("/v1/subscriptions/{id}/pause"), &json!({})).await.expect(200);
    hub.in_state(&id, "paused").await;
    for n in 1..10 {
        hub.api.publish(&event(&n.to_string(), "a.b", json!(n))).await;
    }
    witness.wait_for(10).await;
    assert_eq!(receiver.count(), 1, "nothing is delivered while it is paused");
    hub.restart().await;
    hub.in_state(&id, "paused").await;
    hub.api.post(&format!("/v1/subscriptions/{id}/resume"), &json!({})).await.expect(200);
    let wanted: Vec<u64> = (0..10).collect();
    eventually("every event arrives", async || {
        let requests = receiver.requests();
        let mut came: Vec<_> =
            requests.iter().filter_map(|request| request.json()["data"].as_u64()).collect();
        came.sort_unstable();
        came.dedup();
        (came == wanted).then_some(())
    })
    .await;
}
