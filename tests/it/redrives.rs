//! Redriving dead letters: one, some or all of them, at a rate, over restarts and kills.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::dead_letters::{letters, metric, publish, subscribe, wait_for_letters};
use crate::gaps::{SMALL, lose_the_oldest};
use crate::support::hub::{event, id_of, wish};
use crate::support::{Api, Process, Receiver, Reply, TestHub, eventually};

/// Asks for a redrive. The job's path.
async fn redrive(api: &Api, asked: &Value) -> String {
    let answer = api.post("/v1/dead-letters/redrive", asked).await;
    let job = answer.expect(202);
    let path = answer.header("location").expect("a location").to_owned();
    assert_eq!(path, format!("/v1/jobs/{}", job["id"].as_str().expect("an id")));
    assert_eq!((&job["state"], &job["kind"]), (&json!("running"), &json!("redrive")));
    path
}

/// Waits until a job says something of itself.
async fn wait_for(api: &Api, job: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("the job {what}"), async || {
        let job = api.get(job).await.expect(200);
        fits(&job).then_some(job)
    })
    .await
}

/// Waits until a job is done and all that it handed over was delivered.
async fn delivered(api: &Api, job: &str, count: u64) -> Value {
    let what = format!("has delivered {count}");
    wait_for(api, job, &what, |job| job["state"] == "done" && job["delivered"] == count).await
}

/// The ids of the events that a receiver was sent after so many requests.
fn sent_after(receiver: &Receiver, count: usize) -> BTreeSet<String> {
    let id = |request: &Value| request["id"].as_str().expect("an id").to_owned();
    receiver.requests()[count..].iter().map(|request| id(&request.json())).collect()
}

fn names(from: u32, to: u32) -> BTreeSet<String> {
    (from..to).map(|n| n.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_letter_is_delivered_as_it_is_and_to_where_it_goes_now() {
    let mut hub = TestHub::start().await;
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let id = subscribe(&hub.api, &receiver).await;
    publish(&hub.api, 0, 2).await;
    let found = wait_for_letters(&hub.api, 2).await;
    let path = format!("/v1/subscriptions/{id}");
    hub.api
        .json(http::Method::PATCH, &path, &json!({"sink": {"http": {"url": other.url("/")}}}))
        .await
        .expect(200);
    let name = &found[1]["id"];
    let job = redrive(&hub.api, &json!({"filter": {"ids": [name]}})).await;
    let job = delivered(&hub.api, &job, 1).await;
    assert_eq!(
        (&job["total"], &job["done"], &job["died_again"]),
        (&json!(1), &json!(1), &json!(0))
    );
    let request = other.wait_for(1).await.remove(0);
    assert_eq!(request.header("webhook-id"), receiver.requests()[0].header("webhook-id"));
    assert_eq!(request.header("tidings-attempt"), "1", "from its first attempt");
    assert_eq!(request.json()["id"], "0");
    let left = wait_for_letters(&hub.api, 1).await;
    assert_eq!(left[0]["id"], found[0]["id"]);
    assert_eq!(metric(&hub.api, "tidings_flow_redriven_total").await, 1);
    hub.restart().await;
    assert_eq!(letters(&hub.api, "").await, left);
    assert_eq!((receiver.count(), other.count()), (2, 1), "done is done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_says_which_and_none_is_all() {
    let hub = TestHub::start().await;
    let receivers = [Receiver::start().await, Receiver::start().await];
    let first = subscribe(&hub.api, &receivers[0]).await;
    subscribe(&hub.api, &receivers[1]).await;
    publish(&hub.api, 0, 3).await;
    wait_for_letters(&hub.api, 6).await;
    receivers.iter().for_each(|receiver| receiver.always(Reply::Status(200)));
    let asked = json!({"filter": {"subscription": first, "code": "E-DELIVERY-TOO-OLD"}});
    let job = redrive(&hub.api, &asked).await;
    delivered(&hub.api, &job, 0).await;
    let job = redrive(&hub.api, &json!({"filter": {"subscription": first}})).await;
    assert_eq!(delivered(&hub.api, &job, 3).await["filter"]["subscription"], json!(first));
    assert_eq!(sent_after(&receivers[0], 3), names(0, 3));
    let job = redrive(&hub.api, &json!({"filter": {}, "rate_per_second": null})).await;
    delivered(&hub.api, &job, 3).await;
    assert_eq!(sent_after(&receivers[1], 3), names(0, 3));
    assert_eq!(letters(&hub.api, "").await.len(), 0);
    let jobs = hub.api.get("/v1/jobs").await.expect(200);
    let counts: Vec<_> =
        jobs["jobs"].as_array().expect("a list").iter().map(|it| &it["done"]).collect();
    assert_eq!(counts, [3, 3, 0], "newest first");
    hub.api.post("/v1/dead-letters/redrive", &json!({})).await.expect_problem(400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_kept_progress_is_shown_and_a_cancel_leaves_the_rest() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    subscribe(&hub.api, &receiver).await;
    publish(&hub.api, 0, 20).await;
    wait_for_letters(&hub.api, 20).await;
    receiver.always(Reply::Status(200));
    let job = redrive(&hub.api, &json!({"filter": {}, "rate_per_second": 5})).await;
    let some =
        wait_for(&hub.api, &job, "has delivered some", |job| job["delivered"].as_u64() >= Some(5))
            .await;
    assert_eq!((&some["state"], &some["total"]), (&json!("running"), &json!(20)));
    let requests = receiver.requests();
    let took = requests[24].at - requests[20].at;
    assert!(took >= Duration::from_millis(600), "five at five a second took {took:?}");
    let cancelled = hub.api.delete(&job).await.expect(200);
    assert_eq!(cancelled["state"], "cancelled");
    let handed = cancelled["done"].as_u64().expect("a number");
    assert!((5..20).contains(&handed), "{cancelled}");
    let last = wait_for(&hub.api, &job, "goes on with what was handed over", |job| {
        job["delivered"] == handed
    })
    .await;
    assert_eq!((&last["done"], &last["state"]), (&json!(handed), &json!("cancelled")));
    let left = letters(&hub.api, "").await.len();
    assert_eq!(left as u64 + handed, 20, "each is a letter or was delivered");
    assert_eq!(hub.api.delete(&job).await.expect(200), last, "once more changes nothing");
    hub.api.get("/v1/jobs/1").await.expect_problem(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_dies_again_is_a_letter_again_and_told_again() {
    let hub = TestHub::start().await;
    let (receiver, listener) = (Receiver::start().await, Receiver::start().await);
    hub.api.subscribe(&wish("tidings/delivery/dead", &listener.url("/"))).await;
    subscribe(&hub.api, &receiver).await;
    publish(&hub.api, 0, 2).await;
    let before = wait_for_letters(&hub.api, 2).await;
    let job = redrive(&hub.api, &json!({"filter": {}})).await;
    let job = wait_for(&hub.api, &job, "saw both die", |job| job["died_again"] == 2).await;
    assert_eq!((&job["done"], &job["delivered"]), (&json!(2), &json!(0)), "and ends: {job}");
    wait_for(
        &hub.api,
        &format!("/v1/jobs/{}", job["id"].as_str().expect("an id")),
        "ends",
        |job| job["state"] == "done",
    )
    .await;
    let after = wait_for_letters(&hub.api, 2).await;
    assert_eq!(after[0]["attempts"].as_array().map(Vec::len), Some(1), "a budget of its own");
    assert_ne!(before[0]["at"], after[0]["at"]);
    assert_eq!(receiver.count(), 4);
    let notices = listener.wait_for(4).await;
    let ids: BTreeSet<_> = notices.iter().map(|notice| notice.json()["id"].to_string()).collect();
    assert_eq!(ids.len(), 4, "each death is an event of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redrive_goes_on_after_a_restart() {
    let mut hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    subscribe(&hub.api, &receiver).await;
    publish(&hub.api, 0, 12).await;
    wait_for_letters(&hub.api, 12).await;
    receiver.always(Reply::Status(200));
    let job = redrive(&hub.api, &json!({"filter": {}, "rate_per_second": 10})).await;
    receiver.wait_for(12 + 3).await;
    hub.restart().await;
    let done = delivered(&hub.api, &job, 12).await;
    assert_eq!(done["done"], 12);
    assert_eq!(sent_after(&receiver, 12), names(0, 12));
    assert_eq!(letters(&hub.api, "").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_in_the_middle_loses_no_letter() {
    let dir = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start().await;
    let mut hub = Process::dev(dir.path());
    subscribe(&hub.api(), &receiver).await;
    publish(&hub.api(), 0, 60).await;
    wait_for_letters(&hub.api(), 60).await;
    receiver.always(Reply::Status(200));
    let job = redrive(&hub.api(), &json!({"filter": {}, "rate_per_second": 60})).await;
    for seen in [10, 20, 30] {
        receiver.wait_for(60 + seen).await;
        hub.kill();
        hub = Process::dev(dir.path());
        // In this order: what is handed over in between is counted twice, never not at all.
        let left = letters(&hub.api(), "limit=500").await.len() as u64;
        let state = hub.api().get(&job).await.expect(200);
        assert!(state["done"].as_u64().expect("a number") + left >= 60, "{left} left: {state}");
    }
    let done = delivered(&hub.api(), &job, 60).await;
    assert_eq!((&done["done"], &done["died_again"]), (&json!(60), &json!(0)), "each once: {done}");
    assert_eq!(sent_after(&receiver, 60), names(0, 60));
    assert_eq!(letters(&hub.api(), "").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_handed_over_than_a_subscription_has_room_for() {
    let mut hub = TestHub::with(&[("delivery.retries_max", "8")]).await;
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let slow = subscribe(&hub.api, &receiver).await;
    publish(&hub.api, 0, 6).await;
    let quick = subscribe(&hub.api, &other).await;
    publish(&hub.api, 6, 8).await;
    wait_for_letters(&hub.api, 10).await;
    hub.api.post(&format!("/v1/subscriptions/{slow}/pause"), &json!({})).await.expect(200);
    receiver.always(Reply::Status(200));
    other.always(Reply::Status(200));
    let job = redrive(&hub.api, &json!({"filter": {}})).await;
    let state =
        wait_for(&hub.api, &job, "is past the paused one", |job| job["delivered"] == 2).await;
    assert_eq!((&state["done"], &state["state"]), (&json!(4), &json!("running")), "{state}");
    assert_eq!(letters(&hub.api, &format!("subscription={slow}")).await.len(), 6);
    assert_eq!(letters(&hub.api, &format!("subscription={quick}")).await.len(), 0);
    hub.restart().await;
    assert_eq!(receiver.count(), 8, "a paused subscription gets nothing");
    hub.api.post(&format!("/v1/subscriptions/{slow}/resume"), &json!({})).await.expect(200);
    delivered(&hub.api, &job, 10).await;
    assert_eq!(sent_after(&receiver, 8), names(0, 8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_delivered_stays_and_is_counted() {
    let mut hub = TestHub::with(&SMALL).await;
    let receiver = Receiver::start().await;
    subscribe(&hub.api, &receiver).await;
    let ended = id_of(&hub.api.subscribe(&wish("a/b", &receiver.url("/"))).await);
    publish(&hub.api, 0, 1).await;
    wait_for_letters(&hub.api, 2).await;
    hub.api.delete(&format!("/v1/subscriptions/{ended}")).await.expect(204);
    receiver.always(Reply::Status(200));
    for n in 0..40 {
        let filler = "x".repeat(1_000);
        hub.api.publish(&event(&format!("f{n}"), "filler", json!(filler))).await;
    }
    lose_the_oldest(&mut hub).await;
    let job = redrive(&hub.api, &json!({"filter": {}})).await;
    let job = delivered(&hub.api, &job, 0).await;
    assert_eq!(job["skipped"], json!({"event_gone": 1, "subscription_ended": 1}), "{job}");
    assert_eq!((&job["total"], &job["done"]), (&json!(2), &json!(0)));
    let left = letters(&hub.api, "").await;
    assert_eq!(left.len(), 2, "{left:?}");
    let path = format!("/v1/dead-letters/{}", left[0]["id"].as_str().expect("an id"));
    assert_eq!(hub.api.get(&path).await.expect(200)["event"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_only_so_many_jobs() {
    let keys = [("jobs.count_max", "2"), ("delivery.retries_max", "4")];
    let hub = TestHub::with(&keys).await;
    let receiver = Receiver::start().await;
    let id = subscribe(&hub.api, &receiver).await;
    publish(&hub.api, 0, 3).await;
    wait_for_letters(&hub.api, 3).await;
    hub.api.post(&format!("/v1/subscriptions/{id}/pause"), &json!({})).await.expect(200);
    let first = redrive(&hub.api, &json!({"filter": {}})).await;
    redrive(&hub.api, &json!({"filter": {}})).await;
    let refused = hub.api.post("/v1/dead-letters/redrive", &json!({"filter": {}})).await;
    assert_eq!(refused.expect_problem(429)["code"], "E-JOBS-FULL");
    hub.api.delete(&first).await.expect(200);
    redrive(&hub.api, &json!({"filter": {}})).await;
    hub.api.get(&first).await.expect_problem(404);
}
