//! What a delivery looks like: structured, binary, raw, each true to the byte; and its signature.

use http::Method;
use serde_json::json;

use crate::support::hub::wish;
use crate::support::receiver::Request;
use crate::support::{Receiver, TestHub};

/// Posts one event and answers how it is delivered in an encoding.
async fn deliver(encoding: &str, headers: &[(&str, &str)], query: &str, body: &[u8]) -> Request {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let mut wanted = wish("#", &receiver.url("/hook?x=1"));
    wanted["encoding"] = json!(encoding);
    wanted["sink"]["http"]["method"] = json!("PUT");
    wanted["sink"]["http"]["headers"] = json!({"x-site": "ob-7"});
    hub.api.subscribe(&wanted).await;
    let path = format!("/v1/events{query}");
    hub.api.send(Method::POST, &path, headers, body.to_vec()).await.expect(201);
    let request = receiver.wait_for(1).await.remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("PUT", "/hook?x=1"));
    assert_eq!(request.header("x-site"), "ob-7");
    request
}

const CLOUDEVENT: &[(&str, &str)] = &[("content-type", "application/cloudevents+json")];
const ODD_JSON: &str = "{\"z\": 1.10,  \"a\":\"\\u00e9\", \"big\":123456789012345678901234567890}";

fn structured() -> Vec<u8> {
    let head = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b","subject":"Euro €","#;
    format!("{head}\"n\":5,\"data\":{ODD_JSON}}}").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn structured_delivery_keeps_the_bytes_of_json_data() {
    let request = deliver("structured", CLOUDEVENT, "", &structured()).await;
    assert!(request.header("content-type").starts_with("application/cloudevents+json"));
    let text = String::from_utf8(request.body.clone()).expect("UTF-8");
    assert!(text.contains(ODD_JSON), "{text}");
    let event = request.json();
    assert_eq!((&event["id"], &event["n"]), (&json!("1"), &json!(5)));
    assert_eq!(event["subject"], "Euro €");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn binary_delivery_has_data_as_body_and_attributes_as_headers() {
    let request = deliver("binary", CLOUDEVENT, "", &structured()).await;
    assert_eq!(request.body, ODD_JSON.as_bytes());
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("ce-specversion"), "1.0");
    assert_eq!(request.header("ce-id"), "1");
    assert_eq!(request.header("ce-source"), "/s");
    assert_eq!(request.header("ce-type"), "a.b");
    assert_eq!(request.header("ce-subject"), "Euro%20%E2%82%AC");
    assert_eq!(request.header("ce-n"), "5");
    assert!(!request.headers.contains_key("ce-datacontenttype"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_delivery_is_the_body_as_it_was_posted() {
    let body: Vec<u8> = (0..=255).collect();
    let headers = [("content-type", "image/x-odd; q=1")];
    let request = deliver("raw", &headers, "?topic=a/b&type=a.b", &body).await;
    assert_eq!(request.body, body);
    assert_eq!(request.header("content-type"), "image/x-odd; q=1");
    assert!(!request.headers.contains_key("ce-id"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_text_are_base64_in_structured_delivery() {
    let headers = [("content-type", "application/octet-stream")];
    let request = deliver("structured", &headers, "?topic=a/b&type=a.b", &[0, 255, 10]).await;
    assert_eq!(request.json()["data_base64"], "AP8K");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_says_what_it_is() {
    let request = deliver("structured", CLOUDEVENT, "", &structured()).await;
    assert_eq!(request.header("tidings-attempt"), "1");
    assert!(request.header("tidings-offset").parse::<u64>().is_ok());
    assert!(!request.header("tidings-subscription").is_empty());
    let id = request.header("webhook-id");
    assert!(!id.is_empty() && !id.contains('.'), "{id}");
    let trace: Vec<&str> = request.header("traceparent").split('-').collect();
    let lengths: Vec<usize> = trace.iter().map(|part| part.len()).collect();
    assert_eq!(lengths, [2, 32, 16, 2], "{trace:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_verify_with_the_reference_library() {
    let hub = TestHub::start().await;
    let receiver = Receiver::scripted(vec![crate::support::Reply::Status(503)]).await;
    let mut wanted = wish("#", &receiver.url("/"));
    wanted["signing"] = json!({"standard_webhooks": {}});
    let created = hub.api.subscribe(&wanted).await;
    let text = created.to_string();
    let start = text.find("whsec_").unwrap_or_else(|| panic!("no secret is shown: {created}"));
    let secret = text[start..].split('"').next().expect("the rest of the text");
    let path = format!("/v1/subscriptions/{}", created["id"].as_str().expect("an id"));
    let shown = hub.api.get(&path).await.text();
    assert!(!shown.contains(secret), "a secret is shown once");

    let event = crate::support::hub::event("1", "a.b", json!({"text": "Euro € 😀"}));
    hub.api.publish(&event).await;
    let requests = receiver.wait_for(2).await;
    let webhook = standardwebhooks::Webhook::new(secret).expect("a secret in the agreed form");
    for request in &requests {
        webhook.verify(&request.body, &request.headers).expect("a good signature");
    }
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    let mut changed = requests[0].body.clone();
    changed[0] = b' ';
    assert!(webhook.verify(&changed, &requests[0].headers).is_err());
}
