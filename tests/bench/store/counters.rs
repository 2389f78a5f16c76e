//! What the store's writer did between two moments: records, commits, bytes, and its time.

use std::time::Instant;

use anyhow::Context;
use tidings::telemetry::Metrics;

use crate::LOAD;
use crate::cpu::{self, TICKS};
use crate::report::float;

/// Name of the writer's threads.
pub(crate) const WRITER: &str = "writer";

/// Everything at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Counters {
    at: Instant,
    records: f64,
    commits: f64,
    /// In `write` and `fdatasync`.
    commit_seconds: f64,
    /// Bytes that the writer wrote to the log.
    written: f64,
    writer_user: f64,
    writer_kernel: f64,
    /// Of the producers' thread, user and kernel.
    producers: f64,
}

/// The difference of two moments, or the sum of such differences.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Work {
    pub(crate) seconds: f64,
    pub(crate) records: f64,
    pub(crate) commits: f64,
    pub(crate) commit_seconds: f64,
    pub(crate) written: f64,
    pub(crate) writer_user: f64,
    pub(crate) writer_kernel: f64,
    pub(crate) producers: f64,
}

impl Counters {
    /// Reads them.
    pub(crate) fn read(metrics: &Metrics) -> anyhow::Result<Self> {
        let own = i32::try_from(std::process::id())?;
        let threads = cpu::threads(own)?;
        let writers = || threads.values().filter(|thread| thread.name == WRITER);
        let producers = threads.values().filter(|thread| thread.name == LOAD);
        Ok(Self {
            at: Instant::now(),
            records: float(metrics.store_records.get()),
            commits: float(metrics.store_commits.get()),
            commit_seconds: commit_seconds(metrics)?,
            written: float(metrics.store_written_bytes.get()),
            writer_user: float(writers().map(|thread| thread.user).sum()) / TICKS,
            writer_kernel: float(writers().map(|thread| thread.kernel).sum()) / TICKS,
            producers: float(producers.map(|thread| thread.user + thread.kernel).sum()) / TICKS,
        })
    }

    /// What was done since an earlier moment.
    pub(crate) fn since(&self, earlier: &Self) -> Work {
        Work {
            seconds: (self.at - earlier.at).as_secs_f64(),
            records: self.records - earlier.records,
            commits: self.commits - earlier.commits,
            commit_seconds: self.commit_seconds - earlier.commit_seconds,
            written: self.written - earlier.written,
            writer_user: self.writer_user - earlier.writer_user,
            writer_kernel: self.writer_kernel - earlier.writer_kernel,
            producers: self.producers - earlier.producers,
        }
    }
}

impl Work {
    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            seconds: self.seconds + other.seconds,
            records: self.records + other.records,
            commits: self.commits + other.commits,
            commit_seconds: self.commit_seconds + other.commit_seconds,
            written: self.written + other.written,
            writer_user: self.writer_user + other.writer_user,
            writer_kernel: self.writer_kernel + other.writer_kernel,
            producers: self.producers + other.producers,
        }
    }

    /// Records in one group commit.
    pub(crate) fn group(&self) -> f64 {
        self.records / self.commits
    }

    /// Bytes of the log for each record, the frame's share included.
    pub(crate) fn record_bytes(&self) -> f64 {
        self.written / self.records
    }

    /// Where the time went, in % of the time that passed.
    pub(crate) fn print_shares(&self) {
        let share = |seconds: f64| seconds / self.seconds * 100.0;
        println!(
            "    the writer: {:.0} % of the time in write and fdatasync ({:.0} us each); its \
             threads on the processor: user {:.0} %, kernel {:.0} %; the producers' {:.0} %",
            share(self.commit_seconds),
            self.commit_seconds / self.commits * 1e6,
            share(self.writer_user),
            share(self.writer_kernel),
            share(self.producers),
        );
    }
}

fn commit_seconds(metrics: &Metrics) -> anyhow::Result<f64> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &metrics.registry())?;
    let sum = text.lines().find_map(|line| line.strip_prefix("tidings_store_commit_seconds_sum "));
    Ok(sum.context("no such metric")?.trim().parse()?)
}
