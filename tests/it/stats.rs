//! What a subscription shows of itself: how far it is behind, and how long things take.

use std::time::Duration;

use serde_json::json;

use crate::support::hub::{event, id_of, wish};
use crate::support::{Receiver, Reply, TestHub, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_shows_how_far_it_is_behind_and_how_long_things_take() {
    let hub = TestHub::start().await;
    let receiver = Receiver::answering(|count, _| match count {
        0 => Reply::After(Duration::from_secs(2), 200),
        _ => Reply::Status(200),
    })
    .await;
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["policy"]["ordering"] = json!("strict");
    wanted["policy"]["timeout"] = json!("10s");
    let id = id_of(&hub.api.subscribe(&wanted).await);
    let path = format!("/v1/subscriptions/{id}");
    assert_eq!(hub.api.get(&path).await.expect(200)["status"]["attempt_ms"], json!(null));
    for n in 0..5 {
        hub.api.publish(&event(&n.to_string(), "a.b", json!(n))).await;
    }
    let status = eventually("it is a second behind", async || {
        let status = hub.api.get(&path).await.expect(200)["status"].clone();
        (status["lag_seconds"].as_u64() >= Some(1)).then_some(status)
    })
    .await;
    assert_eq!(status["pending"], 5, "{status}");
    assert!(status["lag"].as_u64() >= Some(5), "{status}");
    let line = format!("tidings_flow_subscription_pending{{subscription=\"{id}\"}} 5");
    eventually("metrics name it", async || {
        let metrics = hub.api.get("/metrics").await.text();
        assert!(metrics.trim_end().ends_with("# EOF"), "{metrics}");
        metrics.lines().any(|held| held == line).then_some(())
    })
    .await;
    receiver.wait_for(5).await;
    let status = eventually("all is done", async || {
        let status = hub.api.get(&path).await.expect(200)["status"].clone();
        (status["delivered"] == 5).then_some(status)
    })
    .await;
    assert_eq!(status["lag_seconds"], 0, "{status}");
    let of = |what: &str, quantile: &str| status[what][quantile].as_f64().expect("a number");
    assert!(of("attempt_ms", "p50") < 1_000.0 && of("attempt_ms", "p99") >= 2_000.0, "{status}");
    assert!(of("delay_ms", "p50") >= 1_000.0, "the others waited for the first: {status}");
    eventually("metrics forget it", async || {
        let metrics = hub.api.get("/metrics").await.text();
        (metrics.contains("tidings_flow_behind 0") && !metrics.contains(&id)).then_some(())
    })
    .await;
}
