//! Event streams: live, resumed, filtered, kept alive.

use serde_json::json;

use crate::support::TestHub;
use crate::support::hub::event;
use crate::support::sse::Stream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_begins_with_a_place_and_goes_on_with_live_events() {
    let hub = TestHub::start().await;
    hub.api.publish(&event("before", "a.b", json!(0))).await;
    let mut stream = Stream::open(&hub.api, "/v1/stream", None).await;
    let first = stream.frame().await.expect("a frame");
    assert!(first.data.is_none() && first.id.is_some(), "{first:?}");
    assert!(first.retry.as_ref().is_some_and(|retry| retry.parse::<u32>().is_ok()), "{first:?}");
    let data = json!({"text": "two\nlines"});
    let offset = hub.api.publish(&event("live", "a.b", data.clone())).await;
    let frame = stream.event().await;
    assert_eq!(frame.id, Some(offset.to_string()));
    assert_eq!((&frame.value()["id"], &frame.value()["data"]), (&json!("live"), &data));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_data_with_line_breaks_stays_on_one_line() {
    let hub = TestHub::start().await;
    let mut stream = Stream::open(&hub.api, "/v1/stream", None).await;
    stream.frame().await.expect("the first frame");
    let body = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"a\",\r\n\
                \"data\":{\n\"a\":\r1}}";
    let headers = [("content-type", "application/cloudevents+json")];
    hub.api.send(http::Method::POST, "/v1/events", &headers, body).await.expect(201);
    assert_eq!(stream.event().await.value()["data"], json!({"a": 1}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_stream_gets_a_comment_now_and_then() {
    let hub = TestHub::with(&[("http.stream_heartbeat", "100ms")]).await;
    let mut stream = Stream::open(&hub.api, "/v1/stream", None).await;
    let mut beats = 0;
    while beats < 3 {
        beats += stream.frame().await.expect("the stream stays open").comments;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_carries_only_what_its_filter_lets_through() {
    let hub = TestHub::start().await;
    let mut by_topic = Stream::open(&hub.api, "/v1/stream?topic=lamps/%2B", None).await;
    let mut by_type = Stream::open(&hub.api, "/v1/stream?type=lamps.on&from=earliest", None).await;
    by_topic.frame().await.expect("the first frame");
    for (id, kind) in [("1", "doors.open"), ("2", "lamps.off"), ("3", "lamps.on")] {
        hub.api.publish(&event(id, kind, json!(null))).await;
    }
    assert_eq!(by_topic.event().await.value()["id"], "2");
    assert_eq!(by_topic.event().await.value()["id"], "3");
    assert_eq!(by_type.event().await.value()["id"], "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn last_event_id_beats_from_and_both_resume_after_a_restart() {
    let mut hub = TestHub::start().await;
    let mut offsets = Vec::new();
    for n in 0..5 {
        offsets.push(hub.api.publish(&event(&n.to_string(), "a.b", json!(n))).await);
    }
    hub.restart().await;
    let path = format!("/v1/stream?from={}", offsets[1]);
    let mut stream = Stream::open(&hub.api, &path, None).await;
    assert_eq!(stream.event().await.value()["id"], "1");
    let last = offsets[3].to_string();
    let mut stream = Stream::open(&hub.api, "/v1/stream?from=earliest", Some(&last)).await;
    assert_eq!(stream.event().await.value()["id"], "4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_event_id_beyond_the_log_is_a_gap_and_goes_on_live() {
    let hub = TestHub::start().await;
    let last = hub.api.publish(&event("old", "a.b", json!(0))).await;
    for path in ["/v1/stream", "/v1/stream?lastEventId=1000"] {
        let header = Some("1000").filter(|_| !path.contains('?'));
        let mut stream = Stream::open(&hub.api, path, header).await;
        let gap = stream.event().await;
        assert_eq!(gap.event.as_deref(), Some("gap"), "{gap:?}");
        let next = hub.api.publish(&event(path, "a.b", json!(1))).await;
        assert_eq!(gap.value(), json!({"from": 1001, "to": next}));
        assert_eq!(gap.id, Some((next - 1).to_string()));
        assert_eq!(stream.event().await.id, Some(next.to_string()));
    }
    let bad = [("last-event-id", "x")];
    let answer = hub.api.send(http::Method::GET, "/v1/stream", &bad, "").await;
    answer.expect_problem(400);
    let path = format!("/v1/stream?from={}", last + 1_000);
    hub.api.get(&path).await.expect_problem(400);
}

const EVENTS: usize = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_resumes_from_last_event_id_without_loss_or_double() {
    let hub = TestHub::start().await;
    let api = hub.api.clone();
    let publisher = tokio::spawn(async move {
        for n in 0..EVENTS {
            api.publish(&event(&n.to_string(), "river.drop", json!(n))).await;
            // Noise that the filter keeps out, so that offsets have holes.
            api.publish(&event(&format!("x{n}"), "noise", json!(n))).await;
        }
    });
    let (mut seen, mut last) = (Vec::new(), None::<String>);
    let mut connections = 0;
    while seen.len() < EVENTS {
        let path = "/v1/stream?topic=river/%23&from=earliest";
        let mut stream = Stream::open(&hub.api, path, last.as_deref()).await;
        connections += 1;
        // Streams of 1 to 13 events; now and then the connection goes before any came.
        for _ in 0..connections * 7 % 14 {
            if seen.len() == EVENTS {
                break;
            }
            let frame = stream.event().await;
            seen.push(frame.value()["data"].clone());
            last = frame.id;
        }
    }
    assert_eq!(seen, (0..EVENTS).map(|n| json!(n)).collect::<Vec<_>>());
    assert!(connections > 20, "{connections} connections");
    publisher.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_over_the_limit_are_refused() {
    let hub = TestHub::with(&[("http.streams_max", "1")]).await;
    let _open = Stream::open(&hub.api, "/v1/stream", None).await;
    let headers = [("accept", "text/event-stream")];
    let answer = hub.api.open(http::Method::GET, "/v1/stream", &headers, "".into()).await;
    // Browsers give up for good on 503: the stream ends at once and says when to come back.
    assert_eq!(answer.status().as_u16(), 200, "{answer:?}");
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.expect("ends").to_bytes();
    assert_eq!(std::str::from_utf8(&body).expect("text").trim(), "retry: 30000");
    hub.assert_works("too many streams").await;
}
