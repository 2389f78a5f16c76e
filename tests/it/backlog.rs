//! Lanes that lag: nothing is lost or reordered where memory ends and the log begins, and policies
//! hold there too.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::support::hub::{event, id_of, items, wish};
use crate::support::receiver::Request;
use crate::support::{Receiver, Reply, TestHub, eventually};

/// The ids of the events that arrived, in order.
fn ids(requests: &[Request]) -> Vec<String> {
    requests.iter().map(|request| request.json()["id"].as_str().unwrap_or("").to_owned()).collect()
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

async fn publish(hub: &TestHub, kind: &str, range: std::ops::Range<u32>) {
    let events: Vec<Value> =
        range.map(|number| event(&number.to_string(), kind, json!(number))).collect();
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let body = Value::from(events).to_string();
    hub.api.send(Method::POST, "/v1/events", &headers, body).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_larger_than_memory_arrives_whole_and_in_order() {
    let hub = TestHub::with(&[("delivery.lane_queue_max", "5"), ("log.tail_cache", "8KiB")]).await;
    let receiver = Receiver::start().await;
    let mut wanted = wish("a/#", &receiver.url("/"));
    wanted["policy"]["ordering"] = json!("strict");
    let id = id_of(&hub.api.subscribe(&wanted).await);
    hub.api.post(&format!("/v1/subscriptions/{id}/pause"), &json!({})).await.expect(200);
    publish(&hub, "a.b", 0..200).await;
    publish(&hub, "other", 0..50).await;
    hub.api.post(&format!("/v1/subscriptions/{id}/resume"), &json!({})).await.expect(200);
    publish(&hub, "a.b", 200..300).await;
    let requests = receiver.wait_for(300).await;
    assert_eq!(ids(&requests), numbers(0..300));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_lane_goes_on_after_a_restart_without_loss() {
    let mut hub = TestHub::with(&[("delivery.lane_queue_max", "5")]).await;
    let receiver = Receiver::start().await;
    let mut wanted = wish("a/#", &receiver.url("/"));
    wanted["policy"]["ordering"] = json!("strict");
    wanted["start"] = json!("earliest");
    publish(&hub, "a.b", 0..20).await;
    let id = id_of(&hub.api.subscribe(&wanted).await);
    receiver.wait_for(20).await;
    hub.api.post(&format!("/v1/subscriptions/{id}/pause"), &json!({})).await.expect(200);
    publish(&hub, "a.b", 20..60).await;
    hub.restart().await;
    hub.api.post(&format!("/v1/subscriptions/{id}/resume"), &json!({})).await.expect(200);
    publish(&hub, "a.b", 60..80).await;
    let requests = receiver.wait_for(80).await;
    assert_eq!(ids(&requests), numbers(0..80));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_filter_judges_what_waits_anew() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let id = id_of(&hub.api.subscribe(&wish("a/#", &receiver.url("/"))).await);
    let path = format!("/v1/subscriptions/{id}");
    hub.api.post(&format!("{path}/pause"), &json!({})).await.expect(200);
    publish(&hub, "a.b", 0..3).await;
    publish(&hub, "c.d", 3..6).await;
    let patch = json!({"filter": {"topic": "c/#"}});
    let headers = [("content-type", "application/merge-patch+json")];
    hub.api.send(Method::PATCH, &path, &headers, patch.to_string()).await.expect(200);
    hub.api.post(&format!("{path}/resume"), &json!({})).await.expect(200);
    publish(&hub, "c.d", 6..8).await;
    let mut got = ids(&receiver.wait_for(5).await);
    got.sort();
    assert_eq!(got, numbers(3..8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_policy_ignores_counts_as_done() {
    let hub = TestHub::start().await;
    let receiver = Receiver::scripted(vec![Reply::Status(412)]).await;
    let mut wanted = wish("a/#", &receiver.url("/"));
    wanted["policy"]["ignore"] = json!(["412"]);
    let id = id_of(&hub.api.subscribe(&wanted).await);
    publish(&hub, "a.b", 0..1).await;
    eventually("it counts as delivered", async || {
        let shown = hub.api.get(&format!("/v1/subscriptions/{id}")).await.value();
        (shown["status"]["delivered"] == 1).then_some(())
    })
    .await;
    assert_eq!(receiver.count(), 1);
    assert!(items(&hub.api.get("/v1/dead-letters").await.expect(200)).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_past_its_maximum_age_is_given_up_unsent() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let mut wanted = wish("a/#", &receiver.url("/"));
    wanted["policy"]["max_age"] = json!("300ms");
    let id = id_of(&hub.api.subscribe(&wanted).await);
    let path = format!("/v1/subscriptions/{id}");
    hub.api.post(&format!("{path}/pause"), &json!({})).await.expect(200);
    publish(&hub, "a.b", 0..1).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    hub.api.post(&format!("{path}/resume"), &json!({})).await.expect(200);
    let letter = eventually("a dead letter", async || {
        items(&hub.api.get("/v1/dead-letters").await.expect(200)).first().cloned()
    })
    .await;
    assert_eq!(letter["code"], "E-DELIVERY-TOO-OLD", "{letter}");
    assert_eq!(letter["attempts"], json!([]), "nothing was sent");
    assert_eq!(receiver.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rate_spaces_deliveries() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let mut wanted = wish("a/#", &receiver.url("/"));
    wanted["policy"]["rate_per_second"] = json!(20);
    hub.api.subscribe(&wanted).await;
    publish(&hub, "a.b", 0..11).await;
    let requests = receiver.wait_for(11).await;
    let spread = requests[10].at - requests[0].at;
    assert!(spread >= Duration::from_millis(450), "ten pauses of 50 ms: {spread:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_slow_target_does_not_hold_another_back() {
    let hub = TestHub::with(&[("delivery.in_flight_max", "8")]).await;
    let (slow, fast) = (Receiver::start().await, Receiver::start().await);
    slow.always(Reply::Stall);
    for receiver in [&slow, &fast] {
        hub.api.subscribe(&wish("a/#", &receiver.url("/"))).await;
    }
    publish(&hub, "a.b", 0..50).await;
    fast.wait_for(50).await;
    assert!(slow.count() <= 2, "a quarter of what may be under way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_gone_of_the_old_target_does_not_end_a_subscription_that_moved() {
    let hub = TestHub::start().await;
    let (old, new) = (Receiver::start().await, Receiver::start().await);
    old.always(Reply::After(Duration::from_millis(500), 410));
    let id = id_of(&hub.api.subscribe(&wish("a/#", &old.url("/"))).await);
    publish(&hub, "a.b", 0..1).await;
    old.wait_for(1).await;
    let patch = json!({"sink": {"http": {"url": new.url("/")}}});
    let headers = [("content-type", "application/merge-patch+json")];
    let path = format!("/v1/subscriptions/{id}");
    hub.api.send(Method::PATCH, &path, &headers, patch.to_string()).await.expect(200);
    assert_eq!(ids(&new.wait_for(1).await), ["0"], "the event goes to the new target");
    assert_eq!(hub.api.get(&path).await.expect(200)["state"], "active");
}
