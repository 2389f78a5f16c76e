//! Policies: what orders events, delays them, and takes only some of them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::hub::{event, wish};
use crate::support::{Receiver, Reply, TestHub};

fn with_policy(url: &str, policy: &Value) -> Value {
    let mut wanted = wish("a/b", url);
    for (name, value) in policy.as_object().expect("an object") {
        wanted["policy"][name] = value.clone();
    }
    wanted
}

fn in_seconds(seconds: i64) -> String {
    let now = jiff::Timestamp::now();
    now.checked_add(jiff::SignedDuration::from_secs(seconds)).expect("soon").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_not_sent_before_the_time_that_its_publisher_names() {
    let mut hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let policy = json!({"delay_until": "{{event.delayuntil}}"});
    hub.api.subscribe(&with_policy(&receiver.url("/"), &policy)).await;
    let late = |id: &str, until: &str| {
        let mut event = event(id, "a.b", json!(id));
        event["delayuntil"] = json!(until);
        event
    };
    let until = in_seconds(3);
    hub.api.publish(&late("late", &until)).await;
    hub.api.publish(&late("past", "2001-01-01T00:00:00Z")).await;
    hub.api.publish(&late("odd", "tomorrow")).await;
    let first = receiver.wait_for(2).await;
    let ids: Vec<_> = first.iter().map(|request| request.json()["id"].clone()).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert!(!ids.contains(&json!("late")), "{ids:?}");
    // The timer survives a stop, and the delay spends no attempt.
    hub.restart().await;
    let requests = receiver.wait_for(3).await;
    assert!(jiff::Timestamp::now() >= until.parse().expect("a time"));
    assert_eq!(requests[2].json()["id"], "late");
    assert_eq!(requests[2].header("tidings-attempt"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_template_orders_only_what_has_the_same_key() {
    let hub = TestHub::start().await;
    let receiver = Receiver::answering(|count, request| match request.json()["data"]["page"] {
        ref page if page == "a" && count < 3 => Reply::After(Duration::from_millis(400), 200),
        _ => Reply::Status(200),
    })
    .await;
    let policy = json!({"ordering": {"key": "{{data.page}}"}});
    hub.api.subscribe(&with_policy(&receiver.url("/"), &policy)).await;
    for (id, page) in [("1", "a"), ("2", "a"), ("3", "b"), ("4", "b")] {
        hub.api.publish(&event(id, "a.b", json!({"page": page}))).await;
    }
    let requests = receiver.wait_for(4).await;
    let at = |id: &str| {
        requests.iter().find(|request| request.json()["id"] == id).expect("delivered").at
    };
    assert!(at("2") - at("1") >= Duration::from_millis(390), "one after the other");
    assert!(at("4") - at("1") < Duration::from_millis(390), "another key does not wait");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_takes_all_events_of_a_key_or_none() {
    let hub = TestHub::start().await;
    let receivers = [Receiver::start().await, Receiver::start().await];
    let sample = json!({"sample": {"rate": 0.5, "key": "{{event.subject}}"}});
    for receiver in &receivers {
        hub.api.subscribe(&with_policy(&receiver.url("/"), &sample)).await;
    }
    let everything = Receiver::start().await;
    hub.api.subscribe(&wish("a/b", &everything.url("/"))).await;
    for n in 0..60 {
        let mut event = event(&n.to_string(), "a.b", json!(n));
        event["subject"] = json!(format!("s{}", n / 3));
        hub.api.publish(&event).await;
    }
    everything.wait_for(60).await;
    let taken = |receiver: &Receiver| {
        let mut subjects: Vec<String> =
            receiver.requests().iter().map(|it| it.json()["subject"].to_string()).collect();
        subjects.sort();
        subjects
    };
    let expected = crate::support::eventually("the samples are whole", async || {
        let (one, other) = (taken(&receivers[0]), taken(&receivers[1]));
        (one == other && one.len() % 3 == 0 && !one.is_empty()).then_some(one)
    })
    .await;
    assert!((15..=48).contains(&expected.len()), "about half: {}", expected.len());
    assert!(expected.chunks(3).all(|three| three[0] == three[2]), "{expected:?}");
}
