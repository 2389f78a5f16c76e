//! Bad input by HTTP: each piece gets the contract's error, and the hub goes on.

use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::http::STRUCTURED;
use crate::support::hub::{event, wish};
use crate::support::{Api, TestHub, in_time};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_event_is_refused_with_the_field_named() {
    let hub = TestHub::start().await;
    let long = "x".repeat(1025);
    let long =
        format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","topic":"{long}"}}"#);
    let table = [
        ("", ""),
        ("nonsense", ""),
        ("[]", ""),
        ("\u{0}\u{1}", ""),
        (r#"{"specversion":"1.0""#, ""),
        (r#"{"id":"1","source":"s","type":"t"}"#, "/specversion"),
        (r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#, "/specversion"),
        (r#"{"specversion":"1.0","source":"s","type":"t"}"#, "/id"),
        (r#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#, "/id"),
        (r#"{"specversion":"1.0","id":1,"source":"s","type":"t"}"#, "/id"),
        (r#"{"specversion":"1.0","id":"1","type":"t"}"#, "/source"),
        (r#"{"specversion":"1.0","id":"1","source":"s"}"#, "/type"),
        (r#"{"specversion":"1.0","id":"1","source":"s","type":"t","Bad":"x"}"#, "/Bad"),
        (r#"{"specversion":"1.0","id":"1","source":"s","type":"t","x":{}}"#, "/x"),
        (r#"{"specversion":"1.0","id":"1","source":"s","type":"t","time":"now"}"#, "/time"),
        (r#"{"specversion":"1.0","id":"1","source":"s","type":"t","topic":"a/#"}"#, "/topic"),
        (r#"{"specversion":"1.0","id":"1","source":"a b","type":"t"}"#, "/source"),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","dataschema":"x"}"#,
            "/dataschema",
        ),
        (r#"{"specversion":"1.0","id":"1","source":"s","type":"t","topic":"$SYS/x"}"#, "/topic"),
        (r#"{"specversion":"1.0","id":"1","source":"s","type":"t","topic":""}"#, "/topic"),
        (long.as_str(), "/topic"),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":1,"data_base64":""}"#,
            "/data_base64",
        ),
    ];
    for (body, pointer) in table {
        let headers = [("content-type", STRUCTURED)];
        let answer = hub.api.send(Method::POST, "/v1/events", &headers, body.to_owned()).await;
        let problem = answer.expect_problem(400);
        if !pointer.is_empty() {
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
            assert!(problem["errors"][0]["detail"].is_string(), "{body}: {problem}");
        }
    }
    assert!(hub.history().await.is_empty());
    hub.assert_works("malformed events").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_binary_event_is_refused() {
    let hub = TestHub::start().await;
    let good = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "a.b")];
    for bad in [
        ("ce-id", ""),
        ("ce-specversion", "2.0"),
        ("ce-subject", "%C0%A0"),
        ("ce-time", "yesterday"),
        ("ce-topic", "a/%2B"),
        ("ce-data", "x"),
        ("ce-type", "$SYS.x"),
    ] {
        let mut headers: Vec<_> = good.into_iter().filter(|(name, _)| *name != bad.0).collect();
        headers.push(bad);
        let answer = hub.api.send(Method::POST, "/v1/events", &headers, "x").await;
        answer.expect_problem(400);
    }
    hub.assert_works("malformed binary events").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_the_limit_answers_413() {
    let keys = [("http.body_max", "64KiB"), ("events.size_max", "16KiB")];
    let hub = TestHub::with(&keys).await;
    let body = event("big", "a.b", json!("x".repeat(100_000)));
    hub.api.post_event(&body).await.expect_problem(413);
    let body = event("rather-big", "a.b", json!("x".repeat(20_000)));
    hub.api.post_event(&body).await.expect_problem(413);
    let wish = json!({"name": "x".repeat(100_000)});
    hub.api.post("/v1/subscriptions", &wish).await.expect_problem(413);
    assert!(hub.history().await.is_empty());
    hub.assert_works("large bodies").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_media_type_answers_415() {
    let hub = TestHub::start().await;
    let headers = [("content-type", "application/cloudevents+avro")];
    let answer = hub.api.send(Method::POST, "/v1/events", &headers, "x").await;
    answer.expect_problem(415);
    let headers = [("content-type", "text/plain")];
    let answer = hub.api.send(Method::POST, "/v1/subscriptions", &headers, "{}").await;
    answer.expect_problem(415);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_topic_in_the_query_is_refused() {
    let hub = TestHub::start().await;
    let headers = [("content-type", "text/plain")];
    for topic in ["", "%24SYS%2Fx", "a%2F%23", "a%2F%2B", "a%00b", &"x".repeat(1025)] {
        let path = format!("/v1/events?topic={topic}&type=t");
        hub.api.send(Method::POST, &path, &headers, "x").await.expect_problem(400);
    }
    let answer = hub.api.send(Method::POST, "/v1/events?topic=a&typ=t", &headers, "x").await;
    answer.expect_problem(400);
    assert!(hub.history().await.is_empty());
    hub.assert_works("invalid topics").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_field_is_refused_with_its_pointer() {
    let hub = TestHub::start().await;
    let good = wish("a/#", "http://10.0.0.1/");
    let check = async |pointer: &str, change: fn(&mut serde_json::Value)| {
        let mut wish = good.clone();
        change(&mut wish);
        let answer = hub.api.post("/v1/subscriptions", &wish).await;
        let problem = answer.expect_problem(400);
        let found = problem["errors"][0]["pointer"].as_str().unwrap_or_default();
        assert!(found.starts_with(pointer), "{pointer}: {problem}");
    };
    check("/lease", |wish| wish["lease"] = json!(1)).await;
    check("/policy", |wish| wish["policy"]["retries"] = json!([])).await;
    check("/sink", |wish| wish["sink"]["http"]["uri"] = json!("x")).await;
    check("/filter", |wish| wish["filter"] = json!({"topik": "a"})).await;
    check("/filter", |wish| wish["filter"] = json!({"topic": "a/#/b"})).await;
    check("/filter", |wish| wish["filter"] = json!({"all": []})).await;
    check("/filter", |wish| {
        let long: Vec<_> = (0..70).map(|_| json!({"topic": "x".repeat(1_000)})).collect();
        wish["filter"] = json!({"any": long});
    })
    .await;
    check("/sink", |wish| wish["sink"]["http"]["url"] = json!("ftp://x/")).await;
    check("/policy/timeout", |wish| wish["policy"]["timeout"] = json!("soon")).await;
    check("/encoding", |wish| wish["encoding"] = json!("xml")).await;
    let listed = hub.api.get("/v1/subscriptions").await.expect(200);
    assert!(crate::support::hub::items(&listed).is_empty(), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_paths_and_methods_are_problems_too() {
    let hub = TestHub::start().await;
    hub.api.get("/v1/nothing").await.expect_problem(404);
    hub.api.get("/v1/subscriptions/nothing").await.expect_problem(404);
    hub.api.delete("/v1/events").await.expect_problem(405);
    hub.api.get("/v1/events?limit=many").await.expect_problem(400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_garbage_tcp_stream_on_the_http_port_is_cut_off() {
    let mut hub = TestHub::with(&[("http.header_timeout", "1s")]).await;
    let streams: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00\xff\x00\xff\x00\xff\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: a\r\nx: ",
        b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00",
    ];
    for bytes in streams {
        let mut socket = TcpStream::connect(hub.http()).await.expect("a connection");
        socket.write_all(bytes).await.expect("sent");
        let mut answer = Vec::new();
        // An answer with a 4xx before the end is as good as a reset; staying open is not.
        let _end = in_time("the hub cuts it off", socket.read_to_end(&mut answer)).await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
        // A connection of its own: the hub may be closing the one of the last time, idle for a
        // second by now, at this very moment.
        hub.api = Api::new(hub.http());
        hub.assert_works("garbage").await;
    }
}
