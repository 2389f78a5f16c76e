//! The release binary with a store of its own, and what it tells about itself.

use std::path::Path;

use anyhow::Context;

use crate::support::Process;

/// A hub on a data directory.
pub(crate) struct Hub {
    process: Process,
}

/// Records and group commits so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Commits {
    pub(crate) records: f64,
    pub(crate) commits: f64,
}

impl Commits {
    /// Records in one commit since an earlier moment.
    pub(crate) fn group_since(self, earlier: Self) -> f64 {
        (self.records - earlier.records) / (self.commits - earlier.commits).max(1.0)
    }
}

impl Hub {
    /// Starts one and waits until it prints where it listens.
    pub(crate) fn start(dir: &Path, environment: &[(&str, &str)]) -> Self {
        // Its log lines would stand between the table's.
        let environment = [environment, &[("TIDINGS__TELEMETRY__LOG_LEVEL", "error")]].concat();
        Self { process: Process::start(dir, &["serve", "--dev"], &environment) }
    }

    /// The running process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Its process id.
    pub(crate) fn pid(&mut self) -> i32 {
        self.process.pid().as_raw_nonzero().get()
    }

    /// Its resident memory in KiB.
    pub(crate) fn resident(&mut self) -> anyhow::Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most that its resident memory was, in KiB.
    pub(crate) fn peak(&mut self) -> anyhow::Result<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&mut self, name: &str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.context("no such line")?.trim().trim_end_matches(" kB").parse()?)
    }

    /// What `/metrics` says of the log.
    pub(crate) async fn commits(&self) -> anyhow::Result<Commits> {
        let text = self.process.api().get("/metrics").await.text();
        let value = |name: &str| -> anyhow::Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            Ok(line.context("no such metric")?.trim().parse()?)
        };
        let records = value("tidings_store_records_total ")?;
        Ok(Commits { records, commits: value("tidings_store_commits_total ")? })
    }

    /// Stops it as a service manager does.
    pub(crate) async fn stop(mut self) {
        self.process.terminate();
        self.process.ended().await;
    }

    /// SIGKILL.
    pub(crate) fn kill(self) {
        self.process.kill();
    }
}
