//! Subscriptions: made, shown, changed, found, ended; and which events each filter lets through.

use http::Method;
use serde_json::{Value, json};

use crate::support::hub::{event, id_of, items, wish};
use crate::support::{Receiver, TestHub, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_is_created_shown_replaced_changed_and_deleted() {
    let hub = TestHub::start().await;
    let mut wanted = wish("a/#", "http://10.0.0.1/hook");
    wanted["name"] = json!("thumbnailer");
    wanted["labels"] = json!({"team": "media"});
    let answer = hub.api.post("/v1/subscriptions", &wanted).await;
    let location = answer.header("location").expect("Location").to_owned();
    let created = answer.expect(201);
    let path = format!("/v1/subscriptions/{}", id_of(&created));
    assert!(location.ends_with(&path), "{location}");
    assert_eq!(created["state"], "active");

    let answer = hub.api.get(&path).await;
    let tag = answer.header("etag").expect("ETag").to_owned();
    let shown = answer.expect(200);
    for member in ["name", "labels", "filter", "lease_seconds"] {
        assert_eq!(shown[member], wanted[member], "{member}: {shown}");
    }
    assert_eq!(shown["sink"]["http"]["url"], "http://10.0.0.1/hook", "{shown}");
    assert_eq!(shown["policy"]["max_in_flight"], 16, "defaults are shown: {shown}");

    let patch = [("content-type", "application/merge-patch+json")];
    let change = json!({"name": "renamed", "labels": {"team": null, "site": "7"}}).to_string();
    hub.api.send(Method::PATCH, &path, &patch, change).await.expect(200);
    let changed = hub.api.get(&path).await.expect(200);
    assert_eq!((&changed["name"], &changed["filter"]), (&json!("renamed"), &wanted["filter"]));
    assert_eq!(changed["labels"], json!({"site": "7"}));

    let stale = [("content-type", "application/json"), ("if-match", tag.as_str())];
    let answer = hub.api.send(Method::PUT, &path, &stale, wanted.to_string()).await;
    answer.expect_problem(412);
    hub.api.json(Method::PUT, &path, &wanted).await.expect(200);
    assert_eq!(hub.api.get(&path).await.expect(200)["name"], "thumbnailer");

    assert_eq!(hub.api.delete(&path).await.status.as_u16(), 204);
    let after = hub.api.get(&path).await;
    assert!(after.status.as_u16() == 404 || after.value()["state"] == "ended", "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_choose_the_id() {
    let hub = TestHub::start().await;
    let path = "/v1/subscriptions/my-own.id";
    hub.api.json(Method::PUT, path, &wish("a", "http://10.0.0.1/")).await.expect(201);
    hub.api.json(Method::PUT, path, &wish("b", "http://10.0.0.1/")).await.expect(200);
    assert_eq!(hub.api.get(path).await.expect(200)["filter"]["topic"], "b");
    for bad in ["no%20spaces", "%2E", "%2E%2E"] {
        let path = format!("/v1/subscriptions/{bad}");
        let answer = hub.api.json(Method::PUT, &path, &wish("a", "http://10.0.0.1/")).await;
        answer.expect_problem(400);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_match_takes_a_star_lists_and_no_weak_tags() {
    let hub = TestHub::start().await;
    let path = "/v1/subscriptions/one";
    let put = async |tag: &str| {
        let headers = [("content-type", ""), ("if-match", tag)];
        let wish = wish("a", "http://10.0.0.1/").to_string();
        hub.api.send(Method::PUT, path, &headers, wish).await.status.as_u16()
    };
    assert_eq!(put("*").await, 412, "there is none");
    hub.api.json(Method::PUT, path, &wish("a", "http://10.0.0.1/")).await.expect(201);
    assert_eq!(put("*").await, 200);
    assert_eq!(put("\"1\"").await, 412);
    assert_eq!(put("\"1\", \"2\"").await, 200);
    assert_eq!(put("W/\"3\"").await, 412);
    assert_eq!(put("3").await, 400);
    let delete = async |tag: &str| {
        let answer = hub.api.send(Method::DELETE, path, &[("if-match", tag)], "").await;
        answer.status.as_u16()
    };
    assert_eq!((delete("W/\"3\"").await, delete("\"2\"").await), (412, 412));
    assert_eq!(delete("\"9\", \"3\"").await, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_listed_by_state_and_label() {
    let hub = TestHub::start().await;
    for n in 0..3 {
        let mut wanted = wish("a/#", "http://10.0.0.1/hook");
        wanted["labels"] = json!({"n": n.to_string()});
        hub.api.json(Method::PUT, &format!("/v1/subscriptions/s{n}"), &wanted).await.expect(201);
    }
    hub.api.post("/v1/subscriptions/s1/pause", &json!({})).await.expect(200);
    let ids = async |query: &str| {
        let listed = hub.api.get(&format!("/v1/subscriptions{query}")).await.expect(200);
        items(&listed).iter().map(id_of).collect::<Vec<_>>()
    };
    assert_eq!(ids("").await, ["s0", "s1", "s2"]);
    assert_eq!(ids("?state=paused").await, ["s1"]);
    assert_eq!(ids("?label.n=2").await, ["s2"]);
    let first = hub.api.get("/v1/subscriptions?limit=2").await;
    let link = first.header("link").expect("a Link to the next page").to_owned();
    assert_eq!(items(&first.expect(200)).len(), 2);
    let next = link.split(['<', '>']).nth(1).expect("a URL in <>");
    let next = next.find("/v1/").map_or(next, |start| &next[start..]);
    assert_eq!(items(&hub.api.get(next).await.expect(200)).len(), 1, "{link}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_survives_a_restart_as_it_was() {
    let mut hub = TestHub::start().await;
    let id = id_of(&hub.api.subscribe(&wish("a/#", "http://10.0.0.1/hook")).await);
    hub.api.post(&format!("/v1/subscriptions/{id}/pause"), &json!({})).await.expect(200);
    let before = hub.api.get(&format!("/v1/subscriptions/{id}")).await;
    let (tag, before) = (before.header("etag").map(str::to_owned), before.expect(200));
    hub.restart().await;
    let after = hub.api.get(&format!("/v1/subscriptions/{id}")).await;
    assert_eq!(after.header("etag").map(str::to_owned), tag);
    let after = after.expect(200);
    for member in ["filter", "sink", "policy", "encoding", "state", "expires_at", "lease_seconds"] {
        assert_eq!(after[member], before[member], "{member}");
    }
}

/// Publishes samples and answers which of them a filter let through.
async fn let_through(filter: Value) -> Vec<String> {
    let hub = TestHub::start().await;
    let (receiver, witness) = (Receiver::start().await, Receiver::start().await);
    let mut wanted = wish("#", &receiver.url("/"));
    wanted["filter"] = filter;
    wanted["policy"]["ordering"] = json!("strict");
    hub.api.subscribe(&wanted).await;
    let everything = json!({"topic": "samples/#"});
    let mut all = wish("#", &witness.url("/"));
    all["filter"] = everything;
    hub.api.subscribe(&all).await;
    let samples =
        [("1", "lamp.on", "kitchen"), ("2", "lamp.off", "kitchen"), ("3", "door", "hall")];
    for (id, kind, subject) in samples {
        let mut sample = event(id, kind, json!(null));
        sample["subject"] = json!(subject);
        sample["topic"] = json!(format!("samples/{subject}/{id}"));
        hub.api.publish(&sample).await;
    }
    witness.wait_for(samples.len()).await;
    // One more that every tested filter lets through: what came before it has been matched.
    let mut last = event("9", "lamp.on", json!(null));
    last["subject"] = json!("kitchen");
    last["topic"] = json!("samples/kitchen/1");
    hub.api.publish(&last).await;
    eventually("the last sample arrives", async || {
        let came: Vec<_> =
            receiver.requests().iter().map(|request| id_of(&request.json())).collect();
        came.contains(&"9".to_owned()).then_some(())
    })
    .await;
    let mut ids: Vec<_> =
        receiver.requests().iter().map(|request| id_of(&request.json())).collect();
    ids.sort();
    ids.retain(|id| id != "9");
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_filter_form_lets_through_what_it_says() {
    let check = async |filter: Value, expected: &[&str]| {
        assert_eq!(let_through(filter.clone()).await, expected, "{filter}");
    };
    check(json!({"topic": "samples/kitchen/+"}), &["1", "2"]).await;
    check(json!({"topic": "samples/+/1"}), &["1"]).await;
    check(json!({"exact": {"type": "lamp.on"}}), &["1"]).await;
    check(json!({"prefix": {"type": "lamp."}}), &["1", "2"]).await;
    check(json!({"suffix": {"type": ".on"}}), &["1"]).await;
    let both = json!([{"prefix": {"type": "lamp"}}, {"not": {"exact": {"type": "lamp.off"}}}]);
    check(json!({"all": both}), &["1"]).await;
    let either = json!([{"exact": {"type": "door"}}, {"exact": {"subject": "kitchen"}}]);
    check(json!({"any": either}), &["1", "2", "3"]).await;
    check(json!({"not": {"exact": {"type": "door"}}}), &["1", "2"]).await;
}
