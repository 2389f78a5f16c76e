//! The dispatcher: follows the log, matches, and keeps deliveries going. One task owns all lanes;
//! requests run beside it and report back.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::Error;
use super::attempt::{self, Templates, Tools};
use super::board::Board;
use super::gate::Gate;
use super::ingest::Ingest;
use super::keyring::Keyring;
use super::lanes::Lanes;
use super::live::{BATCH, READ_PAUSE, next_batch};
use super::parcel::Report;
use super::preview::Preview;
use super::roster::Read;
use super::settle::Settler;
use super::trial::Trial;
use crate::clock;
use crate::config::Config;
use crate::domain::lease::after;
use crate::domain::policy::Ordering;
use crate::net::dial::Client;
use crate::stop::Stop;
use crate::store::{Reader, Stretch, Submit};
use crate::telemetry::Metrics;

/// Lanes that read the log at the same time.
const READS_MAX: usize = 4;

/// Longest sleep, so that a jump of the wall clock is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Pause between writes while draining, so that a full disk does not spin a core.
const DRAIN_PAUSE: Duration = Duration::from_millis(2);

/// What a lane read from the log.
type Done = (Read, Result<Stretch, crate::store::Error>);

/// The dispatcher.
#[derive(Debug)]
pub struct Dispatch {
    reader: Reader,
    tools: Arc<Tools>,
    board: Board,
    settler: Settler,
    attempts: JoinSet<Report>,
    reads: JoinSet<Done>,
    checkpoint_interval: Duration,
}

impl Dispatch {
    /// A dispatcher that goes on where the store says, and the view on what it does. To be called
    /// before anything is written.
    pub async fn new(
        config: &Config,
        reader: Reader,
        submit: Submit,
        client: Client,
        gate: Gate,
        keyring: Keyring,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Lanes), Error> {
        let mut resume = reader.resume().await?;
        let tools = Arc::new(Tools {
            client,
            reader: reader.clone(),
            ingest: Ingest::new(submit.clone(), metrics.clone()),
            gate: gate.clone(),
            templates: Templates::new(&config.templates),
            keyring,
        });
        let retries = std::mem::take(&mut resume.retries);
        let mut board = Board::new(config, resume, gate, metrics, clock::now());
        for retry in retries {
            let ordering = board.ordering(retry.subscription);
            let entries = match ordering {
                Some(Ordering::Key) => reader.read(retry.offset, 1).await?,
                Some(Ordering::None | Ordering::Strict) => Vec::new(),
                None => continue,
            };
            let own = entries.first().filter(|entry| entry.offset == retry.offset);
            board.restore(&retry, own.and_then(|entry| entry.event()));
        }
        let lanes = board.lanes();
        let dispatch = Self {
            settler: Settler::new(submit),
            attempts: JoinSet::new(),
            reads: JoinSet::new(),
            checkpoint_interval: config.delivery.checkpoint_interval.0,
            reader,
            tools,
            board,
        };
        Ok((dispatch, lanes))
    }

    /// Looks at what would be delivered, with what deliveries are made with.
    pub fn preview(&self) -> Preview {
        Preview::new(self.tools.clone())
    }

    /// Tests subscriptions, with what deliveries are made with.
    pub fn trial(&self) -> Trial {
        Trial::new(self.tools.clone())
    }

    /// Delivers until `stop`, then lets requests under way end, for at most `drain`.
    pub async fn run(mut self, stop: Stop, drain: Duration) {
        let mut ticks = interval(self.checkpoint_interval.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Kept over turns of the loop: a read from disk that was begun is not begun again.
        let mut batch = Box::pin(next_batch(self.reader.clone(), self.board.matched()));
        loop {
            self.pump();
            let pause = self.pause();
            // Every arm is safe to drop half-way: waiting changes nothing, and batches, reports and
            // answers stay where they are until they are taken.
            tokio::select! {
                () = stop.wait() => break,
                stretch = &mut batch => {
                    self.board.follow(&stretch, self.reader.oldest_offset(), clock::now());
                    self.show();
                    batch = Box::pin(next_batch(self.reader.clone(), self.board.matched()));
                }
                Some(report) = self.attempts.join_next() => {
                    self.note_report(report);
                    while let Some(report) = self.attempts.try_join_next() {
                        self.note_report(report);
                    }
                }
                Some(read) = self.reads.join_next() => self.note_read(read),
                taken = self.settler.taken() => self.board.written(taken),
                _ = ticks.tick() => self.checkpoint(),
                () = sleep(pause) => {}
            }
        }
        self.drain(drain).await;
    }

    /// Starts what can be started.
    fn pump(&mut self) {
        let now = clock::now();
        while let Some(task) = self.board.next_task(self.attempts.len(), now) {
            self.attempts.spawn(attempt::run(task, self.tools.clone()));
        }
        while self.reads.len() < READS_MAX {
            let Some(read) = self.board.next_read(now) else { break };
            let reader = self.reader.clone();
            self.reads.spawn(async move { (read, reader.read_on(read.from, BATCH).await) });
        }
        self.settler.start(&mut self.board);
    }

    fn pause(&self) -> Duration {
        let until = self.board.next_wake().map(|time| time.duration_since(clock::now()));
        let until = until.map(|until| Duration::try_from(until).unwrap_or_default());
        until.unwrap_or(SLEEP_MAX).min(SLEEP_MAX)
    }

    fn note_report(&mut self, report: Result<Report, tokio::task::JoinError>) {
        match report {
            Ok(report) => self.board.note_attempt(report, clock::now(), clock::dice()),
            // A defect. The process stops and a restart delivers what was under way.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_aborted) => {}
        }
    }

    fn note_read(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok((read, Ok(stretch))) => {
                self.board.take_read(&read, &stretch, clock::now());
            }
            Ok((read, Err(error))) => {
                tracing::error!(%error, subscription = read.number, "the log cannot be read");
                self.board.read_failed(&read, after(clock::now(), READ_PAUSE));
            }
            Err(error) => tracing::error!(%error, "a read of the log ended without a result"),
        }
    }

    /// Writes down how far delivery is, once a tick.
    fn checkpoint(&mut self) {
        self.show();
        self.board.checkpoint(self.reader.next_offset(), clock::now());
    }

    fn show(&self) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let metrics = &self.board.metrics;
        metrics.flow_in_flight.set(gauge(self.attempts.len()));
        metrics.flow_subscriptions.set(gauge(self.board.roster.lanes.len()));
        let (counts, rows) = (self.reader.counts(), |rows| i64::try_from(rows).unwrap_or(i64::MAX));
        metrics.flow_retries.set(rows(counts.retries));
        metrics.flow_dead_letters.set(rows(counts.dead_letters));
    }

    /// Lets requests under way end, then writes down what came of them and how far delivery is.
    async fn drain(mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.attempts.is_empty() {
            tokio::select! {
                Some(report) = self.attempts.join_next() => self.note_report(report),
                () = sleep_until(deadline) => break,
            }
        }
        self.attempts.abort_all();
        let written = async {
            self.write_out().await;
            self.board.roster.note_all();
            self.checkpoint();
            self.write_out().await;
        };
        if tokio::time::timeout(limit, written).await.is_err() {
            tracing::warn!("progress could not be written; some deliveries will be repeated");
        }
    }

    /// Waits until all outcomes are on disk.
    async fn write_out(&mut self) {
        while !self.board.outbox.is_idle() {
            self.board.outbox.try_again();
            self.settler.start(&mut self.board);
            let taken = self.settler.taken().await;
            self.board.written(taken);
            sleep(DRAIN_PAUSE).await;
        }
    }
}
