//! Events in by HTTP: the modes, acknowledgement, de-duplication, history.

use http::Method;
use serde_json::{Value, json};

use crate::support::http::BATCH;
use crate::support::hub::event;
use crate::support::{Answer, TestHub};

async fn post_batch(hub: &TestHub, events: &[Value]) -> Answer {
    let body = Value::from(events).to_string();
    hub.api.send(Method::POST, "/v1/events", &[("content-type", BATCH)], body).await
}

async fn read(hub: &TestHub, offset: &Value) -> Value {
    hub.api.get(&format!("/v1/events/{offset}")).await.expect(200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_structured_event_is_stored_as_it_came() {
    let hub = TestHub::start().await;
    let mut posted = event("s-1", "flows.created", json!({"flow": "f1", "n": 1.10}));
    posted["subject"] = json!("f1");
    posted["time"] = json!("2026-03-01T12:00:00.120+02:00");
    posted["site"] = json!("ob-7");
    let answer = hub.api.post_event(&posted).await.expect(201);
    let result = &answer["results"][0];
    assert_eq!((&result["id"], &result["source"]), (&json!("s-1"), &json!("/tests")));
    assert_eq!(result["duplicate"], false);
    let stored = read(&hub, &result["offset"]).await;
    for (name, value) in posted.as_object().expect("an object") {
        assert_eq!(&stored[name], value, "{name} of {stored}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binary_event_has_its_attributes_percent_decoded_once() {
    let hub = TestHub::start().await;
    let headers = [
        ("content-type", "text/plain"),
        ("ce-specversion", "1.0"),
        ("ce-id", "b%2D1"),
        ("ce-source", "/tests"),
        ("ce-type", "flows.created"),
        ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ("ce-site", "100%25%2541"),
    ];
    let answer = hub.api.send(Method::POST, "/v1/events", &headers, "plain text").await;
    let stored = read(&hub, &answer.expect(201)["results"][0]["offset"]).await;
    assert_eq!(stored["id"], "b-1");
    assert_eq!(stored["subject"], "Euro € 😀");
    assert_eq!(stored["site"], "100%%41");
    assert_eq!(stored["data"], "plain text");
    assert_eq!(stored["datacontenttype"], "text/plain");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raw_body_becomes_the_data_of_an_event_on_the_topic() {
    let hub = TestHub::start().await;
    let path = "/v1/events?topic=door/1&type=door.opened";
    let headers = [("content-type", "application/octet-stream")];
    let answer = hub.api.send(Method::POST, path, &headers, vec![0, 255, 10]).await.expect(201);
    let stored = read(&hub, &answer["results"][0]["offset"]).await;
    assert_eq!(stored["topic"], "door/1");
    assert_eq!(stored["type"], "door.opened");
    assert_eq!(stored["datacontenttype"], "application/octet-stream");
    assert_eq!(stored["data_base64"], "AP8K");
    let raw_json = hub.api.send(Method::POST, path, &[("content-type", "application/json")], "{}");
    raw_json.await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_stored_in_order() {
    let hub = TestHub::start().await;
    let events: Vec<Value> = (0..5).map(|n| event(&n.to_string(), "a.b", json!(n))).collect();
    let answer = post_batch(&hub, &events).await.expect(201);
    let results = answer["results"].as_array().expect("results");
    let offsets: Vec<u64> = results.iter().filter_map(|result| result["offset"].as_u64()).collect();
    assert_eq!(offsets.len(), 5, "{answer}");
    assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
    assert_eq!(read(&hub, &results[3]["offset"]).await["data"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_with_some_bad_events_answers_207() {
    let hub = TestHub::start().await;
    let bad = json!({"specversion": "1.0", "id": "x", "type": "a.b"});
    let events = [event("1", "a.b", json!(1)), bad.clone(), event("2", "a.b", json!(2))];
    let answer = post_batch(&hub, &events).await.expect(207);
    let results = answer["results"].as_array().expect("results");
    assert_eq!(results.len(), 3, "{answer}");
    assert!(results[0]["offset"].is_u64() && results[2]["offset"].is_u64(), "{answer}");
    assert!(!results[1]["error"].is_null() && results[0]["error"].is_null(), "{answer}");
    post_batch(&hub, &[bad.clone(), bad]).await.expect(400);
    let stored = hub.history().await;
    assert_eq!(stored.iter().filter(|event| event["source"] == "/tests").count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_source_and_id_is_stored_once() {
    let mut hub = TestHub::start().await;
    let first = hub.api.publish(&event("same", "a.b", json!(1))).await;
    let again = hub.api.post_event(&event("same", "a.b", json!(2))).await.expect(201);
    assert_eq!(again["results"][0]["duplicate"], true, "{again}");
    assert_eq!(again["results"][0]["offset"], first, "{again}");
    let batch = [event("twice", "a.b", json!(1)), event("twice", "a.b", json!(2))];
    let answer = post_batch(&hub, &batch).await.expect(201);
    assert_eq!(answer["results"][1]["duplicate"], true, "{answer}");
    assert_eq!(answer["results"][0]["offset"], answer["results"][1]["offset"], "{answer}");
    let mut other = event("same", "a.b", json!(3));
    other["source"] = json!("/elsewhere");
    assert_ne!(hub.api.publish(&other).await, first);

    hub.restart().await;
    let again = hub.api.post_event(&event("same", "a.b", json!(4))).await.expect(201);
    assert_eq!(again["results"][0]["offset"], first, "{again}");
    let same = hub.history().await.into_iter().filter(|event| event["id"] == "same").count();
    assert_eq!(same, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_event_survives_a_restart() {
    let mut hub = TestHub::start().await;
    let mut offsets = Vec::new();
    for n in 0..20 {
        offsets.push(hub.api.publish(&event(&n.to_string(), "a.b", json!(n))).await);
    }
    hub.restart().await;
    for (n, offset) in offsets.iter().enumerate() {
        assert_eq!(read(&hub, &json!(offset)).await["data"], n);
    }
    assert!(hub.api.publish(&event("next", "a.b", json!(null))).await > offsets[19]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topic_is_the_attribute_or_follows_from_the_type() {
    let hub = TestHub::start().await;
    let mut named = event("1", "flows.created", json!(1));
    named["topic"] = json!("tams/flows/f1");
    hub.api.publish(&named).await;
    hub.api.publish(&event("2", "flows.created", json!(2))).await;
    let ids = async |filter: &str| {
        let page = hub.api.get(&format!("/v1/events?topic={filter}&from=earliest")).await;
        let page = page.expect(200);
        let events = page["events"].as_array().expect("events").clone();
        events.into_iter().map(|event| event["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids("tams/flows/%2B").await, ["1"]);
    assert_eq!(ids("flows/created").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_read_in_pages_from_an_offset_or_a_time() {
    let hub = TestHub::start().await;
    let mut offsets = Vec::new();
    for n in 0..7 {
        offsets.push(hub.api.publish(&event(&n.to_string(), "a.b", json!(n))).await);
    }
    let first = hub.api.get("/v1/events?from=earliest&limit=3").await.expect(200);
    assert_eq!(first["events"].as_array().map(Vec::len), Some(3), "{first}");
    let second = hub.api.get(&format!("/v1/events?from={}&limit=3", first["next"])).await;
    let second = second.expect(200);
    let all: Vec<&Value> = [&first, &second]
        .into_iter()
        .flat_map(|page| page["events"].as_array().expect("events"))
        .collect();
    let data: Vec<u64> = all.iter().filter_map(|event| event["data"].as_u64()).collect();
    assert_eq!(data, (0..6).collect::<Vec<_>>());
    let page = hub.api.get(&format!("/v1/events?from={}", offsets[5])).await.expect(200);
    assert_eq!(page["events"][0]["id"], "5", "{page}");
    let page = hub.api.get("/v1/events?from=2001-01-01T00:00:00Z").await.expect(200);
    assert_eq!(page["events"][0]["id"], "0", "{page}");
    let page = hub.api.get("/v1/events?from=latest").await.expect(200);
    assert_eq!(page["events"], json!([]));
    hub.api.get("/v1/events/999999").await.expect_problem(404);
    hub.api.get("/v1/events?from=yesterday").await.expect_problem(400);
}
