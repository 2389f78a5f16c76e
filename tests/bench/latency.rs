//! From the moment before an event is posted to its arrival at the webhook, at a steady rate.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::support::hub::{event, wish};
use crate::support::{Process, Receiver};

/// Events posted a second.
pub(crate) const PER_SECOND: u32 = 500;

const SECONDS: u32 = 10;

/// Events at the start that warm up connections and are not counted.
const WARM_UP: u32 = 500;

/// All measured times, sorted.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// The time that so many of a hundred events did not exceed, in milliseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get(last * percent / 100).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// Posts at a fixed pace whatever the answers, so that a slow hub cannot slow its own test.
pub(crate) async fn at_a_steady_rate(hub: &Process) -> anyhow::Result<Times> {
    let receiver = Receiver::start().await;
    let api = hub.api();
    api.subscribe(&wish("bench/latency", &receiver.url("/"))).await;
    let mut pace = interval(Duration::from_secs(1) / PER_SECOND);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut posts, mut sent) = (JoinSet::new(), BTreeMap::new());
    let count = WARM_UP + PER_SECOND * SECONDS;
    for n in 0..count {
        pace.tick().await;
        let api = api.clone();
        let posted = event(&n.to_string(), "bench.latency", json!("x".repeat(400)));
        sent.insert(n.to_string(), Instant::now());
        posts.spawn(async move { api.publish(&posted).await });
        while let Some(ended) = posts.try_join_next() {
            ended?;
        }
    }
    while let Some(ended) = posts.join_next().await {
        ended?;
    }
    let requests = receiver.wait_for(usize::try_from(count)?).await;
    for n in 0..WARM_UP {
        sent.remove(&n.to_string());
    }
    let mut times = Vec::new();
    for request in requests {
        let event = request.json();
        let begin = event["id"].as_str().and_then(|id| sent.remove(id));
        times.extend(begin.map(|begin| request.at - begin));
    }
    times.sort_unstable();
    Ok(Times(times))
}
