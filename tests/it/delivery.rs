//! Delivery when all is well, and with receivers that misbehave in every way a socket allows.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::support::hub::{event, id_of, items, wish};
use crate::support::{Receiver, Reply, TestHub, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_posted_by_http_reaches_a_webhook() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    hub.api.subscribe(&wish("doors/+", &receiver.url("/hook"))).await;
    let mut opened = event("1", "door.opened", json!({"door": 1}));
    opened["topic"] = json!("doors/1");
    let offset = hub.api.publish(&opened).await;
    let request = receiver.wait_for(1).await.remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/hook"));
    assert_eq!(request.header("tidings-offset"), offset.to_string());
    assert_eq!(request.json()["data"], json!({"door": 1}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_of_a_burst_is_delivered_once() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    hub.api.subscribe(&wish("a/b", &receiver.url("/"))).await;
    let headers = [("content-type", crate::support::http::BATCH)];
    for round in 0..5 {
        let burst = (0..200).map(|n| event(&format!("{round}-{n}"), "a.b", json!(n)));
        let burst = Value::from(burst.collect::<Vec<_>>()).to_string();
        hub.api.send(Method::POST, "/v1/events", &headers, burst).await.expect(201);
    }
    let requests = receiver.wait_for(1000).await;
    let ids: BTreeSet<String> = requests.iter().map(|request| id_of(&request.json())).collect();
    assert_eq!((requests.len(), ids.len()), (1000, 1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_may_start_in_the_past() {
    let hub = TestHub::start().await;
    let mut offsets = Vec::new();
    for n in 0..5 {
        offsets.push(hub.api.publish(&event(&n.to_string(), "a.b", json!(n))).await);
    }
    let check = async |start: Value, count: usize| {
        let receiver = Receiver::start().await;
        let mut wanted = wish("a/b", &receiver.url("/"));
        wanted["start"] = start;
        hub.api.subscribe(&wanted).await;
        receiver.wait_for(count).await.len()
    };
    assert_eq!(check(json!("earliest"), 5).await, 5);
    assert_eq!(check(json!(offsets[3]), 2).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_ordering_delivers_one_after_the_other() {
    let hub = TestHub::start().await;
    let receiver = Receiver::answering(|n, _| match n {
        2 => Reply::Status(503),
        _ => Reply::After(Duration::from_millis(5), 200),
    })
    .await;
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["policy"]["ordering"] = json!("strict");
    hub.api.subscribe(&wanted).await;
    for n in 0..10 {
        hub.api.publish(&event(&n.to_string(), "a.b", json!(n))).await;
    }
    let requests = receiver.wait_for(11).await;
    let order: Vec<u64> =
        requests.iter().filter_map(|request| request.json()["data"].as_u64()).collect();
    assert_eq!(order, [0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_target_does_not_hold_another_back() {
    let hub = TestHub::start().await;
    let (stuck, quick) = (Receiver::start().await, Receiver::start().await);
    stuck.always(Reply::Stall);
    let mut wanted = wish("a/b", &stuck.url("/"));
    wanted["policy"]["timeout"] = json!("60s");
    hub.api.subscribe(&wanted).await;
    hub.api.subscribe(&wish("a/b", &quick.url("/"))).await;
    for n in 0..50 {
        hub.api.publish(&event(&n.to_string(), "a.b", json!(n))).await;
    }
    quick.wait_for(50).await;
    assert_eq!(stuck.wait_for(16).await.len(), 16, "policy.max_in_flight is the most that is out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_misbehaves_is_tried_again() {
    let table = [
        Reply::Stall,
        Reply::Trickle,
        Reply::Reset,
        Reply::CloseEarly,
        Reply::LieAboutLength,
        Reply::Status(500),
        Reply::Status(429),
        Reply::Status(408),
    ];
    let check = async |reply: Reply| {
        let hub = TestHub::start().await;
        let receiver = Receiver::scripted(vec![reply.clone()]).await;
        let mut wanted = wish("a/b", &receiver.url("/"));
        wanted["policy"]["timeout"] = json!("500ms");
        let id = id_of(&hub.api.subscribe(&wanted).await);
        hub.api.publish(&event("1", "a.b", json!(1))).await;
        let requests = receiver.wait_for(2).await;
        let attempts: Vec<_> =
            requests.iter().map(|request| request.header("tidings-attempt")).collect();
        assert_eq!(attempts, ["1", "2"], "{reply:?}");
        assert_eq!(hub.in_state(&id, "active").await["id"], id);
        hub.assert_works("a receiver that misbehaves").await;
    };
    for reply in table {
        check(reply).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_answer_is_cut_off_and_counts_by_its_status() {
    let hub = TestHub::start().await;
    let receiver = Receiver::scripted(vec![Reply::Endless]).await;
    hub.api.subscribe(&wish("a/b", &receiver.url("/"))).await;
    hub.api.publish(&event("1", "a.b", json!(1))).await;
    hub.api.publish(&event("2", "a.b", json!(2))).await;
    let requests = receiver.wait_for(2).await;
    let attempts: Vec<_> =
        requests.iter().map(|request| request.header("tidings-attempt")).collect();
    assert_eq!(attempts, ["1", "1"]);
    hub.assert_works("an endless answer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_are_not_followed() {
    let hub = TestHub::start().await;
    let elsewhere = Receiver::start().await;
    for status in [301, 302, 303, 307, 308] {
        let location = vec![("location", elsewhere.url("/"))];
        let receiver = Receiver::scripted(vec![Reply::With(status, location)]).await;
        let topic = format!("moved/{status}");
        let id = id_of(&hub.api.subscribe(&wish(&topic, &receiver.url("/"))).await);
        let mut moved = event(&status.to_string(), "a.b", json!(1));
        moved["topic"] = json!(topic);
        hub.api.publish(&moved).await;
        let letter = eventually("a dead letter", async || {
            let path = format!("/v1/dead-letters?subscription={id}");
            items(&hub.api.get(&path).await.expect(200)).into_iter().next()
        })
        .await;
        assert!(letter.to_string().contains("E-DELIVERY-PERMANENT"), "{letter}");
        assert_eq!(receiver.count(), 1);
    }
    assert_eq!(elsewhere.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gone_ends_the_subscription() {
    let hub = TestHub::start().await;
    let receiver = Receiver::scripted(vec![Reply::Status(410)]).await;
    let id = id_of(&hub.api.subscribe(&wish("a/b", &receiver.url("/"))).await);
    hub.api.publish(&event("1", "a.b", json!(1))).await;
    hub.in_state(&id, "ended").await;
    let told = hub.history().await.into_iter().any(|event| {
        event["type"] == "tidings.subscription.ended" && event["data"]["id"] == id.as_str()
    });
    assert!(told, "tidings/subscription/ended is published");
    hub.api.publish(&event("2", "a.b", json!(2))).await;
    let witness = Receiver::start().await;
    hub.api.subscribe(&wish("c/d", &witness.url("/"))).await;
    hub.api.publish(&event("3", "c.d", json!(3))).await;
    witness.wait_for(1).await;
    assert_eq!(receiver.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_the_data_decides_who_gets_an_event() {
    let hub = TestHub::with(&[("filters.regex_bytes_max", "16B")]).await;
    let receiver = Receiver::start().await;
    let mut wanted = wish("flows/+", &receiver.url("/"));
    wanted["filter"] = json!({"all": [
        {"topic": "flows/+"},
        {"data": {"path": "event.flow_id", "in": ["f1", "f2"]}},
        {"not": {"data": {"path": "event.tags", "contains": "draft"}}},
    ]});
    let held = hub.api.subscribe(&wanted).await;
    assert_eq!(held["filter"], wanted["filter"]);
    for (id, flow, tag) in
        [("1", "f1", "x"), ("2", "f3", "x"), ("3", "f2", "draft"), ("4", "f2", "x")]
    {
        let data = json!({"event": {"flow_id": flow, "tags": ["y", tag]}});
        hub.api.publish(&event(id, "flows.created", data)).await;
    }
    let requests = receiver.wait_for(2).await;
    let ids: std::collections::BTreeSet<_> =
        requests.iter().map(|request| request.json()["id"].to_string()).collect();
    assert_eq!(ids, ["\"1\"".to_owned(), "\"4\"".to_owned()].into());
    wanted["filter"] = json!({"data": {"path": "a", "regex": "x".repeat(17)}});
    let problem = hub.api.post("/v1/subscriptions", &wanted).await.expect_problem(400);
    assert_eq!(problem["errors"][0]["pointer"], "/filter/data/regex", "{problem}");
}
