//! Tests of a subscription by request: a marked event goes out as a delivery does, and its answer
//! comes back.

use serde_json::{Value, json};

use crate::support::hub::{event, id_of, items, wish};
use crate::support::{Receiver, Reply, TestHub};

async fn test(hub: &TestHub, id: &str) -> Value {
    hub.api.post(&format!("/v1/subscriptions/{id}/test"), &json!({})).await.expect(200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_goes_out_as_a_delivery_does_and_is_not_stored() {
    let hub = TestHub::start().await;
    let receiver = Receiver::answering(|_, _| Reply::Json(202, json!({"ok": true}))).await;
    let mut wanted = wish("a/b", &receiver.url("/hook"));
    wanted["signing"] = json!({"standard_webhooks": {}});
    wanted["sink"]["http"]["headers"] = json!({"x-token": "secret"});
    let held = hub.api.subscribe(&wanted).await;
    let secret = held["signing"]["standard_webhooks"]["secret"].as_str().expect("shown once");
    let answer = test(&hub, &id_of(&held)).await;
    let sent = receiver.wait_for(1).await.remove(0);
    assert_eq!((sent.header("tidings-test"), sent.header("tidings-offset")), ("true", ""));
    assert_eq!((sent.header("x-token"), sent.header("tidings-attempt")), ("secret", "1"));
    let verifier = standardwebhooks::Webhook::new(secret).expect("a secret");
    verifier.verify(&sent.body, &sent.headers).expect("signed as a delivery is");
    assert_eq!((&sent.json()["type"], &sent.json()), (&json!("tidings.test"), &answer["event"]));
    let exchange = &answer["exchanges"][0];
    assert_eq!((&answer["delivered"], &exchange["error"]), (&json!(true), &Value::Null));
    assert_eq!(
        (&exchange["answer"]["status"], &exchange["answer"]["body"]),
        (&json!(202), &json!("{\"ok\":true}"))
    );
    assert_eq!(exchange["answer"]["headers"]["content-type"], "application/json");
    let shown = &exchange["request"];
    assert_eq!(shown["headers"]["webhook-id"], sent.header("webhook-id"));
    assert_eq!(
        (&shown["headers"]["x-token"], &shown["headers"]["webhook-signature"]),
        (&json!("***"), &json!("***"))
    );
    assert_eq!(shown["body"], String::from_utf8_lossy(&sent.body).as_ref());
    assert!(exchange["took_ms"].is_u64(), "{exchange}");
    assert_eq!(hub.history().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_test_spends_nothing() {
    let hub = TestHub::with(&[("delivery.park_after", "2")]).await;
    let receiver = Receiver::start().await;
    let id = id_of(&hub.api.subscribe(&wish("a/b", &receiver.url("/"))).await);
    receiver.always(Reply::Status(503));
    for _ in 0..3 {
        let answer = test(&hub, &id).await;
        assert_eq!(answer["delivered"], false);
        assert_eq!(answer["exchanges"][0]["answer"]["status"], 503, "{answer}");
    }
    receiver.always(Reply::Reset);
    let answer = test(&hub, &id).await;
    assert_eq!(answer["exchanges"][0]["answer"], Value::Null, "{answer}");
    assert!(answer["exchanges"][0]["error"].is_string(), "{answer}");
    receiver.always(Reply::Endless);
    let answer = test(&hub, &id).await;
    let body = &answer["exchanges"][0]["answer"];
    assert_eq!(
        (&body["body_cut"], body["body"].as_str().map(str::len)),
        (&json!(true), Some(4_096))
    );
    assert_eq!(hub.in_state(&id, "active").await["status"]["failed"], 0);
    assert_eq!(items(&hub.api.get("/v1/dead-letters").await.expect(200)), Vec::<Value>::new());
    receiver.always(Reply::Status(200));
    let count = receiver.count();
    hub.api.publish(&event("1", "a.b", json!(1))).await;
    assert_eq!(receiver.wait_for(count + 1).await[count].header("tidings-attempt"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guard_judges_a_test_and_states_are_respected() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let mut wanted = wish("a/b", "http://unused.lan/");
    wanted.as_object_mut().expect("an object").remove("sink");
    wanted["encoding"] = json!("template");
    wanted["template"] = json!({"steps": [{"method": "GET", "url": "{{data.url}}"}]});
    let id = id_of(&hub.api.subscribe(&wanted).await);
    let path = format!("/v1/subscriptions/{id}/test");
    let metadata = json!({"data": {"url": "http://169.254.169.254/latest"}});
    let answer = hub.api.post(&path, &metadata).await.expect(200);
    assert_eq!(answer["exchanges"][0]["answer"], Value::Null, "{answer}");
    assert!(answer["exchanges"][0]["error"].is_string(), "{answer}");
    let fault = &test(&hub, &id).await["exchanges"][0]["request"]["fault"];
    assert_eq!(fault["pointer"], "/template/steps/0/url", "{fault}");
    hub.api.post(&format!("/v1/subscriptions/{id}/pause"), &json!({})).await.expect(200);
    let good = json!({"data": {"url": receiver.url("/x")}});
    let answer = hub.api.post(&path, &good).await.expect(200);
    assert_eq!(answer["delivered"], true, "a paused one can be tested: {answer}");
    hub.api.post(&path, &json!({"event": {}})).await.expect_problem(400);
    receiver.always(Reply::Status(410));
    let gone = id_of(&hub.api.subscribe(&wish("a/b", &receiver.url("/"))).await);
    assert_eq!(test(&hub, &gone).await["exchanges"][0]["answer"]["status"], 410);
    assert_eq!(hub.in_state(&gone, "active").await["id"], gone, "a test ends nothing");
    hub.api.publish(&event("1", "a.b", json!(1))).await;
    hub.in_state(&gone, "ended").await;
    let path = format!("/v1/subscriptions/{gone}/test");
    hub.api.post(&path, &json!({})).await.expect_problem(410);
    hub.api.post("/v1/subscriptions/none/test", &good).await.expect_problem(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_is_tested_step_by_step_and_emits_nothing() {
    let hub = TestHub::start().await;
    let receiver = Receiver::answering(|_, _| Reply::Json(201, json!({"id": 9}))).await;
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["encoding"] = json!("template");
    wanted["template"] = json!({"steps": [
        {"method": "POST", "capture": ["body"]},
        {"emit": {"type": "derived"}},
        {"method": "PUT", "url": receiver.url("/{{steps[0].response.body.id}}")},
    ]});
    let id = id_of(&hub.api.subscribe(&wanted).await);
    let answer = test(&hub, &id).await;
    let exchanges = answer["exchanges"].as_array().expect("a list");
    assert_eq!((&answer["delivered"], exchanges.len()), (&json!(true), 3), "{answer}");
    assert_eq!(exchanges[1]["request"]["emit"]["type"], "derived");
    assert_eq!(receiver.wait_for(2).await[1].path, "/9");
    assert_eq!(hub.history().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_tests_run_at_a_time() {
    let hub = TestHub::start().await;
    let receiver = Receiver::answering(|_, _| Reply::Stall).await;
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["policy"]["timeout"] = json!("30s");
    let id = id_of(&hub.api.subscribe(&wanted).await);
    let path = format!("/v1/subscriptions/{id}/test");
    let mut tests = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (api, path) = (hub.api.clone(), path.clone());
        tests.spawn(async move { api.post(&path, &json!({})).await });
    }
    receiver.wait_for(8).await;
    let answer = hub.api.post(&path, &json!({})).await;
    assert_eq!(answer.expect_problem(429)["code"], "E-TESTS-FULL");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    tests.shutdown().await;
}
