//! How long a start takes, from the start of the process until `/readyz` says 200: with nothing in
//! the store and with much, after a clean stop, `kill -9` and a power cut.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::filled;
use crate::hub::Hub;
use crate::place::{self, Place};
use crate::report::{Row, median, mib, millis};

const ROUNDS: usize = 3;

/// How often readiness is asked for.
const POLL: Duration = Duration::from_millis(2);

/// By then the tables are in their engine.
const SETTLED: Duration = Duration::from_secs(15);

/// What happens to a hub before the start that is measured.
#[derive(Debug, Clone, Copy)]
enum Before {
    Clean,
    CleanCold,
    Kill,
    PowerCut,
}

const ALL: [(Before, &str); 4] = [
    (Before::Clean, "after a clean stop"),
    (Before::CleanCold, "after a clean stop, nothing cached"),
    (Before::Kill, "after kill -9"),
    (Before::PowerCut, "after a power cut, nothing cached"),
];

/// Prints the section.
pub(crate) async fn measure(place: &Place) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let dir = place.fresh()?;
        let (hub, time) = start(dir.path()).await;
        times.push(time);
        hub.stop().await;
    }
    print("start, empty store".to_owned(), &times, "<= 300 ms");
    let dir = place.fresh()?;
    let begin = Instant::now();
    filled::fill(dir.path(), filled::EVENTS, filled::SUBSCRIPTIONS).await?;
    println!(
        "    {} events and {} subscriptions stored in {:.1} s",
        filled::EVENTS,
        filled::SUBSCRIPTIONS,
        begin.elapsed().as_secs_f64()
    );
    for (before, name) in ALL {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            make(before, dir.path()).await?;
            let (hub, time) = start(dir.path()).await;
            times.push(time);
            hub.stop().await;
        }
        print(format!("start, filled, {name}"), &times, "<= 2000 ms");
    }
    memory(dir.path()).await
}

/// Memory while the tables' engine is filled behind a running hub, and later.
async fn memory(dir: &Path) -> anyhow::Result<()> {
    make(Before::PowerCut, dir).await?;
    let (mut hub, _time) = start(dir).await;
    tokio::time::sleep(SETTLED).await;
    let measured = format!(
        "{:.0} MiB, before at most {:.0}",
        mib(hub.resident()? * 1024),
        mib(hub.peak()? * 1024)
    );
    let what = format!("resident memory {} s after a power cut", SETTLED.as_secs());
    Row { what, measured, ..Row::default() }.print();
    hub.stop().await;
    Ok(())
}

/// What is there was stopped cleanly.
async fn make(before: Before, dir: &Path) -> anyhow::Result<()> {
    match before {
        Before::Clean => {}
        Before::CleanCold => place::make_cold(dir)?,
        Before::Kill => start(dir).await.0.kill(),
        Before::PowerCut => {
            start(dir).await.0.kill();
            std::fs::write(dir.join("running"), "another boot")?;
            place::make_cold(dir)?;
        }
    }
    Ok(())
}

/// Starts a hub and waits until it is ready.
async fn start(dir: &Path) -> (Hub, Duration) {
    let begin = Instant::now();
    let hub = Hub::start(dir, &[]);
    let api = hub.process().api();
    while api.get("/readyz").await.status != 200 {
        tokio::time::sleep(POLL).await;
    }
    (hub, begin.elapsed())
}

fn print(what: String, times: &[Duration], reach: &'static str) {
    let times: Vec<f64> = times.iter().map(|time| millis(*time)).collect();
    let each: Vec<String> = times.iter().map(|time| format!("{time:.0}")).collect();
    let measured = format!("{:.0} ms ({})", median(times), each.join(", "));
    Row { what, measured, reach, ..Row::default() }.print();
}
