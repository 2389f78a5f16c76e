//! `kill -9` where a delivery is half-way: in the middle of a template's steps, in the middle of a
//! parked hour. What was done is not lost, what was not done is taken up.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::hub::{event, id_of, wish};
use crate::support::{Process, Receiver, Reply, eventually};

const EVENTS: usize = 40;

fn start(dir: &Path, park_schedule: &str) -> Process {
    let environment = [
        ("TIDINGS__DELIVERY__CHECKPOINT_INTERVAL", "50ms"),
        ("TIDINGS__DELIVERY__PARK_SCHEDULE", park_schedule),
    ];
    Process::start(dir, &["serve", "--dev"], &environment)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_middle_of_a_template_done_steps_that_were_written_down_stay_done() {
    let dir = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::answering(|count, request| match request.method.as_str() {
        "PUT" => Reply::Json(200, json!({"id": count})),
        // The second step works now and then.
        _ if count % 3 != 0 => Reply::Status(503),
        _ => Reply::Status(200),
    })
    .await;
    let mut hub = start(dir.path(), "50ms");
    let mut wanted = wish("a/b", "http://127.0.0.1:9/");
    wanted.as_object_mut().expect("an object").remove("sink");
    wanted["encoding"] = json!("template");
    wanted["policy"]["retry"] = vec!["100ms"; 20].into();
    wanted["template"] = json!({"steps": [
        {"method": "PUT", "url": receiver.url("/{{event.id}}"), "capture": ["body"]},
        {"method": "POST", "url": receiver.url("/{{event.id}}"),
         "query": {"id": "{{steps[0].response.body.id}}"}},
        {"emit": {"type": "c.d", "subject": "{{event.id}}"}}]});
    hub.api().subscribe(&wanted).await;
    for n in 0..EVENTS {
        hub.api().publish(&event(&n.to_string(), "a.b", json!(n))).await;
    }
    for kill in 1..4 {
        receiver.wait_for(kill * EVENTS / 2).await;
        hub.kill();
        hub = start(dir.path(), "50ms");
    }
    let subjects = |history: &[Value]| -> Vec<String> {
        let derived = history.iter().filter(|event| event["type"] == "c.d");
        derived.map(|event| event["subject"].as_str().expect("a subject").to_owned()).collect()
    };
    let derived = eventually("every event led to another one", async || {
        let history = crate::support::hub::history(&hub.api()).await;
        let subjects = subjects(&history);
        let distinct: BTreeSet<_> = subjects.iter().collect();
        (distinct.len() == EVENTS).then_some(subjects)
    })
    .await;
    assert_eq!(derived.len(), EVENTS, "each once, though steps were repeated: {derived:?}");
    // Each second step has the answer of a first step that was really given for its event.
    let requests = receiver.requests();
    for (path, query) in requests.iter().filter_map(|request| request.path.split_once("?id=")) {
        let place: usize = query.parse().expect("a count");
        assert_eq!((requests[place].method.as_str(), requests[place].path.as_str()), ("PUT", path));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_parked_hour_nothing_is_lost_and_no_attempt_is_spent() {
    let dir = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start().await;
    receiver.always(Reply::Reset);
    let mut hub = start(dir.path(), "1h");
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["policy"]["retry"] = json!(["1h"]);
    let id = id_of(&hub.api().subscribe(&wanted).await);
    let path = format!("/v1/subscriptions/{id}");
    for n in 0..EVENTS {
        hub.api().publish(&event(&n.to_string(), "a.b", json!(n))).await;
    }
    eventually("it is parked", async || {
        (hub.api().get(&path).await.expect(200)["state"] == "parked").then_some(())
    })
    .await;
    hub.kill();
    hub = start(dir.path(), "1h");
    assert_eq!(hub.api().get(&path).await.expect(200)["state"], "parked");
    let tried = receiver.count();
    hub.kill();
    receiver.always(Reply::Status(200));
    hub = start(dir.path(), "50ms");
    let requests = eventually("everything has come", async || {
        let requests = receiver.requests();
        let ids: BTreeSet<_> =
            requests[tried..].iter().map(|it| it.json()["id"].to_string()).collect();
        (ids.len() == EVENTS).then_some(requests)
    })
    .await;
    let attempts = |it: &crate::support::receiver::Request| -> u32 {
        it.header("tidings-attempt").parse().expect("a number")
    };
    assert!(requests.iter().all(|it| attempts(it) <= 2), "one before it was parked, one after");
    eventually("it goes on", async || {
        (hub.api().get(&path).await.expect(200)["state"] == "active").then_some(())
    })
    .await;
}
