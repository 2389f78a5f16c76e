//! Previews: who says no to an event, and the very requests that are sent later.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::hub::{event, id_of, wish};
use crate::support::receiver::Request;
use crate::support::{Api, Receiver, TestHub};

const PREVIEW: &str = "/v1/subscriptions/preview";

async fn preview(api: &Api, wish: &Value, members: Value) -> Value {
    let mut asked = wish.clone();
    for (name, value) in members.as_object().expect("an object") {
        asked[name] = value.clone();
    }
    api.post(PREVIEW, &asked).await.expect(200)
}

/// The one event of a preview.
async fn look(api: &Api, wish: &Value, event: &Value) -> Value {
    let seen = preview(api, wish, json!({ "event": event })).await;
    assert_eq!(seen["complete"], true, "{seen}");
    seen["events"][0].clone()
}

/// What a request says that does not change from one sending to the next.
fn lasting(headers: impl Iterator<Item = (String, String)>, names: &Value) -> Vec<String> {
    let framing = ["host", "content-length"].map(str::to_owned);
    let mut passing: Vec<String> = serde_json::from_value(names.clone()).expect("names");
    passing.extend(framing);
    let sorted: BTreeMap<String, String> = headers.collect();
    let kept = sorted.into_iter().filter(|(name, _)| !passing.contains(name));
    kept.map(|(name, value)| format!("{name}: {value}")).collect()
}

/// Checks that a request arrived as it was shown.
fn assert_same(shown: &Value, sent: &Request, receiver: &Receiver, seen: &Value) {
    assert_eq!(shown["method"], sent.method);
    assert_eq!(shown["url"], receiver.url(&sent.path));
    let body = shown["body"].as_str().unwrap_or_default();
    assert_eq!(body, String::from_utf8_lossy(&sent.body));
    let of_shown = shown["headers"].as_object().expect("headers").iter();
    let of_shown =
        of_shown.map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()));
    let of_sent = sent.headers.iter().map(|(name, value)| {
        let masked = name == "x-token" || name == "webhook-signature";
        let value = if masked { "***" } else { value.to_str().expect("ASCII") };
        (name.to_string(), value.to_owned())
    });
    let names = &seen["provisional"];
    assert_eq!(lasting(of_shown, names), lasting(of_sent, names));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shown_is_what_arrives() {
    let hub = TestHub::start().await;
    let batch = json!({"batch": {"max": 9, "wait": "10ms"}});
    for encoding in [json!("structured"), json!("binary"), json!("raw"), batch] {
        let receiver = Receiver::start().await;
        let mut wanted = wish("a/b", &receiver.url("/hook?k=1"));
        wanted["encoding"] = encoding.clone();
        wanted["signing"] = json!({"standard_webhooks": {}});
        wanted["sink"]["http"]["method"] = json!("PUT");
        wanted["sink"]["http"]["headers"] = json!({"x-token": "secret", "x-site": "ob-7"});
        let id = id_of(&hub.api.subscribe(&wanted).await);
        let body = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b","subject":"ä",
            "data":{"z": 1.0, "a":"ü"}}"#
            .replace("\"1\"", &format!("{:?}", encoding.to_string()));
        let headers = [("content-type", crate::support::http::STRUCTURED)];
        hub.api.send(http::Method::POST, "/v1/events", &headers, body).await.expect(201);
        let sent = receiver.wait_for(1).await.remove(0);
        let masked = json!({"x-token": "***", "x-site": "ob-7"});
        wanted["sink"]["http"]["headers"] = masked;
        let seen = preview(&hub.api, &wanted, json!({"id": id, "last": 1})).await;
        let shown = &seen["events"][0];
        assert_eq!((&shown["matches"], &shown["refusal"]), (&json!(true), &Value::Null), "{seen}");
        assert!(!seen.to_string().contains("secret"), "{seen}");
        assert_eq!(
            seen["provisional"],
            json!(["traceparent", "webhook-signature", "webhook-timestamp"])
        );
        assert_same(&shown["requests"][0], &sent, &receiver, &seen);
        let offset: u64 = sent.header("tidings-offset").parse().expect("a number");
        assert_eq!((&shown["offset"], &seen["from"]), (&json!(offset), &json!(offset)));
        hub.api.delete(&format!("/v1/subscriptions/{id}")).await.expect(204);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_or_stored_and_data_keeps_its_bytes() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["encoding"] = json!("raw");
    let event =
        r#""event":{"specversion":"1.0","id":"1","source":"/s","type":"a.b","data":[1.0, 2]}"#;
    let body = wanted.to_string().replacen('{', &format!("{{{event},"), 1);
    let headers = [("content-type", "application/json")];
    let answer = hub.api.send(http::Method::POST, PREVIEW, &headers, body).await.expect(200);
    let shown = &answer["events"][0];
    assert_eq!(shown["requests"][0]["body"], "[1.0, 2]", "{answer}");
    assert_eq!((&shown["offset"], &answer["from"]), (&Value::Null, &Value::Null));
    let binary = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "a.b",
        "data_base64": "AP8="});
    let shown = look(&hub.api, &wanted, &binary).await;
    assert_eq!(shown["requests"][0]["body_base64"], "AP8=");
    hub.assert_works("previews").await;
    assert_eq!(receiver.count(), 0);
    assert_eq!(hub.history().await.len(), 1, "only the event that proves that it works");
    let held = hub.api.get("/v1/subscriptions").await.expect(200);
    assert_eq!(held["subscriptions"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clause_that_says_no_is_told() {
    let hub = TestHub::start().await;
    let subject = event("1", "a.b", json!({"n": 5}));
    let check = async |filter: Value, pointer: &str, branches: usize| {
        let mut wanted = wish("a/b", "http://127.0.0.1:9/");
        wanted["filter"] = filter;
        let shown = look(&hub.api, &wanted, &subject).await;
        let said = &shown["refusal"];
        assert_eq!((&shown["matches"], &shown["requests"]), (&json!(false), &json!([])));
        assert_eq!((&said["by"], &said["pointer"]), (&json!("filter"), &json!(pointer)), "{said}");
        assert!(said["detail"].is_string(), "{said}");
        assert_eq!(said["branches"].as_array().map_or(0, Vec::len), branches, "{said}");
    };
    check(json!({"topic": "x/#"}), "/filter/topic", 0).await;
    let all = json!({"all": [{"topic": "a/+"}, {"exact": {"type": "a.c"}}]});
    check(all, "/filter/all/1/exact/type", 0).await;
    let any = json!({"any": [{"topic": "x"}, {"data": {"path": "n", "equals": 6}}]});
    check(any, "/filter/any", 2).await;
    check(json!({"not": {"data": {"path": "n", "in": [5]}}}), "/filter/not", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_and_grants_say_no_as_well() {
    let hub = TestHub::start().await;
    let subject = event("1", "a.b", json!({"at": "2099-01-01T00:00:00Z"}));
    let mut wanted = wish("a/b", "http://127.0.0.1:9/");
    wanted["policy"]["sample"] = json!({"rate": 0});
    let shown = look(&hub.api, &wanted, &subject).await;
    assert_eq!(shown["refusal"]["by"], "sample", "{shown}");
    assert_eq!(shown["refusal"]["pointer"], "/policy/sample");
    wanted["policy"]["sample"] = Value::Null;
    wanted["policy"]["delay_until"] = json!("{{data.at}}");
    wanted["policy"]["max_age"] = json!("1s");
    hub.api.publish(&subject).await;
    let shown = crate::support::eventually("it is too old", async || {
        let seen = preview(&hub.api, &wanted, json!({"last": 1})).await;
        let shown = seen["events"][0].clone();
        (shown["too_old"] == true).then_some(shown)
    })
    .await;
    assert_eq!(shown["delayed_until"], "2099-01-01T00:00:00Z", "{shown}");
    assert_eq!(
        (&shown["matches"], &shown["requests"][0]["method"]),
        (&json!(true), &json!("POST"))
    );
    let token = json!({"name": "t", "allow": ["manage", "subscribe:c/#"]});
    let token = hub.api.post("/v1/tokens", &token).await.expect(201);
    let other = hub.api.with_token(token["token"].as_str().expect("a token"));
    wanted["policy"] = json!({});
    let shown = look(&other, &wanted, &subject).await;
    assert_eq!((&shown["refusal"]["by"], &shown["matches"]), (&json!("grant"), &json!(false)));
    let seen = preview(&other, &wanted, json!({"last": 10})).await;
    assert_eq!(seen["events"], json!([]), "nothing that it may not receive is shown");
    let reader = json!({"name": "r", "allow": ["subscribe:#"]});
    let reader = hub.api.post("/v1/tokens", &reader).await.expect(201);
    let reader = hub.api.with_token(reader["token"].as_str().expect("a token"));
    reader.post(PREVIEW, &wanted).await.expect_problem(403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_is_shown_step_by_step() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let mut wanted = wish("a/b", &receiver.url("/sink"));
    wanted["encoding"] = json!("template");
    wanted["template"] = json!({"steps": [
        {"method": "POST", "url": receiver.url("/x/{{data.title | url}}"),
         "body": {"n": "{{data.n}}"}, "capture": ["body"]},
        {"method": "PUT", "body": "{{steps[0].response.body.id}}"},
        {"emit": {"type": "page.purged", "data": {"n": "{{data.n}}"}}},
        {"method": "PATCH", "headers": {"x-none": "{{data.none}}"}},
        {"method": "PUT", "body": "never reached"},
    ]});
    let id = id_of(&hub.api.subscribe(&wanted).await);
    let offset = hub.api.publish(&event("1", "a.b", json!({"title": "Ä b", "n": 7}))).await;
    let sent = receiver.wait_for(1).await.remove(0);
    let seen = preview(&hub.api, &wanted, json!({"id": id, "last": 10})).await;
    let events = seen["events"].as_array().expect("a list");
    let own = events.iter().find(|shown| shown["offset"] == offset).expect("it is looked at");
    let shown = own["requests"].as_array().expect("a list");
    assert_same(&shown[0], &sent, &receiver, &seen);
    assert_eq!(shown[1], json!({"needs": ["steps[0].response.body.id"]}));
    let emitted = &shown[2]["emit"];
    assert_eq!((&emitted["type"], &emitted["topic"]), (&json!("page.purged"), &Value::Null));
    assert_eq!(emitted["causationoffset"], offset.to_string(), "{emitted}");
    assert_eq!(emitted["data"], json!({"n": 7}));
    let fault = &shown[3]["fault"];
    assert_eq!(fault["pointer"], "/template/steps/3/headers/x-none", "{fault}");
    assert_eq!(fault["code"], "E-TEMPLATE-FAILED");
    assert_eq!(shown.len(), 4, "the delivery would end there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_come_first_and_a_wrong_request_is_told_where() {
    let hub = TestHub::start().await;
    for n in 0..5 {
        hub.api.publish(&event(&n.to_string(), "a.b", json!(n))).await;
    }
    let wanted = wish("a/b", "http://127.0.0.1:9/");
    let seen = preview(&hub.api, &wanted, json!({"last": 3})).await;
    let ids: Vec<_> =
        seen["events"].as_array().expect("a list").iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, ["4", "3", "2"]);
    assert_eq!(seen["complete"], true);
    let check = async |name: &str, value: Value, pointer: &str| {
        let mut asked = wish("a/b", "http://127.0.0.1:9/");
        asked["last"] = json!(1);
        asked[name] = value;
        let problem = hub.api.post(PREVIEW, &asked).await.expect_problem(400);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    };
    check("filter", json!({"all": [{"topic": "a/#/b"}]}), "/filter/all/0/topic").await;
    check("policy", json!({"timeout": "1h"}), "/policy/timeout").await;
    check("sink", json!({"http": {"url": "http://169.254.169.254/"}}), "/sink/http/url").await;
    check("last", json!(0), "/last").await;
    check("event", json!({"id": "x"}), "/last").await;
    check("surprise", json!(1), "/surprise").await;
    let problem = hub.api.post(PREVIEW, &wanted).await.expect_problem(400);
    assert_eq!(problem["errors"][0]["pointer"], "/event");
    let mut asked = wanted.clone();
    asked["event"] = json!([{"specversion": "1.0"}]);
    let problem = hub.api.post(PREVIEW, &asked).await.expect_problem(400);
    assert_eq!(problem["errors"][0]["pointer"], "/event/0/id");
}
