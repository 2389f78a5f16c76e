//! The figures: durable ingest beside the raw disk, delivery latency, memory, size of the binary.
//! It prints and judges nothing; run it by `tests/bench/run`. Everything is on loopback.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark connects, measures and prints as the hub itself must not"
)]

mod disk;
mod ingest;
mod latency;
#[path = "../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests need more of it")]
mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use ingest::Rate;
use support::Process;

/// How long the hub is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(3);

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> anyhow::Result<()> {
    // On the disk of the build, not in a /tmp that may be memory.
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let single = disk::records_per_second(place, 1)?;
    println!("Disk, write of {} bytes and fdatasync: {single:.0}/s", disk::RECORD);

    let http = on_fresh_hub(place, ingest::by_http).await?;
    print_rate("HTTP, batch of 1, 64 connections", &http, place, single)?;
    let mqtt = on_fresh_hub(place, ingest::by_mqtt).await?;
    print_rate("MQTT QoS 1, 50 publishers", &mqtt, place, single)?;

    let latency = on_fresh_hub(place, latency::at_a_steady_rate).await?;
    println!(
        "Publish to webhook at {}/s: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms ({} events)",
        latency::PER_SECOND,
        latency.percentile(50),
        latency.percentile(99),
        latency.percentile(100),
        latency.count(),
    );
    println!("Idle memory (VmRSS), empty store: {:.1} MiB", idle_memory(place).await?);
    println!("Stripped binary: {:.1} MiB", stripped_size(place)?);
    Ok(())
}

/// Runs a measurement against a hub with an empty store.
async fn on_fresh_hub<T>(
    place: &Path,
    measurement: impl AsyncFnOnce(&Process) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let dir = tempfile::tempdir_in(place)?;
    let mut hub = Process::dev(dir.path());
    let result = measurement(&hub).await;
    hub.terminate();
    hub.ended().await;
    result
}

/// Prints a rate beside what the raw disk does with groups of the same size.
fn print_rate(what: &str, rate: &Rate, place: &Path, single: f64) -> anyhow::Result<()> {
    let raw = disk::records_per_second(place, rate.group_size())?;
    println!(
        "{what}: {:.0} events/s, {:.1} records a commit; {:.2} of the raw disk at that group size \
         ({raw:.0}/s), {:.1} times one by one",
        rate.per_second,
        rate.group,
        rate.per_second / raw,
        rate.per_second / single,
    );
    Ok(())
}

async fn idle_memory(place: &Path) -> anyhow::Result<f64> {
    let dir = tempfile::tempdir_in(place)?;
    let mut hub = Process::dev(dir.path());
    tokio::time::sleep(IDLE).await;
    let path = format!("/proc/{}/status", hub.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    hub.terminate();
    hub.ended().await;
    Ok(kib / 1024.0)
}

fn stripped_size(place: &Path) -> anyhow::Result<f64> {
    let copy = tempfile::NamedTempFile::new_in(place)?;
    std::fs::copy(env!("CARGO_BIN_EXE_tidings"), copy.path())?;
    let stripped = Command::new("strip").arg(copy.path()).status().context("strip (binutils)")?;
    anyhow::ensure!(stripped.success(), "strip failed");
    let bytes = std::fs::metadata(copy.path())?.len();
    Ok(f64::from(u32::try_from(bytes / 1024)?) / 1024.0)
}
