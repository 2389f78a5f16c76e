//! Webhooks a second to one fast receiver while events are stored, beside a bare loop of the same
//! client with the same bodies to the same receiver.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tidings::config::{Sources, load};
use tidings::domain::address::Guard;
use tidings::net::dial::Client;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::sink::Sink;
use crate::support::hub::wish;
use crate::{event, float, publish};

const IN_FLIGHT: usize = 64;
const TIME: Duration = Duration::from_secs(4);
const WARM_UP: Duration = Duration::from_secs(1);
const ROUNDS: usize = 3;

/// Events in one request, and most that are stored and not delivered yet.
const BATCH: u64 = 100;
const BACKLOG_MAX: usize = 2_000;

pub(crate) async fn measure(place: &Path) -> anyhow::Result<()> {
    let (mut bare, mut hub) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(by_client(place).await?);
        hub.push(by_hub(place).await?);
    }
    bare.sort_by(f64::total_cmp);
    hub.sort_by(f64::total_cmp);
    let (bare, hub) = (bare[ROUNDS / 2], hub[ROUNDS / 2]);
    println!(
        "Webhooks to one receiver, {IN_FLIGHT} in flight: {hub:.0}/s, bare client {bare:.0}/s: \
         {:.2}",
        hub / bare
    );
    Ok(())
}

async fn by_client(place: &Path) -> anyhow::Result<f64> {
    let sink = Sink::start().await?;
    let dir = tempfile::tempdir_in(place)?;
    let data_dir = Some(dir.path().to_owned());
    let config = load(&Sources { data_dir, ..Sources::default() })?.config;
    let guard = Arc::new(Guard { loopback: true, ..Guard::default() });
    let client = Client::new(&config.net, guard)?;
    let url = format!("http://{}/", sink.address);
    let mut tasks = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (client, url) = (client.clone(), url.clone());
        tasks.spawn(async move {
            let body = Bytes::from(event(7, "bench/webhooks").to_string());
            loop {
                let request = Request::post(&url)
                    .header("content-type", "application/cloudevents+json")
                    .body(Full::new(body.clone()))
                    .expect("valid");
                let answer = client.send(request, Duration::from_secs(5)).await;
                assert!(answer.is_ok_and(|answer| answer.status == 204));
            }
        });
    }
    let rate = rate(&sink).await;
    tasks.shutdown().await;
    Ok(rate)
}

async fn by_hub(place: &Path) -> anyhow::Result<f64> {
    let sink = Sink::start().await?;
    let dir = tempfile::tempdir_in(place)?;
    let mut hub = crate::hub(dir.path());
    let mut wanted = wish("bench/webhooks", &format!("http://{}/", sink.address));
    wanted["policy"]["max_in_flight"] = IN_FLIGHT.into();
    hub.api().subscribe(&wanted).await;
    let load = async {
        let mut next = 0;
        loop {
            if usize::try_from(next).is_ok_and(|next| next > sink.count() + BACKLOG_MAX) {
                sleep(Duration::from_millis(1)).await;
                continue;
            }
            publish(&hub, (next..next + BATCH).map(|id| event(id, "bench/webhooks")).collect())
                .await;
            next += BATCH;
        }
    };
    let rate = tokio::select! {
        rate = rate(&sink) => rate,
        () = load => unreachable!("it never ends"),
    };
    hub.terminate();
    hub.ended().await;
    Ok(rate)
}

async fn rate(sink: &Sink) -> f64 {
    sleep(WARM_UP).await;
    let (begin, before) = (Instant::now(), sink.count());
    sleep(TIME).await;
    float(sink.count() - before) / begin.elapsed().as_secs_f64()
}
