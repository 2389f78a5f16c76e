//! The page, health, metrics and status.

use http::Method;
use serde_json::json;

use crate::support::hub::{event, wish};
use crate::support::process::token_in;
use crate::support::sse::Stream;
use crate::support::{Answer, Api, Receiver, TestHub, in_time};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const OUR_PAGE: (&str, &str) = ("sec-fetch-site", "same-origin");

async fn post_form(api: &Api, path: &str, headers: &[(&str, &str)], form: String) -> Answer {
    api.send(Method::POST, path, &[&[FORM, OUR_PAGE], headers].concat(), form).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_over_4_kib_answers_413() {
    let hub = TestHub::start().await;
    let form = |bytes| format!("token={}", "x".repeat(bytes));
    let refused = post_form(&hub.api, "/login", &[], form(4_000)).await;
    assert_eq!(refused.status.as_u16(), 401, "{refused:?}");
    post_form(&hub.api, "/login", &[], form(4_100)).await.expect_problem(413);
    hub.assert_works("a large form").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_a_session_ends_with_it() {
    let hub = TestHub::start().await;
    let made = hub.api.post("/v1/tokens", &json!({"name": "me", "allow": ["subscribe:#"]})).await;
    let token = token_in(&made.text());
    let login = async || {
        let answer = post_form(&hub.api, "/login", &[], format!("token={token}")).await;
        let cookie = answer.header("set-cookie").expect("a session").to_owned();
        cookie.split(';').next().expect("a cookie").to_owned()
    };
    let (mine, other) = (login().await, login().await);
    let open = async |headers: &[(&str, &str)]| {
        let answer = hub.api.open(Method::GET, "/v1/stream", headers, "".into()).await;
        Stream::of(answer)
    };
    let mut ending = open(&[("cookie", &mine)]).await;
    let bearer = format!("Bearer {token}");
    let mut staying = [
        open(&[("cookie", &other)]).await,
        open(&[("cookie", &mine), ("authorization", &bearer)]).await,
    ];
    post_form(&hub.api, "/logout", &[("cookie", &mine)], String::new()).await;
    in_time("the stream ends", async { while ending.frame().await.is_some() {} }).await;
    hub.api.publish(&event("after", "a.b", json!(1))).await;
    for stream in &mut staying {
        assert_eq!(stream.event().await.value()["id"], "after");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_lists_subscriptions_and_events() {
    let hub = TestHub::start().await;
    let mut wanted = wish("doors/#", "http://10.0.0.1/hook");
    wanted["name"] = json!("<b>door \"watcher\"</b>");
    hub.api.subscribe(&wanted).await;
    hub.api.publish(&event("<i>1</i>", "doors.opened", json!({"text": "<script>x"}))).await;
    let answer = hub.api.get("/").await;
    assert_eq!(answer.status.as_u16(), 200);
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    let policy = answer.header("content-security-policy").unwrap_or_default();
    assert!(!policy.is_empty() && !policy.contains("unsafe"), "{policy:?}");
    let page = answer.text();
    assert!(page.contains("door &") && page.contains("watcher"), "{page}");
    assert!(page.contains("doors/#") && page.contains("doors/opened"), "{page}");
    assert!(!page.contains("<b>door") && !page.contains("<i>1") && !page.contains("<script>x"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_metrics_and_status_answer() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    hub.api.subscribe(&wish("a/b", &receiver.url("/"))).await;
    hub.api.publish(&event("1", "a.b", json!(1))).await;
    receiver.wait_for(1).await;
    assert_eq!(hub.api.get("/livez").await.status.as_u16(), 200);
    assert_eq!(hub.api.get("/readyz").await.status.as_u16(), 200);
    let metrics = hub.api.get("/metrics").await;
    let kind = metrics.header("content-type").unwrap_or_default().to_owned();
    assert!(kind.starts_with("application/openmetrics-text") || kind.starts_with("text/plain"));
    let text = metrics.text();
    for line in ["tidings_flow_events_total 1", "tidings_flow_subscriptions 1"] {
        assert!(text.lines().any(|found| found == line), "no {line} in {text}");
    }
    assert!(text.contains("tidings_store_commits_total"), "{text}");
    let status = hub.api.get("/v1/status").await.expect(200);
    assert!(status.is_object(), "{status}");
}
