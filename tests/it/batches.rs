//! Batches: several events in one request, each settled on its own.

use serde_json::{Value, json};

use crate::support::hub::{event, id_of, items, wish};
use crate::support::receiver::Request;
use crate::support::{Receiver, Reply, TestHub, eventually};

fn batched(url: &str, max: u32, wait: &str) -> Value {
    let mut wanted = wish("a/b", url);
    wanted["encoding"] = json!({"batch": {"max": max, "wait": wait}});
    wanted
}

/// The ids of the events in a request.
fn ids(request: &Request) -> Vec<String> {
    let events = request.json();
    let id = |event: &Value| event["id"].as_str().expect("an id").to_owned();
    events.as_array().expect("a batch").iter().map(id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_together_up_to_a_number_or_a_time() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let held = hub.api.subscribe(&batched(&receiver.url("/"), 3, "300ms")).await;
    assert_eq!(held["encoding"], json!({"batch": {"max": 3, "wait": "300ms"}}));
    for n in 0..7 {
        hub.api.publish(&event(&n.to_string(), "a.b", json!({"n": n}))).await;
    }
    let requests = receiver.wait_for(3).await;
    assert_eq!(ids(&requests[0]), ["0", "1", "2"]);
    assert_eq!(ids(&requests[1]), ["3", "4", "5"]);
    assert_eq!(ids(&requests[2]), ["6"], "its time was over");
    let media_type = "application/cloudevents-batch+json; charset=UTF-8";
    assert_eq!(requests[0].header("content-type"), media_type);
    assert_eq!(requests[0].json()[1]["data"], json!({"n": 1}));
    let before = requests[2].at;
    hub.api.publish(&event("late", "a.b", json!(1))).await;
    assert!(receiver.wait_for(4).await[3].at > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_fails_is_retried_and_becomes_one_dead_letter_an_event() {
    let mut hub = TestHub::start().await;
    let receiver = Receiver::scripted(vec![Reply::Status(503)]).await;
    let id = id_of(&hub.api.subscribe(&batched(&receiver.url("/"), 2, "1s")).await);
    for n in 0..2 {
        hub.api.publish(&event(&n.to_string(), "a.b", json!(n))).await;
    }
    let requests = receiver.wait_for(2).await;
    assert_eq!(ids(&requests[0]), ids(&requests[1]), "they stay together");
    assert_eq!(requests[1].header("tidings-attempt"), "2");
    hub.restart().await;
    receiver.always(Reply::Status(400));
    for n in 2..4 {
        hub.api.publish(&event(&n.to_string(), "a.b", json!(n))).await;
    }
    let letters = eventually("two dead letters", async || {
        let path = format!("/v1/dead-letters?subscription={id}");
        let letters = items(&hub.api.get(&path).await.expect(200));
        (letters.len() == 2).then_some(letters)
    })
    .await;
    assert!(letters.iter().all(|letter| letter["code"] == "E-DELIVERY-PERMANENT"), "{letters:?}");
    assert_eq!(receiver.count(), 3, "one request for both, and what was done is not repeated");
}
