//! The roster: every lane, the index over their filters, and who is to be looked at next.
//!
//! Owned by the dispatcher's task alone, so that nothing here needs a lock and the hand-over
//! between reading the log and following the matcher cannot lose or double an event.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::attempt::Task;
use super::gate::Gate;
use super::lane::{Lane, Limits, Mode, Next};
use super::lanes::Lanes;
use super::matcher::Index;
use super::targets::{Parking, Targets};
use crate::domain::breaker::Rules;
use crate::domain::command::Overtaken;
use crate::domain::filter::Facts;
use crate::domain::gap::{Gap, Missing, missing};
use crate::domain::record::{Entry, Record};
use crate::domain::subscription::{Start, State, Subscription};
use crate::domain::{Offset, Timestamp};
use crate::store::Stretch;

/// Something that is to happen at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wake {
    /// A delivery of a subscription is to be tried again.
    Retry(u32, Offset),
    /// A subscription's rate allows another attempt.
    Lane(u32),
}

/// Every lane.
#[derive(Debug)]
pub(super) struct Roster {
    pub(super) lanes: HashMap<u32, Lane>,
    /// Every event before it was matched.
    pub(super) matched: Offset,
    /// The oldest record in the log: where a reader of everything begins.
    pub(super) oldest: Offset,
    /// How far matching was when progress was last handed out.
    pub(super) told: Offset,
    /// Lanes that came to records which the log no longer has.
    overtaken: Vec<Overtaken>,
    /// What is to be written down of parking.
    pub(super) parking: Vec<Parking>,
    pub(super) targets: Targets,
    index: Index,
    wakes: BTreeSet<(Timestamp, Wake)>,
    ready: VecDeque<u32>,
    hungry: VecDeque<u32>,
    pub(super) dirty: HashSet<u32>,
    /// An event was matched since progress was last noted.
    pub(super) moved: bool,
    /// What the writes of the last progress replaced, until they are known to be on disk.
    pub(super) replaced: Vec<(u32, Option<Offset>)>,
    found: Vec<u32>,
    limits: Limits,
    gate: Gate,
    view: Lanes,
}

impl Roster {
    pub(super) fn new(
        matched: Offset,
        limits: Limits,
        rules: Rules,
        gate: Gate,
        view: Lanes,
    ) -> Self {
        Self {
            lanes: HashMap::new(),
            matched,
            oldest: 0,
            told: matched,
            overtaken: Vec::new(),
            parking: Vec::new(),
            targets: Targets::new(rules),
            index: Index::default(),
            wakes: BTreeSet::new(),
            ready: VecDeque::new(),
            hungry: VecDeque::new(),
            dirty: HashSet::new(),
            moved: false,
            replaced: Vec::new(),
            found: Vec::new(),
            limits,
            gate,
            view,
        }
    }

    /// Takes a subscription in as it was when the hub last stopped. `cursor` is the tables' row.
    pub(super) fn restore(
        &mut self,
        subscription: Subscription,
        cursor: Option<Offset>,
        gap: Option<Gap>,
        now: Timestamp,
    ) {
        if subscription.state.is_ended() {
            return;
        }
        let mode = match cursor {
            Some(cursor) if cursor < self.matched => Mode::Behind { reading: false },
            Some(_) | None => Mode::Live,
        };
        let number = subscription.number;
        self.index.insert(number, &subscription.wish.filter);
        let position = cursor.unwrap_or(self.matched);
        let server = self.targets.join(&subscription, now);
        let mut lane = Lane::new(Arc::new(subscription), server, position, mode);
        lane.noted = cursor;
        lane.stats.set_gap(gap);
        self.view.insert(number, lane.stats.clone());
        self.lanes.insert(number, lane);
        self.touch(number);
    }

    /// Looks at the next entry of the log: matches an event, follows a subscription's changes.
    pub(super) fn see(&mut self, entry: &Entry, as_of: Offset) {
        self.pass_over(entry.offset);
        match &entry.record {
            Record::Event(_) => self.match_event(entry),
            Record::Subscription(held) if entry.offset >= as_of => {
                self.update(held, entry.offset, entry.at);
            }
            Record::SubscriptionRemoved { number, .. } if entry.offset >= as_of => {
                self.remove(*number);
            }
            Record::Gap { subscription, missing } if entry.offset >= as_of => {
                if let Some(lane) = self.lanes.get(subscription) {
                    let known = lane.stats.gap();
                    lane.stats.set_gap(Some(Gap::after(known, *missing, entry.at)));
                }
            }
            Record::Subscription(_)
            | Record::SubscriptionRemoved { .. }
            | Record::Token(_)
            | Record::TokenRevoked { .. }
            | Record::Retry(_)
            | Record::Settled { .. }
            | Record::DeadLetter(_)
            | Record::Progress(_)
            | Record::Gap { .. } => {}
        }
        self.matched = entry.offset + 1;
        self.view.set_matched(self.matched);
    }

    /// The log has nothing up to an offset: lanes that follow the matcher miss what was there.
    /// Those that read by themselves will come to it.
    pub(super) fn pass_over(&mut self, to: Offset) {
        let from = self.matched;
        if from >= to {
            return;
        }
        self.matched = to;
        self.moved = true;
        self.view.set_matched(self.matched);
        for (number, lane) in &self.lanes {
            let missing = Missing { from: from.max(lane.position), to };
            if lane.mode == Mode::Live && missing.from < to {
                self.overtaken.push(Overtaken { subscription: *number, missing });
            }
        }
    }

    /// Lanes that came to records which the log no longer has, since this was last asked.
    pub(super) fn take_overtaken(&mut self) -> Vec<Overtaken> {
        std::mem::take(&mut self.overtaken)
    }

    /// Gives a lane that reads the log by itself what it read from an offset on. If it stands
    /// somewhere else by now (its filter changed), it reads again from there.
    pub(super) fn take_read(&mut self, number: u32, from: Offset, read: &Stretch) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        if lane.mode != (Mode::Behind { reading: true }) || lane.position != from {
            return;
        }
        lane.mode = Mode::Behind { reading: false };
        let subscription = lane.subscription.clone();
        let owner = subscription.owner.as_deref();
        // Never past the matcher: what changes the subscription there was not seen yet.
        let mut to = read.to.min(self.matched);
        for entry in read.entries.iter().take_while(|entry| entry.offset < to) {
            let wanted = entry.event().is_some_and(|event| {
                subscription.wish.filter.matches(event)
                    && self.gate.owner_may_receive(owner, event.topic.as_str())
            });
            if wanted && !lane.take(entry, self.limits) {
                to = entry.offset;
                break;
            }
        }
        lane.position = to.max(from);
        for missing in missing(from, &read.entries, to) {
            self.overtaken.push(Overtaken { subscription: number, missing });
        }
        if lane.position >= self.matched {
            lane.mode = Mode::Live;
        }
        self.touch(number);
    }

    /// The next attempt to start, the lanes taking turns.
    pub(super) fn next_task(&mut self, now: Timestamp) -> Option<Task> {
        while let Some(number) = self.ready.pop_front() {
            let Some(lane) = self.lanes.get_mut(&number) else { continue };
            lane.ready = false;
            let subscription = lane.subscription.clone();
            if !self.gate.knows(subscription.owner.as_deref()) {
                continue;
            }
            let server = lane.server.clone();
            let (offset, entry, attempt) =
                match lane.next(now, self.limits, self.targets.may_start(&server, now)) {
                    Next::First(entry) => (entry.offset, Some(entry), 1),
                    Next::Again { offset, number } => (offset, None, number),
                    Next::Shut(time) => {
                        self.wakes.insert((time, Wake::Lane(number)));
                        self.note_shut(number, time);
                        continue;
                    }
                    Next::Blocked => {
                        self.block(&server, number);
                        continue;
                    }
                    Next::At(time) => {
                        self.wakes.insert((time, Wake::Lane(number)));
                        self.unblock(&server);
                        continue;
                    }
                    Next::Nothing => {
                        self.unblock(&server);
                        continue;
                    }
                };
            let probe = self.targets.start(&server);
            self.touch(number);
            return Some(Task { subscription, offset, entry, number: attempt, server, probe });
        }
        None
    }

    /// A lane that should read the log, marked as reading, and from where.
    pub(super) fn next_read(&mut self, now: Timestamp) -> Option<(u32, Offset)> {
        while let Some(number) = self.hungry.pop_front() {
            let Some(lane) = self.lanes.get_mut(&number) else { continue };
            lane.hungry = false;
            if lane.wants_to_read(now, self.limits) {
                lane.mode = Mode::Behind { reading: true };
                return Some((number, lane.position));
            }
        }
        None
    }

    /// A lane's read of the log failed: it is repeated at a time.
    pub(super) fn read_failed(&mut self, number: u32, from: Offset, again: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&number)
            && lane.mode == (Mode::Behind { reading: true })
            && lane.position == from
        {
            lane.mode = Mode::Behind { reading: false };
            self.wakes.insert((again, Wake::Lane(number)));
        }
    }

    /// Notes that something about a lane changed: it may start or read, its progress is to be
    /// written.
    pub(super) fn touch(&mut self, number: u32) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        lane.show(self.matched);
        self.dirty.insert(number);
        if !lane.ready {
            lane.ready = true;
            self.ready.push_back(number);
        }
        if lane.mode == (Mode::Behind { reading: false }) && !lane.hungry {
            lane.hungry = true;
            self.hungry.push_back(number);
        }
    }

    /// Has a delivery tried again at a time.
    pub(super) fn wake_at(&mut self, time: Timestamp, number: u32, offset: Offset) {
        self.wakes.insert((time, Wake::Retry(number, offset)));
    }

    /// When something is to happen next.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        self.wakes.first().map(|(time, _)| *time)
    }

    /// Lets happen what is due.
    pub(super) fn wake(&mut self, now: Timestamp) {
        while let Some((time, wake)) = self.wakes.pop_first() {
            if time > now {
                self.wakes.insert((time, wake));
                return;
            }
            match wake {
                Wake::Retry(number, offset) => {
                    let falls_due = self.lanes.get_mut(&number).map(|lane| lane.fall_due(offset));
                    if falls_due == Some(true) {
                        self.touch(number);
                    }
                }
                Wake::Lane(number) => self.touch(number),
            }
        }
    }

    fn match_event(&mut self, entry: &Entry) {
        let Some(event) = entry.event() else { return };
        self.moved = true;
        let mut found = std::mem::take(&mut self.found);
        let facts = Facts::new(event);
        self.index.candidates(&facts, &mut found);
        for number in &found {
            let Some(lane) = self.lanes.get_mut(number) else { continue };
            let subscription = &lane.subscription;
            let takes = lane.mode == Mode::Live
                && entry.offset >= lane.position
                && subscription.wish.filter.holds(&facts)
                && self.gate.owner_may_receive(subscription.owner.as_deref(), event.topic.as_str());
            if takes {
                lane.take(entry, self.limits);
                self.touch(*number);
            }
        }
        self.found = found;
    }

    fn update(&mut self, held: &Subscription, offset: Offset, at: Timestamp) {
        if held.state.is_ended() {
            self.remove(held.number);
            return;
        }
        let number = held.number;
        match self.lanes.get_mut(&number) {
            Some(lane) => {
                let before = std::mem::replace(&mut lane.subscription, Arc::new(held.clone()));
                if before.wish.sink != held.wish.sink {
                    lane.retarget();
                    self.targets.leave(&lane.server, number);
                    lane.server = self.targets.join(held, at);
                }
                lane.told_parked &= held.state == before.state;
                let goes_on = (before.state.is_parked(), held.state) == (true, State::Active);
                let server = lane.server.clone();
                if before.wish.filter != held.wish.filter {
                    self.index.remove(number, &before.wish.filter);
                    self.index.insert(number, &held.wish.filter);
                    lane.look_again(offset);
                }
                if goes_on {
                    self.hurry(&server, at);
                }
            }
            None => {
                self.index.insert(number, &held.wish.filter);
                let (position, mode) = match held.wish.start {
                    Start::Now => (offset + 1, Mode::Live),
                    Start::Earliest => (self.oldest, Mode::Behind { reading: false }),
                    Start::Offset(from) if from > offset => (from, Mode::Live),
                    Start::Offset(from) => (from, Mode::Behind { reading: false }),
                };
                let server = self.targets.join(held, at);
                let mut lane = Lane::new(Arc::new(held.clone()), server, position, mode);
                // As the fold has it, which does not know what is the oldest.
                lane.noted = Some(if held.wish.start == Start::Earliest { 0 } else { position });
                self.view.insert(number, lane.stats.clone());
                self.lanes.insert(number, lane);
            }
        }
        self.touch(number);
    }

    fn remove(&mut self, number: u32) {
        if let Some(lane) = self.lanes.remove(&number) {
            self.index.remove(number, &lane.subscription.wish.filter);
            self.targets.leave(&lane.server, number);
            self.view.remove(number);
            self.dirty.remove(&number);
        }
    }
}

#[cfg(test)]
#[path = "roster_tests.rs"]
mod tests;
