//! A steady rate: how long an event takes to its webhook beyond what the disk takes, and how many
//! records a delivery costs.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::latency;
use crate::support::Process;

const SYNCS: usize = 200;

pub(crate) async fn measure(place: &Path) -> anyhow::Result<()> {
    let sync = fdatasync(place)?;
    let dir = tempfile::tempdir_in(place)?;
    let mut hub = crate::hub(dir.path());
    let times = latency::at_a_steady_rate(&hub).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let records = metric(&hub, "tidings_store_records_total ").await?;
    let events = metric(&hub, "tidings_flow_events_total ").await?;
    let done = metric(&hub, "tidings_flow_deliveries_total{outcome=\"done\"} ").await?;
    hub.terminate();
    hub.ended().await;
    println!(
        "{} events/s to one webhook, {} events: beyond one fdatasync ({sync:.2} ms) p50 {:.2} ms, \
         p99 {:.2} ms; {:.3} records a delivery beside the events",
        latency::PER_SECOND,
        times.count(),
        times.percentile(50) - sync,
        times.percentile(99) - sync,
        (records - events - 1.0) / done,
    );
    Ok(())
}

/// The time of one small append and `fdatasync`, in milliseconds: the median.
fn fdatasync(place: &Path) -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile_in(place)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begin = Instant::now();
        file.write_all(&[b'x'; 600])?;
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    Ok(times[SYNCS / 2].as_secs_f64() * 1_000.0)
}

async fn metric(hub: &Process, name: &str) -> anyhow::Result<f64> {
    let text = hub.api().get("/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.context("no such metric")?.trim().parse()?)
}
