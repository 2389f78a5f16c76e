//! Explanations: who gets an event and what became of that, who does not and why, what caused it
//! and what came of it.

use serde_json::{Value, json};

use crate::support::hub::{event, id_of, wish};
use crate::support::process::{code, run, stderr, stdout};
use crate::support::{Api, Process, Receiver, Reply, TestHub, eventually};

async fn explain(api: &Api, offset: u64) -> Value {
    api.get(&format!("/v1/events/{offset}/explain")).await.expect(200)
}

/// What is said of a subscription in one of the lists.
fn of(explanation: &Value, list: &str, id: &str) -> Option<Value> {
    let list = explanation[list].as_array().expect("a list");
    list.iter().find(|one| one["subscription"] == id).cloned()
}

async fn in_state(api: &Api, offset: u64, id: &str, state: &str) -> Value {
    eventually(&format!("{id} is {state}"), async || {
        let said = of(&explain(api, offset).await, "matched_by", id)?;
        (said["state"] == state).then_some(said)
    })
    .await
}

/// The log keeps times by the millisecond: what comes now is later than what was before.
async fn next_millisecond() {
    let before = jiff::Timestamp::now().as_millisecond();
    eventually("the clock goes on", async || {
        (jiff::Timestamp::now().as_millisecond() > before).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_delivery_has_its_state_and_its_attempts() {
    let hub = TestHub::start().await;
    let receiver = Receiver::answering(|_, request| match request.path.as_str() {
        "/fails" => Reply::Status(503),
        "/refuses" => Reply::Status(400),
        "/gone" => Reply::Status(410),
        _ => Reply::Status(200),
    })
    .await;
    let subscribe = async |path: &str, policy: Value| {
        let mut wanted = wish("a/b", &receiver.url(path));
        wanted["policy"] = policy;
        id_of(&hub.api.subscribe(&wanted).await)
    };
    let works = subscribe("/works", json!({})).await;
    let fails = subscribe("/fails", json!({"retry": ["1h"]})).await;
    let refuses = subscribe("/refuses", json!({})).await;
    let delayed = subscribe("/late", json!({"delay_until": "{{data.at}}"})).await;
    let gone = subscribe("/gone", json!({})).await;
    let paused = subscribe("/paused", json!({})).await;
    hub.api.post(&format!("/v1/subscriptions/{paused}/pause"), &json!({})).await.expect(200);
    let data = json!({"at": "2099-01-01T00:00:00Z"});
    let offset = hub.api.publish(&event("1", "a.b", data)).await;
    let said = in_state(&hub.api, offset, &works, "delivered").await;
    assert!(said["detail"].as_str().is_some_and(|it| it.starts_with("inferred")), "{said}");
    assert_eq!((&said["attempts"], &said["changed_at"]), (&json!([]), &Value::Null));
    let said = in_state(&hub.api, offset, &fails, "waiting").await;
    assert_eq!(said["attempts"][0]["status"], 503, "{said}");
    assert!(said["due"].is_string(), "{said}");
    let said = in_state(&hub.api, offset, &refuses, "dead_letter").await;
    assert_eq!(said["dead_letter"]["code"], "E-DELIVERY-PERMANENT", "{said}");
    assert_eq!(said["attempts"][0]["status"], 400);
    let said = in_state(&hub.api, offset, &delayed, "delayed").await;
    assert_eq!(said["due"], "2099-01-01T00:00:00Z", "{said}");
    in_state(&hub.api, offset, &paused, "queued").await;
    let said = in_state(&hub.api, offset, &gone, "ended").await;
    assert!(said["detail"].as_str().is_some_and(|it| it.contains("(gone)")), "{said}");
    assert!(said["changed_at"].is_string(), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_get_an_event_is_told_with_the_reason() {
    let hub = TestHub::start().await;
    let receiver = Receiver::answering(|_, request| match request.path.as_str() {
        "/gone" => Reply::Status(410),
        _ => Reply::Status(200),
    })
    .await;
    let mut other = wish("a/b", &receiver.url("/"));
    other["filter"] = json!({"all": [{"topic": "a/#"}, {"exact": {"type": "x"}}]});
    other["name"] = json!("other");
    let other = id_of(&hub.api.subscribe(&other).await);
    let gone = id_of(&hub.api.subscribe(&wish("a/b", &receiver.url("/gone"))).await);
    hub.api.publish(&event("0", "a.b", json!(1))).await;
    hub.in_state(&gone, "ended").await;
    next_millisecond().await;
    let offset = hub.api.publish(&event("1", "a.b", json!(1))).await;
    next_millisecond().await;
    let later = id_of(&hub.api.subscribe(&wish("a/b", &receiver.url("/"))).await);
    let mut earliest = wish("a/b", &receiver.url("/"));
    earliest["start"] = json!("earliest");
    let earliest = id_of(&hub.api.subscribe(&earliest).await);
    let said = explain(&hub.api, offset).await;
    let check = |id: &str, by: &str, pointer: &str| {
        let no = of(&said, "not_matched_by", id).unwrap_or_else(|| panic!("no {id}: {said}"));
        assert_eq!((&no["by"], &no["pointer"]), (&json!(by), &json!(pointer)), "{no}");
        no
    };
    assert_eq!(check(&other, "filter", "/filter/all/1/exact/type")["name"], "other");
    check(&gone, "end", "/state");
    check(&later, "start", "/start");
    assert!(of(&said, "matched_by", &earliest).is_some(), "{said}");
    assert_eq!((&said["event"]["id"], &said["next"]), (&json!("1"), &Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn causes_and_derived_events_are_found_both_ways() {
    let hub = TestHub::start().await;
    for (topic, kind) in [("a/b", "b.c"), ("b/c", "c.d")] {
        let mut wanted = wish(topic, "http://unused.lan/");
        wanted.as_object_mut().expect("an object").remove("sink");
        wanted["encoding"] = json!("template");
        wanted["template"] = json!({"steps": [{"emit": {"type": kind}}]});
        hub.api.subscribe(&wanted).await;
    }
    let first = hub.api.publish(&event("first", "a.b", json!(1))).await;
    // Anyone can claim a cause; one that is none is not believed.
    let mut liar = event("liar", "x.y", json!(1));
    (liar["causation"], liar["causationoffset"]) = (json!("other"), json!(first.to_string()));
    let liar = hub.api.publish(&liar).await;
    let said = eventually("both are derived", async || {
        let said = explain(&hub.api, first).await;
        (said["derived"].as_array().map(Vec::len) == Some(2)).then_some(said)
    })
    .await;
    let kinds: Vec<_> = [0, 1].map(|at| said["derived"][at]["type"].clone()).to_vec();
    assert_eq!(kinds, ["b.c", "c.d"]);
    assert_eq!((&said["derived_complete"], &said["caused_by"]), (&json!(true), &json!([])));
    let last = said["derived"][1]["offset"].as_u64().expect("an offset");
    let said = explain(&hub.api, last).await;
    let chain: Vec<_> = [0, 1].map(|at| said["caused_by"][at]["type"].clone()).to_vec();
    assert_eq!(chain, ["b.c", "a.b"], "{said}");
    let said = explain(&hub.api, liar).await;
    assert_eq!(said["caused_by"], json!([{"offset": first, "id": "other", "found": false}]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_events_or_subscriptions_of_others() {
    let hub = TestHub::start().await;
    hub.api.subscribe(&wish("a/b", "http://127.0.0.1:9/")).await;
    let offset = hub.api.publish(&event("1", "a.b", json!(1))).await;
    let caller = async |allow: Value| {
        let token = hub.api.post("/v1/tokens", &json!({"name": "t", "allow": allow})).await;
        hub.api.with_token(token.expect(201)["token"].as_str().expect("a token"))
    };
    let path = format!("/v1/events/{offset}/explain");
    caller(json!(["subscribe:#"])).await.get(&path).await.expect_problem(403);
    caller(json!(["manage", "subscribe:c/#"])).await.get(&path).await.expect_problem(404);
    let said = explain(&caller(json!(["manage", "subscribe:#"])).await, offset).await;
    assert_eq!((&said["matched_by"], &said["not_matched_by"]), (&json!([]), &json!([])));
    for unknown in ["999", "x"] {
        let path = format!("/v1/events/{unknown}/explain");
        assert_eq!(hub.api.get(&path).await.expect_problem(404)["code"], "E-EVENT-UNKNOWN");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_subscriptions_come_page_by_page() {
    let hub = TestHub::start().await;
    for _ in 0..5 {
        hub.api.subscribe(&wish("x/y", "http://127.0.0.1:9/")).await;
    }
    let offset = hub.api.publish(&event("1", "a.b", json!(1))).await;
    let (mut found, mut page) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/events/{offset}/explain?limit=2{page}");
        let said = hub.api.get(&path).await.expect(200);
        assert_eq!(said["derived"].is_array(), page.is_empty(), "on the first page alone");
        let ids = said["not_matched_by"].as_array().expect("a list").iter();
        found.extend(ids.map(|one| one["subscription"].clone()));
        let Some(next) = said["next"].as_str() else { break };
        page = format!("&page={next}");
    }
    found.sort_by_key(Value::to_string);
    found.dedup();
    assert_eq!(found.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_explains_an_event_by_offset_or_id() {
    let dir = tempfile::tempdir().expect("a directory");
    let hub = Process::dev(dir.path());
    let api = hub.api();
    let receiver = Receiver::answering(|_, _| Reply::Status(400)).await;
    let id = id_of(&api.subscribe(&wish("a/b", &receiver.url("/"))).await);
    let other = id_of(&api.subscribe(&wish("c/d", &receiver.url("/"))).await);
    api.publish(&event("ev-1", "x.y", json!(1))).await;
    let offset = api.publish(&event("ev-2", "a.b", json!(2))).await;
    in_state(&api, offset, &id, "dead_letter").await;
    for arguments in [
        &["explain", &offset.to_string()][..],
        &["explain", "ev-2"],
        &["explain", "ev-2", "--source", "/tests"],
    ] {
        let output = run(dir.path(), arguments).await;
        assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
        let text = stdout(&output);
        assert!(text.starts_with(&format!("event {offset}  id ev-2")), "{text}");
        assert!(text.contains(&format!("  {id}  dead_letter")), "{text}");
        assert!(text.contains("answered 400") && text.contains("E-DELIVERY-PERMANENT"), "{text}");
        assert!(text.contains(&format!("  {other}  /filter/topic the topic \"a/b\"")), "{text}");
    }
    let output = run(dir.path(), &["explain", "ev-2", "--json"]).await;
    let value: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(value["event"]["offset"], offset);
    for unknown in [&["explain", "ev-3"][..], &["explain", "4711"], &["explain", "1", "--id"]] {
        let output = run(dir.path(), unknown).await;
        assert_eq!(code(&output), 1, "{unknown:?}: {}", stdout(&output));
        assert!(!stderr(&output).is_empty());
    }
    assert_eq!(code(&run(dir.path(), &["explain"]).await), 2);
}
