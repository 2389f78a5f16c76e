//! A lane: the runner of one subscription. A cursor and its exceptions, in memory, bounded.
//!
//! Pure but for the counters it shows: the dispatcher tells it what happened and asks it what to
//! start next. It never sends, waits or reads by itself.

use std::sync::Arc;
use std::time::Duration;

use smol_str::SmolStr;

use super::order::Pick;
use super::replay::Replaying;
use super::stats::{Shown, Stats};
use super::strand::{Begin, Finished, Mode, Strand};
use super::targets::Server;
use crate::domain::breaker::Start;
use crate::domain::delivery::Retry;
use crate::domain::lease::after;
use crate::domain::policy::Ordering;
use crate::domain::replay::Replay;
use crate::domain::subscription::Subscription;
use crate::domain::{Offset, Timestamp};

/// Bounds that the operator sets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Events that wait in memory.
    pub(super) queue_max: usize,
    /// Their bytes.
    pub(super) queue_bytes_max: usize,
    /// Requests under way for one subscription, whatever its policy asks for: no subscription may
    /// take all there are.
    pub(super) in_flight_max: usize,
    /// Deliveries that wait for a retry.
    pub(super) retries_max: usize,
    /// Deliveries that wait since their publisher wants them to be late.
    pub(super) delayed_max: usize,
}

/// The runner of one subscription.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) subscription: Arc<Subscription>,
    pub(super) stats: Arc<Stats>,
    /// Where it delivers to.
    pub(super) server: Server,
    /// It waits for something that is under way to its target to come back.
    pub(super) blocked: bool,
    /// Its target does not work, and the writer was told or is about to be.
    pub(super) told_parked: bool,
    /// What follows the log.
    pub(super) strand: Strand,
    /// What is delivered once more.
    pub(super) replay: Option<Box<Replaying>>,
    /// Requests under way.
    requests: usize,
    /// The replay has the next turn, if it has something to start.
    is_replays_turn: bool,
    next_start: Timestamp,
    held_until: Timestamp,
    /// Its target is gone and the writer was told: nothing more is started.
    pub(super) ending: bool,
    /// It stands in the queue of lanes that might start something.
    pub(super) ready: bool,
    /// It stands in the queue of lanes that might read the log.
    pub(super) hungry: bool,
    /// The cursor that the tables hold, if they hold one.
    pub(super) noted: Option<Offset>,
}

/// What a lane wants to do.
#[derive(Debug)]
pub(super) enum Next {
    /// Start an attempt.
    Start {
        begin: Begin,
        /// Other events that go with it.
        rest: Vec<Begin>,
        /// Of a replay.
        replay: bool,
    },
    /// Nothing before this time: the rate is used up.
    At(Timestamp),
    /// Nothing before this time: the target does not work.
    Shut(Timestamp),
    /// Nothing until something that is under way to the target comes back.
    Blocked,
    /// Nothing until something happens.
    Nothing,
}

impl Lane {
    pub(super) fn new(
        subscription: Arc<Subscription>,
        server: Server,
        position: Offset,
        mode: Mode,
    ) -> Self {
        Self {
            subscription,
            server,
            blocked: false,
            told_parked: false,
            stats: Arc::new(Stats::default()),
            strand: Strand::new(position, mode),
            replay: None,
            requests: 0,
            is_replays_turn: false,
            next_start: Timestamp::UNIX_EPOCH,
            held_until: Timestamp::UNIX_EPOCH,
            ending: false,
            ready: false,
            hungry: false,
            noted: None,
        }
    }

    /// Starts nothing before a time: the target asked for it.
    pub(super) fn hold_until(&mut self, time: Timestamp) {
        self.held_until = self.held_until.max(time);
    }

    /// The subscription has another target: what the old one asked for does not hold for it.
    pub(super) fn retarget(&mut self) {
        (self.ending, self.blocked) = (false, false);
        self.held_until = Timestamp::UNIX_EPOCH;
    }

    /// Whether one of its strands should read on, and which: of a replay or not.
    pub(super) fn wants_to_read(&self, now: Timestamp, limits: Limits) -> Option<bool> {
        if self.ending || !self.subscription.may_deliver(now) {
            return None;
        }
        let ordering = self.subscription.wish.policy.ordering;
        if self.strand.wants_to_read(ordering, limits) {
            return Some(false);
        }
        let replay = self.replay.as_ref()?;
        let more = replay.strand.position < replay.asked.to;
        (more && replay.strand.wants_to_read(ordering, limits)).then_some(true)
    }

    /// What to start next, as far as the target lets it. What is returned counts as started.
    pub(super) fn next(&mut self, now: Timestamp, limits: Limits, target: Start) -> Next {
        let subscription = self.subscription.clone();
        let policy = &subscription.wish.policy;
        let window = usize::try_from(policy.max_in_flight).unwrap_or(usize::MAX);
        let window = window.min(limits.in_flight_max);
        let window = if policy.ordering == Ordering::Strict { 1 } else { window };
        if self.ending || self.requests >= window || !subscription.may_deliver(now) {
            return Next::Nothing;
        }
        match target {
            // Which one probes is of no matter; that there is one to probe is.
            Start::Probe | Start::At(_) => self.fall_all_due(),
            Start::Yes | Start::Later => {}
        }
        let own = self.strand.pick(policy.ordering, limits);
        let replayed =
            self.replay.as_ref().and_then(|replay| replay.strand.pick(policy.ordering, limits));
        let (pick, is_replay) = match (own, replayed) {
            (Some(_), Some(pick)) if self.is_replays_turn => (pick, true),
            (Some(pick), _) => (pick, false),
            (None, Some(pick)) => (pick, true),
            (None, None) => return Next::Nothing,
        };
        match target {
            Start::Yes | Start::Probe => {}
            Start::Later => return Next::Blocked,
            Start::At(time) => return Next::Shut(time),
        }
        if self.held_until > now {
            return Next::At(self.held_until);
        }
        if let (Some(batch), Pick::First(_)) = (self.batch(), pick)
            && let Some(until) = self.strand(is_replay).and_then(|it| it.fills_until(batch, now))
        {
            return Next::At(until);
        }
        if let Some(rate) = policy.rate_per_second {
            let pace = Duration::from_secs(1) / rate;
            // The wall clock may have been set back since.
            self.next_start = self.next_start.min(after(now, pace));
            if self.next_start > now {
                return Next::At(self.next_start);
            }
            self.next_start = after(now, pace);
        }
        self.is_replays_turn = !is_replay;
        let (batch, ordering) = (self.batch(), policy.ordering);
        let Some(strand) = self.strand(is_replay) else { return Next::Nothing };
        let Some(begin) = strand.start(pick) else { return Next::Nothing };
        let rest = batch.map(|batch| strand.fill(&begin, batch, ordering, limits));
        self.requests += 1;
        Next::Start { begin, rest: rest.unwrap_or_default(), replay: is_replay }
    }

    /// A request came back.
    pub(super) fn returned(&mut self) {
        self.requests = self.requests.saturating_sub(1);
    }

    /// Takes a delivery back that was started. `None`: it was not, a late answer.
    pub(super) fn finish(&mut self, offset: Offset, replay: bool) -> Option<Finished> {
        self.strand(replay)?.finish(offset, replay)
    }

    /// Puts a delivery among those that wait.
    pub(super) fn wait(&mut self, retry: &Retry, key: Option<SmolStr>) {
        if let Some(strand) = self.strand(retry.replay) {
            strand.wait(retry, key);
        }
    }

    /// Puts a dead letter among those that wait, and it is due. It is no part of a replay, even
    /// where one was about to deliver it.
    pub(super) fn redrive(&mut self, offset: Offset, key: Option<SmolStr>) {
        if let Some(replay) = &mut self.replay {
            replay.strand.let_go(offset);
        }
        self.strand.redrive(offset, key);
    }

    /// Has everything tried again that failed: what it failed by was the target.
    pub(super) fn fall_all_due(&mut self) {
        self.strand.waiting.fall_all_due();
        if let Some(replay) = &mut self.replay {
            replay.strand.waiting.fall_all_due();
        }
    }

    /// A delivery's time to be tried again has come. False: it does not wait any more.
    pub(super) fn fall_due(&mut self, offset: Offset, replay: bool) -> bool {
        self.strand(replay).is_some_and(|strand| strand.waiting.fall_due(offset))
    }

    /// Whether one of its strands reads the log by itself and is not doing so.
    pub(super) fn may_be_hungry(&self) -> bool {
        let waits = |strand: &Strand| strand.mode == Mode::Behind { reading: false };
        let replay = self.replay.as_ref();
        let more = |it: &Replaying| it.strand.position < it.asked.to && waits(&it.strand);
        waits(&self.strand) || replay.is_some_and(|replay| more(replay))
    }

    /// Looks at everything again that was not started: the filter has changed.
    pub(super) fn look_again(&mut self, matched: Offset) {
        self.strand.look_again(matched);
        if let Some(replay) = &mut self.replay {
            replay.strand.look_again(matched);
        }
    }

    /// Deliveries under way.
    fn in_flight(&self) -> usize {
        let replayed = self.replay.as_ref().map_or(0, |replay| replay.strand.in_flight.len());
        self.strand.in_flight.len() + replayed
    }

    /// Shows where it stands.
    pub(super) fn show(&self, matched: Offset) {
        let replay = self.replay.as_ref();
        let of_both = |count: fn(&Strand) -> usize| {
            count(&self.strand) + replay.map_or(0, |replay| count(&replay.strand))
        };
        self.stats.show(&Shown {
            cursor: self.strand.cursor(matched),
            in_flight: self.in_flight(),
            queued: of_both(|strand| strand.queue.len()),
            retrying: of_both(|strand| strand.waiting.len()),
            lagging: !self.strand.is_caught_up(matched),
            oldest: self.strand.oldest(),
        });
        if let Some(replay) = replay {
            let shown = Replay { cursor: replay.cursor(), ..replay.asked };
            self.stats.set_replay(Some(shown));
        }
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
