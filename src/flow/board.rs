//! The dispatcher's board: the lanes, what is to be started, what is to be written. All that
//! delivery decides, without waiting for anything: the dispatcher drives it, and so does the
//! simulator.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::gate::Gate;
use super::lane::Limits;
use super::lanes::{Behind, Lanes};
use super::parcel::Task;
use super::roster::{Read, Roster};
use super::settle::{Outbox, Written};
use crate::config::{Config, Delivery};
use crate::domain::breaker::Rules;
use crate::domain::command::{Command, Overtaken, Settlement};
use crate::domain::delivery::Retry;
use crate::domain::event::Event;
use crate::domain::lease::after;
use crate::domain::policy::Ordering;
use crate::domain::record::Record;
use crate::domain::{Offset, Timestamp};
use crate::store::{Resume, Stretch};
use crate::telemetry::Metrics;

/// How long nothing is started after this machine was found cut off.
const OFFLINE_PAUSE: Duration = Duration::from_secs(2);

/// One subscription has at most one part in so many of the requests under way.
const LANE_SHARE: usize = 4;

/// The lanes and what is to be done.
#[derive(Debug)]
pub struct Board {
    pub(super) metrics: Arc<Metrics>,
    pub(super) roster: Roster,
    pub(super) outbox: Outbox,
    /// Subscriptions as they are in the log before here are known.
    as_of: Offset,
    in_flight_max: usize,
    /// Subscriptions that metrics name at most.
    named_max: usize,
    /// This machine was found cut off: nothing is started before this time.
    offline_until: Option<Timestamp>,
}

impl Board {
    /// A board that goes on where the store says, but for deliveries that wait: see `restore`.
    pub fn new(
        config: &Config,
        resume: Resume,
        gate: Gate,
        metrics: Arc<Metrics>,
        now: Timestamp,
    ) -> Self {
        let rules = Rules {
            after: config.delivery.park_after,
            schedule: config.delivery.park_schedule.iter().map(|wait| wait.0).collect(),
            in_flight_max: config.delivery.target_in_flight_max,
        };
        let limits = limits(&config.delivery);
        let mut roster = Roster::new(resume.matched, limits, rules, gate, Lanes::default());
        roster.lanes.reserve(resume.subscriptions.len());
        for subscription in resume.subscriptions {
            let cursor = resume.cursors.get(&subscription.number).copied();
            let gap = resume.gaps.get(&subscription.number).copied();
            roster.restore(subscription, cursor, gap, now);
        }
        for replay in resume.replays {
            roster.begin_replay(replay);
        }
        Self {
            metrics,
            roster,
            outbox: Outbox::default(),
            as_of: resume.as_of,
            in_flight_max: config.delivery.in_flight_max,
            named_max: config.telemetry.subscriptions_named_max,
            offline_until: None,
        }
    }

    /// What orders a subscription's events; `None` where there is no such lane.
    pub fn ordering(&self, number: u32) -> Option<Ordering> {
        self.roster.lanes.get(&number).map(|lane| lane.subscription.wish.policy.ordering)
    }

    /// Takes in a delivery that waited when the hub last stopped. Its event is needed where a key
    /// orders.
    pub fn restore(&mut self, retry: &Retry, event: Option<&Event>) {
        let number = retry.subscription;
        let Some(lane) = self.roster.lanes.get_mut(&number) else { return };
        let key = event.and_then(|event| lane.subscription.order_key(event));
        lane.wait(retry, key);
        self.roster.wake_at(retry);
        self.roster.touch(number);
    }

    /// The view on the lanes.
    pub(super) fn lanes(&self) -> Lanes {
        self.roster.view.clone()
    }

    /// The next attempt to start, with so many under way.
    pub fn next_task(&mut self, under_way: usize, now: Timestamp) -> Option<Task> {
        self.roster.wake(now);
        let has_room = under_way < self.in_flight_max && !self.outbox.is_full();
        // Before that, a delivery that waited could go before an earlier event that was not seen.
        let has_seen_all = self.roster.matched >= self.as_of;
        let task = match has_room && has_seen_all && !self.is_offline(now) {
            true => self.roster.next_task(now),
            false => None,
        };
        for parking in self.roster.take_parking() {
            self.outbox.parking(parking);
        }
        task
    }

    /// Looks at what is new in the log, which begins at an offset.
    pub fn follow(&mut self, stretch: &Stretch, oldest: Offset, now: Timestamp) {
        self.roster.oldest = oldest;
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
    }

    /// Has written down what is to be late: before any progress beyond it.
    fn tell_delayed(&mut self) {
        for retry in self.roster.take_delayed() {
            self.outbox.push(Settlement::Retry(retry));
        }
    }

    /// Has written down what subscriptions passed over: before any progress beyond it.
    fn tell_overtaken(&mut self) {
        let overtaken = self.roster.take_overtaken();
        let Some(Overtaken { subscription, missing }) = overtaken.first() else { return };
        let (from, to, others) = (missing.from, missing.to, overtaken.len() - 1);
        tracing::warn!(subscription, from, to, others, "the log no longer has what was to be read");
        overtaken.into_iter().for_each(|overtaken| self.outbox.gap(overtaken));
    }

    /// Gives a lane what it read from the log.
    pub fn take_read(&mut self, read: &Read, stretch: &Stretch, now: Timestamp) {
        self.roster.take_read(read, stretch, now);
        self.tell_overtaken();
        self.tell_delayed();
    }

    /// A lane that should read the log, and from where.
    pub fn next_read(&mut self, now: Timestamp) -> Option<Read> {
        self.roster.next_read(now)
    }

    /// A read of the log failed: it is repeated at a time.
    pub fn read_failed(&mut self, read: &Read, again: Timestamp) {
        self.roster.read_failed(read, again);
    }

    /// Every event before this offset was matched: the next stretch begins here.
    pub fn matched(&self) -> Offset {
        self.roster.matched
    }

    /// When something is to happen next by itself.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.roster.next_wake()
    }

    /// The next command for the writer, if none is under way. What came of it is told by `written`.
    pub fn next_command(&mut self) -> Option<Command> {
        self.outbox.next()
    }

    /// The command that was handed out is on disk, or was not taken.
    pub fn written(&mut self, taken: bool) {
        if let Written::Progress(good) = self.outbox.written(taken) {
            self.roster.progress_written(good);
        }
    }

    /// Has written down how far delivery is. `end` is where the log ends.
    pub fn checkpoint(&mut self, end: Offset, now: Timestamp) {
        self.show_behind(end, now);
        self.outbox.try_again();
        if self.outbox.takes_progress()
            && let Some(progress) = self.roster.progress()
        {
            self.outbox.checkpoint(progress);
        }
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

    /// Shows who is behind: the furthest few by name, the others as numbers.
    fn show_behind(&self, end: Offset, now: Timestamp) {
        let mut behind = self.roster.behind(end, now);
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
}

fn limits(config: &Delivery) -> Limits {
    Limits {
        queue_max: config.lane_queue_max,
        queue_bytes_max: config.lane_queue_bytes_max.bytes(),
        retries_max: config.retries_max,
        delayed_max: config.delayed_max,
        in_flight_max: config.in_flight_max.div_ceil(LANE_SHARE),
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
