//! Retries: when, how often, across restarts, and what is left when they are used up.

use std::time::Duration;

use serde_json::json;

use crate::support::hub::{event, id_of, items, wish};
use crate::support::{Receiver, Reply, TestHub, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_delivery_is_retried_with_the_same_id() {
    let hub = TestHub::start().await;
    let receiver = Receiver::scripted(vec![Reply::Status(503), Reply::Status(500)]).await;
    hub.api.subscribe(&wish("a/b", &receiver.url("/"))).await;
    hub.api.publish(&event("1", "a.b", json!(1))).await;
    let requests = receiver.wait_for(3).await;
    for (attempt, request) in (1..).zip(&requests) {
        assert_eq!(request.header("tidings-attempt"), attempt.to_string());
        assert_eq!(request.header("webhook-id"), requests[0].header("webhook-id"));
        assert_eq!(request.body, requests[0].body);
    }
    for pair in requests.windows(2) {
        assert!(pair[1].at - pair[0].at >= Duration::from_millis(50), "waits never shrink");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_honoured() {
    let hub = TestHub::start().await;
    let asks = vec![("retry-after", "2".to_owned())];
    let receiver = Receiver::scripted(vec![Reply::With(503, asks)]).await;
    hub.api.subscribe(&wish("a/b", &receiver.url("/"))).await;
    hub.api.publish(&event("1", "a.b", json!(1))).await;
    let requests = receiver.wait_for(2).await;
    let waited = requests[1].at - requests[0].at;
    assert!(waited >= Duration::from_millis(1900), "{waited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_fails_is_retried_after_a_restart() {
    let mut hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    receiver.always(Reply::Status(503));
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["policy"]["retry"] = json!(["2s", "2s", "2s", "2s"]);
    hub.api.subscribe(&wanted).await;
    hub.api.publish(&event("1", "a.b", json!(1))).await;
    receiver.wait_for(1).await;
    hub.stop().await;
    receiver.always(Reply::Status(200));
    let tried = receiver.count();
    hub.start_again().await;
    let requests = receiver.wait_for(tried + 1).await;
    let last = requests.last().expect("just waited for");
    assert_eq!(last.header("webhook-id"), requests[0].header("webhook-id"));
    assert_eq!(last.header("tidings-attempt"), (tried + 1).to_string());
    // Done is done: another start does not send it again.
    eventually("the hub knows that it is done", async || {
        let metrics = hub.api.get("/metrics").await.text();
        metrics.lines().any(|line| line == "tidings_flow_retries 0").then_some(())
    })
    .await;
    hub.restart().await;
    hub.api.publish(&event("2", "a.b", json!(2))).await;
    let requests = receiver.wait_for(tried + 2).await;
    assert_eq!(requests.last().expect("just waited for").json()["id"], "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exhausted_deliveries_are_dead_letters() {
    let mut hub = TestHub::start().await;
    let (receiver, listener) = (Receiver::start().await, Receiver::start().await);
    receiver.always(Reply::Status(500));
    hub.api.subscribe(&wish("tidings/delivery/dead", &listener.url("/"))).await;
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["policy"]["retry"] = json!(["20ms", "20ms"]);
    let id = id_of(&hub.api.subscribe(&wanted).await);
    let offset = hub.api.publish(&event("1", "a.b", json!(1))).await;
    let letter = only_letter(&hub, &id).await;
    assert_eq!(receiver.count(), 3, "one attempt and two retries");
    assert_eq!(letter["offset"], offset, "{letter}");
    assert!(letter.to_string().contains("E-DELIVERY-EXHAUSTED"), "{letter}");
    assert_eq!(letter["attempts"].as_array().map(Vec::len), Some(3), "{letter}");
    let notice = listener.wait_for(1).await.remove(0).json();
    assert_eq!(notice["data"]["offset"], offset, "{notice}");
    hub.restart().await;
    assert_eq!(only_letter(&hub, &id).await["offset"], offset);
    let others = hub.api.get("/v1/dead-letters?subscription=another").await.expect(200);
    assert!(items(&others).is_empty(), "{others}");
}

async fn only_letter(hub: &TestHub, subscription: &str) -> serde_json::Value {
    let path = format!("/v1/dead-letters?subscription={subscription}");
    let letters = eventually("a dead letter", async || {
        let letters = items(&hub.api.get(&path).await.expect(200));
        (!letters.is_empty()).then_some(letters)
    })
    .await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    letters.into_iter().next().expect("just counted")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permanent_refusal_is_not_retried() {
    let hub = TestHub::start().await;
    let receiver = Receiver::scripted(vec![Reply::Status(400)]).await;
    let id = id_of(&hub.api.subscribe(&wish("a/b", &receiver.url("/"))).await);
    hub.api.publish(&event("1", "a.b", json!(1))).await;
    let letter = only_letter(&hub, &id).await;
    assert!(letter.to_string().contains("E-DELIVERY-PERMANENT"), "{letter}");
    hub.api.publish(&event("2", "a.b", json!(2))).await;
    assert_eq!(receiver.wait_for(2).await[1].json()["id"], "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_failing_event_does_not_hold_the_others_back() {
    let hub = TestHub::start().await;
    let receiver = Receiver::answering(|_, request| match request.json()["id"] == "bad" {
        true => Reply::Status(503),
        false => Reply::Status(200),
    })
    .await;
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["policy"]["retry"] = json!(["1h"]);
    hub.api.subscribe(&wanted).await;
    hub.api.publish(&event("bad", "a.b", json!(0))).await;
    for n in 0..20 {
        hub.api.publish(&event(&n.to_string(), "a.b", json!(n))).await;
    }
    receiver.wait_for(21).await;
    eventually("one delivery waits", async || {
        let metrics = hub.api.get("/metrics").await.text();
        metrics.lines().any(|line| line == "tidings_flow_retries 1").then_some(())
    })
    .await;
}
