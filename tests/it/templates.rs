//! Templates: requests made of an event, in steps, and events that derive from it.

use serde_json::{Value, json};

use crate::support::hub::{event, id_of, items, wish};
use crate::support::{Receiver, Reply, TestHub, eventually};

/// A subscription whose template has these steps.
fn template(topic: &str, steps: Value) -> Value {
    let mut wanted = wish(topic, "http://127.0.0.1:9/unused");
    wanted.as_object_mut().expect("an object").remove("sink");
    wanted["encoding"] = json!("template");
    wanted["template"] = json!({ "steps": steps });
    wanted
}

async fn letter_of(hub: &TestHub, id: &str) -> Value {
    let path = format!("/v1/dead-letters?subscription={id}");
    eventually("a dead letter", async || {
        items(&hub.api.get(&path).await.expect(200)).into_iter().next()
    })
    .await
}

/// The first request of a step that is answered 201 with an id, and a second one that uses it.
fn two_steps(receiver: &Receiver) -> Value {
    json!([
        {"method": "PUT", "url": receiver.url("/render/{{data.title | url}}"),
         "headers": {"x-flow": "{{match.flow}}"}, "query": {"rev": "{{data.rev}}"},
         "body": {"rev": "{{data.rev}}", "text": "r{{data.rev}}"},
         "capture": ["status", "headers", "body"]},
        {"method": "PURGE", "url": receiver.url("/cache/{{steps[0].response.body.id}}"),
         "headers": {"x-status": "{{steps[0].response.status}}",
                     "x-type": "{{steps[0].response.headers.content-type}}"}},
    ])
}

fn answers(purges: Vec<Reply>) -> impl FnMut(usize, &crate::support::receiver::Request) -> Reply {
    let mut purges = purges.into_iter();
    move |_, request| match request.method.as_str() {
        "PUT" => Reply::Json(201, json!({"id": 9})),
        _ => purges.next().unwrap_or(Reply::Status(200)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_are_taken_in_order_and_resumed_where_they_failed() {
    let hub = TestHub::start().await;
    let receiver = Receiver::answering(answers(vec![Reply::Status(503), Reply::Reset])).await;
    let mut wanted = template("a/b", two_steps(&receiver));
    wanted["filter"] = json!({"all": [{"topic": "a/b"},
        {"data": {"path": "flow", "regex": "^(?<flow>f[0-9]+)$"}}]});
    wanted["signing"] = json!({"standard_webhooks": {}});
    hub.api.subscribe(&wanted).await;
    let data = json!({"title": "Ä b", "rev": 7, "flow": "f1"});
    hub.api.publish(&event("1", "a.b", data)).await;
    let requests = receiver.wait_for(4).await;
    let paths: Vec<_> = requests.iter().map(|it| format!("{} {}", it.method, it.path)).collect();
    let purge = "PURGE /cache/9";
    assert_eq!(paths, ["PUT /render/%C3%84%20b?rev=7", purge, purge, purge]);
    assert_eq!(
        requests[0].json(),
        json!({"rev": 7, "text": "r7"}),
        "one expression keeps its type"
    );
    assert_eq!(requests[0].header("x-flow"), "f1");
    assert_eq!(requests[0].header("content-type"), "application/json");
    assert_eq!(requests[1].header("x-status"), "201");
    assert_eq!(requests[1].header("x-type"), "application/json");
    let ids: Vec<_> = requests.iter().map(|it| it.header("webhook-id")).collect();
    assert!(ids[0] != ids[1] && ids[1] == ids[2] && ids[2] == ids[3], "one id a step: {ids:?}");
    assert!(requests.iter().all(|it| it.header("webhook-signature").starts_with("v1,")));
    let attempts: Vec<_> = requests.iter().map(|it| it.header("tidings-attempt")).collect();
    assert_eq!(attempts, ["1", "1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_is_done_is_not_repeated_after_a_restart() {
    let mut hub = TestHub::start().await;
    let receiver = Receiver::answering(answers(vec![Reply::Status(503)])).await;
    let mut wanted = template("a/b", two_steps(&receiver));
    wanted["template"]["steps"][0]["headers"] = json!({});
    wanted["policy"]["retry"] = json!(["2s"]);
    hub.api.subscribe(&wanted).await;
    hub.api.publish(&event("1", "a.b", json!({"title": "x", "rev": 1}))).await;
    receiver.wait_for(2).await;
    hub.restart().await;
    let methods: Vec<_> = receiver.wait_for(3).await.iter().map(|it| it.method.clone()).collect();
    assert_eq!(methods, ["PUT", "PURGE", "PURGE"]);
    assert_eq!(receiver.requests()[2].path, "/cache/9", "what was captured is still known");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_without_a_url_goes_to_the_sink_with_its_headers() {
    let hub = TestHub::start().await;
    let (sink, other) = (Receiver::start().await, Receiver::start().await);
    let mut wanted = template(
        "a/b",
        json!([{"method": "POST", "body": "{{data}}"},
               {"method": "GET", "url": other.url("/x")}]),
    );
    wanted["sink"] = json!({"http": {"url": sink.url("/hook?k=1"), "headers": {"x-token": "t"}}});
    let held = hub.api.subscribe(&wanted).await;
    assert_eq!(held["encoding"], "template");
    assert_eq!(held["template"]["steps"][1]["url"], other.url("/x"));
    hub.api.publish(&event("1", "a.b", json!([1, 2]))).await;
    let request = sink.wait_for(1).await.remove(0);
    assert_eq!((request.path.as_str(), request.header("x-token")), ("/hook?k=1", "t"));
    assert_eq!(request.body, b"[1,2]");
    assert_eq!(other.wait_for(1).await[0].header("x-token"), "", "not for other targets");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_path_is_a_dead_letter_that_says_where() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let steps = json!([{"method": "POST", "url": receiver.url("/{{data.title}}"),
        "headers": {"x-who": "{{data.who | default(\"nobody\")}}"}}]);
    let id = id_of(&hub.api.subscribe(&template("a/b", steps)).await);
    hub.api.publish(&event("1", "a.b", json!({"name": "x"}))).await;
    let letter = letter_of(&hub, &id).await;
    assert_eq!(letter["code"], "E-TEMPLATE-FAILED", "{letter}");
    assert_eq!(letter["attempts"], json!([]), "nothing was sent, no attempt is spent");
    hub.api.publish(&event("2", "a.b", json!({"title": "x"}))).await;
    assert_eq!(receiver.wait_for(1).await[0].header("x-who"), "nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_derived_event_tells_what_caused_it() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let steps = json!([{"emit": {"type": "page.purged", "subject": "{{data.page}}",
        "data": {"page": "{{data.page}}", "n": 1}}}]);
    let deriving = id_of(&hub.api.subscribe(&template("a/b", steps)).await);
    hub.api.subscribe(&wish("page/purged", &receiver.url("/"))).await;
    let offset = hub.api.publish(&event("parent", "a.b", json!({"page": "en/1"}))).await;
    let derived = receiver.wait_for(1).await.remove(0).json();
    assert_eq!(derived["causation"], "parent", "{derived}");
    assert_eq!((&derived["hops"], &derived["subject"]), (&json!(1), &json!("en/1")));
    assert_eq!(derived["causationoffset"], offset.to_string());
    assert_eq!(derived["source"], format!("/v1/subscriptions/{deriving}"));
    assert_eq!(derived["data"], json!({"page": "en/1", "n": 1}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_goes_round_ends() {
    let hub = TestHub::with(&[("templates.hops_max", "3")]).await;
    let steps = json!([{"emit": {"type": "a.b"}}]);
    let id = id_of(&hub.api.subscribe(&template("a/b", steps)).await);
    hub.api.publish(&event("first", "a.b", json!(1))).await;
    let letter = letter_of(&hub, &id).await;
    assert_eq!(letter["code"], "E-EVENT-HOPS", "{letter}");
    let events = hub.history().await;
    let hops: Vec<_> = events.iter().filter(|event| event["type"] == "a.b").collect();
    let hops: Vec<_> = hops.iter().map(|event| event["hops"].as_u64().unwrap_or(0)).collect();
    assert_eq!(hops, [0, 1, 2, 3]);
    assert_eq!(letter["event"]["id"], events[events.len() - 2]["id"], "{letter}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_does_not_choose_the_host_and_the_guard_judges_every_step() {
    let hub = TestHub::start().await;
    let open = json!([{"method": "GET", "url": "http://{{data.host}}/x"}]);
    hub.api.post("/v1/subscriptions", &template("a/b", open)).await.expect_problem(400);
    // One expression alone may: what it leads to is judged like any other target.
    let steps = json!([{"method": "GET", "url": "{{data.url}}"}]);
    let id = id_of(&hub.api.subscribe(&template("a/b", steps)).await);
    let metadata = json!({"url": "http://169.254.169.254/latest/meta-data"});
    hub.api.publish(&event("1", "a.b", metadata)).await;
    let letter = letter_of(&hub, &id).await;
    assert_eq!(letter["code"], "E-ADDRESS-REFUSED", "{letter}");
}
