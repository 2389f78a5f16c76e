//! Replays: a range of the log once more, beside what is new.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::hub::{event, id_of, wish};
use crate::support::{Receiver, Reply, TestHub, eventually};

/// Ids of the events that came, those of the replay and the others.
fn split(receiver: &Receiver) -> (Vec<String>, Vec<String>) {
    let (replayed, other): (Vec<_>, Vec<_>) =
        receiver.requests().into_iter().partition(|it| it.header("tidings-replay") == "true");
    let ids = |requests: Vec<crate::support::receiver::Request>| {
        let id =
            |it: &crate::support::receiver::Request| it.json()["id"].as_str().map(str::to_owned);
        requests.iter().filter_map(id).collect()
    };
    (ids(replayed), ids(other))
}

async fn is_over(hub: &TestHub, id: &str) {
    let path = format!("/v1/subscriptions/{id}");
    eventually("the replay is over", async || {
        hub.api.get(&path).await.expect(200)["replay"].is_null().then_some(())
    })
    .await;
}

async fn publish(hub: &TestHub, ids: std::ops::Range<u32>) -> Vec<Value> {
    let mut offsets = Vec::new();
    for n in ids {
        offsets.push(hub.api.publish(&event(&n.to_string(), "a.b", json!(n))).await.into());
    }
    offsets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_gives_a_range_once_more_marked_as_such() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["policy"]["ordering"] = json!("strict");
    let id = id_of(&hub.api.subscribe(&wanted).await);
    let offsets = publish(&hub, 0..6).await;
    hub.api.publish(&event("other", "c.d", json!(1))).await;
    let first = receiver.wait_for(6).await;
    let path = format!("/v1/subscriptions/{id}/replay");
    let asked = json!({"from": offsets[1], "to": offsets[4]});
    let held = hub.api.post(&path, &asked).await.expect(202);
    assert!(held["replay"].is_null() || held["replay"]["from"] == offsets[1], "{held}");
    let requests = receiver.wait_for(9).await;
    assert_eq!(split(&receiver).0, ["1", "2", "3"], "in order, from there, up to there");
    assert_eq!(requests[6].header("webhook-id"), first[1].header("webhook-id"));
    is_over(&hub, &id).await;
    hub.api.post(&path, &json!({"from": "earliest"})).await.expect(202);
    receiver.wait_for(15).await;
    is_over(&hub, &id).await;
    publish(&hub, 6..7).await;
    receiver.wait_for(16).await;
    assert_eq!(split(&receiver).0.len(), 9, "and nothing twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_does_not_hold_back_new_events_and_goes_on_after_a_restart() {
    let mut hub = TestHub::start().await;
    let receiver =
        Receiver::answering(|_, request| match request.header("tidings-replay") == "true" {
            true => Reply::After(Duration::from_millis(100), 200),
            false => Reply::Status(200),
        })
        .await;
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["policy"]["max_in_flight"] = json!(2);
    let id = id_of(&hub.api.subscribe(&wanted).await);
    publish(&hub, 0..60).await;
    receiver.wait_for(60).await;
    let path = format!("/v1/subscriptions/{id}/replay");
    hub.api.post(&path, &json!({"from": "earliest"})).await.expect(202);
    receiver.wait_for(62).await;
    let again = hub.api.post(&path, &json!({"from": 0})).await;
    again.expect_problem(409);
    publish(&hub, 60..63).await;
    eventually("new events arrive", async || (split(&receiver).1.len() == 63).then_some(())).await;
    assert!(split(&receiver).0.len() < 60, "while the replay is under way");
    hub.restart().await;
    is_over(&hub, &id).await;
    let (replayed, _) = split(&receiver);
    for n in 0..60 {
        assert!(replayed.contains(&n.to_string()), "{n} is missing");
    }
    assert!(replayed.len() < 100, "it went on where it stood: {}", replayed.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_waits_while_paused_and_can_be_given_up() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let id = id_of(&hub.api.subscribe(&wish("a/b", &receiver.url("/"))).await);
    publish(&hub, 0..3).await;
    receiver.wait_for(3).await;
    let (at, path) = (format!("/v1/subscriptions/{id}"), format!("/v1/subscriptions/{id}/replay"));
    hub.api.post(&format!("{at}/pause"), &json!({})).await.expect(200);
    hub.api.post(&path, &json!({"from": "earliest"})).await.expect(202);
    eventually("it is shown", async || {
        hub.api.get(&at).await.expect(200)["replay"].is_object().then_some(())
    })
    .await;
    assert_eq!(receiver.count(), 3, "paused");
    assert_eq!(hub.api.delete(&path).await.status.as_u16(), 204);
    is_over(&hub, &id).await;
    hub.api.post(&format!("{at}/resume"), &json!({})).await.expect(200);
    publish(&hub, 3..4).await;
    receiver.wait_for(4).await;
    assert_eq!(split(&receiver).0.len(), 0);
    for bad in
        [json!({}), json!({"from": 99_999}), json!({"from": 2, "to": 1}), json!({"from": "x"})]
    {
        hub.api.post(&path, &bad).await.expect_problem(400);
    }
    hub.api.post("/v1/subscriptions/none/replay", &json!({"from": 0})).await.expect_problem(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_can_start_at_a_time() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    publish(&hub, 0..3).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let then = jiff::Timestamp::now().to_string();
    publish(&hub, 3..5).await;
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["start"] = json!(then);
    let held = hub.api.subscribe(&wanted).await;
    assert!(held["start"].is_u64(), "{held}");
    let requests = receiver.wait_for(2).await;
    let mut ids: Vec<_> = requests.iter().map(|it| it.json()["id"].to_string()).collect();
    ids.sort();
    assert_eq!(ids, ["\"3\"", "\"4\""]);
}
