//! Targets that do not work: their subscriptions are parked, now and then one delivery tries, and
//! nothing is lost.

use http::Method;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::support::hub::{event, id_of, wish};
use crate::support::{Receiver, Reply, TestHub, eventually};

const EVENTS: usize = 20;
const SUBSCRIPTIONS: usize = 10;

/// Nobody tries by themselves while a test runs.
const PATIENT: [(&str, &str); 1] = [("delivery.park_schedule", "1h")];

/// So many subscriptions to one receiver that closes every connection. Their ids.
async fn parked(hub: &TestHub, receiver: &Receiver) -> Vec<String> {
    receiver.always(Reply::Reset);
    let mut ids = Vec::new();
    for index in 0..SUBSCRIPTIONS {
        let mut wanted = wish("a/b", &receiver.url(&format!("/{index}")));
        wanted["policy"]["retry"] = json!(["1h"]);
        ids.push(id_of(&hub.api.subscribe(&wanted).await));
    }
    hub.api.publish(&event("0", "a.b", json!(0))).await;
    for id in &ids {
        let held = hub.in_state(id, "parked").await;
        assert_eq!(held["reason"], "target_failing", "{held}");
        assert!(held["parked_since"].is_string() && held["status"]["last_error"].is_string());
    }
    ids
}

async fn publish(hub: &TestHub) {
    for index in 1..EVENTS {
        hub.api.publish(&event(&index.to_string(), "a.b", json!(index))).await;
    }
}

/// Has an event delivered to somebody else, which comes behind all that was published before.
async fn barrier(hub: &TestHub, witness: &Receiver, count: usize) {
    hub.api.publish(&event(&format!("w{count}"), "w", json!(1))).await;
    witness.wait_for(count).await;
}

/// Every subscription's events, each at least once.
async fn assert_all_came(receiver: &Receiver) {
    eventually("everything has come", async || {
        let requests = receiver.requests();
        let came = |index: usize, id: usize| {
            let (path, id) = (format!("/{index}"), id.to_string());
            requests.iter().any(|request| {
                request.path == path
                    && serde_json::from_slice::<Value>(&request.body).expect("JSON")["id"] == id
            })
        };
        let all = (0..SUBSCRIPTIONS).all(|index| (0..EVENTS).all(|id| came(index, id)));
        all.then_some(())
    })
    .await;
}

fn notices<'a>(history: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let kind = format!("tidings.subscription.{kind}");
    history.iter().filter(|event| event["type"] == kind.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_target_costs_one_probe_and_nothing_is_lost() {
    let hub = TestHub::with(&PATIENT).await;
    let (receiver, witness) = (Receiver::start().await, Receiver::start().await);
    hub.api.subscribe(&wish("w", &witness.url("/"))).await;
    let ids = parked(&hub, &receiver).await;
    let tried = receiver.count();
    assert!(tried <= SUBSCRIPTIONS, "one event each at most, not {tried}");
    publish(&hub).await;
    barrier(&hub, &witness, 1).await;
    assert_eq!(receiver.count(), tried, "nothing goes to a target that does not work");
    // Somebody says that it works again, and is wrong.
    let resume = format!("/v1/subscriptions/{}/resume", ids[0]);
    hub.api.post(&resume, &json!({})).await.expect(200);
    receiver.wait_for(tried + 1).await;
    hub.in_state(&ids[0], "parked").await;
    barrier(&hub, &witness, 2).await;
    assert_eq!(receiver.count(), tried + 1, "one probe for all");
    receiver.always(Reply::Status(204));
    hub.api.post(&resume, &json!({})).await.expect(200);
    assert_all_came(&receiver).await;
    for id in &ids {
        let held = hub.in_state(id, "active").await;
        assert!(held["status"]["parked_until"].is_null(), "{held}");
    }
    let attempts = receiver.requests();
    let most = attempts.iter().map(|request| request.header("tidings-attempt").to_owned()).max();
    assert_eq!(most.as_deref(), Some("2"), "no attempt is spent on a probe without an answer");
    let history = hub.history().await;
    let told: Vec<_> = notices(&history, "parked").into_iter().map(|it| &it["subject"]).collect();
    assert!(ids.iter().all(|id| told.contains(&&json!(id))), "{told:?}");
    assert!(notices(&history, "resumed").len() >= SUBSCRIPTIONS - 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_parked_stays_so_over_a_restart_and_is_tried_at_once() {
    let mut hub = TestHub::with(&PATIENT).await;
    let receiver = Receiver::start().await;
    let ids = parked(&hub, &receiver).await;
    publish(&hub).await;
    hub.stop().await;
    let tried = receiver.count();
    hub.start_again().await;
    receiver.wait_for(tried + 1).await;
    for id in &ids {
        hub.in_state(id, "parked").await;
    }
    hub.stop().await;
    receiver.always(Reply::Status(204));
    hub.start_again().await;
    assert_all_came(&receiver).await;
    for id in &ids {
        hub.in_state(id, "active").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_works_again_is_found_out_by_a_probe() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let ids = parked(&hub, &receiver).await;
    publish(&hub).await;
    receiver.always(Reply::Status(204));
    assert_all_came(&receiver).await;
    for id in &ids {
        hub.in_state(id, "active").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_to_a_dead_target_later_is_parked_too_and_a_new_sink_frees() {
    let hub = TestHub::with(&PATIENT).await;
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    parked(&hub, &receiver).await;
    let late = id_of(&hub.api.subscribe(&wish("a/b", &receiver.url("/late"))).await);
    hub.api.publish(&event("late", "a.b", json!(1))).await;
    hub.in_state(&late, "parked").await;
    assert!(receiver.requests().iter().all(|request| request.path != "/late"));
    let path = format!("/v1/subscriptions/{late}");
    let moved = json!({"sink": {"http": {"url": other.url("/")}}});
    let held = hub.api.json(Method::PATCH, &path, &moved).await.expect(200);
    assert_eq!(held["state"], "active");
    other.wait_for(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_this_machine_is_cut_off_no_target_is_blamed_and_no_attempt_spent() {
    // A port that is taken and not listened on refuses, until it is listened on.
    let canary = TcpSocket::new_v4().expect("a socket");
    canary.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = canary.local_addr().expect("bound").to_string();
    let hub = TestHub::with(&[("net.canaries", &address)]).await;
    let receiver = Receiver::start().await;
    receiver.always(Reply::Reset);
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["policy"]["retry"] = json!([]);
    let id = id_of(&hub.api.subscribe(&wanted).await);
    for index in 0..EVENTS {
        hub.api.publish(&event(&index.to_string(), "a.b", json!(index))).await;
    }
    eventually("the hub knows that it is cut off", async || {
        let metrics = hub.api.get("/metrics").await.text();
        metrics.lines().any(|line| line == "tidings_flow_offline 1").then_some(())
    })
    .await;
    let held = hub.api.get(&format!("/v1/subscriptions/{id}")).await.expect(200);
    assert_eq!(held["state"], "active", "{held}");
    let letters = hub.api.get("/v1/dead-letters").await.expect(200);
    assert_eq!(letters["dead_letters"], json!([]), "{letters}");
    // Not cut off any more: from here on it is the target's fault.
    let _listener = canary.listen(64).expect("listening");
    let letter = eventually("an attempt counts", async || {
        let letters = hub.api.get("/v1/dead-letters").await.expect(200);
        letters["dead_letters"].as_array().expect("a list").first().cloned()
    })
    .await;
    assert_eq!(letter["attempts"].as_array().expect("a list").len(), 1, "{letter}");
}
