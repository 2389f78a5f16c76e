//! The storage layer alone, in this process: the store, its threads, and producers that each wait
//! for their answer. The only place that knows how a store is opened and run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use tidings::config::{self, Sources};
use tidings::domain::command::{Command, Reply};
use tidings::store::{self, Lock, Reader, Submit};
use tidings::telemetry::Metrics;
use tokio::task::JoinSet;

use crate::event::Source;
use crate::report::float;

/// A store and its threads.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) reader: Reader,
    pub(crate) submit: Submit,
    metrics: Arc<Metrics>,
    writer: JoinHandle<Result<(), store::Error>>,
    _lock: Lock,
}

/// What a load of producers led to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Events acknowledged.
    pub(crate) events: u64,
    /// In how many seconds.
    pub(crate) seconds: f64,
    /// Records in one group commit, on average.
    pub(crate) group: f64,
    /// Bytes of the log for each record, the frame's share included.
    pub(crate) record_bytes: f64,
}

impl Load {
    /// Acknowledged events a second.
    pub(crate) fn per_second(&self) -> f64 {
        float(self.events) / self.seconds
    }

    /// Bytes of one group.
    pub(crate) fn group_bytes(&self) -> usize {
        let bytes = self.group * self.record_bytes;
        // Rounded by comparison: there is no cast from a float without `as`.
        (1..=1 << 21)
            .find(|size| u32::try_from(*size).is_ok_and(|size| f64::from(size) >= bytes))
            .unwrap_or(1 << 21)
    }
}

/// Counters at one moment.
struct Counters {
    records: u64,
    commits: u64,
    log_bytes: u64,
}

impl Layer {
    /// Opens a store with some keys of its configuration set.
    pub(crate) fn open(dir: &Path, environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let sources = Sources {
            data_dir: Some(dir.to_owned()),
            environment: environment.iter().map(own).collect(),
            ..Sources::default()
        };
        let config = config::load(&sources)?.config;
        let metrics = Arc::new(Metrics::default());
        let store::Store { reader, submit, writer, lock } = store::open(&config, metrics.clone())?;
        let writer =
            std::thread::Builder::new().name("writer".to_owned()).spawn(|| writer.run())?;
        Ok(Self { reader, submit, metrics, writer, _lock: lock })
    }

    /// Lets so many producers store events for a while, each waiting for its answer.
    pub(crate) async fn load(&self, producers: usize, time: Duration) -> anyhow::Result<Load> {
        let (stop, events) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (before, begin) = (self.counters(), Instant::now());
        let mut tasks = JoinSet::new();
        let source = Source::new();
        for _ in 0..producers {
            let (submit, source) = (self.submit.clone(), source.clone());
            tasks.spawn(produce(submit, source, stop.clone(), events.clone()));
        }
        tokio::time::sleep(time).await;
        stop.store(true, Ordering::Relaxed);
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        let (seconds, after) = (begin.elapsed().as_secs_f64(), self.counters());
        let records = float(after.records - before.records);
        Ok(Load {
            events: events.load(Ordering::Relaxed),
            seconds,
            group: records / float(after.commits - before.commits),
            record_bytes: float(after.log_bytes - before.log_bytes) / records,
        })
    }

    /// Closes the store as a clean stop does.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.submit.close().await;
        self.writer.join().ok().context("the writer panicked")??;
        Ok(())
    }

    fn counters(&self) -> Counters {
        Counters {
            records: self.metrics.store_records.get(),
            commits: self.metrics.store_commits.get(),
            log_bytes: self.reader.counts().log_bytes,
        }
    }
}

async fn produce(
    submit: Submit,
    source: Source,
    stop: Arc<AtomicBool>,
    events: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let pending = submit.send(Command::Publish(Box::new(source.next()))).await?;
        match pending.await?? {
            Reply::Published { duplicate: false, .. } => events.fetch_add(1, Ordering::Relaxed),
            other => anyhow::bail!("an event was answered with {other:?}"),
        };
    }
    Ok(())
}
