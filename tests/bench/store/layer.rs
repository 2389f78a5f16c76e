//! The storage layer alone, in this process: the store, its threads, and producers that each wait
//! for their answer. The only place that knows how a store is opened and run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use tidings::config::{self, Sources};
use tidings::domain::command::{Command, Reply};
use tidings::stop::Stop;
use tidings::store::{self, Lock, Reader, Submit};
use tidings::telemetry::Metrics;
use tokio::task::JoinSet;

use crate::counters::{Counters, WRITER, Work};
use crate::event::Source;

/// A store and its threads.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) reader: Reader,
    pub(crate) submit: Submit,
    metrics: Arc<Metrics>,
    writer: JoinHandle<Result<(), store::Error>>,
    keeper: JoinSet<Result<(), store::Error>>,
    stop: Stop,
    _lock: Lock,
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
        let (store, lock) = store::open(&config, metrics.clone())?;
        let store::Store { reader, submit, writer, keeper, .. } = store;
        let stop = Stop::default();
        let keeper = JoinSet::from_iter([keeper.run(stop.clone())]);
        let writer =
            std::thread::Builder::new().name(WRITER.to_owned()).spawn(move || writer.run())?;
        Ok(Self { reader, submit, metrics, writer, keeper, stop, _lock: lock })
    }

    /// Lets so many producers store events for a while, each waiting for its answer.
    pub(crate) async fn load(&self, producers: usize, time: Duration) -> anyhow::Result<Work> {
        let stop = Arc::new(AtomicBool::new(false));
        let before = Counters::read(&self.metrics)?;
        let mut tasks = JoinSet::new();
        let source = Source::new();
        for _ in 0..producers {
            tasks.spawn(produce(self.submit.clone(), source.clone(), stop.clone()));
        }
        tokio::time::sleep(time).await;
        stop.store(true, Ordering::Relaxed);
        let mut events = 0.0;
        while let Some(ended) = tasks.join_next().await {
            events += ended??;
        }
        let work = Counters::read(&self.metrics)?.since(&before);
        let records = work.records;
        anyhow::ensure!(events == records, "{records} records of {events} acknowledged events");
        Ok(work)
    }

    /// Closes the store as a clean stop does.
    pub(crate) async fn close(mut self) -> anyhow::Result<()> {
        self.stop.set();
        while let Some(ended) = self.keeper.join_next().await {
            ended??;
        }
        self.submit.close();
        self.writer.join().ok().context("the writer panicked")??;
        Ok(())
    }
}

/// The number of events that were acknowledged.
async fn produce(submit: Submit, source: Source, stop: Arc<AtomicBool>) -> anyhow::Result<f64> {
    let mut events = 0.0;
    while !stop.load(Ordering::Relaxed) {
        let pending = submit.send(Command::Publish(Arc::new(source.next()))).await?;
        match pending.await?? {
            Reply::Published { duplicate: false, .. } => events += 1.0,
            other => anyhow::bail!("an event was answered with {other:?}"),
        };
    }
    Ok(events)
}
