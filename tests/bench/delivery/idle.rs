//! What a subscription costs that has nothing to do.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::Process;
use crate::support::hub::wish;

const SUBSCRIPTIONS: u32 = 100_000;
const CLIENTS: usize = 64;

/// How long the hub is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(5);

pub(crate) async fn measure(place: &Path) -> anyhow::Result<()> {
    let dir = tempfile::tempdir_in(place)?;
    let mut hub = crate::hub(dir.path());
    sleep(IDLE).await;
    let empty = resident(&mut hub)?;
    let (next, api) = (Arc::new(AtomicU32::new(0)), hub.api());
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (next, api) = (next.clone(), api.clone());
        clients.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= SUBSCRIPTIONS {
                    return;
                }
                let topic = format!("site/{}/{number}", number % 100);
                api.subscribe(&wish(&topic, "http://10.0.0.1/hook")).await;
            }
        });
    }
    clients.join_all().await;
    sleep(IDLE).await;
    let full = resident(&mut hub)?;
    hub.terminate();
    hub.ended().await;
    // As it is after a start: what making them left behind is gone.
    let mut hub = crate::hub(dir.path());
    sleep(IDLE).await;
    let again = resident(&mut hub)?;
    hub.terminate();
    hub.ended().await;
    let each = |all: f64| (all - empty) * 1024.0 / f64::from(SUBSCRIPTIONS);
    println!(
        "{SUBSCRIPTIONS} idle subscriptions: {:.2} KiB each after they were made, {:.2} KiB after \
         a start ({:.0} and {:.0} MiB resident, {empty:.0} MiB empty)",
        each(full),
        each(again),
        full,
        again,
    );
    Ok(())
}

/// Resident memory in MiB.
fn resident(hub: &mut Process) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", hub.pid().as_raw_nonzero()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
