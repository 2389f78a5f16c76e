//! A long run at full ingest: whether resident memory stays flat.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::dialogue::{Http, Mqtt};
use crate::hub::Hub;
use crate::load;
use crate::place::Place;
use crate::report::{median, mib};

const MINUTES: u64 = 10;
const CONNECTIONS: u32 = 32;
const SAMPLE: Duration = Duration::from_secs(5);

/// Minutes since the start, and MiB resident.
type Sample = (f64, f64);

/// Runs for so many minutes and prints how memory went.
pub(crate) async fn run(minutes: Option<&str>) -> anyhow::Result<()> {
    let minutes: u64 = minutes.map_or(Ok(MINUTES), str::parse)?;
    let time = Duration::from_secs(minutes * 60);
    let place = Place::new()?;
    let mut hub = Hub::start(place.path(), &[("TIDINGS__LOG__RETENTION_BYTES", "1GiB")]);
    let (http, mqtt) = (hub.process().http, hub.process().mqtt);
    let mut loads = JoinSet::new();
    loads.spawn(load::run(http, Arc::new(Http), CONNECTIONS, time));
    loads.spawn(load::run(mqtt, Arc::new(Mqtt), CONNECTIONS, time));
    let samples = sample(&mut hub, time).await?;
    let mut rate = 0.0;
    while let Some(ended) = loads.join_next().await {
        rate += ended??.per_second;
    }
    hub.stop().await;
    println!(
        "{minutes} min, HTTP and MQTT with {CONNECTIONS} connections each: {rate:.0} events/s"
    );
    print(&samples);
    Ok(())
}

async fn sample(hub: &mut Hub, time: Duration) -> anyhow::Result<Vec<Sample>> {
    let begin = Instant::now();
    let mut ticks = tokio::time::interval(SAMPLE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut samples = Vec::new();
    while begin.elapsed() < time {
        ticks.tick().await;
        samples.push((begin.elapsed().as_secs_f64() / 60.0, mib(hub.resident()? * 1024)));
    }
    Ok(samples)
}

/// The first half is what fills caches; growth in the second one would be a leak.
fn print(samples: &[Sample]) {
    let second = &samples[samples.len() / 2..];
    let resident: Vec<f64> = second.iter().map(|(_, mib)| *mib).collect();
    let first = resident.first().copied().unwrap_or(f64::NAN);
    let most = resident.iter().copied().fold(f64::NAN, f64::max);
    println!(
        "resident memory in the second half, MiB: first {first:.1}, median {:.1}, most {most:.1}; \
         slope {:+.2} a minute",
        median(resident),
        slope(second)
    );
}

/// Least squares.
fn slope(samples: &[Sample]) -> f64 {
    let count = samples.iter().fold(0.0, |count, _| count + 1.0);
    let mean = |value: fn(&Sample) -> f64| samples.iter().map(value).sum::<f64>() / count;
    let (x, y) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let up: f64 = samples.iter().map(|sample| (sample.0 - x) * (sample.1 - y)).sum();
    let along: f64 = samples.iter().map(|sample| (sample.0 - x) * (sample.0 - x)).sum();
    up / along
}
