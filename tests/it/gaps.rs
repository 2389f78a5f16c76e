//! A log whose oldest files are gone: whoever comes to the hole is told, and everything goes on.

use std::path::{Path, PathBuf};

use http::Method;
use serde_json::{Value, json};

use crate::support::hub::{event, id_of, items, wish};
use crate::support::sse::Stream;
use crate::support::{Receiver, Reply, TestHub, eventually};

/// Segments so small that a few events fill one.
pub(crate) const SMALL: [(&str, &str); 2] =
    [("log.segment_size", "4KiB"), ("log.tail_cache", "4KiB")];

async fn publish(hub: &TestHub, range: std::ops::Range<u32>) {
    for number in range {
        hub.api.publish(&event(&number.to_string(), "a.b", json!("x".repeat(600)))).await;
    }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("log")).expect("a log");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "seg")).collect();
    paths.sort();
    paths
}

/// Stops the hub, removes the oldest files of its log as retention would, and starts it again. The
/// oldest offset that there is now.
pub(crate) async fn lose_the_oldest(hub: &mut TestHub) -> u64 {
    hub.stop().await;
    let segments = segments(hub.dir());
    let (gone, left) = segments.split_at(segments.len() / 2);
    assert!(!gone.is_empty() && !left.is_empty(), "{segments:?}");
    gone.iter().for_each(|path| std::fs::remove_file(path).expect("removed"));
    hub.start_again().await;
    let status = hub.api.get("/v1/status").await.expect(200);
    status["log"]["oldest_offset"].as_u64().expect("an offset")
}

async fn change(hub: &TestHub, id: &str, change: &str) {
    hub.api.post(&format!("/v1/subscriptions/{id}/{change}"), &json!({})).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_the_log_overtook_shows_its_gap_and_goes_on() {
    let mut hub = TestHub::with(&[&SMALL[..], &[("delivery.lane_queue_max", "2")]].concat()).await;
    let receiver = Receiver::start().await;
    let id = id_of(&hub.api.subscribe(&wish("a/#", &receiver.url("/"))).await);
    let live = id_of(&hub.api.subscribe(&wish("b/#", &receiver.url("/live"))).await);
    change(&hub, &id, "pause").await;
    publish(&hub, 0..40).await;
    let oldest = lose_the_oldest(&mut hub).await;
    change(&hub, &id, "resume").await;
    let path = format!("/v1/subscriptions/{id}");
    let shown = eventually("the gap is shown", async || {
        let shown = hub.api.get(&path).await.expect(200);
        (!shown["gap"].is_null()).then_some(shown)
    })
    .await;
    let gap = &shown["gap"];
    assert_eq!(gap["to"], oldest);
    let from = gap["from"].as_u64().expect("an offset");
    assert!(from < oldest && gap["total"] == oldest - from && gap["at"].is_string(), "{gap}");
    let told = eventually("the gap is told", async || {
        let page = hub.api.get("/v1/events?topic=tidings/subscription/gap").await.expect(200);
        items(&page["events"]).first().cloned()
    })
    .await;
    assert_eq!((&told["data"]["id"], &told["data"]["from"]), (&json!(id), &json!(from)));
    assert_eq!(told["data"]["to"], oldest);
    let last = eventually("the rest arrives", async || {
        receiver.requests().iter().find(|request| request.json()["id"] == "39").cloned()
    })
    .await;
    assert_eq!(last.json()["id"], "39");
    let metrics = hub.api.get("/metrics").await.text();
    let line = format!("tidings_flow_gap_offsets_total {}", oldest - from);
    assert!(metrics.contains(&line), "{metrics}");
    let page = hub.api.get("/").await.text();
    assert!(page.contains(&format!("gap: {} missed", oldest - from)), "{page}");
    let live = hub.api.get(&format!("/v1/subscriptions/{live}")).await.expect(200);
    assert_eq!(live["gap"], Value::Null, "it had nothing to do there");
    hub.restart().await;
    assert_eq!(&hub.api.get(&path).await.expect(200)["gap"], gap, "after a restart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_whose_event_is_gone_becomes_a_dead_letter() {
    let mut hub = TestHub::with(&SMALL).await;
    let receiver = Receiver::start().await;
    receiver.always(Reply::Status(500));
    let mut wanted = wish("a/#", &receiver.url("/"));
    wanted["policy"] = json!({"retry": ["3s"], "on_exhausted": "drop"});
    let id = id_of(&hub.api.subscribe(&wanted).await);
    publish(&hub, 0..1).await;
    receiver.wait_for(1).await;
    eventually("the retry is written", async || {
        let shown = hub.api.get(&format!("/v1/subscriptions/{id}")).await.expect(200);
        (shown["status"]["retrying"] == 1).then_some(())
    })
    .await;
    change(&hub, &id, "pause").await;
    publish(&hub, 1..40).await;
    lose_the_oldest(&mut hub).await;
    receiver.always(Reply::Status(204));
    change(&hub, &id, "resume").await;
    let letter = eventually("a dead letter", async || {
        let letters = items(&hub.api.get("/v1/dead-letters").await.expect(200)["dead_letters"]);
        letters.into_iter().find(|letter| letter["code"] == "E-EVENT-GONE")
    })
    .await;
    assert_eq!(letter["attempts"].as_array().map(Vec::len), Some(1), "{letter}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_what_is_gone_are_told_where_it_goes_on() {
    let mut hub = TestHub::with(&SMALL).await;
    publish(&hub, 0..40).await;
    let oldest = lose_the_oldest(&mut hub).await;
    let mut stream = Stream::open(&hub.api, "/v1/stream", Some("1")).await;
    let gap = eventually("the gap's block", async || {
        let frame = stream.frame().await.expect("the stream stays open");
        (frame.event.as_deref() == Some("gap")).then_some(frame)
    })
    .await;
    assert_eq!(gap.value(), json!({"from": 2, "to": oldest}));
    assert_eq!(gap.id, Some((oldest - 1).to_string()));
    let page = hub.api.get("/v1/events?from=2&limit=3").await.expect(200);
    assert_eq!(page["gaps"], json!([{"from": 2, "to": oldest}]), "{page}");
    assert_eq!(items(&page["events"]).len(), 3);
    let page = hub.api.get("/v1/events?limit=3").await.expect(200);
    assert_eq!(page["gaps"], json!([]), "the earliest is the oldest there is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_is_kept_within_what_the_operator_allows() {
    let hub = TestHub::with(&[("subscriptions.hold_max", "1MiB")]).await;
    let mut wanted = wish("a/#", "http://10.0.0.1/hook");
    wanted["policy"]["hold"] = json!("2MiB");
    let problem = hub.api.post("/v1/subscriptions", &wanted).await.expect_problem(400);
    assert_eq!(problem["errors"][0]["pointer"], "/policy/hold", "{problem}");
    wanted["policy"]["hold"] = json!(1 << 20);
    let made = hub.api.subscribe(&wanted).await;
    assert_eq!(made["policy"]["hold"], "1MiB");
    let path = format!("/v1/subscriptions/{}", id_of(&made));
    let headers = [("content-type", "application/merge-patch+json")];
    let patch = json!({"policy": {"hold": null}}).to_string();
    let changed = hub.api.send(Method::PATCH, &path, &headers, patch).await.expect(200);
    assert_eq!(changed["policy"]["hold"], Value::Null);
}
