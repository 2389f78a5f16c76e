//! The dispatcher: follows the log, matches, and keeps deliveries going. One task owns all lanes;
//! requests run beside it and report back.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::Error;
use super::attempt::{self, Report, Templates, Tools};
use super::gate::Gate;
use super::ingest::Ingest;
use super::lane::Limits;
use super::lanes::{Behind, Lanes};
use super::live::{BATCH, READ_PAUSE, next_batch};
use super::roster::{Read, Roster};
use super::settle::{Settler, Written};
use crate::clock;
use crate::config::{Config, Delivery};
use crate::domain::breaker::Rules;
use crate::domain::command::{Overtaken, Settlement};
use crate::domain::delivery::Retry;
use crate::domain::lease::after;
use crate::domain::policy::Ordering;
use crate::domain::record::Record;
use crate::domain::{Offset, Timestamp};
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

/// How long nothing is started after this machine was found cut off.
const OFFLINE_PAUSE: Duration = Duration::from_secs(2);

/// One subscription has at most one part in so many of the requests under way.
const LANE_SHARE: usize = 4;

/// What a lane read from the log.
type Done = (Read, Result<Stretch, crate::store::Error>);

/// The dispatcher.
#[derive(Debug)]
pub struct Dispatch {
    reader: Reader,
    tools: Arc<Tools>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) roster: Roster,
    pub(super) settler: Settler,
    as_of: Offset,
    attempts: JoinSet<Report>,
    reads: JoinSet<Done>,
    in_flight_max: usize,
    /// Subscriptions that metrics name at most.
    named_max: usize,
    checkpoint_interval: Duration,
    /// This machine was found cut off: nothing is started before this time.
    offline_until: Option<Timestamp>,
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
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Lanes), Error> {
        let resume = reader.resume().await?;
        let tools = Arc::new(Tools {
            client,
            reader: reader.clone(),
            ingest: Ingest::new(submit.clone(), metrics.clone()),
            gate: gate.clone(),
            templates: Templates::new(&config.templates),
        });
        let named_max = config.telemetry.subscriptions_named_max;
        let config = &config.delivery;
        let limits = limits_of(config);
        let lanes = Lanes::default();
        let rules = Rules {
            after: config.park_after,
            schedule: config.park_schedule.iter().map(|wait| wait.0).collect(),
            in_flight_max: config.target_in_flight_max,
        };
        let mut roster = Roster::new(resume.matched, limits, rules, gate, lanes.clone());
        roster.lanes.reserve(resume.subscriptions.len());
        for subscription in resume.subscriptions {
            let cursor = resume.cursors.get(&subscription.number).copied();
            let gap = resume.gaps.get(&subscription.number).copied();
            roster.restore(subscription, cursor, gap, clock::now());
        }
        for replay in resume.replays {
            roster.begin_replay(replay);
        }
        for retry in resume.retries {
            restore_retry(&mut roster, &reader, retry).await?;
        }
        let dispatch = Self {
            settler: Settler::new(submit),
            as_of: resume.as_of,
            attempts: JoinSet::new(),
            reads: JoinSet::new(),
            in_flight_max: config.in_flight_max,
            named_max,
            checkpoint_interval: config.checkpoint_interval.0,
            offline_until: None,
            reader,
            tools,
            metrics,
            roster,
        };
        Ok((dispatch, lanes))
    }

    /// Delivers until `stop`, then lets requests under way end, for at most `drain`.
    pub async fn run(mut self, stop: Stop, drain: Duration) {
        let mut ticks = interval(self.checkpoint_interval.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Kept over turns of the loop: a read from disk that was begun is not begun again.
        let mut batch = Box::pin(next_batch(self.reader.clone(), self.roster.matched));
        loop {
            self.pump();
            let pause = self.pause();
            // Every arm is safe to drop half-way: waiting changes nothing, and batches, reports and
            // answers stay where they are until they are taken.
            tokio::select! {
                () = stop.wait() => break,
                stretch = &mut batch => {
                    self.follow(&stretch);
                    batch = Box::pin(next_batch(self.reader.clone(), self.roster.matched));
                }
                Some(report) = self.attempts.join_next() => self.note_report(report),
                Some(read) = self.reads.join_next() => self.note_read(read),
                written = self.settler.written() => self.note_written(written),
                _ = ticks.tick() => self.checkpoint(),
                () = sleep(pause) => {}
            }
        }
        self.drain(drain).await;
    }

    /// Starts what can be started.
    fn pump(&mut self) {
        let now = clock::now();
        self.roster.wake(now);
        let is_offline = self.is_offline(now);
        while !is_offline && self.attempts.len() < self.in_flight_max && !self.settler.is_full() {
            let Some(task) = self.roster.next_task(now) else { break };
            self.attempts.spawn(attempt::run(task, self.tools.clone()));
        }
        for parking in self.roster.take_parking() {
            self.settler.parking(parking);
        }
        while self.reads.len() < READS_MAX {
            let Some(read) = self.roster.next_read(now) else { break };
            let reader = self.reader.clone();
            self.reads.spawn(async move { (read, reader.read_on(read.from, BATCH).await) });
        }
        self.settler.start();
    }

    /// This machine is cut off: nothing is started for a while. Until when.
    pub(super) fn go_offline(&mut self, why: &str, now: Timestamp) -> Timestamp {
        if self.offline_until.is_none() {
            tracing::warn!(why, "this machine is cut off; deliveries wait and spend no attempts");
        }
        self.metrics.flow_offline.set(1);
        *self.offline_until.insert(after(now, OFFLINE_PAUSE))
    }

    /// Something came back that was sent: this machine is not cut off any more.
    pub(super) fn come_online(&mut self) {
        if self.offline_until.take().is_some() {
            tracing::info!("this machine is not cut off any more");
            self.metrics.flow_offline.set(0);
        }
    }

    fn is_offline(&self, now: Timestamp) -> bool {
        // The wall clock may have been set back since.
        let waits = |until| until > now && until <= after(now, OFFLINE_PAUSE);
        self.offline_until.is_some_and(waits)
    }

    fn pause(&self) -> Duration {
        let until = self.roster.next_wake().map(|time| time.duration_since(clock::now()));
        let until = until.map(|until| Duration::try_from(until).unwrap_or_default());
        until.unwrap_or(SLEEP_MAX).min(SLEEP_MAX)
    }

    fn follow(&mut self, stretch: &Stretch) {
        self.roster.oldest = self.reader.oldest_offset();
        let now = clock::now();
        for entry in &stretch.entries {
            self.roster.see(entry, self.as_of, now);
            if let (Record::Gap { missing, .. }, true) = (&entry.record, entry.offset >= self.as_of)
            {
                self.metrics.flow_gap_offsets.inc_by(missing.count());
            }
        }
        self.roster.pass_over(stretch.to);
        self.tell_overtaken();
        self.tell_delayed();
        self.show();
    }

    /// Has written down what is to be late: before any progress beyond it.
    fn tell_delayed(&mut self) {
        for retry in self.roster.take_delayed() {
            self.settler.push(Settlement::Retry(retry));
        }
    }

    /// Has written down what subscriptions passed over: before any progress beyond it.
    fn tell_overtaken(&mut self) {
        let overtaken = self.roster.take_overtaken();
        let Some(Overtaken { subscription, missing }) = overtaken.first() else { return };
        let (from, to, others) = (missing.from, missing.to, overtaken.len() - 1);
        tracing::warn!(subscription, from, to, others, "the log no longer has what was to be read");
        overtaken.into_iter().for_each(|overtaken| self.settler.gap(overtaken));
    }

    fn note_report(&mut self, report: Result<Report, tokio::task::JoinError>) {
        match report {
            Ok(report) => self.note_attempt(report),
            // A defect. The process stops and a restart delivers what was under way.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_aborted) => {}
        }
    }

    fn note_read(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok((read, Ok(stretch))) => {
                self.roster.take_read(&read, &stretch, clock::now());
                self.tell_overtaken();
                self.tell_delayed();
            }
            Ok((read, Err(error))) => {
                tracing::error!(%error, subscription = read.number, "the log cannot be read");
                self.roster.read_failed(&read, after(clock::now(), READ_PAUSE));
            }
            Err(error) => tracing::error!(%error, "a read of the log ended without a result"),
        }
    }

    fn note_written(&mut self, written: Written) {
        if let Written::Progress(good) = written {
            self.roster.progress_written(good);
        }
    }

    /// Writes down how far delivery is, once a tick.
    fn checkpoint(&mut self) {
        self.show();
        self.show_behind();
        self.settler.try_again();
        if self.settler.takes_progress()
            && let Some(progress) = self.roster.progress()
        {
            self.settler.checkpoint(progress);
        }
    }

    /// Shows who is behind: the furthest few by name, the others as numbers.
    fn show_behind(&self) {
        let mut behind = self.roster.behind(self.reader.next_offset(), clock::now());
        let most = |of: fn(&Behind) -> u64| behind.iter().map(of).max().unwrap_or(0);
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.flow_behind.set(gauge(behind.len() as u64));
        self.metrics.flow_behind_records_max.set(gauge(most(|it| it.records)));
        self.metrics.flow_behind_seconds_max.set(gauge(most(|it| it.seconds)));
        if behind.len() > self.named_max {
            behind.select_nth_unstable_by_key(self.named_max, |it| Reverse(it.records));
            behind.truncate(self.named_max);
        }
        behind.sort_by_key(|it| Reverse(it.records));
        self.roster.view.set_furthest_behind(behind);
    }

    fn show(&self) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.flow_in_flight.set(gauge(self.attempts.len()));
        self.metrics.flow_subscriptions.set(gauge(self.roster.lanes.len()));
        let (counts, rows) = (self.reader.counts(), |rows| i64::try_from(rows).unwrap_or(i64::MAX));
        self.metrics.flow_retries.set(rows(counts.retries));
        self.metrics.flow_dead_letters.set(rows(counts.dead_letters));
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
            self.roster.note_all();
            self.checkpoint();
            self.write_out().await;
        };
        if tokio::time::timeout(limit, written).await.is_err() {
            tracing::warn!("progress could not be written; some deliveries will be repeated");
        }
    }

    /// Waits until all outcomes are on disk.
    async fn write_out(&mut self) {
        while !self.settler.is_idle() {
            self.settler.try_again();
            self.settler.start();
            let written = self.settler.written().await;
            self.note_written(written);
            sleep(DRAIN_PAUSE).await;
        }
    }
}

fn limits_of(config: &Delivery) -> Limits {
    Limits {
        queue_max: config.lane_queue_max,
        queue_bytes_max: config.lane_queue_bytes_max.bytes(),
        retries_max: config.retries_max,
        delayed_max: config.delayed_max,
        in_flight_max: config.in_flight_max.div_ceil(LANE_SHARE),
    }
}

async fn restore_retry(roster: &mut Roster, reader: &Reader, retry: Retry) -> Result<(), Error> {
    let number = retry.subscription;
    let Some(lane) = roster.lanes.get(&number) else { return Ok(()) };
    let ordering = lane.subscription.wish.policy.ordering;
    let entries = match ordering {
        Ordering::Key => reader.read(retry.offset, 1).await?,
        Ordering::None | Ordering::Strict => Vec::new(),
    };
    let own = entries.first().filter(|entry| entry.offset == retry.offset);
    let event = own.and_then(|entry| entry.event());
    let key = event.and_then(|event| lane.subscription.order_key(event));
    roster.wake_at(&retry);
    if let Some(lane) = roster.lanes.get_mut(&number) {
        lane.wait(&retry, key);
    }
    roster.touch(number);
    Ok(())
}
