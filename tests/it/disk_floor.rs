//! The disk floor: with less room than that nothing new comes in, by whatever door, and everything
//! that is there already goes on. With room again all works as before.

use http::Method;
use serde_json::{Value, json};

use crate::support::hub::{event, id_of, wish};
use crate::support::mqtt::{self, Client, PINGRESP, PUBACK, Version};
use crate::support::{Receiver, Reply, TestHub, eventually};

/// More than any disk has: the largest size that can be written.
const HIGH: [(&str, &str); 1] = [("log.disk_floor", "17179869183GiB")];

/// Less than the disk of the tests has.
const LOW: [(&str, &str); 1] = [("log.disk_floor", "1MiB")];

async fn refusing(hub: &TestHub) -> Value {
    hub.api.get("/v1/status").await.expect(200)["log"]["disk"]["refusing"].clone()
}

async fn metric(hub: &TestHub, name: &str) -> u64 {
    let metrics = hub.api.get("/metrics").await.text();
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_floor_an_event_is_refused_with_the_room_and_the_key() {
    let mut hub = TestHub::with(&LOW).await;
    hub.api.publish(&event("before", "a.b", json!(1))).await;
    assert_eq!(refusing(&hub).await, false);
    hub.restart_with(&HIGH).await;
    // More than once: that it refused before must not make it take the next one.
    for id in ["1", "2", "3"] {
        let refused = hub.api.post_event(&event(id, "a.b", json!(1))).await;
        let problem = refused.expect_problem(507);
        assert_eq!(problem["code"], "E-STORE-FULL", "{problem}");
        let detail = problem["detail"].as_str().expect("text");
        let words = detail.split_once(" are free, new input needs ").expect("both figures");
        assert!(words.0.contains(|c: char| c.is_ascii_digit()), "what is free: {detail}");
        assert!(words.1.starts_with("17179869183GiB (log.disk_floor)"), "{detail}");
    }
    assert_eq!(refusing(&hub).await, true);
    let ready = hub.api.get("/readyz").await;
    assert_eq!(ready.status.as_u16(), 503, "{ready:?}");
    assert!(ready.text().contains("disk is nearly full"), "{ready:?}");
    assert_eq!(hub.api.get("/livez").await.text(), "ok");
    hub.restart_with(&LOW).await;
    assert_eq!(hub.api.get("/readyz").await.status.as_u16(), 200);
    assert_eq!(refusing(&hub).await, false);
    hub.assert_works("a start with room").await;
    let stored = hub.history().await;
    let ids: Vec<&Value> =
        stored.iter().filter(|e| e["type"] == "a.b").map(|event| &event["id"]).collect();
    assert_eq!(ids, ["before"], "what was refused is not there, what was there still is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_floor_no_subscription_is_made_and_those_that_are_can_be_handled() {
    let mut hub = TestHub::with(&LOW).await;
    let wanted = wish("a/#", "http://10.0.0.1/hook");
    let [kept, ended] =
        [id_of(&hub.api.subscribe(&wanted).await), id_of(&hub.api.subscribe(&wanted).await)];
    hub.restart_with(&HIGH).await;
    let put = hub.api.json(Method::PUT, "/v1/subscriptions/new", &wanted).await;
    assert_eq!(put.expect_problem(507)["code"], "E-STORE-FULL");
    hub.api.post("/v1/subscriptions", &wanted).await.expect_problem(507);
    hub.api.get("/v1/subscriptions/new").await.expect_problem(404);
    let path = format!("/v1/subscriptions/{kept}");
    let renewal = json!({"lease_seconds": 7200});
    hub.api.post(&format!("{path}/renew"), &renewal).await.expect(200);
    for (change, state) in [("pause", "paused"), ("resume", "active"), ("pause", "paused")] {
        hub.api.post(&format!("{path}/{change}"), &json!({})).await.expect(200);
        hub.in_state(&kept, state).await;
    }
    let deleted = hub.api.delete(&format!("/v1/subscriptions/{ended}")).await;
    assert!(deleted.status.is_success(), "{deleted:?}");
    let before = hub.api.get(&path).await.expect(200);
    hub.restart_with(&LOW).await;
    let after = hub.api.get(&path).await.expect(200);
    for member in ["state", "expires_at", "version"] {
        assert_eq!(after[member], before[member], "{member} was written down");
    }
    let gone = hub.api.get(&format!("/v1/subscriptions/{ended}")).await;
    assert!(gone.status.is_client_error() || gone.value()["state"] == "ended", "{gone:?}");
    hub.api.json(Method::PUT, "/v1/subscriptions/new", &wanted).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_floor_a_backlog_is_delivered_and_retries_are_written() {
    let mut hub = TestHub::with(&LOW).await;
    let (receiver, failing) = (Receiver::start().await, Receiver::start().await);
    failing.always(Reply::Status(503));
    let held = id_of(&hub.api.subscribe(&wish("a/b", &receiver.url("/"))).await);
    hub.api.post(&format!("/v1/subscriptions/{held}/pause"), &json!({})).await.expect(200);
    let mut wanted = wish("c/d", &failing.url("/"));
    wanted["policy"]["retry"] = json!(["1s", "1h"]);
    let retried = id_of(&hub.api.subscribe(&wanted).await);
    for number in 0..30 {
        hub.api.publish(&event(&number.to_string(), "a.b", json!(number))).await;
    }
    hub.api.publish(&event("retried", "c.d", json!(1))).await;
    failing.wait_for(1).await;
    hub.restart_with(&HIGH).await;
    hub.api.post(&format!("/v1/subscriptions/{held}/resume"), &json!({})).await.expect(200);
    let requests = receiver.wait_for(30).await;
    let mut ids: Vec<u32> = requests
        .iter()
        .map(|r| r.json()["id"].as_str().expect("an id").parse().expect("ours"))
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, Vec::from_iter(0..30));
    failing.wait_for(2).await;
    // The second failure is written down: a start does not try again before its hour is over.
    let path = format!("/v1/subscriptions/{retried}");
    eventually("the retry is written", async || {
        let shown = hub.api.get(&path).await.expect(200);
        (shown["status"]["retrying"] == 1).then_some(())
    })
    .await;
    eventually("progress is written", async || {
        let shown = hub.api.get(&format!("/v1/subscriptions/{held}")).await.expect(200);
        (shown["status"]["delivered"] == 30).then_some(())
    })
    .await;
    failing.always(Reply::Status(200));
    hub.restart_with(&LOW).await;
    assert_eq!(hub.api.get(&path).await.expect(200)["status"]["retrying"], 1);
    hub.api.publish(&event("last", "a.b", json!(1))).await;
    let requests = receiver.wait_for(31).await;
    assert_eq!(requests[30].json()["id"], "last", "what was delivered is not sent again");
    assert_eq!(failing.count(), 2, "its time was kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_floor_mqtt_answers_quota_exceeded_or_closes_and_drops_qos_0() {
    let mut hub = TestHub::with(&LOW).await;
    hub.restart_with(&HIGH).await;
    let mut five = Client::login(hub.mqtt(), Version::V5, "five").await;
    for _ in 0..3 {
        let answer = five.publish("a/b", b"refused").await;
        assert_eq!(answer.body.get(2), Some(&0x97), "{answer:?}");
    }
    let mut four = Client::login(hub.mqtt(), Version::V4, "four").await;
    four.send(&mqtt::publish(Version::V4, "a/b", Some(1), b"refused")).await;
    let last_words = four.until_closed().await;
    assert!(last_words.iter().all(|packet| packet.kind() != PUBACK), "{last_words:?}");
    for version in mqtt::BOTH {
        let dropped = metric(&hub, "tidings_broker_messages_dropped_total").await;
        let mut client = Client::login(hub.mqtt(), version, "zero").await;
        client.send(&mqtt::publish(version, "a/b", None, b"dropped")).await;
        client.send(&[0xc0, 0]).await;
        assert_eq!(client.packet().await.expect("it stays open").kind(), PINGRESP);
        eventually("the message is counted", async || {
            let now = metric(&hub, "tidings_broker_messages_dropped_total").await;
            (now == dropped + 1).then_some(())
        })
        .await;
    }
    hub.restart_with(&LOW).await;
    for version in mqtt::BOTH {
        let mut client = Client::login(hub.mqtt(), version, "again").await;
        let answer = client.publish("a/b", b"taken").await;
        assert!(answer.body.get(2).is_none_or(|code| *code < 0x80), "{answer:?}");
    }
    let stored: Vec<Value> = hub.history().await.into_iter().map(|e| e["data"].clone()).collect();
    assert_eq!(stored.iter().filter(|data| *data == "taken").count(), 2);
    assert!(!stored.iter().any(|data| data == "refused" || data == "dropped"), "{stored:?}");
}
